"""Whether adapter_config.json covers the modules that an adapter's weights change.

vLLM loads matrices by the names of their tensors. peft builds only what the configuration names, and leaves out all
other matrices without an error, so that the two would run different models. The rules are those of peft 0.21
(``check_target_module_exists``). ``modules_to_save`` plays no part: what it saves is not a LoRA matrix.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ftgate.errors import ArtifactError
from ftgate.models.adapter_config import EMBEDDINGS

EXPERTS = ".experts."
"""Part of the names of the modules of a mixture of experts."""
_ALL_LINEAR = "all-linear"
_FIELDS = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
_ANY_LAYERS = re.compile(r".*?\.[^.]*\.(?P<layer>\d+)\.")


def check_covered(
    modules: Mapping[str, Collection[str]], config: Mapping[str, Any], where: str, *, has_experts: bool = False
) -> None:
    """Raise ArtifactError if the configuration at ``where`` does not cover some of an adapter's modules.

    ``modules`` maps each module of the adapter to its names in the base; it is covered if the configuration covers
    one of its names. The patterns in ``config`` must have been tried on all of them (regex_guard.py). What depends on
    the loaded model is not judged: fields that peft would not read, the other one of two tied embeddings, and, if the
    base ``has_experts``, their modules and all patterns, which peft rewrites for some mixtures of experts.
    """
    if not _is_readable(config) or (has_experts and isinstance(config["target_modules"], str)):
        return
    tied = EMBEDDINGS if config.get("ensure_weight_tying") else ()
    judged = [module for module in modules if EXPERTS not in module and module.rpartition(".")[2] not in tied]
    missing = [module for module in judged if not any(_covers(config, name) for name in (module, *modules[module]))]
    if missing:
        named = "; ".join(f"{field}: {config[field]!a:.200}" for field in _FIELDS if config.get(field) is not None)
        raise ArtifactError(
            f"{where} does not cover {len(missing)} of the {len(modules)} modules in the adapter's weights, such as "
            f"{missing[0]} ({named}): peft would leave them out without an error, and vLLM would apply them",
            hint="correct adapter_config.json so that it names what was trained, or save the adapter again "
            "(peft: save_pretrained)",
        )


def covered(names: Collection[str], config: Mapping[str, Any]) -> list[str]:
    """Those of the base's modules ``names`` that the configuration covers; none if peft would not read it."""
    if not _is_readable(config):
        return []
    all_linear = str(config["target_modules"]).lower() == _ALL_LINEAR
    return [
        name for name in names if _covers(config, name) and not (all_linear and name.rpartition(".")[2] in EMBEDDINGS)
    ]


def _is_readable(config: Mapping[str, Any]) -> bool:
    """Whether all fields have the types that peft documents."""
    layers = config.get("layers_to_transform")
    indices = layers if isinstance(layers, list) else [] if layers is None else [layers]
    return (
        _is_texts(config["target_modules"])
        and all(_is_texts(config.get(field) or []) for field in ("exclude_modules", "layers_pattern"))
        and all(type(index) is int for index in indices)
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(part, str) for part in value))


def _covers(config: Mapping[str, Any], name: str) -> bool:
    targets, excluded = config["target_modules"], config.get("exclude_modules")
    if excluded and _matches(excluded, name):
        return False
    if isinstance(targets, str):
        return targets.lower() == _ALL_LINEAR or _matches(targets, name)
    return name in targets or (_matches(targets, name) and _is_chosen_layer(config, name))


def _matches(named: str | list[str], name: str) -> bool:
    """Whether a pattern matches the whole name, or a list has the name or the end of it after a dot."""
    if isinstance(named, str):
        return re.fullmatch(named, name) is not None
    return not _endings(name).isdisjoint(named)


def _endings(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[start:]) for start in range(len(parts))}


def _is_chosen_layer(config: Mapping[str, Any], name: str) -> bool:
    """Whether the layer of ``name`` is among ``layers_to_transform``; true if there is no such choice."""
    layers = config.get("layers_to_transform")
    if layers is None or layers == []:
        return True
    layer = _layer(name, config.get("layers_pattern") or [])
    return layer in {str(index) for index in (layers if isinstance(layers, list) else [layers])}


def _layer(name: str, patterns: str | Iterable[str]) -> str | None:
    """The number of the layer in ``name``: the first number after a part that ``patterns`` name, or after any."""
    patterns = [patterns] if isinstance(patterns, str) else patterns
    forms = [re.compile(rf"(?:^|.*?\.){pattern}\.(?P<layer>\d+)\.") for pattern in patterns] or [_ANY_LAYERS]
    match = next((match for form in forms if (match := form.match(name))), None)
    return match["layer"] if match else None
