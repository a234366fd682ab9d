"""Snapshots that were fetched, by their digest: shared by every run on a machine, bounded, and never trusted blindly.

``trees/<digest>/`` holds the files and ``trees/<digest>.json`` what they were when they were last read (its time: last
used); ``names/<key>.json`` which digest a reference named; ``incoming/<key>/`` what is being fetched. Locks are held on
files in ``locks/`` and end with the process: a shared one on every tree in use, an exclusive one on every reference
that is being fetched, and one on whoever removes trees. A tree is placed by one rename.
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

from ftgate.artifacts.cache_files import UNREADABLE, entries, look, present, sha256, write, writing
from ftgate.artifacts.snapshot import THREADS, FileEntry, Snapshot, tree_digest
from ftgate.errors import DownloadError

VERIFY_DAYS = 7.0
_DAY = 86_400
_IN_USE: dict[Path, int] = {}
"""Shared locks on trees, by lock file, until the process ends: engines read them long after they were resolved."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What a reference named when it was last fetched: a digest, the listing it came from, and what was left aside."""

    digest: str
    listing: list[Any]
    aside: tuple[str, ...] = ()


class Cache:
    """A folder of snapshots that takes at most ``limit`` bytes, what is in use aside.

    Files that look unchanged are read again all the same when that was last done ``verify_days`` days ago.
    """

    def __init__(self, root: Path, limit: int, verify_days: float = VERIFY_DAYS) -> None:
        self.root, self._limit, self._verify_after = root, limit, verify_days * _DAY
        self._trees, self._names, self._incoming, self._locks = (
            root / part for part in ("trees", "names", "incoming", "locks")
        )

    def known(self, key: str) -> CacheEntry | None:
        """What the reference with this ``key`` named last, if it was ever fetched."""
        try:
            found = json.loads((self._names / f"{key}.json").read_bytes())
            return CacheEntry(str(found["digest"]), list(found["listing"]), tuple(map(str, found.get("aside", ()))))
        except UNREADABLE:
            return None

    def remember(self, key: str, reference: str, known: CacheEntry) -> None:
        """Note what the reference names now."""
        value = {"reference": reference, "digest": known.digest, "listing": known.listing, "aside": known.aside}
        write(self._names / f"{key}.json", value)

    def use(self, digest: str, reference: str) -> Snapshot | None:
        """The snapshot with this digest, in use until the process ends; None when it is not here or is damaged.

        A file that looks as it did when it was last read (size, times of change, place on the disk) counts as
        unchanged; any other is read and compared, and once in a while every one.
        """
        first = self._hold(digest)
        tree = self._trees / _hex(digest)
        record = tree.with_name(f"{tree.name}.json")
        known = entries(record)
        if known is None:
            return None
        looks, read = known
        files = {name: entry for name, (entry, _) in looks.items()}
        due = first and not 0 <= time.time() - read < self._verify_after
        now = {name: look(tree / name) for name in files}  # before they are read: what changes meanwhile is noticed
        changed = [name for name, (_, then) in looks.items() if due or now[name] != then]
        with ThreadPoolExecutor(THREADS) as pool:
            found = pool.map(lambda name: sha256(tree / name), changed)
            damaged = any(files[name].sha256 != digest_now for name, digest_now in zip(changed, found, strict=True))
        if damaged or set(present(tree)) != set(files) or tree_digest(files) != digest:
            self._discard(digest, reference)
            return None
        if changed:
            self._record(tree, files, now, time.time() if due else read)
        with suppress(OSError):
            os.utime(record)
        return Snapshot(tree, reference, files, digest)

    @contextmanager
    def fetching(self, key: str, waiting: Callable[[], None]) -> Iterator[Path]:
        """The folder to fetch into, while no other process fetches the same; ``waiting`` is called if one does."""
        self._make()
        descriptor = _open(self._locks / f"name-{key}")
        try:
            if not _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            folder = self._incoming / key
            with writing(folder):
                folder.mkdir(exist_ok=True)
            yield folder
        finally:
            with suppress(OSError):  # what is half-fetched stays
                folder.rmdir()
            os.close(descriptor)

    def place(self, folder: Path, files: Mapping[str, FileEntry], reference: str) -> Snapshot:
        """Move a folder that holds exactly ``files`` to its place, unless the same tree is there already."""
        digest = tree_digest(files)
        tree = self._trees / _hex(digest)
        kept = self.use(digest, reference)
        if kept is None:
            if tree.exists() and not tree.with_name(f"{tree.name}.json").exists():
                self._discard(digest, reference)  # whoever removed it was killed half-way
            self._hold(digest)
            self._record(tree, files, {name: look(folder / name) for name in files}, time.time())
            with suppress(OSError):  # another process may have placed the same tree from another reference just now
                folder.rename(tree)
            kept = self.use(digest, reference)
        if kept is None:
            raise DownloadError(
                f"{reference}: was changed in the cache while it was placed", hint="let nothing else write to the cache"
            )
        shutil.rmtree(folder, ignore_errors=True)
        return kept

    def make_room(self, size: int, reference: str, *, beside: int = 0, sure: bool = True) -> None:
        """Remove what was used longest ago until ``size`` more bytes fit, ``beside`` those that are here already.

        Raises DownloadError when they cannot; where it is not ``sure`` that they come, only when too many are here.
        """
        self._make()
        needed = beside + (size if sure else 0)
        if needed > self._limit:
            raise DownloadError(
                f"{reference}: {needed:,} bytes do not fit into the cache of {self._limit:,}",
                hint="raise artifacts.cache_gb in the policy, or FTGATE_CACHE_GB on the runner",
            )
        descriptor = _open(self._locks / "evict")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            held = sorted(self._held(), key=lambda entry: entry[0])
            total = sum(taken for _, taken, _ in held)
            hopeless = shutil.disk_usage(self.root).free + total <= size
            for _, taken, path in () if hopeless else held:
                if total + size <= self._limit and shutil.disk_usage(self.root).free > size:
                    return
                total -= taken if self._remove(path) else 0
        finally:
            os.close(descriptor)
        free = shutil.disk_usage(self.root).free
        if free <= size and sure:
            raise DownloadError(
                f"{reference}: {size:,} bytes are needed, {free:,} are free in {self.root}",
                hint="free some space, or set FTGATE_CACHE to a folder on a larger disk",
            )

    def _held(self) -> Iterator[tuple[float, int, Path]]:
        """Last use, size in bytes and path of each tree and each unfinished download."""
        for path in [*self._trees.iterdir(), *self._incoming.iterdir()]:
            if path.is_dir():
                record = path.with_name(f"{path.name}.json")
                with suppress(OSError):
                    when = (record if record.exists() else path).stat().st_mtime
                    yield when, sum((path / name).stat().st_size for name in present(path)), path

    def _remove(self, path: Path) -> bool:
        """Remove a tree or an unfinished download, unless a process works with it."""
        name = f"{'tree' if path.parent == self._trees else 'name'}-{path.name}"
        if self._locks / name in _IN_USE:
            return False
        descriptor = _open(self._locks / name)
        try:
            if not _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                return False
            path.with_name(f"{path.name}.json").unlink(missing_ok=True)
            gone = path.with_name(f".gone-{os.getpid()}-{time.monotonic_ns()}")
            path.rename(gone)
            shutil.rmtree(gone)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _discard(self, digest: str, reference: str) -> None:
        """Remove a damaged tree, which no process may have open."""
        tree = self._trees / _hex(digest)
        self._release(digest)
        if tree.exists() and not self._remove(tree):
            raise DownloadError(
                f"{reference}: its copy in the cache is damaged, and another run uses it: {tree}",
                hint="wait for that run to end, and run again",
            )

    def _hold(self, digest: str) -> bool:
        """Keep others from removing the tree. Whether this process has just begun to."""
        self._make()
        path = self._locks / f"tree-{_hex(digest)}"
        if path in _IN_USE:
            return False
        descriptor = _open(path)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _IN_USE[path] = descriptor
        return True

    def _release(self, digest: str) -> None:
        descriptor = _IN_USE.pop(self._locks / f"tree-{_hex(digest)}", None)
        if descriptor is not None:
            os.close(descriptor)

    def _record(self, tree: Path, files: Mapping[str, FileEntry], looks: Mapping[str, list[int]], read: float) -> None:
        """Note what the files of ``tree`` looked like when they were read, and when all last were."""
        value = {name: [entry.size, entry.sha256, looks[name]] for name, entry in files.items()}
        write(tree.with_name(f"{tree.name}.json"), {"files": value, "read": read})

    def _make(self) -> None:
        with writing(self.root):
            for folder in (self._trees, self._names, self._incoming, self._locks):
                folder.mkdir(parents=True, exist_ok=True)


def key_of(*parts: str | None) -> str:
    """A file name for what a reference is known by."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _open(path: Path) -> int:
    with writing(path):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    return True
