"""Files of the cache: listing, change detection, hashing, and JSON records that are written atomically."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftgate.artifacts.snapshot import FileEntry
from ftgate.errors import DownloadError
from ftgate.files import Stamp, file_stamp

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a damaged record may raise; the files are then downloaded again."""
_CHECKSUM = "checksum"


def list_files(folder: Path) -> list[str]:
    """POSIX paths of every file below ``folder``, and of anything else that is not a folder."""
    return [Path(at, name).relative_to(folder).as_posix() for at, _, names in os.walk(folder) for name in names]


def read_record(record: Path) -> tuple[dict[str, tuple[FileEntry, Stamp]], float] | None:
    """A tree's record: (entry, stamp) by file name, and when all were last hashed. None without a valid record."""
    try:
        value = json.loads(record.read_bytes())
        files = {
            name: (FileEntry(size, digest), _stamp_of(stamp)) for name, (size, digest, stamp) in value["files"].items()
        }
        return files, float(value.get("read", 0))
    except UNREADABLE:
        return None


def _stamp_of(value: Any) -> Stamp:
    """A recorded stamp; empty, which no file has, if an older version recorded something else."""
    return tuple(value) if isinstance(value, list) else ()


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file; empty if it is not a readable regular file."""
    if not file_stamp(path):
        return ""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError while ``path`` is written into a DownloadError that says what to do."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"cannot write {path} in the cache: {error.strerror}",
            hint="set FTGATE_CACHE to a writable folder with enough space",
        ) from None


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, atomically."""
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    with explain_write_errors(path):
        partial.write_text(json.dumps(value), encoding="utf-8")
        partial.replace(path)


def with_checksum(value: Mapping[str, Any]) -> dict[str, Any]:
    """``value``, which can be written as JSON, and a checksum of all its fields."""
    return {**value, _CHECKSUM: _checksum(value)}


def without_checksum(value: dict[str, Any]) -> dict[str, Any]:
    """What :func:`with_checksum` was given. Raises ValueError if it was damaged; older records have no checksum."""
    if value.pop(_CHECKSUM, None) not in (None, _checksum(value)):
        raise ValueError("its checksum does not match")
    return value


def _checksum(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]
