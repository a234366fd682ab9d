"""The configuration of a sentence-transformers model: how token states become one vector per text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ftgate.errors import ArtifactError

MODULES = "modules.json"
_MODE_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Flags of older versions, in the order in which vectors of several modes are concatenated."""
POOLINGS = tuple(_MODE_FLAGS.values())
ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU")
"""Supported activations after a dense layer, by class name in torch.nn."""
_ALTERNATIVES_HINT = "use a model with Transformer, Pooling, Dense and Normalize modules only, or embedding: tfidf"


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer after pooling: its weights, and one of :data:`ACTIVATIONS`."""

    weights: Path
    activation: str


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What is done with the last layer's states.

    Each mode in ``pooling`` gives a vector; they are concatenated. ``steps`` follow; None scales to length one.
    ``prompt`` precedes each text, and its tokens are pooled with ``include_prompt``. ``max_tokens`` is the length to
    which the model's author truncates texts.
    """

    pooling: tuple[str, ...] = ("mean",)
    steps: tuple[Dense | None, ...] = ()
    include_prompt: bool = True
    prompt: str = ""
    max_tokens: int | None = None
    lower: bool = False

    @property
    def in_words(self) -> str:
        """For the report: ``cls-pooled, dense, normalised``."""
        steps = ("normalised" if step is None else "dense" for step in self.steps)
        pooled = f"{' and '.join(self.pooling)}-pooled"
        if self.prompt:
            pooled += f" {'with' if self.include_prompt else 'after'} its prompt"
        return ", ".join((pooled, *steps))


def read_pipeline(folder: Path, reference: str = "") -> Pipeline:
    """The pipeline of the model in ``folder``; mean pooling if it has no modules.json.

    Raises ArtifactError naming file, value and remedy for an unsupported module, pooling or setting.
    """
    where = reference or str(folder)
    if not (folder / MODULES).exists():
        return Pipeline()
    modules = _read(folder, MODULES, where, list)
    kinds = [_kind(module, number, where) for number, module in enumerate(modules)]
    if kinds[:2] != ["Transformer", "Pooling"] or not {"Dense", "Normalize"}.issuperset(kinds[2:]):
        raise ArtifactError(
            f"{where}: {MODULES}: unsupported modules {', '.join(kinds) or 'none'}; "
            "expected Transformer, Pooling, then Dense and Normalize only",
            hint=_ALTERNATIVES_HINT,
        )
    if modules[0].get("path"):
        raise ArtifactError(
            f"{where}: {MODULES}: the Transformer is in the folder {modules[0]['path']!a}",
            hint="save the model again with a recent sentence-transformers, which stores it at the top level",
        )
    names = [_folder(module, number, where) for number, module in enumerate(modules[1:], 1)]
    pooling = _read(folder, f"{names[0]}/config.json", where)
    steps = [
        None if kind == "Normalize" else _dense(folder, name, where)
        for kind, name in zip(kinds[2:], names[1:], strict=True)
    ]
    prompts_config = _read(folder, "config_sentence_transformers.json", where, absent={})
    text_config = _read(folder, "sentence_bert_config.json", where, absent={})
    return Pipeline(
        pooling=_modes(pooling, f"{where}: {names[0]}/config.json"),
        steps=tuple(steps),
        include_prompt=bool(pooling.get("include_prompt", True)),
        prompt=_prompt(prompts_config, f"{where}: config_sentence_transformers.json"),
        max_tokens=_count(text_config.get("max_seq_length"), f"{where}: sentence_bert_config.json: max_seq_length"),
        lower=bool(text_config.get("do_lower_case", False)),
    )


def _kind(module: Any, number: int, where: str) -> str:
    """The class name of a module from sentence-transformers itself. Raises ArtifactError for any other."""
    kind = module.get("type") if isinstance(module, Mapping) else None
    if not isinstance(kind, str) or not kind.startswith("sentence_transformers."):
        raise ArtifactError(
            f"{where}: {MODULES}: module {number} has the unsupported type {kind!a}", hint=_ALTERNATIVES_HINT
        )
    return kind.rpartition(".")[2]


def _folder(module: Mapping[str, Any], number: int, where: str) -> str:
    path = module.get("path")
    if not isinstance(path, str) or not path or PurePosixPath(path).name != path or path == "..":
        raise ArtifactError(
            f"{where}: {MODULES}: module {number} has the path {path!a}",
            hint="use the name of a folder beside modules.json",
        )
    return path


def _modes(config: Mapping[str, Any], where: str) -> tuple[str, ...]:
    unknown = [name for name in config if name.startswith("pooling_mode_") and name not in _MODE_FLAGS and config[name]]
    modes = config.get("pooling_mode", [mode for name, mode in _MODE_FLAGS.items() if config.get(name)] or ["mean"])
    modes = [*unknown, *(modes if isinstance(modes, list) else [modes])]
    for mode in modes:
        if mode not in POOLINGS:
            raise ArtifactError(f"{where}: unsupported pooling mode {mode!a}", hint=f"use one of {', '.join(POOLINGS)}")
    if not modes:
        raise ArtifactError(f"{where}: no pooling mode", hint=f"use one of {', '.join(POOLINGS)}")
    return tuple(modes)


def _dense(folder: Path, name: str, where: str) -> Dense:
    config = _read(folder, f"{name}/config.json", where)
    declared = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = declared.rpartition(".")[2]
    where_config = f"{where}: {name}/config.json"
    if not declared.startswith("torch.nn.") or activation not in ACTIVATIONS:
        raise ArtifactError(
            f"{where_config}: unsupported activation_function {declared!a}", hint=f"use one of {', '.join(ACTIVATIONS)}"
        )
    vector_names = [config.get(f"module_{side}_name") or "sentence_embedding" for side in ("input", "output")]
    if vector_names != ["sentence_embedding"] * 2 or config.get("use_residual"):
        raise ArtifactError(
            f"{where_config}: a layer with other inputs or outputs, or a residual connection, is not supported",
            hint=_ALTERNATIVES_HINT,
        )
    weights = folder / name / "model.safetensors"
    if not weights.is_file():
        raise ArtifactError(
            f"{where}: {name}/model.safetensors is missing", hint="save the model again with safe_serialization=True"
        )
    return Dense(weights, activation)


def _prompt(config: Mapping[str, Any], where: str) -> str:
    name = config.get("default_prompt_name")
    prompts = config.get("prompts")
    if name is None:
        return ""
    prompt = prompts.get(name) if isinstance(prompts, Mapping) and isinstance(name, str) else None
    if not isinstance(prompt, str):
        raise ArtifactError(f"{where}: default_prompt_name {name!a} is not in prompts", hint="add it to prompts")
    return prompt


def _count(value: Any, where: str) -> int | None:
    if value is None or (isinstance(value, int) and value > 0):
        return value
    raise ArtifactError(f"{where}: {value!a} is not a number of tokens", hint="use a positive integer")


def _read(folder: Path, name: str, where: str, kind: type = dict, absent: Any = None) -> Any:
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if absent is not None:
            return absent
        raise ArtifactError(f"{where}: {name} is missing", hint="the snapshot is incomplete: save it again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: {name}: not valid JSON: {error}", hint="save the model again") from None
    if not isinstance(content, kind):
        expected = "a list" if kind is list else "an object"
        raise ArtifactError(f"{where}: {name}: expected {expected}", hint="save the model again")
    return content
