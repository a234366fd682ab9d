"""Names, types and shapes of tensors from the headers of safetensors files, without loading weights or torch."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ftgate.errors import ArtifactError, ControlError

MOST_HEADER = 100 * 1024 * 1024
_BLOCK = 1 << 22
_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: where it lies and what it is. ``start`` counts bytes from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    size: int


def read_tensors(folder: Path, names: Mapping[str, Any], reference: str) -> dict[str, Tensor]:
    """Every tensor of every safetensors file of a folder, by name. ``names`` are the folder's file names.

    Raises ArtifactError for a damaged file, or for a name that two files hold.
    """
    tensors: dict[str, Tensor] = {}
    for name in sorted(names):
        if not name.endswith(".safetensors"):
            continue
        for tensor in _read_header(folder / name, f"{reference}: {name}"):
            if tensor.name in tensors:
                raise ArtifactError(
                    f"{reference}: tensor {tensor.name} is in {tensors[tensor.name].file.name} and in {name}",
                    hint="keep one of the two files",
                )
            tensors[tensor.name] = tensor
    return tensors


def _read_header(path: Path, where: str) -> list[Tensor]:
    total = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else -1
        if not 2 <= length <= min(MOST_HEADER, total - 8):
            raise _damaged(where, f"a header of {length:,} bytes in a file of {total:,}")
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        raise _damaged(where, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise _damaged(where, "its header is not an object")
    found = [_tensor(n, e, path, 8 + length, where) for n, e in header.items() if n != "__metadata__"]
    end = 8 + length
    for tensor in sorted(found, key=lambda t: (t.start, t.size)):
        if tensor.start < end and tensor.size:
            raise _damaged(where, f"tensor {tensor.name} overlaps another")
        end = tensor.start + tensor.size
    if end > total:
        raise _damaged(where, f"its tensors end at byte {end:,}, the file at {total:,}: it was cut short")
    return found


def _tensor(name: str, entry: Any, path: Path, offset: int, where: str) -> Tensor:
    try:
        dtype, shape, (start, end) = entry["dtype"], tuple(int(n) for n in entry["shape"]), entry["data_offsets"]
        size = int(end) - int(start)
    except (KeyError, TypeError, ValueError):
        raise _damaged(where, f"tensor {name[:80]!r} is described wrongly") from None
    wanted = math.prod(shape) * _BYTES.get(dtype, 0)
    if start < 0 or any(n < 0 for n in shape) or (dtype in _BYTES and wanted != size):
        raise _damaged(where, f"tensor {name[:80]!r}: {dtype} {list(shape)} does not fit {size:,} bytes")
    return Tensor(name, dtype, shape, path, offset + int(start), size)


def _damaged(where: str, problem: str) -> ArtifactError:
    return ArtifactError(f"{where}: not a whole safetensors file: {problem}", hint="save or download it again")


def require_finite(tensors: Mapping[str, Tensor], reference: str) -> None:
    """Read every floating-point tensor in blocks; raise ControlError naming the first with a NaN or an infinity."""
    for tensor in tensors.values():
        for block in _blocks(tensor):
            if not _finite(block, tensor.dtype):
                raise ControlError(
                    f"{reference}: tensor {tensor.name} in {tensor.file.name} holds NaN or infinity",
                    hint="the training diverged, or the weights overflowed when they were saved: train or save again",
                )


def is_zero(tensor: Tensor) -> bool:
    """Whether every element is zero."""
    # A sign bit alone is -0.0, which is zero too; masking it would need the element size, so compare values.
    return all(not np.any(_values(block, tensor.dtype)) for block in _blocks(tensor))


def _blocks(tensor: Tensor) -> Iterator[bytes]:
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        left = tensor.size
        while left > 0:
            block = file.read(min(_BLOCK, left))
            if not block:
                return
            left -= len(block)
            yield block


def _finite(block: bytes, dtype: str) -> bool:
    if dtype in ("F64", "F32", "F16"):
        return bool(np.isfinite(_values(block, dtype)).all())
    if dtype == "BF16":
        # A bfloat16 is the upper half of a float32: infinite or NaN when all eight exponent bits are set.
        return not bool(np.any((np.frombuffer(block, "<u2") & 0x7F80) == 0x7F80))
    return True


def _values(block: bytes, dtype: str) -> np.ndarray[Any, Any]:
    if dtype == "BF16":
        return np.frombuffer(block, "<u2") & 0x7FFF
    return np.frombuffer(block, {"F64": "<f8", "F32": "<f4", "F16": "<f2"}.get(dtype, "u1"))
