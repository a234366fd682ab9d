"""Snapshots that were fetched, by their digest: shared by every run on a machine, bounded, and never trusted blindly.

``trees/<digest>/`` holds the files and ``trees/<digest>.json`` what they were when they were placed (its time: last
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
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftgate.artifacts.digest import FileEntry, Snapshot, tree_digest
from ftgate.errors import DownloadError

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a damaged record may raise: then the files are fetched again."""
_IN_USE: dict[Path, int] = {}
"""Shared locks on trees, by lock file, until the process ends: engines read them long after they were resolved."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a reference named when it was last fetched: a digest, and the listing it came from."""

    digest: str
    listing: list[Any]


class Cache:
    """A folder of snapshots that takes at most ``limit`` bytes, what is in use aside."""

    def __init__(self, root: Path, limit: int) -> None:
        self.root, self._limit = root, limit
        self._trees, self._names, self._incoming, self._locks = (
            root / part for part in ("trees", "names", "incoming", "locks")
        )

    def known(self, key: str) -> Known | None:
        """What the reference with this ``key`` named last, if it was ever fetched."""
        try:
            found = json.loads((self._names / f"{key}.json").read_bytes())
            return Known(str(found["digest"]), list(found["listing"]))
        except _UNREADABLE:
            return None

    def remember(self, key: str, reference: str, known: Known) -> None:
        """Note what the reference names now."""
        value = {"reference": reference, "digest": known.digest, "listing": known.listing}
        _write(self._names / f"{key}.json", value)

    def use(self, digest: str, reference: str) -> Snapshot | None:
        """The snapshot with this digest, in use until the process ends; None when it is not here or is damaged.

        A file whose size and time are as they were counts as unchanged; any other is read and compared.
        """
        self._hold(digest)
        tree = self._trees / _hex(digest)
        record = tree.with_name(f"{tree.name}.json")
        known = _entries(record)
        if known is None:
            return None
        files = {name: entry for name, (entry, _) in known.items()}
        changed = [name for name, (entry, when) in known.items() if _stat(tree / name) != (entry.size, when)]
        damaged = any(_sha256(tree / name) != files[name].sha256 for name in changed)
        if damaged or set(_present(tree)) != set(files) or tree_digest(files) != digest:
            self._discard(digest, reference)
            return None
        if changed:
            self._record(tree, tree, files)
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
            with _writing(folder):
                folder.mkdir(exist_ok=True)
            yield folder
        finally:
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
            self._record(folder, tree, files)
            with suppress(OSError):  # another process may have placed the same tree from another reference just now
                folder.rename(tree)
            kept = self.use(digest, reference)
        if kept is None:
            raise DownloadError(
                f"{reference}: was changed in the cache while it was placed", hint="let nothing else write to the cache"
            )
        shutil.rmtree(folder, ignore_errors=True)
        return kept

    def make_room(self, size: int, reference: str) -> None:
        """Remove what was used longest ago until ``size`` more bytes fit. Raises DownloadError when they cannot."""
        self._make()
        if size > self._limit:
            raise DownloadError(
                f"{reference}: {size:,} bytes do not fit into the cache of {self._limit:,}",
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
        if free <= size:
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
                    yield when, sum((path / name).stat().st_size for name in _present(path)), path

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

    def _hold(self, digest: str) -> None:
        self._make()
        path = self._locks / f"tree-{_hex(digest)}"
        if path not in _IN_USE:
            descriptor = _open(path)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            _IN_USE[path] = descriptor

    def _release(self, digest: str) -> None:
        descriptor = _IN_USE.pop(self._locks / f"tree-{_hex(digest)}", None)
        if descriptor is not None:
            os.close(descriptor)

    def _record(self, folder: Path, tree: Path, files: Mapping[str, FileEntry]) -> None:
        """Note what the files of ``tree``, which are still in ``folder``, look like."""
        value = {name: [entry.size, entry.sha256, _stat(folder / name)[1]] for name, entry in files.items()}
        _write(tree.with_name(f"{tree.name}.json"), {"files": value})

    def _make(self) -> None:
        with _writing(self.root):
            for folder in (self._trees, self._names, self._incoming, self._locks):
                folder.mkdir(parents=True, exist_ok=True)


def key_of(*parts: str | None) -> str:
    """A file name for what a reference is known by."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _present(folder: Path) -> list[str]:
    """Every file below ``folder`` and whatever else is no folder, as POSIX paths."""
    return [Path(at, name).relative_to(folder).as_posix() for at, _, names in os.walk(folder) for name in names]


def _entries(record: Path) -> dict[str, tuple[FileEntry, int]] | None:
    """What the files of a tree were when it was placed, or None where no record says so."""
    try:
        files = json.loads(record.read_bytes())["files"]
        return {name: (FileEntry(size, sha256), when) for name, (size, sha256, when) in files.items()}
    except _UNREADABLE:
        return None


def _stat(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds; (-1, 0) for what is no file."""
    try:
        found = path.lstat()
    except OSError:
        return -1, 0
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else (-1, 0)


def _sha256(path: Path) -> str:
    """Hex, or nothing for what is no file that can be read."""
    if _stat(path)[0] < 0:
        return ""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"the cache cannot write {path}: {error.strerror}",
            hint="set FTGATE_CACHE to a folder that the runner may write to, with enough space",
        ) from None


def _open(path: Path) -> int:
    with _writing(path):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    return True


def _write(path: Path, value: Any) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    with _writing(path):
        partial.write_text(json.dumps(value), encoding="utf-8")
        partial.replace(path)
