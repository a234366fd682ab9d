"""The files of the cache: what they look like, what they hold, and records that are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftgate.artifacts.snapshot import FileEntry
from ftgate.errors import DownloadError

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a damaged record may raise: then the files are fetched again."""


def present(folder: Path) -> list[str]:
    """Every file below ``folder`` and whatever else is no folder, as POSIX paths."""
    return [Path(at, name).relative_to(folder).as_posix() for at, _, names in os.walk(folder) for name in names]


def entries(record: Path) -> tuple[dict[str, tuple[FileEntry, Any]], float] | None:
    """What the files of a tree were and looked like, and when all were read; None where no record says so."""
    try:
        found = json.loads(record.read_bytes())
        files = {name: (FileEntry(size, digest), looks) for name, (size, digest, looks) in found["files"].items()}
        return files, float(found.get("read", 0))
    except UNREADABLE:
        return None


def look(path: Path) -> list[int]:
    """Size in bytes, times at which content and file changed in nanoseconds, and inode; empty for what is no file.

    Anyone can set the first of the times back, as tools that copy do; the second is the system's own.
    """
    try:
        found = path.lstat()
    except OSError:
        return []
    kind = stat.S_ISREG(found.st_mode)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino] if kind else []


def sha256(path: Path) -> str:
    """Hex, or nothing for what is no file that can be read."""
    if not look(path):
        return ""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what fails while ``path`` is written into a DownloadError that says what to do."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"the cache cannot write {path}: {error.strerror}",
            hint="set FTGATE_CACHE to a folder that the runner may write to, with enough space",
        ) from None


def write(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    with writing(path):
        partial.write_text(json.dumps(value), encoding="utf-8")
        partial.replace(path)
