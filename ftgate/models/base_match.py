"""Whether an adapter fits a base model, by tensor names and shapes in both headers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping

from ftgate.errors import ArtifactError
from ftgate.models.adapter_config import EMBEDDINGS, AdapterContents, Matrices
from ftgate.models.safetensors_header import Tensor

_LAYER = re.compile(r"(?:^|\.)((?:layers|h|blocks|block)\.\d+\..+)$")
_PACKED_SUFFIXES = (".qweight", ".weight_packed", ".weight_scale", ".weight.quant_map", ".weight.absmax")
_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_OTHER_TENSOR = re.compile(
    r"(?P<module>.+?)(?:\.(?:modules_to_save|original_module))?"
    r"\.(?P<what>lora_magnitude_vector|lora_B\.bias|token_adapter\.base_layer\.weight|token_adapter\b|"
    r"base_layer\.weight|[a-z]+$)"
)
"""peft writes a saved module as itself, as its copy ``modules_to_save`` and as ``original_module``."""
NO_BIAS = "train it again without lora_bias, which cannot be merged into a layer that has no bias"
_WHOLE = ("weight", "base_layer.weight", "token_adapter.base_layer.weight")


def check_fits_base(
    contents: AdapterContents,
    base: Mapping[str, Tensor],
    reference: str,
    base_reference: str,
    *,
    transposed: bool = False,
    trained_on: str = "",
) -> None:
    """Raise ArtifactError unless every LoRA pair has a weight in the base that it fits.

    Modules are matched by name or, since checkpoints of one architecture differ in what precedes ``layers.N``, by the
    rest of the name. A base that is quantised into packed tensors is matched by name only. ``transposed`` is peft's
    ``fan_in_fan_out``; ``trained_on`` is the base named by the adapter.
    """
    matrices, modules = contents.matrices, _modules(base)
    hint = "name the base that the adapter was trained on" + (
        f" (its configuration says {trained_on})" if trained_on else ""
    )
    missing = [module for module in matrices if not modules.get(_layer_path(module))]
    if missing:
        raise ArtifactError(_missing_modules(missing, len(matrices), modules, reference, base_reference), hint=hint)
    for module, pair in matrices.items():
        target = _target_weight(module, pair, modules[_layer_path(module)], transposed)
        problem = _shape_mismatch(pair, target, transposed != pair.embedding)
        if problem:
            raise ArtifactError(
                f"{reference}: an adapter for another base: {problem} of the base {base_reference}", hint=hint
            )
    biases = {_layer_path(name.removesuffix(".bias")) for name in base if name.endswith(".bias")}
    for name, tensor in contents.others.items():
        problem = _unplaced_tensor(name, tensor, modules, biases)
        if problem:
            hint = f"{NO_BIAS}, or {hint}" if name.endswith(".lora_B.bias") else hint
            raise ArtifactError(f"{reference}: {problem} of the base {base_reference}", hint=hint)


def names_in_base(contents: AdapterContents, base: Mapping[str, Tensor]) -> dict[str, set[str]]:
    """Each module of the adapter with the names that the base has for it: see :func:`check_fits_base`."""
    modules = _modules(base)
    return {
        module: {tensor.name.rpartition(".")[0] for tensor in modules.get(_layer_path(module), [])}
        for module in contents.matrices
    }


def resized_vocabulary(contents: AdapterContents, base: Mapping[str, Tensor]) -> int | None:
    """The number of rows of a whole embedding in the adapter, if it differs from the base's; otherwise None."""
    modules = _modules(base)
    for name, tensor in contents.others.items():
        match = _OTHER_TENSOR.fullmatch(name)
        is_whole = match is not None and match["what"] in _WHOLE
        if match and is_whole and match["module"].rpartition(".")[2] in EMBEDDINGS and len(tensor.shape) == 2:
            candidates = modules.get(_layer_path(match["module"]), [])
            if candidates and candidates[0].shape[0] != tensor.shape[0]:
                return tensor.shape[0]
    return None


def _unplaced_tensor(
    name: str, tensor: Tensor, modules: Mapping[str, list[Tensor]], biases: Collection[str]
) -> str | None:
    """Why a tensor that is not a LoRA matrix has no place in the base; None if it has one."""
    match = _OTHER_TENSOR.match(name)
    module, kind = (match["module"].removesuffix(".base_layer"), match["what"]) if match else (name, "")
    if kind.endswith("bias"):
        return None if _layer_path(module) in biases else f"{name} matches no bias: there is none in {module}"
    candidates = modules.get(_layer_path(module))
    if not candidates:
        return f"{name} matches no module"
    base_shape, rows_may_differ = candidates[0].shape, module.rpartition(".")[2] in EMBEDDINGS
    if kind in _WHOLE and tensor.shape[rows_may_differ:] != base_shape[rows_may_differ:]:
        return f"{name} has shape {list(tensor.shape)}, but {candidates[0].name} has {list(base_shape)}, in the weights"
    return None


def _modules(base: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """The base's weights by the part of the module name that all checkpoints of an architecture share."""
    modules: dict[str, list[Tensor]] = {}
    for name, tensor in base.items():
        suffix = next((s for s in (*_PACKED_SUFFIXES, ".weight") if name.endswith(s)), None)
        if suffix is not None:
            modules.setdefault(_layer_path(name.removesuffix(suffix)), []).append(tensor)
    embedding = next((weights for name, weights in modules.items() if name.rpartition(".")[2] == "embed_tokens"), None)
    if embedding is not None:  # tied weights: the output layer is the embedding
        modules.setdefault("lm_head", embedding)
    return modules


def _layer_path(module: str) -> str:
    match = _LAYER.search(module)
    return match[1] if match else module


def _target_weight(module: str, pair: Matrices, candidates: list[Tensor], transposed: bool) -> Tensor:
    """The weight that ``module`` refers to: the one of exactly that name, else one that fits, else the first."""
    exact = [t for t in candidates if t.name == f"{module}.weight"]
    fitting = [t for t in candidates if _shape_mismatch(pair, t, transposed != pair.embedding) is None]
    return (exact or fitting or candidates)[0]


def _shape_mismatch(pair: Matrices, target: Tensor, transposed: bool) -> str | None:
    if not target.name.endswith(".weight") or target.dtype not in _FLOATS:
        return None
    product = (pair.b.shape[0], pair.a.shape[1])
    expected = target.shape[::-1] if transposed else target.shape
    if product == expected:
        return None
    first = pair.a if pair.a.shape[1:] != expected[-1:] else pair.b
    return (
        f"{first.name} has shape {list(first.shape)}, so the pair fits a weight of shape {list(product)}; "
        f"but {target.name} has {list(target.shape)}, in the weights"
    )


def _missing_modules(
    missing: list[str], total: int, modules: Mapping[str, list[Tensor]], reference: str, base_reference: str
) -> str:
    first = missing[0]
    if len(missing) == total:
        layers = [name for name, tensors in modules.items() if len(tensors[0].shape) == 2]
        matches = difflib.get_close_matches(_layer_path(first), layers[:5000], n=1, cutoff=0.5)
        suggestion = f"; the nearest is {matches[0]}" if matches else ""
        return (
            f"{reference}: the adapter would change nothing: the base {base_reference} has none of its {total} "
            f"modules, such as {first}{suggestion}"
        )
    return (
        f"{reference}: an adapter for another base: {base_reference} has no module {first} "
        f"({len(missing)} of {total} are missing)"
    )
