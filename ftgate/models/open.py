"""From a pinned folder to a model that an engine may load. Reads configuration and headers, hardly any weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ftgate.artifacts.file_names import shortened
from ftgate.artifacts.headers_only import ADAPTER
from ftgate.artifacts.snapshot import Snapshot
from ftgate.domain import Model
from ftgate.errors import ArtifactError, Problems
from ftgate.models import nan_scan as finite
from ftgate.models.adapter_config import AdapterContents, check_config, check_not_zero, read_contents
from ftgate.models.base_match import check_fits_base, resized_vocabulary
from ftgate.models.regex_guard import require_quick_patterns
from ftgate.models.safetensors_header import Tensor
from ftgate.models.training_facts import training_facts
from ftgate.models.unsafe_files import refuse_unsafe
from ftgate.models.weights import INDEX, SINGLE, adapter_weights, full_weights, read_json

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_CONFIG, _ADAPTER_CONFIG = "config.json", "adapter_config.json"


def open_model(name: str, snapshot: Snapshot, base: Model | None) -> Model:
    """The model in ``snapshot``: an adapter on ``base`` if it has adapter_config.json, full weights otherwise.

    An adapter that no engine runs beside its base says so in ``merge``. Raises ArtifactError when the model is unsafe,
    incomplete, of a kind that can be neither run nor merged, or does not fit ``base``.
    """
    problems = Problems()
    with problems.noted():
        refuse_unsafe(snapshot)
    with problems.noted():
        model = _open(name, snapshot, base)
    problems.raise_any()
    return model


def check_alone(name: str, snapshot: Snapshot) -> None:
    """All that :func:`open_model` checks of a model whose base is not known, because something is wrong with that."""
    problems = Problems()
    with problems.noted():
        refuse_unsafe(snapshot)
    with problems.noted():
        if _ADAPTER_CONFIG in snapshot.files:
            _read_adapter(snapshot)
        else:
            _open(name, snapshot, None)
    problems.raise_any()


def open_encoder(name: str, snapshot: Snapshot) -> Model:
    """The model in ``snapshot`` that turns texts into vectors: weights and tokenizer, without any chat template.

    Raises ArtifactError when it is unsafe or incomplete.
    """
    refuse_unsafe(snapshot)
    reference = snapshot.reference
    if _ADAPTER_CONFIG in snapshot.files and _CONFIG not in snapshot.files:
        raise ArtifactError(
            f"{reference}: an adapter makes no vectors by itself", hint="name full weights, such as those of its base"
        )
    read_json(snapshot.path, _CONFIG, reference)
    if not full_weights(snapshot.path, reference) or not any(f in snapshot.files for f in _TOKENIZERS):
        raise ArtifactError(f"{reference}: no weights or no tokenizer", hint="save model and tokenizer into one folder")
    return Model(name, snapshot.path, snapshot.digest, reference=reference, facts=_aside(snapshot))


def require_finite(model: Model) -> None:
    """Scan every weight of ``model`` itself for NaN and infinity. Raises ControlError naming tensor and file."""
    finite.require_finite(_tensors(model).values(), model.reference or str(model.path))


def memory_estimate(model: Model) -> int:
    """Bytes that the weights of ``model`` take as they are stored, its base included: the least an engine needs."""
    own = sum(tensor.size for tensor in _tensors(model).values())
    return own + (memory_estimate(model.base) if model.kind == "adapter" and model.base is not None else 0)


def _open(name: str, snapshot: Snapshot, base: Model | None) -> Model:
    if _ADAPTER_CONFIG in snapshot.files:
        return _open_adapter(name, snapshot, base)
    if _CONFIG not in snapshot.files:
        raise ArtifactError(
            f"{snapshot.reference}: neither {_CONFIG} nor {_ADAPTER_CONFIG} (found: {_listed(snapshot.files)})",
            hint=_where_else(snapshot.files),
        )
    return _open_full(name, snapshot, base)


def _open_full(name: str, snapshot: Snapshot, base: Model | None) -> Model:
    config = read_json(snapshot.path, _CONFIG, snapshot.reference)
    problems = Problems()
    with problems.noted():
        tensors = full_weights(snapshot.path, snapshot.reference)
        if not tensors:
            raise ArtifactError(f"{snapshot.reference}: the weights hold no tensors", hint="save the model again")
    with problems.noted():
        _require_words(snapshot)
    problems.raise_any()
    architectures = config.get("architectures")
    facts = {
        "architecture": (" or ".join(map(str, architectures)) if isinstance(architectures, list) else "") or "unknown",
        **_sizes(tensors.values()),
        **(_training(snapshot) if base is not None else {}),
        **_aside(snapshot),
    }
    return Model(
        name,
        snapshot.path,
        snapshot.digest,
        reference=snapshot.reference,
        facts=facts,
        files=_files(snapshot),
        headers_only=snapshot.headers_only,
    )


def _require_words(snapshot: Snapshot) -> None:
    """Raise ArtifactError unless there is a tokenizer with a chat template."""
    if not any(f in snapshot.files for f in _TOKENIZERS):
        raise ArtifactError(
            f"{snapshot.reference}: no tokenizer ({', '.join(_TOKENIZERS)})",
            hint="save the tokenizer into the model's folder",
        )
    if not _has_chat_template(snapshot):
        raise ArtifactError(
            f"{snapshot.reference}: the tokenizer has no chat template",
            hint="save the template that the model was tuned with: tokenizer_config.json or chat_template.jinja",
        )


def _open_adapter(name: str, snapshot: Snapshot, base: Model | None) -> Model:
    reference = snapshot.reference
    if base is None or base.kind != "full":
        raise ArtifactError(
            f"{reference}: an adapter cannot be {name}: it needs full weights under it",
            hint="name full weights; merge the adapter first if need be",
        )
    config, contents, merge = _read_adapter(snapshot)
    weights = _tensors(base)
    modules = {name.rpartition(".")[0] for name in weights} | contents.matrices.keys()
    require_quick_patterns(config, modules, f"{reference}: {_ADAPTER_CONFIG}")
    check_fits_base(
        contents,
        weights,
        reference,
        base.reference or base.name,
        transposed=bool(config.get("fan_in_fan_out")),
        trained_on=str(config.get("base_model_name_or_path") or ""),
    )
    if ADAPTER not in snapshot.headers_only:
        check_not_zero(contents, reference)
    vocabulary = resized_vocabulary(contents, weights)
    if vocabulary is not None:
        _require_words(snapshot)
    rank = max((pair.a.shape[0] for pair in contents.matrices.values()), default=0)
    facts = {
        **_adapter_facts(config, rank, contents),
        **_sizes(_adapter_tensors(contents)),
        **({"vocabulary": vocabulary} if vocabulary is not None else {}),
        **_training(snapshot),
        **_aside(snapshot),
    }
    files = _files(snapshot)
    return Model(
        name,
        snapshot.path,
        snapshot.digest,
        "adapter",
        base,
        rank,
        reference,
        facts,
        files,
        merge,
        snapshot.headers_only,
    )


def _read_adapter(snapshot: Snapshot) -> tuple[Mapping[str, Any], AdapterContents, tuple[str, ...]]:
    """Configuration and weights of an adapter, and why they have to be merged, if they do."""
    reference = snapshot.reference
    problems = Problems()
    with problems.noted():
        _require_one_kind(snapshot)
    config = None
    with problems.noted():
        config = read_json(snapshot.path, _ADAPTER_CONFIG, reference)
        merge = check_config(config, f"{reference}: {_ADAPTER_CONFIG}")
    with problems.noted():
        tensors = adapter_weights(snapshot.path, reference)
        if not problems.found:
            assert config is not None, "a configuration that cannot be read is a problem"
            contents, more = read_contents(tensors, config, reference)
    problems.raise_any()
    assert config is not None, "as above"
    return config, contents, (*merge, *more)


def _require_one_kind(snapshot: Snapshot) -> None:
    """Full weights beside an adapter leave it open which of the two is meant. A lone config.json does not."""
    full = next((f for f in (SINGLE, INDEX) if f in snapshot.files), None)
    if full is not None:
        raise ArtifactError(
            f"{snapshot.reference}: an adapter ({_ADAPTER_CONFIG}) and full weights ({full}) in one folder",
            hint=f"keep one: {ADAPTER} and its configuration, or the full weights",
        )


def _adapter_tensors(contents: AdapterContents) -> list[Tensor]:
    return [t for pair in contents.matrices.values() for t in (pair.a, pair.b)] + list(contents.others.values())


def _adapter_facts(config: Mapping[str, Any], rank: int, contents: AdapterContents) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "rank": rank,
        "alpha": config["lora_alpha"],
        # What is changed, not what the configuration asked for, which may be a pattern.
        "targets": sorted({module.rpartition(".")[2] for module in contents.matrices}),
    }
    dropout = config.get("lora_dropout")
    if isinstance(dropout, int | float) and 0 < dropout < 1:
        facts["dropout"] = dropout
    return facts | ({"rslora": True} if config.get("use_rslora") else {})


def _training(snapshot: Snapshot) -> dict[str, Any]:
    found = training_facts(snapshot)
    return {"training": found} if found else {}


def _aside(snapshot: Snapshot) -> dict[str, Any]:
    return {"left_aside": shortened(snapshot.ignored_files)} if snapshot.ignored_files else {}


def _sizes(tensors: Iterable[Tensor]) -> dict[str, int]:
    sizes = [(tensor.numbers, tensor.size) for tensor in tensors]
    return {"parameters": sum(n for n, _ in sizes), "weight_bytes": sum(size for _, size in sizes)}


def _tensors(model: Model) -> dict[str, Tensor]:
    read = adapter_weights if model.kind == "adapter" else full_weights
    return read(model.path, model.reference or str(model.path))


def _has_chat_template(snapshot: Snapshot) -> bool:
    if any(f in snapshot.files for f in _TEMPLATES):
        return True
    if "tokenizer_config.json" not in snapshot.files:
        return False
    return bool(read_json(snapshot.path, "tokenizer_config.json", snapshot.reference).get("chat_template"))


def _files(snapshot: Snapshot) -> dict[str, tuple[int, str]]:
    return {name: (entry.size, entry.sha256) for name, entry in snapshot.files.items()}


def _listed(files: Iterable[str]) -> str:
    names = sorted(files)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _where_else(files: Iterable[str]) -> str:
    deeper = next((f for f in sorted(files) if f.endswith((f"/{_CONFIG}", f"/{_ADAPTER_CONFIG}"))), None)
    inside = f", perhaps {deeper.rpartition('/')[0]}" if deeper else ""
    return f"name the folder that directly holds the model's files{inside}"
