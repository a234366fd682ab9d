"""From a remote reference to a snapshot in the cache: list, check the listing, download, verify, store."""

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
from ftgate.artifacts.download import (
    MAX_ATTEMPTS,
    Advance,
    Limits,
    bytes_present,
    call_with_retries,
    download,
    partial_path,
    too_large,
)
from ftgate.artifacts.file_names import require_clean_names, select_files
from ftgate.artifacts.refused_names import refuse_names
from ftgate.artifacts.snapshot import FileEntry, Snapshot, tree_digest
from ftgate.artifacts.sources.base import ArtifactSource, RemoteFile, Request, TransientError
from ftgate.errors import ArtifactError, DownloadError

MEGABYTE = 1_000_000
_EVICTION_STEP = 64
"""Megabytes of space to free at a time while a file of unknown size is downloaded."""
_SHARD = re.compile(r"(?:-\d+-of-\d+(?:-[0-9a-f]+)?|(?:^|/)\d+)(?=\.)")
"""What tells the files of one split of a data set apart."""
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
Phase = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Progress display: takes a name and a number of steps, and gives a context manager whose value counts steps."""
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to download: the source and its reference, the limits, and the expected digest."""

    source: ArtifactSource
    source_request: Request
    limits: Limits
    skip: Sequence[str] = ()
    digest: str | None = None
    file: bool = False
    """Whether data are meant: one file, with ``digest`` its own, or the files of one split; otherwise model files."""

    @property
    def reference(self) -> str:
        """The reference as it was written."""
        return self.source_request.reference.text

    @property
    def key(self) -> str:
        """The cache key of this reference."""
        skipped = "" if self.file else "\n".join(self.skip)
        return key_of(self.source.origin, self.reference, self.source_request.revision, skipped)


@dataclass(frozen=True, slots=True)
class Listing:
    """The files to download from a source, and the names of the ignored ones."""

    files: list[RemoteFile]
    ignored_files: tuple[str, ...] = ()

    @property
    def archived(self) -> bool:
        """Whether the listing is a single archive that contains the files."""
        return len(self.files) == 1 and is_archive(self.files[0].name)


def fetch(request: FetchRequest, cache: Cache, *, offline: bool, phase: Phase, note: Note) -> Snapshot:
    """The snapshot for ``request``: from the cache if it is there and current, otherwise downloaded.

    The source is not contacted if the reference is immutable or the request pins a digest. Raises ArtifactError for
    what is refused or missing, DownloadError when the download itself fails.
    """
    entry = cache.lookup(request.key)
    if entry is not None and (offline or request.source.fixed or request.digest is not None):
        snapshot = cache.acquire(entry.digest, request.reference)
        if snapshot is not None and (offline or request.digest in (None, comparable_digest(snapshot, request))):
            return _verified(snapshot, entry, request)
    if offline:
        raise ArtifactError(
            f"{request.reference}: not in the cache ({cache.root}), and --offline forbids downloads",
            hint="run once without --offline, on this machine and with this cache",
        )
    with cache.download_folder(
        request.key, lambda: note(f"{request.reference}: waiting for another process that downloads it")
    ) as folder:
        listing = checked_listing(request)
        fingerprint = [[file.name, file.size, file.sha256, file.version] for file in listing.files]
        entry = cache.lookup(request.key)
        unchanged = (
            entry is not None and entry.listing == fingerprint and all(f.version or f.sha256 for f in listing.files)
        )
        snapshot = cache.acquire(entry.digest, request.reference) if entry is not None and unchanged else None
        if snapshot is None or entry is None:
            snapshot = _download(request, listing, folder, cache, phase)
            entry = CacheEntry(snapshot.digest, fingerprint, snapshot.ignored_files)
            cache.remember(request.key, request.reference, entry)
        elif not listing.archived:
            entry = replace(entry, ignored_files=listing.ignored_files)
    return _verified(snapshot, entry, request)


def comparable_digest(snapshot: Snapshot, request: FetchRequest) -> str:
    """The digest to compare with the pinned one: the tree's, or that of a single data file."""
    if request.file and len(snapshot.files) == 1:
        return "sha256:" + next(iter(snapshot.files.values())).sha256
    return snapshot.digest


def wrong_digest(reference: str, expected: str, actual: str) -> ArtifactError:
    """The error for content with another digest than the pinned one."""
    return ArtifactError(
        f"{reference}: expected {expected}, but the files have {actual}",
        hint="the files changed, or the digest belongs to another version: pin the one you want",
    )


def several_files(reference: str, count: int) -> ArtifactError:
    """The error for a reference to several files where one is needed."""
    return ArtifactError(
        f"{reference}: {count} files, but one data file is expected",
        hint="name the file itself, or one split of a data set",
    )


def _verified(snapshot: Snapshot, entry: CacheEntry, request: FetchRequest) -> Snapshot:
    """``snapshot`` with its list of ignored files. Raises ArtifactError unless it is what was requested."""
    digest = comparable_digest(snapshot, request)
    if request.digest not in (None, digest):
        raise wrong_digest(request.reference, str(request.digest), digest)
    if request.file and len({_SHARD.sub("", name) for name in snapshot.files}) != 1:
        raise several_files(request.reference, len(snapshot.files))
    return replace(snapshot, ignored_files=entry.ignored_files)


def checked_listing(request: FetchRequest) -> Listing:
    """The listing of the source, checked before any download. Raises ArtifactError for files that are not allowed."""
    try:
        remote_files: list[RemoteFile] = call_with_retries(request.source.list)
        _require_valid_listing(remote_files)
    except TransientError as error:
        raise DownloadError(f"{error.message} ({MAX_ATTEMPTS} attempts in a row)", hint="run it again later") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ArtifactError(
            f"{request.reference}: the source sent an invalid listing ({type(error).__name__})",
            hint="check the reference and the address of the service",
        ) from None
    by_name = {file.name: file for file in remote_files}
    if len(by_name) != len(remote_files):
        raise ArtifactError(
            f"{request.reference}: the source lists a name twice", hint="publish one version of each file"
        )
    if Listing(remote_files).archived:
        require_clean_names(by_name, request.reference)
        return Listing(remote_files)
    names, ignored = _select_names(list(by_name), request)
    files = [by_name[name] for name in names]
    if sum(file.size or 0 for file in files) > request.limits.size:
        raise too_large(request.reference, request.limits)
    _require_listed_digest(files, request)
    return Listing(files, tuple(ignored))


def _require_valid_listing(files: Sequence[RemoteFile]) -> None:
    """Raise TypeError or ValueError for an invalid name, size or digest: a service may answer anything."""
    for file in files:
        name: Any = file.name
        size: Any = file.size
        if not isinstance(name, str) or not isinstance(size, int | None) or isinstance(size, bool):
            raise TypeError(name, size)
        if (size or 0) < 0 or (file.sha256 is not None and not _SHA256.fullmatch(file.sha256)):
            raise ValueError(size, file.sha256)


def _select_names(names: list[str], request: FetchRequest) -> tuple[list[str], list[str]]:
    """The names of the wanted and the ignored files. Raises ArtifactError for a name that no snapshot may hold."""
    require_clean_names(names, request.reference)
    selected, ignored = select_files(names, () if request.file else request.skip)
    if not selected:
        raise ArtifactError(f"{request.reference}: no files", hint="name the folder that holds the weights")
    if len(selected) > request.limits.files:
        raise ArtifactError(
            f"{request.reference}: {len(selected):,} files, but the policy allows {request.limits.files:,}",
            hint="name the folder of a single model, or raise artifacts.max_files",
        )
    if not request.file:
        refuse_names(selected, request.reference)
    return selected, ignored


def _require_listed_digest(files: Sequence[RemoteFile], request: FetchRequest) -> None:
    """If the source lists all digests, report a wrong one before anything is downloaded."""
    entries = {f.name: FileEntry(f.size, f.sha256) for f in files if f.sha256 is not None and f.size is not None}
    if request.digest is None or len(entries) < len(files):
        return
    snapshot = Snapshot(Path(), request.reference, entries, tree_digest(entries))
    if comparable_digest(snapshot, request) != request.digest:
        raise wrong_digest(request.reference, request.digest, comparable_digest(snapshot, request))


def _download(request: FetchRequest, listing: Listing, folder: Path, cache: Cache, phase: Phase) -> Snapshot:
    files, ignored = listing.files, [*listing.ignored_files]
    present, total = bytes_present(folder, files), sum(file.size or 0 for file in files)
    cache.make_room(max(0, total - present), request.reference, present=present)
    sizes_known = all(file.size is not None for file in files)
    with phase(f"fetch {request.reference} (MB)", total // MEGABYTE if sizes_known else None) as advance:
        count_bytes = advance if sizes_known else _evicting(cache, advance, request.reference)
        entries = download(request.source, files, folder, request.limits, _megabytes(count_bytes), request.reference)
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    try:
        if listing.archived:
            archive = partial_path(folder, files[0])
            limits = ArchiveLimits(
                request.limits, request.reference, lambda names: _select_names(names, request), cache.make_room
            )
            contents, ignored = unpack(archive, tree, limits)
            archive.unlink()
        else:
            contents = {file.name: entry for file, entry in zip(files, entries, strict=True)}
            for file in files:
                (tree / file.name).parent.mkdir(parents=True, exist_ok=True)
                partial_path(folder, file).rename(tree / file.name)
        _make_read_only(tree)
        snapshot = cache.store(tree, contents, request.reference)
    except OSError as error:
        raise DownloadError(
            f"cannot write {request.reference} to {cache.root}: {error.strerror or error}",
            hint="free disk space, or set FTGATE_CACHE to a folder on a larger disk",
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
    return replace(snapshot, ignored_files=tuple(ignored))


def _make_read_only(tree: Path) -> None:
    """Cached files are never written again."""
    for folder, _, names in os.walk(tree):
        for name in names:
            (Path(folder) / name).chmod(0o444)


def _evicting(cache: Cache, advance: Advance, reference: str) -> Advance:
    """Free cache space step by step while a download of unknown size proceeds."""
    done = freed = 0

    def add(megabytes: int) -> Any:
        nonlocal done, freed
        done += megabytes
        while done >= freed:
            cache.make_room(_EVICTION_STEP * MEGABYTE, reference, present=done * MEGABYTE, required=False)
            freed += _EVICTION_STEP
        advance(megabytes)

    return add


def _megabytes(advance: Advance) -> Advance:
    """Convert bytes to whole megabytes; the remainder is carried over."""
    done = reported = 0

    def add(size: int) -> Any:
        nonlocal done, reported
        done += size
        step = done // MEGABYTE - reported
        if step:
            reported += step
            advance(step)

    return add
