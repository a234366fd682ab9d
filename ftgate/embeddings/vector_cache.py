"""Cached text vectors, one file per block of texts: they need little memory and survive a stopped run.

A file ends with the SHA-256 of what is before it, so that a damaged one is computed again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ftgate.domain import digest_of
from ftgate.embeddings.base import BATCH, Embedder, batches
from ftgate.errors import EngineError, StoreError

MAX_CACHE_BYTES = 50_000_000_000
"""Least recently used blocks beyond this many bytes are removed."""
_SUM_BYTES = 32


class VectorFiles:
    """The vectors of some texts, shape (n, d), in single precision; rows are read from files on access.

    ``index`` may be a slice or an array of positions, in any order.
    """

    def __init__(self, blocks: Sequence[Path]) -> None:
        self._blocks = [np.load(path, mmap_mode="r", allow_pickle=False) for path in blocks]
        self._starts = np.cumsum([0, *(len(block) for block in self._blocks)])

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        return (len(self), self._blocks[0].shape[1] if self._blocks else 0)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: Any) -> NDArray[Any]:
        positions = np.arange(len(self))[index]
        rows = np.empty((len(positions), self.shape[1]), dtype=np.float32)
        block = np.searchsorted(self._starts, positions, side="right") - 1
        for number in np.unique(block):
            in_block = block == number
            rows[in_block] = self._blocks[number][positions[in_block] - self._starts[number]]
        return rows


def embed_to_files(
    texts: Iterable[str], embedder: Embedder, folder: Path, on_progress: Callable[[int], None] | None = None
) -> VectorFiles:
    """The vectors of ``texts``, with ``BATCH`` of them in memory at once.

    A block's file is named by the digest of the embedder's identity and its texts. Raises EngineError for a vector that
    is not finite, StoreError if a file cannot be written.
    """
    paths = []
    for number, batch in enumerate(batches(texts)):
        path = folder / f"{digest_of([embedder.identity, batch])}.npy"
        if not _is_complete(path, len(batch)):
            table = np.asarray(embedder.embed(batch, on_progress), dtype=np.float32)
            _require_finite(table, batch, number * BATCH, embedder.name)
            _write(path, table)
        elif on_progress is not None:
            on_progress(len(batch))
        paths.append(path)
    return VectorFiles(paths)


def prune(folder: Path, limit: int = MAX_CACHE_BYTES) -> None:
    """Remove least recently used blocks until at most ``limit`` bytes are left."""
    blocks = []
    for path in folder.glob("*.npy"):
        with suppress(FileNotFoundError):  # another run may prune the same folder
            status = path.stat()
            blocks.append((status.st_mtime, status.st_size, path))
    total = 0
    for _, size, path in sorted(blocks, reverse=True):
        total += size
        if total > limit:
            path.unlink(missing_ok=True)


def _is_complete(path: Path, rows: int) -> bool:
    """Whether the file exists, is complete and undamaged; this counts as a use."""
    try:
        with path.open("rb") as file:
            undamaged = _sha256(file, file.seek(0, os.SEEK_END) - _SUM_BYTES) == file.read()
        complete = undamaged and len(np.load(path, mmap_mode="r", allow_pickle=False)) == rows
        os.utime(path)
    except (OSError, ValueError, EOFError):
        return False
    return complete


def _write(path: Path, table: NDArray[Any]) -> None:
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w+b") as file:
            np.save(file, table, allow_pickle=False)
            file.write(_sha256(file, file.tell()))
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise StoreError(
            f"cannot write {path}: {error}", hint="free disk space and run again: vectors computed so far are kept"
        ) from None


def _sha256(file: BinaryIO, size: int) -> bytes:
    """The hash of the first ``size`` bytes; the file is left after them."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(min(1 << 20, size - file.tell())):
        digest.update(chunk)
    return digest.digest()


def _require_finite(table: NDArray[Any], texts: Sequence[str], start: int, how: str) -> None:
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if bad.size:
        row = int(bad[0])
        raise EngineError(
            f"the embedding ({how}) of text {start + row + 1} contains NaN or infinity: {texts[row][:60]!a}",
            hint="the model overflows or is damaged; embedding: tfidf in the policy needs no model",
        )
