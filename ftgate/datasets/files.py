"""Data files as streams of bytes: plain, or packed by gzip or Zstandard."""

from __future__ import annotations

import gzip
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

MAX_UNPACKED = 20_000_000_000
"""Bytes of a packed file that are written to the disk: a small file of zeros could fill it."""
_CHUNK = 1 << 20
PACKED = (".gz", ".zst")
"""The suffixes of packed files, which stand after the suffix of the format."""


def format_of(path: Path) -> str:
    """The suffix that says how rows are written, in lower case: ``.csv`` for ``rows.csv.gz``."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in PACKED else suffix


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The unpacked content of ``path``, read as a stream. Raises OSError, also where the packing is damaged."""
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        if suffix == ".gz":
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield cast("BinaryIO", unpacked)
        elif suffix == ".zst":
            import pyarrow as pa

            with pa.CompressedInputStream(file, "zstd") as stream:
                yield cast("BinaryIO", io.BufferedReader(stream))
        else:
            yield file


@contextmanager
def seekable(path: Path) -> Iterator[BinaryIO]:
    """As :func:`opened`, for formats that are not read from front to back: unpacked into a temporary file."""
    if path.suffix.lower() not in PACKED:
        with path.open("rb") as file:
            yield file
        return
    with opened(path) as packed, tempfile.TemporaryFile() as unpacked:
        while chunk := packed.read(_CHUNK):
            if unpacked.tell() > MAX_UNPACKED:
                raise OSError(f"more than {MAX_UNPACKED:,} bytes unpacked")
            unpacked.write(chunk)
        unpacked.seek(0)
        yield cast("BinaryIO", unpacked)
