"""What an adapter must be for vLLM to run it beside its base. Whether it fits that base: see fits.py.

The list follows vLLM's own PEFTHelper, and adds what vLLM drops without a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ftgate.artifacts.finite import is_zero
from ftgate.artifacts.safetensors_header import Tensor
from ftgate.errors import ArtifactError

MAX_RANK = 512
"""The largest rank that vLLM takes."""
MAX_ALPHA = 1e9
"""No training needs a larger one, and its square still fits a number."""
MERGE = "merge it into its base (peft: merge_and_unload) and give the merged full weights as candidate"
_PREFIX = "base_model.model."
_MATRIX = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Ways of starting that leave an ordinary adapter behind; the others change the base's own weights as well."""

Config = Mapping[str, Any]
_REFUSED: tuple[tuple[Callable[[Config], bool], str], ...] = (
    (lambda c: bool(c.get("use_dora")), "use_dora: DoRA's magnitudes are not run by vLLM"),
    (lambda c: bool(c.get("lora_bias")), "lora_bias: vLLM has no biases in adapters"),
    (lambda c: c.get("bias", "none") != "none", "bias is {bias!a}: vLLM would drop the trained biases"),
    (lambda c: bool(c.get("modules_to_save")), "modules_to_save {modules_to_save}: vLLM would drop them"),
    (lambda c: bool(c.get("layer_replication")), "layer_replication changes the layers of the base"),
    (lambda c: bool(c.get("trainable_token_indices")), "trainable_token_indices: vLLM would drop the trained tokens"),
    (lambda c: bool(c.get("target_parameters")), "target_parameters {target_parameters}: cannot be checked or run"),
    (lambda c: bool(c.get("alora_invocation_tokens")), "alora_invocation_tokens: vLLM has no activated LoRA"),
    (lambda c: bool(c.get("use_qalora")), "use_qalora: vLLM has no QALoRA"),
    (lambda c: bool(c.get("use_bdlora")), "use_bdlora: vLLM has no block-diagonal LoRA"),
    (lambda c: bool(c.get("kasa_config")), "kasa_config: KaSA changes the base and is not run by vLLM"),
    (lambda c: bool(c.get("arrow_config")), "arrow_config: routing between adapters is not run by vLLM"),
    (lambda c: bool(c.get("monteclora_config")), "monteclora_config: sampled adapters are not run by vLLM"),
    (
        lambda c: isinstance(c.get("init_lora_weights"), str) and c["init_lora_weights"].lower() not in _PLAIN_INITS,
        "init_lora_weights is {init_lora_weights!a}: it changed the base's weights too, which vLLM does not",
    ),
)


class Matrices(NamedTuple):
    """The pair that changes one module: ``a`` of shape (rank, in), ``b`` of shape (out, rank)."""

    a: Tensor
    b: Tensor


def check_config(config: Config, where: str) -> None:
    """Raise ArtifactError, ``where`` in front, for anything in adapter_config.json that vLLM cannot run."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ArtifactError(f"{where}: peft_type is {kind!a}, not LORA", hint=MERGE)
    for refuses, reason in _REFUSED:
        if refuses(config):
            raise ArtifactError(f"{where}: {reason.format_map(config)}", hint=MERGE)
    for name in ("r", "lora_alpha", "target_modules"):
        if config.get(name) is None:
            raise ArtifactError(f"{where}: {name} is missing, and vLLM needs it", hint="save the adapter with peft")
    alpha = config["lora_alpha"]
    if type(alpha) not in (int, float) or not abs(alpha) <= MAX_ALPHA:  # NaN is not, either
        raise ArtifactError(f"{where}: lora_alpha {alpha!a:.80} is not a number", hint="save the adapter again")
    for rank in declared_ranks(config, where):
        if rank > MAX_RANK:
            raise ArtifactError(f"{where}: rank {rank} is above {MAX_RANK}, the most that vLLM runs", hint=MERGE)


def declared_ranks(config: Config, where: str) -> set[int]:
    """Every rank that the configuration names: ``r``, and the exceptions in ``rank_pattern``."""
    pattern = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, Mapping) else [pattern])]
    for rank in ranks:
        if type(rank) is not int or rank < 1:
            raise ArtifactError(f"{where}: rank {rank!a} is not a whole number above 0", hint="save the adapter again")
    return {rank for rank in ranks if rank is not None}


def pair_up(tensors: Mapping[str, Tensor], ranks: set[int], reference: str) -> dict[str, Matrices]:
    """The matrices by the name of the module that they change. Raises ArtifactError for whatever is no whole pair."""
    sides: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _MATRIX.fullmatch(name)
        if match is None or re.search(r"(^|\.)(embed_tokens|lm_head)\.", name):
            raise ArtifactError(f"{reference}: {_unrunnable(name)}", hint=MERGE)
        sides.setdefault(match["module"].removeprefix(_PREFIX), {})[match["side"]] = tensor
    if not sides:
        raise ArtifactError(f"{reference}: the adapter holds no tensors: it would change nothing", hint="save it again")
    return {module: _pair(module, found, ranks, reference) for module, found in sides.items()}


def _unrunnable(name: str) -> str:
    if "lora_magnitude_vector" in name:
        return f"{name}: a magnitude of DoRA, which vLLM does not run"
    if "embed_tokens" in name or "lm_head" in name or "lora_embedding" in name:
        return f"{name}: vLLM drops or half applies what an adapter does to embeddings and the output layer"
    return f"{name}: not a LoRA matrix; vLLM would drop or refuse it"


def _pair(module: str, sides: Mapping[str, Tensor], ranks: set[int], reference: str) -> Matrices:
    again = "the adapter is incomplete or damaged: save it again"
    for side in "AB":
        if side not in sides:
            raise ArtifactError(f"{reference}: {module} has no lora_{side}", hint=again)
    a, b = sides["A"], sides["B"]
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        raise ArtifactError(
            f"{reference}: {module}: lora_A {list(a.shape)} and lora_B {list(b.shape)} do not fit each other",
            hint=again,
        )
    if a.shape[0] not in ranks:
        declared = " or ".join(map(str, sorted(ranks)))
        raise ArtifactError(
            f"{reference}: {module} has rank {a.shape[0]}, but adapter_config.json says {declared}: "
            "its strength, alpha / rank, would be wrong",
            hint="configuration and weights are of different trainings: save both again",
        )
    return Matrices(a, b)


def check_not_zero(matrices: Mapping[str, Matrices], reference: str) -> None:
    """An adapter of which every product is zero is the base itself. Raises ArtifactError for one."""
    if all(is_zero(pair.b) or is_zero(pair.a) for pair in matrices.values()):
        raise ArtifactError(
            f"{reference}: all lora_B (or lora_A) matrices are zero: the adapter changed nothing",
            hint="it was saved before training, or training did not reach it",
        )
