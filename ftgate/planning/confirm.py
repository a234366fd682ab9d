"""What the best of several candidates is worth, measured on items that did not choose it.

The best of several was also the luckiest, so its own gain overstates what it is worth (the winner's curse). Half of the
items choose it, and its gain is measured on the other half, which had no say (data splitting, Cox 1975).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ftgate.stats.bootstrap import resampled_difference
from ftgate.stats.seeding import drawn_order, generator

LEAST_ITEMS = 40
"""Common items, or clusters of items, below which halves are too small to say anything."""
ALPHA = 0.05
"""On each side of the interval."""
LEVEL = 1 - 2 * ALPHA


class TargetItem(NamedTuple):
    """The scores of base and candidate on one item, in [0, 1], and the cluster that it belongs to, if to any."""

    base: float
    candidate: float
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The candidate that gains most on one half of the common items, with its gain on the ``n`` items of the other.

    Gains are in [-1, 1]; the interval from ``low`` to ``high`` has the level ``LEVEL``.
    """

    name: str
    among: tuple[str, ...]
    chosen_gain: float
    gain: float
    low: float
    high: float
    n: int


def confirm(candidates: Mapping[str, Mapping[str, TargetItem]], seed: int) -> Confirmation | str:
    """Choose and confirm among ``candidates``, the target items of each by id; or why that cannot be done.

    Clusters are kept whole: items of one cluster in both halves would let the choice see what confirms it. Whether a
    candidate is in ``candidates`` must not depend on these scores, or the confirmed gain is biased upwards.
    """
    if len(candidates) < 2:
        return "fewer than two candidates could be chosen, so nothing was"
    common = set.intersection(*(set(items) for items in candidates.values()))
    first = next(iter(candidates.values()))
    units: dict[str, list[str]] = {}
    for item in sorted(common):
        units.setdefault(f"cluster {first[item].cluster}" if first[item].cluster else f"item {item}", []).append(item)
    names = sorted(units)
    if len(names) < LEAST_ITEMS:
        what = "clusters of items" if len(units) < len(common) else "items"
        return f"they share {len(names)} {what} of the target suite, and {LEAST_ITEMS} are needed"
    order = [names[at] for at in drawn_order(seed, "compare", names)]
    choosing, confirming = ([i for name in half for i in units[name]] for half in _halves(order))
    gains = {name: _mean_gain(items, choosing) for name, items in candidates.items()}
    best = max(gains, key=lambda name: gains[name])  # of equal ones the first
    rows = [candidates[best][item] for item in confirming]
    table = np.array([(row.base, row.candidate) for row in rows], dtype=np.float64)
    clusters = [row.cluster or f"item {item}" for item, row in zip(confirming, rows, strict=True)]
    grouped = clusters if any(row.cluster for row in rows) else None
    drawn = resampled_difference(table[:, 0], table[:, 1], generator(seed, "compare"), clusters=grouped)
    interval = drawn.interval(ALPHA)
    return Confirmation(
        best, tuple(candidates), gains[best], interval.estimate, interval.low, interval.high, len(confirming)
    )


def _halves(order: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    return order[: len(order) // 2], order[len(order) // 2 :]


def _mean_gain(items: Mapping[str, TargetItem], chosen: Sequence[str]) -> float:
    return float(np.mean([items[item].candidate - items[item].base for item in chosen]))
