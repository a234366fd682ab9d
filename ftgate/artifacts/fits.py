"""Whether an adapter belongs to a base: by the names and shapes in both headers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from ftgate.artifacts.adapter import Matrices
from ftgate.artifacts.safetensors_header import Tensor
from ftgate.errors import ArtifactError

_LAYER = re.compile(r"(?:^|\.)((?:layers|h|blocks|block)\.\d+\..+)$")
_PACKED = (".qweight", ".weight_packed", ".weight_scale", ".weight.quant_map", ".weight.absmax")
_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


def check_fits_base(
    matrices: Mapping[str, Matrices],
    base: Mapping[str, Tensor],
    reference: str,
    base_reference: str,
    *,
    transposed: bool = False,
    trained_on: str = "",
) -> None:
    """Every pair of matrices must have a weight of the base that it fits. Raises ArtifactError otherwise.

    Modules are matched by name; where checkpoints of one architecture differ in what stands before ``layers.N``, by the
    rest. A base that is quantised into packed tensors has the names, but shapes that say nothing. ``transposed`` is
    peft's ``fan_in_fan_out``; ``trained_on`` is the base that the adapter itself names.
    """
    modules = _modules(base)
    hint = "name the base that the adapter was trained on" + (f": it says {trained_on}" if trained_on else "")
    missing = [module for module in matrices if not modules.get(_tail(module))]
    if missing:
        raise ArtifactError(_missing(missing, len(matrices), modules, reference, base_reference), hint=hint)
    for module, pair in matrices.items():
        target = _target(module, pair, modules[_tail(module)], transposed)
        problem = _misfit(pair, target, transposed)
        if problem:
            raise ArtifactError(
                f"{reference}: an adapter for another base: {problem} of the base {base_reference}", hint=hint
            )


def _modules(base: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """The base's weights by the part of their module's name that all checkpoints of an architecture share."""
    modules: dict[str, list[Tensor]] = {}
    for name, tensor in base.items():
        suffix = next((s for s in (*_PACKED, ".weight") if name.endswith(s)), None)
        if suffix is not None:
            modules.setdefault(_tail(name.removesuffix(suffix)), []).append(tensor)
    return modules


def _tail(module: str) -> str:
    match = _LAYER.search(module)
    return match[1] if match else module


def _target(module: str, pair: Matrices, named: list[Tensor], transposed: bool) -> Tensor:
    """The weight that ``module`` means: the one of exactly that name, else one that fits, else the first."""
    exact = [t for t in named if t.name == f"{module}.weight"]
    fitting = [t for t in named if _misfit(pair, t, transposed) is None]
    return (exact or fitting or named)[0]


def _misfit(pair: Matrices, target: Tensor, transposed: bool) -> str | None:
    if not target.name.endswith(".weight") or target.dtype not in _FLOATS:
        return None
    wide = (pair.b.shape[0], pair.a.shape[1])
    expected = target.shape[::-1] if transposed else target.shape
    if wide == expected:
        return None
    first = pair.a if pair.a.shape[1:] != expected[-1:] else pair.b
    return (
        f"{first.name} has shape {list(first.shape)}, so the pair changes a weight of shape {list(wide)}; "
        f"but {target.name} has {list(target.shape)}, in the weights"
    )


def _missing(
    missing: list[str], total: int, modules: Mapping[str, list[Tensor]], reference: str, base_reference: str
) -> str:
    first = missing[0]
    if len(missing) == total:
        layers = [name for name, tensors in modules.items() if len(tensors[0].shape) == 2]
        close = difflib.get_close_matches(_tail(first), layers[:5000], n=1, cutoff=0.5)
        near = f"; the nearest is {close[0]}" if close else ""
        return (
            f"{reference}: the adapter would change nothing: the base {base_reference} has none of its {total} "
            f"modules, such as {first}{near}"
        )
    return (
        f"{reference}: an adapter for another base: {base_reference} has no module {first} "
        f"({len(missing)} of {total} are missing)"
    )
