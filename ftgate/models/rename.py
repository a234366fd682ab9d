"""A copy of an adapter in which the tensors have the names that peft gives them, which is all that engines know."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ftgate.artifacts.cache import Cache, CacheEntry, key_of
from ftgate.artifacts.headers_only import ADAPTER
from ftgate.artifacts.snapshot import Snapshot, take_snapshot
from ftgate.domain import Model
from ftgate.engines.chat_template import chat_of
from ftgate.models.tensor_names import usual_name

_VERSION = "1"


def renamed_model(
    candidate: Model, cache: Cache, note: Callable[[str], None], verify: Callable[[], None] = lambda: None
) -> Model:
    """``candidate`` with its tensors renamed in a cached copy; unchanged if they have their usual names.

    Its digest stays that of what was submitted. ``verify`` raises if the files that were copied are no longer those
    that were hashed.
    """
    if "renamed" not in candidate.facts or candidate.kind != "adapter":
        return candidate
    key = key_of("renamed", candidate.digest, _VERSION)
    snapshot = _cached(cache, key, candidate.reference)
    if snapshot is None:
        cache.make_room(candidate.facts["weight_bytes"], candidate.reference)
        with cache.download_folder(
            key, lambda: note(f"{candidate.reference}: waiting for another process that copies it")
        ) as folder:
            snapshot = _cached(cache, key, candidate.reference) or _copy(candidate, cache, key, folder, verify)
    chat = candidate.chat
    if chat is not None and chat_of(candidate).tokenizer == candidate.path:
        chat = chat_of(candidate)._replace(tokenizer=snapshot.path)
    return replace(candidate, path=snapshot.path, stamps=snapshot.stamps, chat=chat)


def _cached(cache: Cache, key: str, reference: str) -> Snapshot | None:
    entry = cache.lookup(key)
    return cache.acquire(entry.digest, reference) if entry is not None else None


def _copy(candidate: Model, cache: Cache, key: str, folder: Path, verify: Callable[[], None]) -> Snapshot:
    shutil.rmtree(folder)
    folder.mkdir()
    for path in candidate.path.iterdir():
        if path.is_file() and path.name != ADAPTER:
            shutil.copyfile(path, folder / path.name)
    rename_tensors(candidate.path / ADAPTER, folder / ADAPTER)
    verify()
    for path in folder.iterdir():
        path.chmod(0o444)
    snapshot = cache.store(folder, take_snapshot(folder, candidate.reference).files, candidate.reference)
    cache.remember(key, candidate.reference, CacheEntry(snapshot.digest, []))
    return snapshot


def rename_tensors(source: Path, target: Path) -> None:
    """Copy a safetensors file whose header was checked, with the usual name of each tensor."""
    with source.open("rb") as old, target.open("wb") as new:
        header = json.loads(old.read(int.from_bytes(old.read(8), "little")))
        names = {name: name if name == "__metadata__" else usual_name(name) for name in header}
        text = json.dumps({names[name]: entry for name, entry in header.items()}).encode()
        text += b" " * (-len(text) % 8)
        new.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(old, new)
