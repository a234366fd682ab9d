"""Whether an adapter belongs to a base: by the names and shapes in both headers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping

from ftgate.errors import ArtifactError
from ftgate.models.adapter_config import EMBEDDINGS, AdapterContents, Matrices
from ftgate.models.safetensors_header import Tensor

_LAYER = re.compile(r"(?:^|\.)((?:layers|h|blocks|block)\.\d+\..+)$")
_PACKED = (".qweight", ".weight_packed", ".weight_scale", ".weight.quant_map", ".weight.absmax")
_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_OTHER = re.compile(
    r"(?P<module>.+?)\.(?P<what>lora_magnitude_vector|lora_B\.bias|token_adapter\b|base_layer\.weight|[a-z]+$)"
)


def check_fits_base(
    contents: AdapterContents,
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
    matrices, modules = contents.matrices, _modules(base)
    hint = "name the base that the adapter was trained on" + (f": it says {trained_on}" if trained_on else "")
    missing = [module for module in matrices if not modules.get(_tail(module))]
    if missing:
        raise ArtifactError(_missing(missing, len(matrices), modules, reference, base_reference), hint=hint)
    for module, pair in matrices.items():
        target = _target(module, pair, modules[_tail(module)], transposed)
        problem = _misfit(pair, target, transposed != pair.embedding)
        if problem:
            raise ArtifactError(
                f"{reference}: an adapter for another base: {problem} of the base {base_reference}", hint=hint
            )
    biases = {_tail(name.removesuffix(".bias")) for name in base if name.endswith(".bias")}
    for name, tensor in contents.others.items():
        problem = _stray(name, tensor, modules, biases)
        if problem:
            raise ArtifactError(f"{reference}: {problem} of the base {base_reference}", hint=hint)


def resized_vocabulary(contents: AdapterContents, base: Mapping[str, Tensor]) -> int | None:
    """The rows of an embedding that the adapter brings along whole, where they are not as many as the base has."""
    modules = _modules(base)
    for name, tensor in contents.others.items():
        match = _OTHER.fullmatch(name)
        if match and match["module"].rpartition(".")[2] in EMBEDDINGS and len(tensor.shape) == 2:
            named = modules.get(_tail(match["module"]), [])
            if named and named[0].shape[0] != tensor.shape[0]:
                return tensor.shape[0]
    return None


def _stray(name: str, tensor: Tensor, modules: Mapping[str, list[Tensor]], biases: Collection[str]) -> str | None:
    """What is wrong with a tensor that is no LoRA matrix, if it cannot be put in its place in the base."""
    match = _OTHER.match(name)
    module, what = (match["module"].removesuffix(".base_layer"), match["what"]) if match else (name, "")
    if what.endswith("bias"):
        return None if _tail(module) in biases else f"{name} has no bias to go to: there is none in {module}"
    named = modules.get(_tail(module))
    if not named:
        return f"{name} belongs to no module"
    wanted, rows_may_differ = named[0].shape, module.rpartition(".")[2] in EMBEDDINGS
    if what in ("weight", "base_layer.weight") and tensor.shape[rows_may_differ:] != wanted[rows_may_differ:]:
        return f"{name} has shape {list(tensor.shape)}, but {named[0].name} has {list(wanted)}, in the weights"
    return None


def _modules(base: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """The base's weights by the part of their module's name that all checkpoints of an architecture share."""
    modules: dict[str, list[Tensor]] = {}
    for name, tensor in base.items():
        suffix = next((s for s in (*_PACKED, ".weight") if name.endswith(s)), None)
        if suffix is not None:
            modules.setdefault(_tail(name.removesuffix(suffix)), []).append(tensor)
    embedding = next((found for name, found in modules.items() if name.rpartition(".")[2] == "embed_tokens"), None)
    if embedding is not None:  # tied: the output layer is the embedding
        modules.setdefault("lm_head", embedding)
    return modules


def _tail(module: str) -> str:
    match = _LAYER.search(module)
    return match[1] if match else module


def _target(module: str, pair: Matrices, named: list[Tensor], transposed: bool) -> Tensor:
    """The weight that ``module`` means: the one of exactly that name, else one that fits, else the first."""
    exact = [t for t in named if t.name == f"{module}.weight"]
    fitting = [t for t in named if _misfit(pair, t, transposed != pair.embedding) is None]
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
