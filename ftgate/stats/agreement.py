"""How well two raters agree, on a scale of ordered levels or in labels without an order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ftgate.stats import checks, normal
from ftgate.stats.checks import FloatArray
from ftgate.stats.interval import Interval


def levels_of(scores: ArrayLike, levels: int) -> NDArray[np.int64]:
    """The nearest of ``levels`` equally spaced levels, from 0 on, for each score in [0, 1]; halves go up."""
    return np.floor(checks.scores("scores", scores) * (levels - 1) + 0.5).astype(np.int64)


def confusion(first: ArrayLike, second: ArrayLike, levels: int) -> NDArray[np.int64]:
    """How often each level of the first rater (row) met each of the second (column), shape (levels, levels)."""
    table = np.zeros((levels, levels), dtype=np.int64)
    np.add.at(table, (levels_of(first, levels), levels_of(second, levels)), 1)
    return table


def weighted_kappa(table: ArrayLike) -> float:
    """Cohen's kappa with quadratic weights (Cohen 1968) of a square table; 1 is agreement, 0 that of chance.

    NaN where both raters used a single level, the same one: there is nothing to agree on.
    """
    counts = np.asarray(table, dtype=np.float64)
    n, k = counts.sum(), len(counts)
    weights = (np.arange(k)[:, None] - np.arange(k)[None, :]) ** 2
    by_chance = float((weights * np.outer(counts.sum(axis=1), counts.sum(axis=0))).sum() / n)
    return 1 - float((weights * counts).sum()) / by_chance if by_chance else math.nan


def cohens_kappa(one: Sequence[Hashable], other: Sequence[Hashable]) -> float | None:
    """Agreement beyond chance of two raters' labels, which have no order: (p_o - p_e) / (1 - p_e) (Cohen 1960).

    None where chance alone agrees, and without labels.
    """
    n = len(one)
    if not n:
        return None
    counts, others = Counter(one), Counter(other)
    by_chance = sum(counts[value] * others[value] for value in counts) / n**2
    agreed = sum(a == b for a, b in zip(one, other, strict=True)) / n
    return None if by_chance >= 1 else (agreed - by_chance) / (1 - by_chance)


def kappa_interval(
    first: ArrayLike, second: ArrayLike, levels: int, clusters: Sequence[Hashable], alpha: float
) -> Interval:
    """:func:`weighted_kappa` of two raters' scores in [0, 1], with one-sided bounds of level ``alpha`` on either side.

    Each rating belongs to one of ``clusters`` (answers to one prompt are alike). The bounds are normal ones after
    Fisher's transformation, whose standard error is the jackknife's over clusters. Without a disagreement, or with a
    single cluster, both bounds are the estimate, which then shows nothing of its own precision.
    """
    tables = _by_cluster(clusters, lambda group: confusion(np.asarray(first)[group], np.asarray(second)[group], levels))
    whole = tables.sum(axis=0)
    estimate = weighted_kappa(whole)
    if len(tables) < 2 or not abs(estimate) < 1:
        return Interval(estimate, estimate, estimate)
    without = np.array([weighted_kappa(whole - table) for table in tables])
    z = np.arctanh(np.clip(without, -1 + 1e-9, 1 - 1e-9))
    half = normal.critical(alpha) * _jackknife_error(z)
    centre = math.atanh(estimate)
    return Interval(estimate, math.tanh(centre - half), math.tanh(centre + half))


def mean_interval(values: ArrayLike, clusters: Sequence[Hashable], alpha: float) -> Interval:
    """The mean of ``values`` with normal bounds; the standard error is the jackknife's over ``clusters``."""
    numbers = np.asarray(values, dtype=np.float64)
    parts = _by_cluster(clusters, lambda group: np.array([numbers[group].sum(), len(group)]))
    total, count = parts.sum(axis=0)
    estimate = float(total / count)
    if len(parts) < 2:
        return Interval(estimate, -math.inf, math.inf)
    half = normal.critical(alpha) * _jackknife_error((total - parts[:, 0]) / (count - parts[:, 1]))
    return Interval(estimate, estimate - half, estimate + half)


def _by_cluster(clusters: Sequence[Hashable], summed: Callable[[list[int]], NDArray[Any]]) -> NDArray[Any]:
    members: dict[Hashable, list[int]] = {}
    for i, name in enumerate(clusters):
        members.setdefault(name, []).append(i)
    return np.array([summed(group) for group in members.values()])


def _jackknife_error(without: FloatArray) -> float:
    """The standard error from the estimates without one cluster each (Efron 1982, section 3.1)."""
    m = len(without)
    return math.sqrt((m - 1) / m * float(((without - without.mean()) ** 2).sum()))
