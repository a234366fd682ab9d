"""Slices of a measurement, tested with a correction for multiple comparisons (Holm)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ftgate.domain import Slice
from ftgate.measurements.base import Evidence
from ftgate.measurements.estimate import change_of, comparison, drop_of, mean
from ftgate.scoring.scores import PairedScores
from ftgate.stats.holm import holm, step_down_levels
from ftgate.stats.seeding import drawn_order

LEAST_SLICE = 5
"""Smaller slices are described, not tested."""
SLICE_DRAWS = 500
"""Resamples for a slice: no decision rests on it, and there may be many."""
LEAST_TOPIC = 40
"""Smaller topics are left out of the search for the worst."""
MOST_CONFIRMED = 3
"""Topics that are selected on half of their items and tested on the rest."""


@dataclass(frozen=True, slots=True)
class SliceBuilder:
    """Builds the slices of one measurement, at the level of its look and in the unit of its estimate."""

    evidence: Evidence
    limit: float
    rng: np.random.Generator
    absolute: bool

    def describe(self, name: str, scored: PairedScores) -> Slice:
        """Mean scores and drop, with an interval at the level of this look where there are ``LEAST_SLICE`` items.

        The interval has no correction for multiple comparisons, and the slice has no status.
        """
        summary = means_slice(name, scored, absolute=self.absolute)
        if len(scored.items) < LEAST_SLICE:
            return summary
        fewer_draws = replace(self.evidence, draws=min(self.evidence.draws, SLICE_DRAWS))
        _, compare = comparison(scored, fewer_draws, self.rng, absolute=self.absolute)
        drop = drop_of(scored, compare, self.evidence.alpha, absolute=self.absolute)
        return replace(summary, change=drop.estimate, interval=(drop.low, drop.high))

    def test(self, scored: PairedScores, groups: Mapping[str, PairedScores]) -> tuple[Slice, ...]:
        """A slice for each tag, and for the ``groups`` (topics) that lost most.

        Each group of at least ``LEAST_TOPIC`` items is split in halves by its ids. The first half selects the
        ``MOST_CONFIRMED`` groups that lost most, the other half is tested: slice, interval and n come from that half
        alone. A group that lost nothing is not tested but still counts in the correction, because the number of tested
        groups depends on the same items as the tags. Tags and groups are one family (see :func:`tag_slices`).
        """
        halves = {name: _halves(scored) for name, scored in groups.items() if len(scored.items) >= LEAST_TOPIC}
        drops = {name: change_of(first, absolute=self.absolute) for name, (first, _) in halves.items()}
        worst = sorted((name for name in drops if drops[name] > 0), key=lambda name: (-drops[name], name))
        chosen = {name: halves[name][1] for name in worst[:MOST_CONFIRMED]}
        extra_places = min(MOST_CONFIRMED, len(halves))
        shared = (scored, self.evidence, self.limit, self.rng)
        return tag_slices(*shared, absolute=self.absolute, extra=chosen, extra_places=extra_places)


def _halves(scored: PairedScores) -> tuple[PairedScores, PairedScores]:
    order = drawn_order(0, "halves of a slice", [item.id for item in scored.items])
    middle = len(order) // 2
    return scored.subset(sorted(order[:middle])), scored.subset(sorted(order[middle:]))


def means_slice(name: str, scored: PairedScores, *, absolute: bool = False) -> Slice:
    """Mean scores and drop of some items, without an interval."""
    change = change_of(scored, absolute=absolute)
    return Slice(name, len(scored.items), mean(scored.base), mean(scored.candidate), change)


def tag_slices(
    scored: PairedScores,
    evidence: Evidence,
    limit: float,
    rng: np.random.Generator,
    *,
    absolute: bool = False,
    extra: Mapping[str, PairedScores] | None = None,
    extra_places: int = 0,
) -> tuple[Slice, ...]:
    """One slice for each tag, in alphabetical order, then those of ``extra``; an item with two tags is in both.

    A plain tag with at least ``LEAST_SLICE`` items is tested for a drop, in the unit of the whole measurement. All such
    tags and ``extra``, which counts as at least ``extra_places`` tests, are one family (Holm 1979,
    :mod:`ftgate.stats.holm`): status is "beyond" if the adjusted one-sided p of "the drop is at most ``limit``" is
    within the level of this look, else "worse" if that of "there is no drop" is. The interval has the level at which
    Holm's procedure tests the latter. For unknown scores p assumes the best values they could have. A tag with a value,
    such as ``difficulty:hard``, is described but not tested, and does not enlarge the family.
    """
    extra = dict(extra or {})
    tags = sorted({tag for item in scored.items for tag in item.tags})
    parts = {tag: scored.subset([i for i, item in enumerate(scored.items) if tag in item.tags]) for tag in tags}
    tested = {tag: part for tag, part in parts.items() if ":" not in tag and len(part.items) >= LEAST_SLICE} | extra
    slices = {name: means_slice(name, part, absolute=absolute) for name, part in (parts | extra).items()}
    padding = max(0, extra_places - len(extra))
    return tuple({**slices, **_test_family(slices, tested, evidence, limit, rng, absolute, padding)}.values())


def worst_slice(slices: Sequence[Slice]) -> dict[str, Any]:
    """``{"worst_slice": ...}`` for the details: the tested slice with the highest lower bound, then estimate.

    Empty if none was tested.
    """
    tested = [part for part in slices if part.interval is not None]
    if not tested:
        return {}
    worst = max(tested, key=_harm)
    return {"worst_slice": {"name": worst.name, "n": worst.n, "change": worst.change, "interval": worst.interval}}


def _harm(part: Slice) -> tuple[float, float]:
    """Lower bound and estimate as a sort key; NaN ranks last."""
    low = part.interval[0] if part.interval is not None else math.nan
    return (-math.inf if math.isnan(low) else low, -math.inf if math.isnan(part.change) else part.change)


def _test_family(
    slices: Mapping[str, Slice],
    parts: Mapping[str, PairedScores],
    evidence: Evidence,
    limit: float,
    rng: np.random.Generator,
    absolute: bool,
    padding: int,
) -> dict[str, Slice]:
    """The slices of ``parts``, tested as one family that counts ``padding`` more tests."""
    if not parts:
        return {}
    fewer_draws = replace(evidence, draws=min(evidence.draws, SLICE_DRAWS))
    comparisons = {tag: comparison(part, fewer_draws, rng, absolute=absolute)[1] for tag, part in parts.items()}
    best = [comparisons[tag](part.base_low, part.candidate_high) for tag, part in parts.items()]
    no_drop = [effect.p_above(0.0) for effect in best] + [1.0] * padding
    worse, beyond = holm(no_drop), holm([effect.p_above(limit) for effect in best] + [1.0] * padding)
    results = {}
    for i, (tag, level) in enumerate(zip(parts, step_down_levels(no_drop, evidence.alpha), strict=False)):
        drop = drop_of(parts[tag], comparisons[tag], float(level), absolute=absolute)
        status = "beyond" if beyond[i] <= evidence.alpha else "worse" if worse[i] <= evidence.alpha else ""
        interval = (drop.low, drop.high)
        results[tag] = replace(slices[tag], change=drop.estimate, interval=interval, status=status)
    return results
