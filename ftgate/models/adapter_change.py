"""How much an adapter changes the weights of its base: one that changes nothing is the base."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ftgate.errors import ArtifactError
from ftgate.models.adapter_config import AdapterContents, Matrices
from ftgate.models.covered_modules import EXPERTS
from ftgate.models.nan_scan import largest, read_numbers

NEARLY_ZERO = 1e-8
"""An adapter that changes no weight by more is the base: one step of training at a rate of 1e-7 changes more."""

Config = Mapping[str, Any]


def require_declared_ranks(
    contents: AdapterContents, names: Mapping[str, Collection[str]], config: Config, reference: str
) -> None:
    """Raise ArtifactError where a module's rank is not the one that ``r`` and ``rank_pattern`` give it.

    Its scale is alpha / rank, and peft builds matrices of the declared rank, which the stored ones do not fit.
    ``names`` are those of each module in the base. Where a key of the pattern matches none, names differ in a way that
    is not known here, and nothing is judged; nor are experts, whose matrices peft fuses.
    """
    pattern = config.get("rank_pattern")
    keys = pattern if isinstance(pattern, Mapping) else {}
    every_name = {name for module in contents.matrices for name in (module, *names.get(module, ()))}
    if not all(any(_matches(key, name) for name in every_name) for key in keys):
        return
    for module, pair in contents.matrices.items():
        declared = {_of_module(name, keys, config.get("r")) for name in (module, *names.get(module, ()))}
        if pair.a.shape[0] not in declared and EXPERTS not in module:
            raise ArtifactError(
                f"{reference}: {module} has rank {pair.a.shape[0]}, and adapter_config.json gives it "
                f"{min(declared)} (r, rank_pattern): its scale, alpha / rank, would be wrong",
                hint="configuration and weights come from different trainings: save both again",
            )


def require_change(contents: AdapterContents, config: Config, reference: str) -> None:
    """Raise ArtifactError for an adapter whose products are all zero, or next to it: it equals the base."""
    if contents.others:
        return
    change, factors = 0.0, 0.0
    for module, pair in contents.matrices.items():
        scale = _scale(module, pair, config)
        bound = largest_product(pair) * scale * pair.a.shape[0]
        factors = max(factors, largest_product(pair))
        change = max(change, min(bound, product_norm(pair) * scale) if bound > NEARLY_ZERO else bound)
        if change > NEARLY_ZERO:
            return
    what, hint = _reason(contents, config, change, factors)
    raise ArtifactError(f"{reference}: {what}: the adapter changes nothing", hint=hint)


def _reason(contents: AdapterContents, config: Config, change: float, factors: float) -> tuple[str, str]:
    alphas = {_alpha(module, config) for module in contents.matrices}
    if alphas == {0.0}:
        where = " (alpha_pattern)" if config.get("lora_alpha") else ""
        return f"lora_alpha is 0{where}", "save it with the lora_alpha that it was trained with"
    if factors == 0.0:
        return "all lora_B (or lora_A) matrices are zero", "it was saved before training, or was not trained"
    if change < NEARLY_ZERO * 1e-6:
        what = "every product of lora_B and lora_A is zero, although neither of them is"
        return what, "its matrices were mixed up or masked: train it and save it again"
    return (
        f"its lora_B (or lora_A) matrices are nearly zero, and no weight changes by more than {change:.1g}",
        "it was hardly trained: check learning rate and steps, train it and save it again",
    )


def largest_product(pair: Matrices) -> float:
    """The largest number of A times that of B; infinity if a number is not finite, or of a type of 8 bits."""
    a, b = largest(pair.a), largest(pair.b)
    return a * b if a and b else 0.0  # 0 times infinity is no number


def product_norm(pair: Matrices) -> float:
    """The root of the sum of squares (Frobenius norm) of B A, which no entry of it exceeds.

    With B = Q R and A' = P S it is that of R S', of size rank x rank, to the last digits. Infinity as above.
    """
    a, b = read_numbers(pair.a), read_numbers(pair.b)
    if a is None or b is None:
        return math.inf
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.inf
    r, s = (np.asarray(np.linalg.qr(matrix, mode="r")) for matrix in (b, a.T))
    norm = float(np.linalg.norm(r @ s.T))
    rounding = 64 * np.finfo(np.float64).eps * float(np.linalg.norm(a) * np.linalg.norm(b))
    return norm if norm > rounding else 0.0


def _scale(module: str, pair: Matrices, config: Config) -> float:
    rank = pair.a.shape[0]
    return _alpha(module, config) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _alpha(module: str, config: Config) -> float:
    alpha = _of_module(module, config.get("alpha_pattern"), config.get("lora_alpha"))
    return abs(float(alpha)) if isinstance(alpha, int | float) else 1.0


def _of_module(module: str, pattern: Any, otherwise: Any) -> Any:
    """A module's value of ``rank_pattern`` or ``alpha_pattern``, by the rule of peft 0.21 (``get_pattern_key``)."""
    keys = pattern if isinstance(pattern, Mapping) else {}
    return next((keys[key] for key in keys if _matches(key, module)), otherwise)


def _matches(key: str, module: str) -> bool:
    return re.match(rf"(.*\.)?({key})$", module) is not None
