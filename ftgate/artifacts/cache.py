"""The cache of downloaded snapshots, by digest: shared by all runs on a machine, bounded, and verified before use.

``trees/<digest>/`` holds the files, and ``trees/<digest>.json`` their sizes, hashes and stamps when last hashed (its
mtime: last use); ``names/<key>.json`` which digest a reference resolved to; ``incoming/<key>/`` unfinished downloads.
Locks are on files in ``locks/`` and end with the process: a shared one on every tree in use, an exclusive one on every
reference that is being downloaded, and one for eviction. A tree is stored by one atomic rename.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftgate.artifacts.cache_files import (
    UNREADABLE,
    explain_write_errors,
    list_files,
    read_record,
    sha256,
    with_checksum,
    without_checksum,
    write_json,
)
from ftgate.artifacts.snapshot import THREADS, FileEntry, Snapshot, tree_digest
from ftgate.errors import DownloadError
from ftgate.files import Stamp, file_stamp

VERIFY_DAYS = 7.0
_DAY = 86_400
_IN_USE: dict[Path, int] = {}
"""Shared locks on trees by lock file, held until the process ends: engines read the files long after resolving."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What a reference resolved to when last downloaded: digest, listing, and ignored files."""

    digest: str
    listing: list[Any]
    ignored_files: tuple[str, ...] = ()


class Cache:
    """A folder of snapshots of at most ``limit`` bytes; snapshots in use are never evicted.

    Files that seem unchanged are hashed again if the last time was ``verify_days`` days ago or more.
    """

    def __init__(self, root: Path, limit: int, verify_days: float = VERIFY_DAYS) -> None:
        self.root, self._limit, self._verify_after = root, limit, verify_days * _DAY
        self._trees, self._names, self._incoming, self._locks = (
            root / part for part in ("trees", "names", "incoming", "locks")
        )

    def lookup(self, key: str) -> CacheEntry | None:
        """What the reference with this ``key`` resolved to last, if it was ever downloaded."""
        try:
            value = without_checksum(json.loads((self._names / f"{key}.json").read_bytes()))
            return CacheEntry(str(value["digest"]), list(value["listing"]), tuple(map(str, value.get("aside", ()))))
        except UNREADABLE:
            return None

    def remember(self, key: str, reference: str, entry: CacheEntry) -> None:
        """Record what the reference resolves to now."""
        value = {"reference": reference, "digest": entry.digest, "listing": entry.listing, "aside": entry.ignored_files}
        write_json(self._names / f"{key}.json", with_checksum(value))

    def acquire(self, digest: str, reference: str) -> Snapshot | None:
        """The snapshot with this digest, locked until the process ends; None if it is missing or damaged.

        A file with the same stamp as when last hashed (size, times, inode) counts as unchanged; all others are hashed,
        and every file if the last full check is too old.
        """
        newly_locked = self._share_lock(digest)
        tree = self._trees / _hex(digest)
        record = tree.with_name(f"{tree.name}.json")
        recorded = read_record(record)
        if recorded is None:
            return None
        stamps, hashed_at = recorded
        files = {name: entry for name, (entry, _) in stamps.items()}
        check_all = newly_locked and not 0 <= time.time() - hashed_at < self._verify_after
        # Stamps are taken before hashing, so that a later change is noticed.
        current = {name: file_stamp(tree / name) for name in files}
        changed = [name for name, (_, old_stamp) in stamps.items() if check_all or current[name] != old_stamp]
        with ThreadPoolExecutor(THREADS) as pool:
            hashes = pool.map(lambda name: sha256(tree / name), changed)
            damaged = any(files[name].sha256 != actual for name, actual in zip(changed, hashes, strict=True))
        if damaged or set(list_files(tree)) != set(files) or tree_digest(files) != digest:
            self._discard(digest, reference)
            return None
        if changed:
            self._write_record(tree, files, current, time.time() if check_all else hashed_at)
        with suppress(OSError):
            os.utime(record)
        return Snapshot(tree, reference, files, digest, stamps=current)

    @contextmanager
    def download_folder(self, key: str, waiting: Callable[[], None]) -> Iterator[Path]:
        """The folder to download into, locked against other processes; ``waiting`` is called if one holds the lock."""
        self._create_folders()
        descriptor = _open(self._locks / f"name-{key}")
        try:
            if not _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            folder = self._incoming / key
            with explain_write_errors(folder):
                folder.mkdir(exist_ok=True)
            yield folder
        finally:
            with suppress(OSError):  # an unfinished download stays
                folder.rmdir()
            os.close(descriptor)

    def store(self, folder: Path, files: Mapping[str, FileEntry], reference: str) -> Snapshot:
        """Move a folder that holds exactly ``files`` into the cache, unless the same tree is there already."""
        digest = tree_digest(files)
        tree = self._trees / _hex(digest)
        snapshot = self.acquire(digest, reference)
        if snapshot is None:
            if tree.exists() and not tree.with_name(f"{tree.name}.json").exists():
                self._discard(digest, reference)  # its removal was interrupted
            self._share_lock(digest)
            self._write_record(tree, files, {name: file_stamp(folder / name) for name in files}, time.time())
            with suppress(OSError):  # another process may have stored the same tree just now
                folder.rename(tree)
            snapshot = self.acquire(digest, reference)
        if snapshot is None:
            raise DownloadError(
                f"{reference}: changed in the cache while it was being stored",
                hint="let nothing else write to the cache",
            )
        shutil.rmtree(folder, ignore_errors=True)
        return snapshot

    def make_room(self, size: int, reference: str, *, present: int = 0, required: bool = True) -> None:
        """Evict least recently used trees until ``size`` more bytes fit besides ``present`` bytes of the same download.

        Raises DownloadError if they cannot fit; if not ``required``, only when ``present`` alone is too much.
        """
        self._create_folders()
        needed = present + (size if required else 0)
        if needed > self._limit:
            raise DownloadError(
                f"{reference}: {needed:,} bytes do not fit into the cache of {self._limit:,} bytes",
                hint="raise artifacts.cache_gb in the policy, or FTGATE_CACHE_GB on the runner",
            )
        descriptor = _open(self._locks / "evict")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            stored = sorted(self._stored(), key=lambda entry: entry[0])
            total = sum(used for _, used, _ in stored)
            futile = shutil.disk_usage(self.root).free + total <= size
            for _, used, path in () if futile else stored:
                if total + size <= self._limit and shutil.disk_usage(self.root).free > size:
                    return
                total -= used if self._remove(path) else 0
        finally:
            os.close(descriptor)
        free = shutil.disk_usage(self.root).free
        if free <= size and required:
            raise DownloadError(
                f"{reference}: needs {size:,} bytes, but only {free:,} are free in {self.root}",
                hint="free disk space, or set FTGATE_CACHE to a folder on a larger disk",
            )

    def _stored(self) -> Iterator[tuple[float, int, Path]]:
        """Last use, size in bytes and path of each tree and each unfinished download."""
        for path in [*self._trees.iterdir(), *self._incoming.iterdir()]:
            if path.is_dir():
                record = path.with_name(f"{path.name}.json")
                with suppress(OSError):
                    last_used = (record if record.exists() else path).stat().st_mtime
                    yield last_used, sum((path / name).stat().st_size for name in list_files(path)), path

    def _remove(self, path: Path) -> bool:
        """Remove a tree or an unfinished download, unless a process is using it."""
        name = f"{'tree' if path.parent == self._trees else 'name'}-{path.name}"
        if self._locks / name in _IN_USE:
            return False
        descriptor = _open(self._locks / name)
        try:
            if not _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                return False
            path.with_name(f"{path.name}.json").unlink(missing_ok=True)
            trash = path.with_name(f".gone-{os.getpid()}-{time.monotonic_ns()}")
            path.rename(trash)
            shutil.rmtree(trash)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _discard(self, digest: str, reference: str) -> None:
        """Remove a damaged tree. Raises DownloadError if another process has it open."""
        tree = self._trees / _hex(digest)
        self._unlock(digest)
        if tree.exists() and not self._remove(tree):
            raise DownloadError(
                f"{reference}: its cached copy is damaged and in use by another run: {tree}",
                hint="wait for that run to end, then run again",
            )

    def _share_lock(self, digest: str) -> bool:
        """Take a shared lock that keeps others from removing the tree. Whether it is new in this process."""
        self._create_folders()
        path = self._locks / f"tree-{_hex(digest)}"
        if path in _IN_USE:
            return False
        descriptor = _open(path)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _IN_USE[path] = descriptor
        return True

    def _unlock(self, digest: str) -> None:
        descriptor = _IN_USE.pop(self._locks / f"tree-{_hex(digest)}", None)
        if descriptor is not None:
            os.close(descriptor)

    def _write_record(
        self, tree: Path, files: Mapping[str, FileEntry], stamps: Mapping[str, Stamp], hashed_at: float
    ) -> None:
        """Record size, hash and stamp of each file of ``tree``, and when all were last hashed."""
        value = {name: [entry.size, entry.sha256, stamps[name]] for name, entry in files.items()}
        write_json(tree.with_name(f"{tree.name}.json"), {"files": value, "read": hashed_at})

    def _create_folders(self) -> None:
        with explain_write_errors(self.root):
            for folder in (self._trees, self._names, self._incoming, self._locks):
                folder.mkdir(parents=True, exist_ok=True)


def key_of(*parts: str | None) -> str:
    """A file name for the parts that identify a reference."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _open(path: Path) -> int:
    with explain_write_errors(path):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _lock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    return True
