"""From a remote reference to a snapshot in the cache: listed, judged by its listing, fetched, checked, placed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftgate.artifacts.archive import ArchiveLimits, is_archive, unpack
from ftgate.artifacts.cache import Cache, CacheEntry, key_of
from ftgate.artifacts.download import TRIES, Advance, Limits, download, persistently, present, slot, too_large
from ftgate.artifacts.file_names import choose, require_clean_names
from ftgate.artifacts.refused_names import refuse_names
from ftgate.artifacts.snapshot import FileEntry, Snapshot, tree_digest
from ftgate.artifacts.sources.base import RemoteFile, Request, Source, TransientError
from ftgate.errors import ArtifactError, DownloadError

MEGABYTE = 1_000_000
_STEP = 64
"""Megabytes for which room is made at a time, where the size of a file is not known."""
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
Phase = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Shows how far something has come: given a name and a number of steps, a context whose value counts steps."""
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What is to be fetched: the source and what it was called, what may come, and what it must turn out to be."""

    source: Source
    request: Request
    limits: Limits
    skip: Sequence[str] = ()
    digest: str | None = None
    file: bool = False
    """One data file is meant, and ``digest`` is its own; else the files of a model, and ``digest`` their tree's."""

    @property
    def reference(self) -> str:
        """What the source is called."""
        return self.request.reference.text

    @property
    def key(self) -> str:
        """By what the cache knows it."""
        skipped = "" if self.file else "\n".join(self.skip)
        return key_of(self.source.origin, self.reference, self.request.revision, skipped)


@dataclass(frozen=True, slots=True)
class Listing:
    """The files at a source that are wanted, and the names of those that are left aside."""

    files: list[RemoteFile]
    aside: tuple[str, ...] = ()

    @property
    def archived(self) -> bool:
        """Whether a single archive stands for the files in it."""
        return len(self.files) == 1 and is_archive(self.files[0].name)


def fetch(wish: FetchRequest, cache: Cache, *, offline: bool, phase: Phase, note: Note) -> Snapshot:
    """The snapshot of ``wish``, from the cache when it is there and still what the source names.

    The source is not asked where the reference names the same bytes for ever or the digest says which are meant.
    Raises ArtifactError for what is refused or not there, DownloadError when the gate itself could not fetch it.
    """
    known = cache.known(wish.key)
    if known is not None and (offline or wish.source.fixed or wish.digest is not None):
        snapshot = cache.use(known.digest, wish.reference)
        if snapshot is not None and (offline or wish.digest in (None, digest_of(snapshot, wish))):
            return _as_wished(snapshot, known, wish)
    if offline:
        raise ArtifactError(
            f"{wish.reference}: not in the cache ({cache.root}), and --offline asks no network",
            hint="run once without --offline, on this machine and with this cache",
        )
    with cache.fetching(wish.key, lambda: note(f"{wish.reference}: another process fetches it; waiting")) as folder:
        found = listed(wish)
        listing = [[file.name, file.size, file.sha256, file.version] for file in found.files]
        known = cache.known(wish.key)
        unchanged = known is not None and known.listing == listing and all(f.version or f.sha256 for f in found.files)
        snapshot = cache.use(known.digest, wish.reference) if known is not None and unchanged else None
        if snapshot is None or known is None:
            snapshot = _download(wish, found, folder, cache, phase)
            known = CacheEntry(snapshot.digest, listing, snapshot.aside)
            cache.remember(wish.key, wish.reference, known)
        elif not found.archived:
            known = replace(known, aside=found.aside)
    return _as_wished(snapshot, known, wish)


def digest_of(snapshot: Snapshot, wish: FetchRequest) -> str:
    """What the digest of ``wish`` is compared with: the tree's, or that of the one file."""
    if wish.file and len(snapshot.files) == 1:
        return "sha256:" + next(iter(snapshot.files.values())).sha256
    return snapshot.digest


def wrong_digest(reference: str, expected: str, found: str) -> ArtifactError:
    """Other bytes than the ones that were reviewed."""
    return ArtifactError(
        f"{reference}: expected {expected}, but the files have {found}",
        hint="the files changed, or the digest belongs to another version: pin the one you mean",
    )


def _as_wished(snapshot: Snapshot, known: CacheEntry, wish: FetchRequest) -> Snapshot:
    found = digest_of(snapshot, wish)
    if wish.digest not in (None, found):
        raise wrong_digest(wish.reference, str(wish.digest), found)
    if wish.file and len(snapshot.files) != 1:
        raise ArtifactError(
            f"{wish.reference}: {len(snapshot.files)} files where one data file is meant", hint="name the file itself"
        )
    return replace(snapshot, aside=known.aside)


def listed(wish: FetchRequest) -> Listing:
    """What the source lists, if it may be fetched: judged before a byte of it is."""
    try:
        named: list[RemoteFile] = persistently(wish.source.list)
        _require_sound(named)
    except TransientError as error:
        raise DownloadError(f"{error.message}, {TRIES} times in a row", hint="run it again later") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ArtifactError(
            f"{wish.reference}: the source answered something unexpected ({type(error).__name__})",
            hint="check that the reference, and the address of the service, are the ones you mean",
        ) from None
    by_name = {file.name: file for file in named}
    if len(by_name) != len(named):
        raise ArtifactError(f"{wish.reference}: a name is listed twice", hint="name one version of each file")
    if Listing(named).archived:
        require_clean_names(by_name, wish.reference)
        return Listing(named)
    kept, aside = _acceptable(list(by_name), wish)
    files = [by_name[name] for name in kept]
    if sum(file.size or 0 for file in files) > wish.limits.size:
        raise too_large(wish.reference, wish.limits)
    _require_listed_digest(files, wish)
    return Listing(files, tuple(aside))


def _require_sound(named: Sequence[RemoteFile]) -> None:
    """Raise TypeError or ValueError for a name, size or digest that is none: a service can answer anything."""
    for file in named:
        name: Any = file.name
        size: Any = file.size
        if not isinstance(name, str) or not isinstance(size, int | None) or isinstance(size, bool):
            raise TypeError(name, size)
        if (size or 0) < 0 or (file.sha256 is not None and not _SHA256.fullmatch(file.sha256)):
            raise ValueError(size, file.sha256)


def _acceptable(names: list[str], wish: FetchRequest) -> tuple[list[str], list[str]]:
    """The names that are wanted and those left aside. Raises ArtifactError for what must not be in a snapshot."""
    require_clean_names(names, wish.reference)
    kept, aside = choose(names, () if wish.file else wish.skip)
    if not kept:
        raise ArtifactError(f"{wish.reference}: no files", hint="name the folder that holds the weights")
    if len(kept) > wish.limits.files:
        raise ArtifactError(
            f"{wish.reference}: {len(kept):,} files, but the policy lets in {wish.limits.files:,}",
            hint="name the folder of one model, or raise artifacts.max_files",
        )
    if not wish.file:
        refuse_names(kept, wish.reference)
    return kept, aside


def _require_listed_digest(files: Sequence[RemoteFile], wish: FetchRequest) -> None:
    """Where the source knows all digests, a wrong one is found before anything is fetched."""
    known = {f.name: FileEntry(f.size, f.sha256) for f in files if f.sha256 is not None and f.size is not None}
    if wish.digest is None or len(known) < len(files):
        return
    listed = Snapshot(Path(), wish.reference, known, tree_digest(known))
    if digest_of(listed, wish) != wish.digest:
        raise wrong_digest(wish.reference, wish.digest, digest_of(listed, wish))


def _download(wish: FetchRequest, listing: Listing, folder: Path, cache: Cache, phase: Phase) -> Snapshot:
    files, aside = listing.files, [*listing.aside]
    here, total = present(folder, files), sum(file.size or 0 for file in files)
    cache.make_room(max(0, total - here), wish.reference, beside=here)
    known = all(file.size is not None for file in files)
    with phase(f"fetch {wish.reference} (MB)", total // MEGABYTE if known else None) as advance:
        counted = advance if known else _making_room(cache, advance, wish.reference)
        entries = download(wish.source, files, folder, wish.limits, _megabytes(counted), wish.reference)
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    try:
        if listing.archived:
            archive = slot(folder, files[0])
            terms = ArchiveLimits(wish.limits, wish.reference, lambda names: _acceptable(names, wish), cache.make_room)
            found, aside = unpack(archive, tree, terms)
            archive.unlink()
        else:
            found = {file.name: entry for file, entry in zip(files, entries, strict=True)}
            for file in files:
                (tree / file.name).parent.mkdir(parents=True, exist_ok=True)
                slot(folder, file).rename(tree / file.name)
        _seal(tree)
        snapshot = cache.place(tree, found, wish.reference)
    except OSError as error:
        raise DownloadError(
            f"{wish.reference}: cannot be kept in {cache.root}: {error.strerror or error}",
            hint="free some space, or set FTGATE_CACHE to a folder on a larger disk",
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
    return replace(snapshot, aside=tuple(aside))


def _seal(tree: Path) -> None:
    """Nobody needs to write to these files again."""
    for at, _, names in os.walk(tree):
        for name in names:
            (Path(at) / name).chmod(0o444)


def _making_room(cache: Cache, advance: Advance, reference: str) -> Advance:
    """Where nobody says how much will come, room is made step by step."""
    done = made = 0

    def add(megabytes: int) -> Any:
        nonlocal done, made
        done += megabytes
        while done >= made:
            cache.make_room(_STEP * MEGABYTE, reference, beside=done * MEGABYTE, sure=False)
            made += _STEP
        advance(megabytes)

    return add


def _megabytes(advance: Advance) -> Advance:
    """Steps are whole megabytes; the rest waits for the next piece."""
    done = shown = 0

    def add(size: int) -> Any:
        nonlocal done, shown
        done += size
        step = done // MEGABYTE - shown
        if step:
            shown += step
            advance(step)

    return add
