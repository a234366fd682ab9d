"""What every estimator asks of its input before it does any arithmetic. Each failure names the value and its place."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def scores(name: str, values: ArrayLike) -> FloatArray:
    """``values`` as a float array of shape (n,), n >= 1.

    Raises ValueError for any other shape, for an empty array, and for a value that is NaN or outside [0, 1].
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: one score for each item was expected, got an array of shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name}: there are no scores")
    bad = np.flatnonzero(~((array >= 0.0) & (array <= 1.0)))
    if bad.size:
        raise ValueError(f"{name}[{bad[0]}] = {array[bad[0]]}: a score must be a number from 0 to 1")
    return array


def outcomes(name: str, values: ArrayLike) -> FloatArray:
    """As :func:`scores`, and each value is 0 or 1."""
    array = scores(name, values)
    bad = np.flatnonzero((array != 0.0) & (array != 1.0))
    if bad.size:
        raise ValueError(f"{name}[{bad[0]}] = {array[bad[0]]}: 0 or 1 was expected")
    return array


def aligned(first: str, a: FloatArray, second: str, b: FloatArray) -> None:
    """Raises ValueError unless both arrays have one entry for each of the same items."""
    if len(a) != len(b):
        raise ValueError(f"{first} has {len(a)} items and {second} has {len(b)}: both must describe the same items")


def level(alpha: float) -> float:
    """``alpha``, the error allowed on one side. Raises ValueError unless 0 < alpha < 0.5."""
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha = {alpha}: a one-sided level between 0 and 0.5 was expected")
    return alpha


def share(name: str, value: float) -> float:
    """``value``. Raises ValueError unless 0 < value < 1."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} = {value}: a share strictly between 0 and 1 was expected")
    return value


def at_least(name: str, value: int, least: int) -> int:
    """``value``. Raises ValueError when it is below ``least``."""
    if value < least:
        raise ValueError(f"{name} = {value}: at least {least} was expected")
    return value


def finite(name: str, value: float) -> float:
    """``value``. Raises ValueError when it is NaN or infinite."""
    if not math.isfinite(value):
        raise ValueError(f"{name} = {value}: a finite number was expected")
    return value
