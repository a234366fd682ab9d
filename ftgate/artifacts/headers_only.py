"""A remote snapshot for a preflight: small files and adapters whole, of other weights only the header.

The rest of such a file is sparse and reads as zeros.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ftgate.artifacts.archive import is_archive
from ftgate.artifacts.cache import Cache
from ftgate.artifacts.download import MAX_ATTEMPTS, call_with_retries
from ftgate.artifacts.fetch import FetchRequest, checked_listing
from ftgate.artifacts.snapshot import PREFLIGHT_FILE_BYTES, PREFLIGHT_TREE_BYTES, FileEntry, Snapshot, tree_digest
from ftgate.artifacts.sources.base import ArtifactSource, RemoteFile, TransientError
from ftgate.errors import DownloadError

ADAPTER = "adapter_model.safetensors"
"""File name of an adapter's weights, as peft writes it."""
MAX_HEADER_BYTES = 100_000_000
"""Longest safetensors header; the limit of the reference implementation."""
_START_BYTES = 1024
"""Bytes of a large file that are always downloaded: enough to tell its file type."""


def fetch_headers(request: FetchRequest, cache: Cache) -> Snapshot | None:
    """The snapshot for ``request`` with only headers in its large files, in a folder that is removed at exit.

    Adapter weights are downloaded whole (up to PREFLIGHT_TREE_BYTES), so that a preflight can check their values. The
    snapshot's ``headers_only`` names the files that are not whole.

    Returns None if the cache may hold a valid copy already, and for sources that cannot be read in part: archives, and
    files of unknown size. The digest is empty unless the source lists the SHA-256 of its large files. Raises
    ArtifactError for what is refused, DownloadError when the source cannot be read.
    """
    entry = cache.lookup(request.key)
    if entry is not None and (request.source.fixed or request.digest is not None):
        return None
    listing = checked_listing(request)
    files = listing.files
    large = {
        file.name
        for file in files
        if (file.size or 0) > (PREFLIGHT_TREE_BYTES if file.name == ADAPTER else PREFLIGHT_FILE_BYTES)
    }
    if not large or any(file.size is None or is_archive(file.name) for file in files):
        return None
    folder = Path(tempfile.mkdtemp(prefix="ftgate-headers-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        entries = {
            file.name: call_with_retries(_fetch_file, request.source, file, folder, whole=file.name not in large)
            for file in files
        }
    except TransientError as error:
        raise DownloadError(f"{error.message} ({MAX_ATTEMPTS} attempts in a row)", hint="run it again later") from None
    digest = tree_digest(entries) if all(entry.sha256 for entry in entries.values()) else ""
    return Snapshot(folder, request.reference, entries, digest, frozenset(large), listing.ignored_files)


def _fetch_file(source: ArtifactSource, file: RemoteFile, folder: Path, *, whole: bool) -> FileEntry:
    size = file.size or 0
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    if whole:
        digest = hashlib.sha256()
        with path.open("wb") as copy:
            for chunk in _read_chunks(source, file, 0, size):
                copy.write(chunk)
                digest.update(chunk)
        return FileEntry(size, digest.hexdigest())
    beginning = _read(source, file, 0, _START_BYTES)
    length = int.from_bytes(beginning[:8], "little")
    # An impossible length, or no header at all, is reported by whoever reads the file.
    if file.name.endswith(".safetensors") and _START_BYTES - 8 < length <= min(MAX_HEADER_BYTES, size - 8):
        beginning += _read(source, file, _START_BYTES, length + 8 - _START_BYTES)
    with path.open("wb") as sparse_file:
        sparse_file.write(beginning)
        sparse_file.truncate(size)
    return FileEntry(size, file.sha256 or "")


def _read(source: ArtifactSource, file: RemoteFile, start: int, size: int) -> bytes:
    return b"".join(_read_chunks(source, file, start, size))


def _read_chunks(source: ArtifactSource, file: RemoteFile, start: int, size: int) -> Iterator[bytes]:
    """``size`` bytes from ``start`` on, in chunks. Raises TransientError if there are fewer."""
    remaining = size
    with source.open(file, start) as stream:
        skip = start - stream.start  # a source may ignore the offset and start earlier
        for chunk in stream.chunks:
            part = chunk[skip : skip + remaining]
            skip = max(0, skip - len(chunk))
            remaining -= len(part)
            yield part
            if not remaining:
                return
    if remaining:
        raise TransientError(f"{file.name}: ended after {start + size - remaining:,} of {start + size:,} bytes")
