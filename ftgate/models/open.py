"""Opening a pinned snapshot as a model. Reads configuration and safetensors headers, and hardly any weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftgate.artifacts.file_names import shorten_list
from ftgate.artifacts.headers_only import ADAPTER
from ftgate.artifacts.snapshot import PREFLIGHT_TREE_BYTES, Snapshot
from ftgate.domain import Model
from ftgate.errors import ArtifactError, Problems
from ftgate.files import Stamp
from ftgate.models.adapter_change import require_change, require_declared_ranks
from ftgate.models.adapter_config import AdapterContents, check_config, is_saved, read_contents
from ftgate.models.base_match import check_fits_base, names_in_base, resized_vocabulary
from ftgate.models.chat import require_template
from ftgate.models.complete import require_all_layers, require_tensors_of_base, require_vocabulary
from ftgate.models.covered_modules import EXPERTS, check_covered, covered
from ftgate.models.declared_shapes import require_declared_shapes, require_usual_prefix
from ftgate.models.dimensions import QUANTISED_BESIDE, quantisation_of
from ftgate.models.encoder_files import read_encoder
from ftgate.models.nan_scan import SAMPLE_BYTES, require_finite_tensors, require_floats, same_numbers, zero_matrices
from ftgate.models.regex_guard import require_fast_patterns
from ftgate.models.safetensors_header import Tensor
from ftgate.models.tensor_names import by_usual_name, is_wrapped, usual_name
from ftgate.models.training_facts import training_facts
from ftgate.models.unsafe_files import refuse_unsafe
from ftgate.models.weights import INDEX, SINGLE, adapter_weights, full_weights, read_json

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
_SEARCHED: dict[tuple[Path, str, frozenset[tuple[str, Stamp]], int | None], list[str]] = {}
"""The matrices of zeros of weights without NaN, by folder, digest, stamps of the files, and how much was read."""
_CONFIG, _ADAPTER_CONFIG = "config.json", "adapter_config.json"


def open_model(name: str, snapshot: Snapshot, base: Model | None, *, needs_template: bool = True) -> Model:
    """The model in ``snapshot``: an adapter on ``base`` if it has adapter_config.json, full weights otherwise.

    The ``merge`` field of an adapter gives the reasons to merge it into its base, if any. Raises ArtifactError if the
    model is unsafe, incomplete, of a kind that can be neither run nor merged, or does not fit ``base``; full weights
    without a chat template are incomplete unless another one is used (not ``needs_template``).
    """
    problems = Problems()
    with problems.noted():
        refuse_unsafe(snapshot)
    with problems.noted():
        model = _open(name, snapshot, base, needs_template=needs_template)
    problems.raise_any()
    return model


def check_alone(name: str, snapshot: Snapshot) -> None:
    """Everything that :func:`open_model` checks that does not need the base, for when the base has problems itself."""
    problems = Problems()
    with problems.noted():
        refuse_unsafe(snapshot)
    with problems.noted():
        if _ADAPTER_CONFIG in snapshot.files:
            _read_adapter(snapshot)
        else:
            _open(name, snapshot, None, needs_template=True)
    problems.raise_any()


def open_encoder(name: str, snapshot: Snapshot) -> Model:
    """The embedding model in ``snapshot``: weights and tokenizer, no chat template needed.

    The fact ``vectors`` says in words how it makes one vector of a text. Raises ArtifactError if it is unsafe,
    incomplete, or asks for what is not supported (:mod:`ftgate.models.encoder_files`).
    """
    refuse_unsafe(snapshot)
    files = read_encoder(snapshot.path, snapshot.reference)
    if files.transformer is not None:
        _require_transformer(snapshot, files.transformer)
    facts = {"vectors": files.in_words, **_ignored_fact(snapshot)}
    return Model(
        name,
        snapshot.path,
        snapshot.digest,
        reference=snapshot.reference,
        facts=facts,
        headers_only=snapshot.headers_only,
        stamps=snapshot.stamps,
    )


def _require_transformer(snapshot: Snapshot, place: str) -> None:
    """Raise ArtifactError unless the folder ``place`` of an embedding model holds whole weights and a tokenizer."""
    reference = f"{snapshot.reference}/{place}" if place else snapshot.reference
    folder = snapshot.path / place
    names = {name.removeprefix(f"{place}/" if place else "") for name in snapshot.files}
    if _ADAPTER_CONFIG in names:
        raise ArtifactError(
            f"{reference}: an adapter alone cannot embed texts, and one beside full weights loads another base",
            hint="merge the adapter, or name full weights, such as those of its base",
        )
    config = read_json(folder, _CONFIG, reference)
    tensors = full_weights(folder, reference)
    if not quantisation_of(config):
        require_all_layers(tensors, config, reference)
    if not any(name in names for name in _TOKENIZERS):
        raise ArtifactError(f"{reference}: no tokenizer", hint="save model and tokenizer into one folder")


def check_numbers(model: Model, most: int | None = None) -> list[str]:
    """Search the weights of ``model`` (not its base), or ``most`` bytes of each tensor, for NaN, infinity and zeros.

    Returns the names of the matrices of zeros in full weights. Raises ArtifactError naming tensor and file, and for
    full weights of zeros throughout, and for whole numbers where no quantisation is declared. What was searched in this
    process is not read again while its files have the sizes, times and inodes that they were hashed with; a run looks
    at its end whether they still do.
    """
    searched = (model.path, model.digest, frozenset(model.stamps.items()), most)
    if model.stamps and searched in _SEARCHED:
        return _SEARCHED[searched]
    reference = model.reference or str(model.path)
    tensors = _tensors(model).values()
    if "quantisation" not in model.facts and not any(name in model.files for name in QUANTISED_BESIDE):
        require_floats(tensors, reference)
    scanned = require_finite_tensors(tensors, reference, most)
    zeros = [] if model.kind == "adapter" else zero_matrices(scanned, reference)
    return _SEARCHED.setdefault(searched, zeros)


def same_weights(one: Model, other: Model, most: int | None = None) -> bool:
    """Whether two models have the same tensors, byte for byte, in however many files; ``most`` as above."""
    return same_numbers(_tensors(one), _tensors(other), most)


def quickly_read(model: Model) -> int | None:
    """How many bytes of each tensor of ``model`` can be read in seconds; None: all of them."""
    return SAMPLE_BYTES if model.facts["weight_bytes"] > PREFLIGHT_TREE_BYTES else None


def memory_estimate(model: Model) -> int:
    """Bytes of the stored weights of ``model`` and its base: the least memory that an engine needs."""
    own = sum(tensor.size for tensor in _tensors(model).values())
    return own + (memory_estimate(model.base) if model.kind == "adapter" and model.base is not None else 0)


def _open(name: str, snapshot: Snapshot, base: Model | None, *, needs_template: bool) -> Model:
    if _ADAPTER_CONFIG in snapshot.files:
        return _open_adapter(name, snapshot, base)
    if _CONFIG not in snapshot.files:
        raise ArtifactError(
            f"{snapshot.reference}: neither {_CONFIG} nor {_ADAPTER_CONFIG} (found: {_shortened(snapshot.files)})",
            hint=_folder_hint(snapshot.files),
        )
    return _open_full(name, snapshot, base, needs_template=needs_template)


def _open_full(name: str, snapshot: Snapshot, base: Model | None, *, needs_template: bool) -> Model:
    config = read_json(snapshot.path, _CONFIG, snapshot.reference)
    problems = Problems()
    with problems.noted():
        tensors = full_weights(snapshot.path, snapshot.reference)
        if not tensors:
            raise ArtifactError(f"{snapshot.reference}: the weights contain no tensors", hint="save the model again")
        _require_unwrapped(tensors, snapshot.reference)
        _require_complete(tensors, config, base, snapshot.reference)
    with problems.noted():
        _require_tokenizer(snapshot)
        if needs_template:
            require_template(snapshot.path, snapshot.reference)
    problems.raise_any()
    architectures = config.get("architectures")
    facts = {
        "architecture": (" or ".join(map(str, architectures)) if isinstance(architectures, list) else "") or "unknown",
        **_sizes(tensors.values()),
        **({"quantisation": quantisation} if (quantisation := quantisation_of(config)) else {}),
        **(_training_fact(snapshot) if base is not None else {}),
        **_ignored_fact(snapshot),
    }
    return Model(
        name,
        snapshot.path,
        snapshot.digest,
        reference=snapshot.reference,
        facts=facts,
        files=_files(snapshot),
        headers_only=snapshot.headers_only,
        stamps=snapshot.stamps,
    )


def _require_complete(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], base: Model | None, reference: str
) -> None:
    if quantisation_of(config):
        return
    require_all_layers(tensors, config, reference)
    require_vocabulary(tensors, config, reference)
    require_declared_shapes(tensors, config, reference)
    of_base = _weights_of_same_kind(base, config)
    require_usual_prefix(tensors, config, of_base, reference)
    require_tensors_of_base(tensors, config, of_base, reference)


def _weights_of_same_kind(base: Model | None, config: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The tensors of a base of the same architecture; empty if there is none, or its weights are quantised."""
    if base is None or base.kind != "full" or "quantisation" in base.facts:
        return {}
    same = config.get("architectures") == read_json(base.path, _CONFIG, base.reference).get("architectures")
    return full_weights(base.path, base.reference) if same else {}


def _require_tokenizer(snapshot: Snapshot) -> None:
    """Raise ArtifactError unless there is a tokenizer."""
    if not any(f in snapshot.files for f in _TOKENIZERS):
        raise ArtifactError(
            f"{snapshot.reference}: no tokenizer ({', '.join(_TOKENIZERS)})",
            hint="save the tokenizer into the model's folder",
        )


def _open_adapter(name: str, snapshot: Snapshot, base: Model | None) -> Model:
    reference = snapshot.reference
    if base is None or base.kind != "full":
        raise ArtifactError(
            f"{reference}: an adapter cannot serve as {name}: full weights are needed",
            hint="name full weights; merge the adapter first if necessary",
        )
    config, contents, merge = _read_adapter(snapshot)
    weights = _tensors(base)
    modules = {name.rpartition(".")[0] for name in weights} | contents.matrices.keys()
    require_fast_patterns(config, modules, f"{reference}: {_ADAPTER_CONFIG}")
    check_fits_base(
        contents,
        weights,
        reference,
        base.reference or base.name,
        transposed=bool(config.get("fan_in_fan_out")),
        trained_on=str(config.get("base_model_name_or_path") or ""),
    )
    has_experts = any(EXPERTS in name for name in weights)
    where = f"{reference}: {_ADAPTER_CONFIG}"
    placed = names_in_base(contents, weights)
    check_covered(placed, config, where, has_experts=has_experts)
    require_declared_ranks(contents, placed, config, reference)
    if ADAPTER not in snapshot.headers_only:
        require_change(contents, config, reference)
    vocabulary = resized_vocabulary(contents, weights)
    if vocabulary is not None:
        _require_tokenizer(snapshot)
    rank = max((pair.a.shape[0] for pair in contents.matrices.values()), default=0)
    facts = {
        **_adapter_facts(config, rank, contents),
        **_sizes(_adapter_tensors(contents)),
        **({"vocabulary": vocabulary} if vocabulary is not None else {}),
        **_origin_facts(snapshot, config, base),
        **({} if has_experts else _unstored_facts(placed, config, weights)),
    }
    model = Model(name, snapshot.path, snapshot.digest, "adapter", base, rank, reference, merge=merge)
    return _with_files(model, snapshot, facts)


def _with_files(model: Model, snapshot: Snapshot, facts: Mapping[str, Any]) -> Model:
    """``model`` with what is known about its files, and the facts that any snapshot may hold."""
    return replace(
        model,
        facts={**facts, **_training_fact(snapshot), **_ignored_fact(snapshot)},
        files=_files(snapshot),
        headers_only=snapshot.headers_only,
        stamps=snapshot.stamps,
    )


def _read_adapter(snapshot: Snapshot) -> tuple[Mapping[str, Any], AdapterContents, tuple[str, ...]]:
    """Configuration and weights of an adapter, and the reasons to merge it, if any."""
    reference = snapshot.reference
    problems = Problems()
    with problems.noted():
        require_one_kind(reference, snapshot.files)
    config = None
    with problems.noted():
        config = read_json(snapshot.path, _ADAPTER_CONFIG, reference)
        reasons = check_config(config, f"{reference}: {_ADAPTER_CONFIG}")
    with problems.noted():
        tensors = by_usual_name(adapter_weights(snapshot.path, reference), reference)
        if not problems.found:
            assert config is not None, "a configuration that cannot be read is a problem"
            contents, more_reasons = read_contents(tensors, config, reference)
    problems.raise_any()
    assert config is not None, "as above"
    return config, contents, (*reasons, *more_reasons)


def require_one_kind(reference: str, files: Collection[str]) -> None:
    """Raise ArtifactError for an adapter beside full weights: it is unclear which one is meant.

    A lone config.json is fine. ``files`` are the names in the adapter's folder.
    """
    full = next((f for f in (SINGLE, INDEX) if f in files), None)
    if full is not None:
        raise ArtifactError(
            f"{reference}: an adapter ({_ADAPTER_CONFIG}) and full weights ({full}) in one folder",
            hint=f"keep one: {ADAPTER} and its configuration, or the full weights",
        )


def _adapter_tensors(contents: AdapterContents) -> list[Tensor]:
    return [t for pair in contents.matrices.values() for t in (pair.a, pair.b)] + list(contents.others.values())


def _adapter_facts(config: Mapping[str, Any], rank: int, contents: AdapterContents) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "rank": rank,
        "alpha": config["lora_alpha"],
        # From the weights: the configuration may hold a pattern.
        "targets": sorted({module.rpartition(".")[2] for module in contents.matrices}),
    }
    dropout = config.get("lora_dropout")
    if isinstance(dropout, int | float) and 0 < dropout < 1:
        facts["dropout"] = dropout
    return facts | ({"rslora": True} if config.get("use_rslora") else {})


def _origin_facts(snapshot: Snapshot, config: Mapping[str, Any], base: Model) -> dict[str, Any]:
    """How many tensors are renamed, and the base that the adapter names, where it seems to be another one."""
    renamed = sum(usual_name(name) != name for name in adapter_weights(snapshot.path, snapshot.reference))
    named = str(config.get("base_model_name_or_path") or "")
    other = bool(named) and not _same_model(named, base)
    return ({"renamed": renamed} if renamed else {}) | ({"trained_on": named} if other else {})


def _unstored_facts(
    placed: Mapping[str, Collection[str]], config: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> dict[str, Any]:
    """How many modules of the base the configuration covers that the adapter's weights lack, and the first of them."""
    stored = {*placed, *(name for names in placed.values() for name in names)}
    matrices = [
        name.removesuffix(".weight")
        for name, tensor in weights.items()
        if len(tensor.shape) == 2 and not is_saved(name, config)
    ]
    unstored = sorted(set(covered(matrices, config)) - stored)
    return {"unstored": {"modules": len(unstored), "first": unstored[0]}} if unstored else {}


def _same_model(named: str, base: Model) -> bool:
    """Whether a name or path seems to mean ``base``: its last part is that of the base's reference, path or name."""
    references = [base.reference.partition("@")[0], str(base.path), base.name]
    own = read_json(base.path, _CONFIG, base.reference).get("_name_or_path")
    return _last_part(named) in {_last_part(name) for name in (*references, own) if isinstance(name, str) and name}


def _last_part(name: str) -> str:
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2].casefold()


def _require_unwrapped(tensors: Mapping[str, Tensor], reference: str) -> None:
    wrapped = next((name for name in tensors if is_wrapped(name)), None)
    if wrapped is not None:
        raise ArtifactError(
            f"{reference}: {wrapped}: the weights were saved from within a wrapper (torch.compile, FSDP), and no "
            "engine knows such names",
            hint="save the model without its wrapper: model = getattr(model, '_orig_mod', model)",
        )


def _training_fact(snapshot: Snapshot) -> dict[str, Any]:
    facts = training_facts(snapshot)
    return {"training": facts} if facts else {}


def _ignored_fact(snapshot: Snapshot) -> dict[str, Any]:
    return {"left_aside": shorten_list(snapshot.ignored_files)} if snapshot.ignored_files else {}


def _sizes(tensors: Iterable[Tensor]) -> dict[str, int]:
    sizes = [(tensor.numbers, tensor.size) for tensor in tensors]
    return {"parameters": sum(n for n, _ in sizes), "weight_bytes": sum(size for _, size in sizes)}


def _tensors(model: Model) -> dict[str, Tensor]:
    read = adapter_weights if model.kind == "adapter" else full_weights
    return read(model.path, model.reference or str(model.path))


def _files(snapshot: Snapshot) -> dict[str, tuple[int, str]]:
    return {name: (entry.size, entry.sha256) for name, entry in snapshot.files.items()}


def _shortened(files: Iterable[str]) -> str:
    names = sorted(files)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _folder_hint(files: Iterable[str]) -> str:
    config_path = next((f for f in sorted(files) if f.endswith((f"/{_CONFIG}", f"/{_ADAPTER_CONFIG}"))), None)
    suggestion = f", perhaps {config_path.rpartition('/')[0]}" if config_path else ""
    return f"name the folder that directly holds the model's files{suggestion}"
