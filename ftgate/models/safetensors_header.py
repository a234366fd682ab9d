"""Tensor names, types and shapes from safetensors headers, without loading weights or torch.

A file is eight bytes of length (little-endian), that much JSON, then the tensors, back to back. Format:
https://github.com/huggingface/safetensors. As strict as the reference implementation: no gaps, no overlaps.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ftgate.artifacts.headers_only import MAX_HEADER_BYTES
from ftgate.errors import ArtifactError

BITS: Mapping[str, int] = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Bits per number of each data type."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Type, shape and position of one tensor. ``start`` counts bytes from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    size: int

    @property
    def numbers(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


class _DamagedError(Exception):
    """What is wrong with a header. Never leaves this module."""


def read_header(path: Path, where: str) -> dict[str, Tensor]:
    """The tensors of one file by name, in file order.

    Raises ArtifactError, with ``where`` in front, for a file that is truncated, damaged, or not safetensors.
    """
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            header, offset = _header(file, total)
        return _require_contiguous([_tensor(n, e, path, offset) for n, e in header.items()], offset, total)
    except _DamagedError as error:
        raise ArtifactError(
            f"{where}: not a valid safetensors file: {error}", hint="save or download it again"
        ) from None
    except OSError as error:
        raise ArtifactError(f"{where}: cannot be read: {error.strerror}", hint="check that it exists") from None


def _header(file: BinaryIO, total: int) -> tuple[dict[str, Any], int]:
    first = file.read(8)
    if first == b"version ":
        raise _DamagedError("it is a Git LFS pointer, not the weights: run git lfs pull")
    if len(first) < 8:
        raise _DamagedError(f"it ends after {total} bytes")
    length = int.from_bytes(first, "little")
    if not 2 <= length <= min(MAX_HEADER_BYTES, total - 8):
        raise _DamagedError(f"a header of {length:,} bytes in a file of {total:,}: truncated, or another format")
    try:
        header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise _DamagedError(f"its header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise _DamagedError("its header is not an object")
    header.pop("__metadata__", None)
    return header, 8 + length


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate name")
    return value


def _require_contiguous(tensors: list[Tensor], offset: int, total: int) -> dict[str, Tensor]:
    """The tensors in file order. Raises unless they fill the file from ``offset`` to ``total``."""
    ordered = sorted(tensors, key=lambda t: (t.start, t.size))
    end = offset
    for tensor in ordered:
        if tensor.start + tensor.size > total:
            raise _DamagedError(
                f"tensor {tensor.name} ends at byte {tensor.start + tensor.size:,}, the file at {total:,}: truncated"
            )
        if tensor.start != end:
            raise _DamagedError(f"tensor {tensor.name} {'overlaps another' if tensor.start < end else 'follows a gap'}")
        end = tensor.start + tensor.size
    if end != total:
        raise _DamagedError(f"{total - end:,} bytes follow its last tensor")
    return {tensor.name: tensor for tensor in ordered}


def _tensor(name: str, entry: Any, path: Path, offset: int) -> Tensor:
    if not isinstance(entry, dict) or not _is_counts(entry.get("shape")) or not _is_counts(entry.get("data_offsets")):
        raise _DamagedError(f"tensor {name[:80]!a} has an invalid entry")
    dtype, shape, offsets = entry.get("dtype"), tuple(entry["shape"]), entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS or len(offsets) != 2:
        raise _DamagedError(f"tensor {name[:80]!a} has an invalid entry: data type {dtype!a}, offsets {offsets[:3]}")
    size, bits = offsets[1] - offsets[0], math.prod(shape) * BITS[dtype]
    if bits != size * 8:
        raise _DamagedError(f"tensor {name[:80]!a}: {dtype} {list(shape)} does not fit {size:,} bytes")
    return Tensor(name, dtype, shape, path, offset + offsets[0], size)


def _is_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)
