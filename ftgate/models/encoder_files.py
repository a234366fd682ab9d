"""The files of an embedding model as sentence-transformers saves it: whether the library can load them, as data only.

Everything that these files may ask of the library is on a list here: classes, methods, options, paths. The rest is
refused before the library sees the folder, because some settings import a class by its name, call a method by its name,
or load another folder.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from ftgate.errors import ArtifactError
from ftgate.models.declared_format import require_declared_format
from ftgate.models.safetensors_header import Tensor, read_header
from ftgate.models.weights import SINGLE

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
_POOLING_SETTINGS = {"pooling_mode", "include_prompt", "embedding_dimension", "word_embedding_dimension", *_MODE_FLAGS}
ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU")
"""Supported activations after a dense layer, by class name in torch.nn."""
_ACTIVATION_PATHS = {
    *(f"torch.nn.{name}" for name in ACTIVATIONS),
    *(f"torch.nn.modules.{'linear' if name == 'Identity' else 'activation'}.{name}" for name in ACTIVATIONS),
}
_MODEL, _TEXT = "config_sentence_transformers.json", "sentence_bert_config.json"
_OLD_TEXTS = tuple(
    f"sentence_{kind}_config.json" for kind in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_DEFINED_IN = {
    "Transformer": "base.modules.transformer",
    "Pooling": "sentence_transformer.modules.pooling",
    "Dense": "base.modules.dense",
    "Normalize": "base.modules.normalize",
    "StaticEmbedding": "sentence_transformer.modules.static_embedding",
}
"""Supported modules, and where the library defines them."""
KINDS: Mapping[str, str] = {
    f"sentence_transformers.{place}.{kind}": kind
    for kind, module in _DEFINED_IN.items()
    for place in (module, "models", f"models.{kind}", "sentence_transformer.modules")
}
"""The kind of module that each ``type`` in modules.json means, in the spelling of every version of the library."""
_WORDS = {"Dense": "dense", "Normalize": "normalised"}
_VECTOR = "sentence_embedding"
_AS_TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
_OPTIONS: Mapping[str, Mapping[str, Collection[Any]]] = {
    "model": {
        "attn_implementation": ("eager", "sdpa"),
        "add_pooling_layer": (True, False),
        "dtype": ("auto", "float32", "float16", "bfloat16"),
        "torch_dtype": ("auto", "float32", "float16", "bfloat16"),
    },
    "tokenizer": {
        "model_max_length": range(1, 1 << 31),
        "padding_side": ("left", "right"),
        "truncation_side": ("left", "right"),
        "use_fast": (True, False),
    },
    "config": {},
}
"""What a model's files may set for the classes of transformers."""
_KINDS_OF_OPTIONS = {
    "model_args": "model",
    "model_kwargs": "model",
    "tokenizer_args": "tokenizer",
    "processor_kwargs": "tokenizer",
    "config_args": "config",
    "config_kwargs": "config",
}
_NEVER_SET = ("processing_kwargs", "tokenizer_name_or_path", "query_length", "document_length", "query_expansion")
_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc|\.post|\.dev)\d+)?(\+\w+)?")
_ALTERNATIVE = "use a model with Transformer, Pooling, Dense and Normalize modules only, or embedding: tfidf"
_SAVE_AGAIN = "save the model again"


@dataclass(frozen=True, slots=True)
class EncoderFiles:
    """Where the transformer lies, relative to the model's folder (None: there is none), and the steps after it."""

    transformer: str | None = ""
    in_words: str = "mean-pooled"
    """For the report: ``cls-pooled, dense, normalised``."""


def read_encoder(folder: Path, reference: str) -> EncoderFiles:
    """The layout of the embedding model in ``folder``; without modules.json a transformer whose tokens are averaged.

    Raises ArtifactError naming file, value and remedy for an unsupported module, pooling or setting, and for a dense
    layer whose weights do not fit.
    """
    if not (folder / MODULES).exists():
        return EncoderFiles()
    return _Reader(folder, reference).read()


class _Reader:
    """Reads and checks one model's files."""

    def __init__(self, folder: Path, reference: str) -> None:
        self._folder = folder
        self._where = reference

    def read(self) -> EncoderFiles:
        modules = self._json(MODULES, kind=list)
        kinds = [self._kind(module, number) for number, module in enumerate(modules)]
        static = kinds[:1] == ["StaticEmbedding"]
        first = 1 if static else 2
        if (not static and kinds[:2] != ["Transformer", "Pooling"]) or not _WORDS.keys() >= set(kinds[first:]):
            self._refuse(
                MODULES,
                f"unsupported modules {', '.join(kinds) or 'none'}; expected Transformer and Pooling, or "
                "StaticEmbedding, then Dense and Normalize only",
                _ALTERNATIVE,
            )
        self._require_names(modules)
        folders = [self._place(module, number) for number, module in enumerate(modules)]
        prompt = self._prompt()
        words, width = ("word vectors", None) if static else self._pooling(folders[1], prompt)
        if static:
            self._static(folders[0])
        else:
            self._transformer(folders[0])
        for kind, name in zip(kinds[first:], folders[first:], strict=True):
            if kind == "Dense":
                width = self._dense(name, width)
            else:
                self._require_plain(name, self._json(f"{name}/config.json", absent={}))
        steps = [words, *(_WORDS[kind] for kind in kinds[first:]), *self._shortened()]
        return EncoderFiles(None if static else folders[0], ", ".join(steps))

    def _kind(self, module: Any, number: int) -> str:
        declared = module.get("type") if isinstance(module, Mapping) else None
        kind = KINDS.get(declared) if isinstance(declared, str) else None
        if kind is None and isinstance(declared, str) and declared.startswith("sentence_transformers."):
            last = declared.rpartition(".")[2]
            return declared if last in _DEFINED_IN else last  # refused together with the others
        if kind is None:
            self._refuse(MODULES, f"module {number} has the unsupported type {declared!a}", _ALTERNATIVE)
        return kind

    def _require_names(self, modules: list[Any]) -> None:
        names = [module.get("name") for module in modules]
        if not all(isinstance(name, str) and name and "." not in name for name in names) or len({*names}) < len(names):
            self._refuse(MODULES, f"module names {names!a}", "give each module a name of its own without dots")

    def _place(self, module: Mapping[str, Any], number: int) -> str:
        path = module.get("path")
        if number == 0 and path in ("", "."):
            return ""
        if not isinstance(path, str) or not path or path == ".." or PurePosixPath(path).name != path:
            self._refuse(
                MODULES, f"module {number} has the path {path!a}", "use the name of a folder beside modules.json"
            )
        return path

    def _transformer(self, place: str) -> None:
        for name in (_TEXT, *_OLD_TEXTS):
            path = _inside(place, name)
            for key, value in self._json(path, absent={}).items():
                self._require_setting(path, key, value)

    def _require_setting(self, path: str, key: str, value: Any) -> None:
        supported: Mapping[str, bool] = {
            "max_seq_length": value is None or _is_count(value),
            "do_lower_case": isinstance(value, bool),
            "unpad_inputs": value is None or isinstance(value, bool),
            "transformer_task": value == "feature-extraction",
            "modality_config": value == _AS_TEXT,
            "module_output_name": value == "token_embeddings",
            **dict.fromkeys(_NEVER_SET, value in (None, {})),
        }
        if key in _KINDS_OF_OPTIONS:
            self._require_options(path, key, value)
        elif not supported.get(key, False):
            self._refuse(path, f"{key}: {value!a} is not supported", "save the model as one that reads plain text")

    def _require_options(self, path: str, key: str, value: Any) -> None:
        options = _OPTIONS[_KINDS_OF_OPTIONS[key]]
        for name, chosen in value.items() if isinstance(value, Mapping) else [("", value)]:
            hashable = isinstance(chosen, str | int)
            if not hashable or chosen not in options.get(name, ()):
                self._refuse(path, f"{key}: {name}: {chosen!a} is not supported", f"remove it from {key}")

    def _pooling(self, place: str, prompt: str) -> tuple[str, int | None]:
        """The pooling in words, and the width of the vectors, if stated."""
        path = f"{place}/config.json"
        config = self._json(path)
        modes = config.get("pooling_mode", [mode for flag, mode in _MODE_FLAGS.items() if config.get(flag)] or ["mean"])
        modes = modes if isinstance(modes, list) else [modes]
        for mode in modes:
            if mode not in POOLINGS:
                self._refuse(path, f"unsupported pooling mode {mode!a}", f"use one of {', '.join(POOLINGS)}")
        if not modes:
            self._refuse(path, "no pooling mode", f"use one of {', '.join(POOLINGS)}")
        width = config.get("embedding_dimension", config.get("word_embedding_dimension"))
        if unknown := sorted(config.keys() - _POOLING_SETTINGS):
            self._refuse(path, f"unsupported setting {unknown[0]!a}", _ALTERNATIVE)
        if not _is_count(width):
            self._refuse(path, f"embedding_dimension: {width!a} is not a number of columns", _SAVE_AGAIN)
        words = f"{' and '.join(modes)}-pooled"
        if prompt:
            words += f" {'with' if config.get('include_prompt', True) else 'after'} its prompt"
        return words, width * len(modes)

    def _static(self, place: str) -> None:
        tensors = self._weights(_inside(place, SINGLE))
        if not {"embedding.weight", "embeddings"} & tensors.keys() or not self._exists(
            _inside(place, "tokenizer.json")
        ):
            self._refuse(_inside(place, SINGLE), "no word vectors, or no tokenizer.json beside them", _SAVE_AGAIN)

    def _dense(self, place: str, width: int | None) -> int:
        """Check a dense layer for vectors of ``width``; the width of its output."""
        path = f"{place}/config.json"
        config = self._json(path)
        declared = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
        if declared not in _ACTIVATION_PATHS:
            self._refuse(path, f"unsupported activation_function {declared!a}", f"use one of {', '.join(ACTIVATIONS)}")
        self._require_plain(place, config)
        if config.get("use_residual"):
            self._refuse(path, "a residual connection is not supported", _ALTERNATIVE)
        tensors = self._weights(f"{place}/{SINGLE}")
        rows, columns = config.get("out_features"), config.get("in_features")
        expected = {"linear.weight": (rows, columns)} | ({"linear.bias": (rows,)} if config.get("bias", True) else {})
        stored = {name: tensor.shape for name, tensor in tensors.items()}
        if stored != expected or width not in (None, columns):
            self._refuse(
                f"{place}/{SINGLE}",
                f"expected {_shapes(expected)} for vectors of {width or columns}, found {_shapes(stored)}",
                _SAVE_AGAIN,
            )
        return int(stored["linear.weight"][0])

    def _require_plain(self, place: str, config: Mapping[str, Any]) -> None:
        names = {config.get(f"module_{side}_name") or _VECTOR for side in ("input", "output")}
        if names != {_VECTOR}:
            self._refuse(f"{place}/config.json", "a layer with other inputs or outputs is not supported", _ALTERNATIVE)

    def _prompt(self) -> str:
        """The text before each text; empty if there is none."""
        config = self._json(_MODEL, absent={})
        kind = config.get("model_type", "SentenceTransformer")
        if kind != "SentenceTransformer":
            self._refuse(_MODEL, f"model_type: {kind!a} gives no single vector a text", _ALTERNATIVE)
        versions = config.get("__version__", {})
        version = versions.get("sentence_transformers", "0") if isinstance(versions, Mapping) else versions
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            self._refuse(_MODEL, f"__version__: {version!a} is not a version", _SAVE_AGAIN)
        prompts, name = config.get("prompts") or {}, config.get("default_prompt_name")
        if not isinstance(prompts, Mapping) or not all(isinstance(text, str) for text in prompts.values()):
            self._refuse(_MODEL, f"prompts: {prompts!a} are not texts", "give each prompt a name and a text")
        if name is not None and (not isinstance(name, str) or name not in prompts):
            self._refuse(_MODEL, f"default_prompt_name {name!a} is not in prompts", "add it to prompts")
        return prompts[name] if name is not None else ""

    def _shortened(self) -> list[str]:
        columns = self._json(_MODEL, absent={}).get("truncate_dim")
        if columns is None:
            return []
        if not _is_count(columns):
            self._refuse(_MODEL, f"truncate_dim: {columns!a} is not a number of columns", "use a positive integer")
        return [f"first {columns} columns"]

    def _weights(self, path: str) -> Mapping[str, Tensor]:
        if not self._exists(path):
            raise ArtifactError(
                f"{self._where}: {path} is missing", hint="save the model again with safe_serialization=True"
            )
        return read_header(self._folder / path, f"{self._where}: {path}")

    def _exists(self, path: str) -> bool:
        return (self._folder / path).is_file()

    def _json(self, path: str, kind: type = dict, absent: Any = None) -> Any:
        try:
            content = require_declared_format(self._folder / path, f"{self._where}: {path}")
        except (FileNotFoundError, NotADirectoryError):
            if absent is not None:
                return absent
            self._refuse(path, "is missing", "the snapshot is incomplete: save it again", between=" ")
        except OSError as error:
            self._refuse(path, f"cannot be read: {error.strerror}", "check its permissions")
        if not isinstance(content, kind):
            self._refuse(path, f"expected {'a list' if kind is list else 'an object'}", _SAVE_AGAIN)
        return content

    def _refuse(self, path: str, problem: str, hint: str, between: str = ": ") -> NoReturn:
        raise ArtifactError(f"{self._where}: {path}{between}{problem}", hint=hint)


def _inside(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _shapes(tensors: Mapping[str, tuple[Any, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in tensors.items()) or "nothing"
