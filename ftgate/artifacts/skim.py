"""A remote snapshot as far as a preflight needs it: small files whole, large weights as headers in files with holes."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from pathlib import Path

from ftgate.artifacts.cache import Cache
from ftgate.artifacts.digest import SMALL, FileEntry, Snapshot, tree_digest
from ftgate.artifacts.download import TRIES, persistently
from ftgate.artifacts.fetch import Wish, listed
from ftgate.artifacts.safetensors_header import MOST_HEADER
from ftgate.artifacts.sources.base import RemoteFile, Source, TransientError
from ftgate.artifacts.unpack import is_archive
from ftgate.errors import DownloadError

_HEAD = 1024
"""Bytes of a large file that are fetched in any case: what it is can be told from them."""


def skim(wish: Wish, cache: Cache) -> Snapshot | None:
    """The snapshot of ``wish`` with nothing but headers in its large files, in a folder that ends with the process.

    None where a copy that need not be looked at again may be in the cache, and where the source has to be fetched whole
    to be looked at: archives, and files of unknown size. The digest is empty unless the source knows those of its large
    files. Raises ArtifactError for what is refused, DownloadError when the source cannot be read.
    """
    known = cache.known(wish.key)
    if known is not None and (wish.source.fixed or wish.digest is not None):
        return None
    files = listed(wish)
    large = [file for file in files if (file.size or 0) > SMALL]
    if not large or any(file.size is None or is_archive(file.name) for file in files):
        return None
    folder = Path(tempfile.mkdtemp(prefix="ftgate-skim-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        entries = {file.name: persistently(_skim, wish.source, file, folder, whole=file not in large) for file in files}
    except TransientError as error:
        raise DownloadError(f"{error.message}, {TRIES} times in a row", hint="run it again later") from None
    digest = tree_digest(entries) if all(entry.sha256 for entry in entries.values()) else ""
    return Snapshot(folder, wish.reference, entries, digest)


def _skim(source: Source, file: RemoteFile, folder: Path, *, whole: bool) -> FileEntry:
    size = file.size or 0
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    if whole:
        content = _read(source, file, 0, size)
        path.write_bytes(content)
        return FileEntry(size, hashlib.sha256(content).hexdigest())
    head = _read(source, file, 0, _HEAD)
    length = int.from_bytes(head[:8], "little")
    # A length that makes no sense, or no header at all, is left for whoever reads it to name.
    if file.name.endswith(".safetensors") and _HEAD - 8 < length <= min(MOST_HEADER, size - 8):
        head += _read(source, file, _HEAD, length + 8 - _HEAD)
    with path.open("wb") as hollow:
        hollow.write(head)
        hollow.truncate(size)
    return FileEntry(size, file.sha256 or "")


def _read(source: Source, file: RemoteFile, start: int, size: int) -> bytes:
    """``size`` bytes from ``start`` on. Raises TransientError where there are fewer."""
    content = bytearray()
    with source.open(file, start) as stream:
        skipped = start - stream.start  # a source may begin earlier than it was asked to
        for chunk in stream.chunks:
            content += chunk
            if len(content) >= skipped + size:
                return bytes(content[skipped : skipped + size])
    if len(content) < skipped + size:
        raise TransientError(f"{file.name}: it ended after {len(content):,} of {skipped + size:,} bytes")
    return b""
