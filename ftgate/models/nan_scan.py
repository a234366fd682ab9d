"""Scanning weights for NaN, infinity and zero without loading the model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftgate.errors import ControlError
from ftgate.models.safetensors_header import Tensor

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


def require_finite_tensors(tensors: Iterable[Tensor], reference: str) -> None:
    """Read every floating-point tensor. Raises ControlError naming those with NaN or infinity."""
    broken = non_finite(tensors)
    if broken:
        more = f" and {len(broken) - 1:,} more tensors" if len(broken) > 1 else ""
        raise ControlError(
            f"{reference}: tensor {broken[0].name} in {broken[0].file.name}{more} contains NaN or infinity",
            hint="training diverged, or the weights overflowed when saved: train or save again",
        )


def non_finite(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The ``tensors`` that contain NaN or infinity. Reads a few megabytes at a time, on a few threads."""
    float_tensors = [tensor for tensor in tensors if tensor.dtype in _EXPONENT]
    with ThreadPoolExecutor(_THREADS) as pool:
        return [t for t, broken in zip(float_tensors, pool.map(_is_broken, float_tensors), strict=True) if broken]


def is_zero(tensor: Tensor) -> bool:
    """Whether every number of a floating-point tensor is zero; -0.0 counts as zero."""
    kind, _ = _EXPONENT.get(tensor.dtype, ("u1", 0))
    sign_mask = np.iinfo(np.dtype(kind)).max >> 1
    return not any(np.any(block & sign_mask) for block in _blocks(tensor, kind))


def _is_broken(tensor: Tensor) -> bool:
    kind, exponent = _EXPONENT[tensor.dtype]
    return any(bool(np.any((block & exponent) == exponent)) for block in _blocks(tensor, kind))


def _blocks(tensor: Tensor, kind: str) -> Iterator[NDArray[Any]]:
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        remaining = tensor.size
        while remaining > 0:
            block = file.read(min(_BLOCK_BYTES, remaining))
            if not block:
                return
            remaining -= len(block)
            yield np.frombuffer(block, kind)
