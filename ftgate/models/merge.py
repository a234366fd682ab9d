"""Adapters that no engine runs beside their base are merged into it: once, kept by content, and proven before use."""

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
from ftgate.engines.engine_log import first_exception, size_of
from ftgate.engines.isolation import without_secrets
from ftgate.errors import ArtifactError, DownloadError, EngineError
from ftgate.models.open import open_model

LARGEST_GAP = 0.02
"""Natural-log units between adapter and merged weights that rounding to 16 bits explains; see engines/merge.py."""
_WEIGHTS = (".safetensors", ".safetensors.index.json")
_PROGRAM = Path(__file__).parent.parent / "engines" / "merge.py"
_FULL_DISK = ("No space left", "os error 28", "StorageFull")


def merged_model(candidate: Model, cache: Cache, log: Path, note: Callable[[str], None]) -> Model:
    """``candidate`` as full weights, merged now or earlier; unchanged if it need not be merged.

    The merged snapshot is known by the digests of base and adapter and by the versions of what merges. It is made in a
    folder of its own and placed by one rename when it is whole, so that a run that was killed leaves nothing that
    another would use. Raises ArtifactError where the adapter cannot be merged or merging does not keep what it does,
    DownloadError where the disk is full.
    """
    base = candidate.base
    if not candidate.merge or candidate.kind != "adapter" or base is None:
        return candidate
    tools = {name: version(name) for name in ("peft", "transformers")}
    key = key_of("merged", base.digest, candidate.digest, *tools.values())
    found = _known(cache, key, candidate)
    if found is None:
        cache.make_room(base.facts["weight_bytes"] + candidate.facts["weight_bytes"], candidate.reference)
        with cache.download_folder(
            key, lambda: note(f"{candidate.reference}: waiting for another process that merges it")
        ) as folder:
            found = _known(cache, key, candidate) or _make(candidate, base, cache, key, folder, log)
    snapshot, proof = found
    whole = open_model(candidate.name, snapshot, None)
    facts = {**candidate.facts, **whole.facts, "merge": {"with": f"peft {tools['peft']}", **proof}}
    return replace(candidate, kind="full", path=snapshot.path, facts=facts)


def _known(cache: Cache, key: str, candidate: Model) -> tuple[Snapshot, dict[str, float]] | None:
    known = cache.lookup(key)
    snapshot = cache.acquire(known.digest, candidate.reference) if known is not None else None
    return (snapshot, known.listing[0]) if known is not None and snapshot is not None else None


def _make(
    candidate: Model, base: Model, cache: Cache, key: str, folder: Path, log: Path
) -> tuple[Snapshot, dict[str, float]]:
    """Merge into ``folder``, which may hold what a killed run left, and place the result in the cache."""
    shutil.rmtree(folder)
    folder.mkdir()
    with _disk(candidate, folder):
        proof = _run(candidate, base, folder, log)
        _copy_words(candidate.path if "vocabulary" in candidate.facts else base.path, folder)
        for path in folder.iterdir():
            path.chmod(0o444)  # whoever shares the cache may read it, and nobody needs to write
        files = take_snapshot(folder, candidate.reference).files
        snapshot = cache.store(folder, files, candidate.reference)
        cache.remember(key, candidate.reference, CacheEntry(snapshot.digest, [proof]))
    return snapshot, proof


def _run(candidate: Model, base: Model, folder: Path, log: Path) -> dict[str, float]:
    """Run the program that merges, and judge what it measured."""
    since = size_of(log)
    rows = str(candidate.facts.get("vocabulary", ""))
    places = [str(base.path), str(candidate.path), str(folder), rows]
    with log.open("ab") as errors:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-P", str(_PROGRAM), *places],  # -P: its folder is no place to import from
            env=without_secrets(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            check=False,
        )
    if done.returncode != 0:
        raise _failure(candidate, base, done.returncode, log, since)
    proof: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    effect, gap = proof["effect"], proof["gap"]
    if not gap <= max(LARGEST_GAP, effect / 4):  # NaN is not, either
        raise ArtifactError(
            f"{candidate.reference}: merging changes what the adapter does: log-probabilities of the merged weights "
            f"are {gap:.2g} from those of the adapter on its base, which moves them by {effect:.2g}",
            hint="merge it where it was trained, check the result, and give the full weights as candidate",
        )
    return proof


def _failure(candidate: Model, base: Model, code: int, log: Path, since: int) -> Exception:
    cause = first_exception(log, since) or ""
    if any(sign in cause for sign in _FULL_DISK):
        raise OSError(cause)
    if code < 0 and not cause:
        return EngineError(
            f"{candidate.reference}: the process that merged it was killed by signal {-code}",
            hint="perhaps memory ran out: `ftgate check` says how much it takes; run again",
        )
    cause = cause or f"exit code {code}"
    return ArtifactError(
        f"{candidate.reference}: peft cannot merge it into {base.reference or base.name}: {cause}",
        hint=f"merge it where it was trained and give the full weights as candidate; the whole log is {log}",
    )


@contextmanager
def _disk(candidate: Model, folder: Path) -> Iterator[None]:
    """Turn what a full disk raises into what to do about it, and leave nothing half-made to fill it further."""
    try:
        yield
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DownloadError(
            f"{candidate.reference}: the merged weights could not be kept in {folder.parent}: {error}",
            hint="free some disk space, or set FTGATE_CACHE to a folder on a larger disk",
        ) from None


def _copy_words(source: Path, folder: Path) -> None:
    """Tokenizer, chat template and whatever else describes how to read and write text: all but the weights."""
    for path in source.iterdir():
        beside = path.is_file() and not path.name.endswith(_WEIGHTS) and not path.name.startswith("adapter_")
        if beside and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
