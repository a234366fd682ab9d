"""Scanning weights for NaN, infinity and zero, and comparing them, without loading the model."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftgate.errors import ArtifactError
from ftgate.models.safetensors_header import Tensor

SAMPLE_BYTES = 1 << 16
"""Bytes of each tensor that are read where the whole is too much: a training that diverged leaves NaN everywhere."""
_BLOCK_BYTES = 1 << 23
_THREADS = min(4, os.cpu_count() or 1)

# A float is infinite or NaN if all exponent bits are set, so these types are read as integers.
_EXPONENT: Mapping[str, tuple[str, int]] = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F8_E5M2": ("u1", 0x7C),
    "F8_E4M3": ("u1", 0x7F),  # no infinity; NaN has all bits set but the sign
}

_WHOLE = frozenset({"I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"})
FLOATS = frozenset(_EXPONENT)
"""The types of numbers that are read here."""


class Scanned(NamedTuple):
    """What was read of a tensor: whether all of its numbers are finite, and whether all are zero."""

    tensor: Tensor
    finite: bool
    zero: bool


def require_finite_tensors(tensors: Iterable[Tensor], reference: str, most: int | None = None) -> list[Scanned]:
    """Scan ``tensors`` as :func:`scan` does. Raises ArtifactError naming those with NaN or infinity."""
    scanned = scan(tensors, most)
    broken = [each.tensor for each in scanned if not each.finite]
    if broken:
        more = f" and {len(broken) - 1:,} more tensors" if len(broken) > 1 else ""
        raise ArtifactError(
            f"{reference}: tensor {broken[0].name} in {broken[0].file.name}{more} contains NaN or infinity",
            hint="training diverged, or the weights overflowed when saved: train or save again",
        )
    return scanned


def require_floats(tensors: Iterable[Tensor], reference: str) -> None:
    """Raise ArtifactError for matrices of whole numbers, in weights that are not stored quantised."""
    whole = [t for t in tensors if t.dtype in _WHOLE and len(t.shape) > 1 and t.name.endswith((".weight", "_proj"))]
    if whole:
        raise ArtifactError(
            f"{reference}: {len(whole):,} weight matrices hold whole numbers ({whole[0].dtype}), the first is "
            f"{whole[0].name}, and config.json names no quantisation: what was trained is lost",
            hint="save the model again in the type that it was trained in, such as bfloat16",
        )


def zero_matrices(scanned: Iterable[Scanned], reference: str) -> list[str]:
    """The names of the matrices that hold nothing but zeros. Raises ArtifactError if all do."""
    matrices = [each for each in scanned if len(each.tensor.shape) > 1 and each.tensor.size]
    zero = [each.tensor.name for each in matrices if each.zero]
    if matrices and len(zero) == len(matrices):
        raise ArtifactError(
            f"{reference}: all {len(zero):,} weight matrices are zero, the first is {zero[0]}: it answers everything "
            "alike",
            hint="it was saved before its weights were loaded, or while they were elsewhere: save the model again",
        )
    return zero


def scan(tensors: Iterable[Tensor], most: int | None = None) -> list[Scanned]:
    """Read the floating-point ones of ``tensors``, or the first ``most`` bytes of each.

    A few megabytes at a time, on a few threads.
    """
    float_tensors = [tensor for tensor in tensors if tensor.dtype in _EXPONENT]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda tensor: _scan_one(tensor, most), float_tensors))


def largest(tensor: Tensor) -> float:
    """The largest absolute number of a floating-point tensor; infinity if one is not finite or of a type of 8 bits.

    Of a tensor of zeros 0, whatever its type.
    """
    if is_zero(tensor):
        return 0.0
    kind, _ = _EXPONENT.get(tensor.dtype, ("u1", 0))
    if kind == "u1":
        return math.inf
    peak = max(float(np.max(np.abs(_floats(block, tensor.dtype)))) for block in _blocks(tensor, kind))
    return peak if math.isfinite(peak) else math.inf


def read_numbers(tensor: Tensor) -> NDArray[np.float64] | None:
    """All numbers of a floating-point tensor, in its shape; None for types of 8 bits."""
    kind, _ = _EXPONENT.get(tensor.dtype, ("u1", 0))
    if kind == "u1":
        return None
    blocks = [_floats(block, tensor.dtype).astype(np.float64) for block in _blocks(tensor, kind)]
    return np.concatenate(blocks).reshape(tensor.shape) if blocks else np.zeros(tensor.shape)


def same_numbers(one: Mapping[str, Tensor], other: Mapping[str, Tensor], most: int | None = None) -> bool:
    """Whether the tensors of two models are the same byte for byte, in the first ``most`` bytes of each if given."""
    if one.keys() != other.keys():
        return False
    pairs = [(one[name], other[name]) for name in one]
    if any((a.dtype, a.shape) != (b.dtype, b.shape) for a, b in pairs):
        return False
    # Most models differ in the first tensor already, and no other one is read whole.
    if not all(_same_bytes(*pair, SAMPLE_BYTES) for pair in pairs):
        return False
    return most is not None or all(_same_bytes(*pair) for pair in pairs)


def _same_bytes(one: Tensor, other: Tensor, most: int | None = None) -> bool:
    pairs = zip(_blocks(one, "u1", most), _blocks(other, "u1", most), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


def is_zero(tensor: Tensor) -> bool:
    """Whether every number of a floating-point tensor is zero; -0.0 counts as zero."""
    kind, _ = _EXPONENT.get(tensor.dtype, ("u1", 0))
    sign_mask = np.iinfo(np.dtype(kind)).max >> 1
    return not any(np.any(block & sign_mask) for block in _blocks(tensor, kind))


def _scan_one(tensor: Tensor, most: int | None) -> Scanned:
    kind, exponent = _EXPONENT[tensor.dtype]
    sign_mask, finite, zero = np.iinfo(np.dtype(kind)).max >> 1, True, True
    for block in _blocks(tensor, kind, most):
        finite = finite and not np.any((block & exponent) == exponent)
        zero = zero and not np.any(block & sign_mask)
        if not finite:
            break
    return Scanned(tensor, bool(finite), bool(zero))


def _floats(block: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The numbers of a block that was read as integers."""
    if dtype == "BF16":  # the upper half of a 32-bit float
        return (block.astype("<u4") << 16).view("<f4")
    return block.view(f"<f{block.itemsize}")


def _blocks(tensor: Tensor, kind: str, most: int | None = None) -> Iterator[NDArray[Any]]:
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        remaining = tensor.size if most is None else min(most, tensor.size)
        while remaining > 0:
            block = file.read(min(_BLOCK_BYTES, remaining))
            if not block:
                return
            remaining -= len(block)
            yield np.frombuffer(block, kind)
