"""Merging adapters that vLLM cannot run beside their base: once per content, cached, and verified before use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from ftgate.artifacts.cache import Cache, CacheEntry, key_of
from ftgate.artifacts.snapshot import Snapshot, take_snapshot
from ftgate.domain import Model
from ftgate.engines.chat_template import chat_of
from ftgate.engines.engine_log import first_exception, size_of
from ftgate.engines.isolation import without_secrets
from ftgate.errors import ArtifactError, DownloadError, EngineError
from ftgate.models.open import open_model

MAX_GAP = 0.02
"""Difference in log-probability (nats) between adapter and merged weights that 16-bit rounding explains; see
engines/merge.py."""
_WEIGHTS = (".safetensors", ".safetensors.index.json")
_MERGE_PROGRAM = Path(__file__).parent.parent / "engines" / "merge.py"
_FULL_DISK = ("No space left", "os error 28", "StorageFull")


def merged_model(
    candidate: Model, cache: Cache, log: Path, note: Callable[[str], None], verify: Callable[[], None] = lambda: None
) -> Model:
    """``candidate`` as full weights, merged now or earlier; unchanged if it need not be merged.

    A merged snapshot is cached by the digests of base and adapter and the versions of the merge tools. It is built in
    its own folder and stored by one rename, so that a killed run leaves nothing that another one would use; before
    that, ``verify`` raises if the files that were merged are no longer those that were hashed. Raises
    ArtifactError if the adapter cannot be merged or the merge changes its effect, DownloadError if the disk is full.
    """
    base = candidate.base
    if not candidate.merge or candidate.kind != "adapter" or base is None:
        return candidate
    tools = {name: version(name) for name in ("peft", "transformers")}
    own_tokenizer = ["its own tokenizer"] if chat_of(candidate).tokenizer == candidate.path else []
    key = key_of("merged", base.digest, candidate.digest, *tools.values(), *own_tokenizer)
    merged = _cached(cache, key, candidate)
    if merged is None:
        cache.make_room(base.facts["weight_bytes"] + candidate.facts["weight_bytes"], candidate.reference)
        with cache.download_folder(
            key, lambda: note(f"{candidate.reference}: waiting for another process that merges it")
        ) as folder:
            merged = _cached(cache, key, candidate) or _merge_and_store(
                candidate, base, cache, key, folder, log, verify
            )
    snapshot, comparison = merged
    full = open_model(candidate.name, snapshot, None, needs_template=False)
    facts = {**candidate.facts, **full.facts, "merge": {"with": f"peft {tools['peft']}", **comparison}}
    chat = chat_of(candidate)._replace(tokenizer=snapshot.path)
    return replace(candidate, kind="full", path=snapshot.path, facts=facts, stamps=snapshot.stamps, chat=chat)


def _cached(cache: Cache, key: str, candidate: Model) -> tuple[Snapshot, dict[str, float]] | None:
    entry = cache.lookup(key)
    snapshot = cache.acquire(entry.digest, candidate.reference) if entry is not None else None
    return (snapshot, entry.listing[0]) if entry is not None and snapshot is not None else None


def _merge_and_store(
    candidate: Model, base: Model, cache: Cache, key: str, folder: Path, log: Path, verify: Callable[[], None]
) -> tuple[Snapshot, dict[str, float]]:
    """Merge into ``folder``, which may hold leftovers of a killed run, and store the result in the cache."""
    shutil.rmtree(folder)
    folder.mkdir()
    with _explain_disk_errors(candidate, folder):
        comparison = _run_merge(candidate, base, folder, log)
        verify()
        _copy_other_files(chat_of(candidate).tokenizer, folder)
        for path in folder.iterdir():
            path.chmod(0o444)  # readable for all users of the cache, writable for none
        files = take_snapshot(folder, candidate.reference).files
        snapshot = cache.store(folder, files, candidate.reference)
        cache.remember(key, candidate.reference, CacheEntry(snapshot.digest, [comparison]))
    return snapshot, comparison


def _run_merge(candidate: Model, base: Model, folder: Path, log: Path) -> dict[str, float]:
    """Run the merge program and check the difference that it measured. Returns its ``effect`` and ``gap``."""
    log_start = size_of(log)
    rows = str(candidate.facts.get("vocabulary", ""))
    arguments = [str(base.path), str(candidate.path), str(folder), rows]
    with log.open("ab") as log_file:
        process = subprocess.run(  # noqa: S603
            [sys.executable, "-P", str(_MERGE_PROGRAM), *arguments],  # -P: never import from the program's own folder
            env=without_secrets(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log_file,
            check=False,
        )
    if process.returncode != 0:
        raise _failure(candidate, base, process.returncode, log, log_start)
    comparison: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    effect, gap = comparison["effect"], comparison["gap"]
    if not gap <= max(MAX_GAP, effect / 4):  # catches NaN too
        raise ArtifactError(
            f"{candidate.reference}: merging changes the model: log-probabilities of the merged weights differ by "
            f"{gap:.2g} from those of base and adapter, and the adapter's whole effect is {effect:.2g}",
            hint="merge it in the training environment, check the result, and submit the full weights",
        )
    return comparison


def _failure(candidate: Model, base: Model, code: int, log: Path, log_start: int) -> Exception:
    cause = first_exception(log, log_start) or ""
    if any(text in cause for text in _FULL_DISK):
        raise OSError(cause)
    if code < 0 and not cause:
        return EngineError(
            f"{candidate.reference}: the merge process was killed by signal {-code}",
            hint="probably out of memory: see `ftgate check` for the amount needed, then run again",
        )
    cause = cause or f"exit code {code}"
    return ArtifactError(
        f"{candidate.reference}: peft cannot merge it into {base.reference or base.name}: {cause}",
        hint=f"merge it in the training environment and submit the full weights; full log: {log}",
    )


@contextmanager
def _explain_disk_errors(candidate: Model, folder: Path) -> Iterator[None]:
    """Turn a disk error into a DownloadError with advice, and remove the incomplete result."""
    try:
        yield
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DownloadError(
            f"{candidate.reference}: cannot write the merged weights to {folder.parent}: {error}",
            hint="free some disk space, or set FTGATE_CACHE to a folder on a larger disk",
        ) from None


def _copy_other_files(source: Path, folder: Path) -> None:
    """Copy tokenizer, chat template and all other files except weights and adapter files."""
    for path in source.iterdir():
        is_wanted = path.is_file() and not path.name.endswith(_WEIGHTS) and not path.name.startswith("adapter_")
        if is_wanted and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
