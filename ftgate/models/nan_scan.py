"""Looking at every number of a model without loading it: is each one a number at all, is any of them not zero?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftgate.errors import ControlError
from ftgate.models.safetensors_header import Tensor

_BLOCK = 1 << 23
_THREADS = min(4, os.cpu_count() or 1)

# A floating-point number is infinite or NaN when all its exponent bits are set; so these types are read as integers.
_EXPONENT: Mapping[str, tuple[str, int]] = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F8_E5M2": ("u1", 0x7C),
    "F8_E4M3": ("u1", 0x7F),  # has no infinity, and one NaN of either sign: all bits set
}


def require_finite(tensors: Iterable[Tensor], reference: str) -> None:
    """Read every floating-point tensor; raise ControlError naming those with a NaN or an infinity."""
    broken = non_finite(tensors)
    if broken:
        more = f" and {len(broken) - 1:,} more tensors" if len(broken) > 1 else ""
        raise ControlError(
            f"{reference}: tensor {broken[0].name} in {broken[0].file.name}{more} holds NaN or infinity",
            hint="the training diverged, or the weights overflowed when they were saved: train or save again",
        )


def non_finite(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Those of ``tensors`` that hold a NaN or an infinity. Reads a few megabytes at a time, on a few threads."""
    looked_at = [tensor for tensor in tensors if tensor.dtype in _EXPONENT]
    with ThreadPoolExecutor(_THREADS) as pool:
        return [t for t, broken in zip(looked_at, pool.map(_is_broken, looked_at), strict=True) if broken]


def is_zero(tensor: Tensor) -> bool:
    """Whether every number of a floating-point tensor is zero; -0.0 is."""
    kind, _ = _EXPONENT.get(tensor.dtype, ("u1", 0))
    unsigned = np.iinfo(np.dtype(kind)).max >> 1
    return not any(np.any(block & unsigned) for block in _blocks(tensor, kind))


def _is_broken(tensor: Tensor) -> bool:
    kind, exponent = _EXPONENT[tensor.dtype]
    return any(bool(np.any((block & exponent) == exponent)) for block in _blocks(tensor, kind))


def _blocks(tensor: Tensor, kind: str) -> Iterator[NDArray[Any]]:
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        left = tensor.size
        while left > 0:
            block = file.read(min(_BLOCK, left))
            if not block:
                return
            left -= len(block)
            yield np.frombuffer(block, kind)
