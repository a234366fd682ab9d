"""What a sentence-transformers model says of itself: how the states of its tokens become one vector for a text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ftgate.errors import ArtifactError

MODULES = "modules.json"
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""How older versions wrote the mode, in the order in which vectors of several modes stand side by side."""
POOLINGS = tuple(_FLAGS.values())
ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU")
"""What may follow a dense layer, by the class of torch.nn."""
_ELSE = "name a model with Transformer, Pooling, Dense and Normalize modules, or choose embedding: tfidf"


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer after pooling: its weights, and one of :data:`ACTIVATIONS`."""

    weights: Path
    activation: str


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What is done with the last layer's states.

    Each of ``pooling`` gives a vector; they stand side by side. ``steps`` follow, None for scaling to length one.
    ``prompt`` stands before each text, and its tokens are pooled with ``include_prompt``. ``max_tokens`` is where the
    model's author cuts texts.
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
    """The pipeline of the model in ``folder``; without modules.json its tokens' mean.

    Raises ArtifactError naming file, value and fix for a module, a pooling or a setting that is not known.
    """
    where = reference or str(folder)
    if not (folder / MODULES).exists():
        return Pipeline()
    modules = _read(folder, MODULES, where, list)
    kinds = [_kind(module, number, where) for number, module in enumerate(modules)]
    if kinds[:2] != ["Transformer", "Pooling"] or not {"Dense", "Normalize"}.issuperset(kinds[2:]):
        raise ArtifactError(
            f"{where}: {MODULES}: the modules are {', '.join(kinds) or 'none'}; "
            "a Transformer, a Pooling, then Dense and Normalize are known",
            hint=_ELSE,
        )
    if modules[0].get("path"):
        raise ArtifactError(
            f"{where}: {MODULES}: the Transformer lies in the folder {modules[0]['path']!a}",
            hint="save the model again with a recent sentence-transformers: it then lies at the top",
        )
    names = [_folder(module, number, where) for number, module in enumerate(modules[1:], 1)]
    pooling = _read(folder, f"{names[0]}/config.json", where)
    steps = [
        None if kind == "Normalize" else _dense(folder, name, where)
        for kind, name in zip(kinds[2:], names[1:], strict=True)
    ]
    said = _read(folder, "config_sentence_transformers.json", where, absent={})
    text = _read(folder, "sentence_bert_config.json", where, absent={})
    return Pipeline(
        pooling=_modes(pooling, f"{where}: {names[0]}/config.json"),
        steps=tuple(steps),
        include_prompt=bool(pooling.get("include_prompt", True)),
        prompt=_prompt(said, f"{where}: config_sentence_transformers.json"),
        max_tokens=_count(text.get("max_seq_length"), f"{where}: sentence_bert_config.json: max_seq_length"),
        lower=bool(text.get("do_lower_case", False)),
    )


def _kind(module: Any, number: int, where: str) -> str:
    """The class of a module, if it is one of sentence-transformers' own."""
    kind = module.get("type") if isinstance(module, Mapping) else None
    if not isinstance(kind, str) or not kind.startswith("sentence_transformers."):
        raise ArtifactError(f"{where}: {MODULES}: module {number} is of the type {kind!a}", hint=_ELSE)
    return kind.rpartition(".")[2]


def _folder(module: Mapping[str, Any], number: int, where: str) -> str:
    path = module.get("path")
    if not isinstance(path, str) or not path or PurePosixPath(path).name != path or path == "..":
        raise ArtifactError(
            f"{where}: {MODULES}: module {number} has the path {path!a}", hint="name a folder beside modules.json"
        )
    return path


def _modes(config: Mapping[str, Any], where: str) -> tuple[str, ...]:
    unknown = [name for name in config if name.startswith("pooling_mode_") and name not in _FLAGS and config[name]]
    modes = config.get("pooling_mode", [mode for name, mode in _FLAGS.items() if config.get(name)] or ["mean"])
    modes = [*unknown, *(modes if isinstance(modes, list) else [modes])]
    for mode in modes:
        if mode not in POOLINGS:
            raise ArtifactError(
                f"{where}: the pooling mode {mode!a} is not known", hint=f"known are {', '.join(POOLINGS)}"
            )
    if not modes:
        raise ArtifactError(f"{where}: no pooling mode is named", hint=f"known are {', '.join(POOLINGS)}")
    return tuple(modes)


def _dense(folder: Path, name: str, where: str) -> Dense:
    config = _read(folder, f"{name}/config.json", where)
    given = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = given.rpartition(".")[2]
    at = f"{where}: {name}/config.json"
    if not given.startswith("torch.nn.") or activation not in ACTIVATIONS:
        raise ArtifactError(
            f"{at}: the activation_function {given!a} is not known", hint=f"known are {', '.join(ACTIVATIONS)}"
        )
    places = [config.get(f"module_{side}_name") or "sentence_embedding" for side in ("input", "output")]
    if places != ["sentence_embedding"] * 2 or config.get("use_residual"):
        raise ArtifactError(f"{at}: a layer beside the text's vector, or around it, is not known", hint=_ELSE)
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
        raise ArtifactError(f"{where}: default_prompt_name {name!a} is no name of a prompt", hint="add it to prompts")
    return prompt


def _count(value: Any, where: str) -> int | None:
    if value is None or (isinstance(value, int) and value > 0):
        return value
    raise ArtifactError(f"{where}: {value!a} is no number of tokens", hint="give a whole number above 0")


def _read(folder: Path, name: str, where: str, kind: type = dict, absent: Any = None) -> Any:
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if absent is not None:
            return absent
        raise ArtifactError(f"{where}: {name} is missing", hint="the snapshot is incomplete: save it again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: {name}: not valid JSON: {error}", hint="save the model again") from None
    if not isinstance(found, kind):
        expected = "a list" if kind is list else "an object"
        raise ArtifactError(f"{where}: {name}: expected {expected}", hint="save the model again")
    return found
