"""A remote snapshot as far as a preflight needs it: small files and an adapter whole, other weights as headers alone.

The rest of such a file is a hole, which reads as zeros.
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
from ftgate.artifacts.download import TRIES, persistently
from ftgate.artifacts.fetch import FetchRequest, listed
from ftgate.artifacts.snapshot import GLANCE, SMALL, FileEntry, Snapshot, tree_digest
from ftgate.artifacts.sources.base import RemoteFile, Source, TransientError
from ftgate.errors import DownloadError

ADAPTER = "adapter_model.safetensors"
"""An adapter's weights, under the one name that peft gives them."""
MOST_HEADER = 100_000_000
"""Bytes of a safetensors header: the reference implementation's own limit."""
_HEAD = 1024
"""Bytes of a large file that are fetched in any case: what it is can be told from them."""


def skim(wish: FetchRequest, cache: Cache) -> Snapshot | None:
    """The snapshot of ``wish`` with nothing but headers in its large files, in a folder that ends with the process.

    An adapter's own weights are fetched whole, up to what a glance reads: it is their numbers that can be wrong. The
    files that are not whole are the snapshot's ``headers_only``.

    None where a copy that need not be looked at again may be in the cache, and where the source has to be fetched whole
    to be looked at: archives, and files of unknown size. The digest is empty unless the source knows those of its large
    files. Raises ArtifactError for what is refused, DownloadError when the source cannot be read.
    """
    known = cache.known(wish.key)
    if known is not None and (wish.source.fixed or wish.digest is not None):
        return None
    listing = listed(wish)
    files = listing.files
    large = {file.name for file in files if (file.size or 0) > (GLANCE if file.name == ADAPTER else SMALL)}
    if not large or any(file.size is None or is_archive(file.name) for file in files):
        return None
    folder = Path(tempfile.mkdtemp(prefix="ftgate-skim-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        entries = {
            file.name: persistently(_skim, wish.source, file, folder, whole=file.name not in large) for file in files
        }
    except TransientError as error:
        raise DownloadError(f"{error.message}, {TRIES} times in a row", hint="run it again later") from None
    digest = tree_digest(entries) if all(entry.sha256 for entry in entries.values()) else ""
    return Snapshot(folder, wish.reference, entries, digest, frozenset(large), listing.aside)


def _skim(source: Source, file: RemoteFile, folder: Path, *, whole: bool) -> FileEntry:
    size = file.size or 0
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    if whole:
        digest = hashlib.sha256()
        with path.open("wb") as copy:
            for piece in _pieces(source, file, 0, size):
                copy.write(piece)
                digest.update(piece)
        return FileEntry(size, digest.hexdigest())
    head = _read(source, file, 0, _HEAD)
    length = int.from_bytes(head[:8], "little")
    # A length that makes no sense, or no header at all, is left for whoever reads it to name.
    if file.name.endswith(".safetensors") and _HEAD - 8 < length <= min(MOST_HEADER, size - 8):
        head += _read(source, file, _HEAD, length + 8 - _HEAD)
    with path.open("wb") as headers_only:
        headers_only.write(head)
        headers_only.truncate(size)
    return FileEntry(size, file.sha256 or "")


def _read(source: Source, file: RemoteFile, start: int, size: int) -> bytes:
    return b"".join(_pieces(source, file, start, size))


def _pieces(source: Source, file: RemoteFile, start: int, size: int) -> Iterator[bytes]:
    """``size`` bytes from ``start`` on, piece by piece. Raises TransientError where there are fewer."""
    left = size
    with source.open(file, start) as stream:
        skip = start - stream.start  # a source may begin earlier than it was asked to
        for chunk in stream.chunks:
            piece = chunk[skip : skip + left]
            skip = max(0, skip - len(chunk))
            left -= len(piece)
            yield piece
            if not left:
                return
    if left:
        raise TransientError(f"{file.name}: it ended after {start + size - left:,} of {start + size:,} bytes")
