"""Slices that gate: a loss on the items with a tag blocks, whatever the whole measurement shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from ftgate.config.policy import EvidenceSettings
from ftgate.config.strict import Section
from ftgate.domain import Item, Slice
from ftgate.measurements.base import AnyMeasurement, Evidence, Measurement, Share
from ftgate.measurements.estimate import comparison, drop_of
from ftgate.measurements.looks import Look, looks, planned_share
from ftgate.measurements.paired import score_test
from ftgate.measurements.power_facts import ASSUMED_BASE
from ftgate.measurements.slices import LEAST_SLICE, means_slice
from ftgate.scoring.scores import PairedScores

LEAST_GRADED_SLICE = 20
"""With fewer graded items, or fewer clusters, a bootstrapped slice is shown and does not gate: its lower bound errs
above its level (tests/unit/measurements/test_gated_slices.py)."""
WAITS = "slices gate, and they are looked at whole: it cannot pass before all planned items"
WHOLE_SHARE = 0.5
"""The part of alpha that a block of the whole measurement has; all gated slices together have the rest."""
Levels = tuple[float, float]
"""One-sided errors: of the block of the whole measurement, and of that of each gated slice."""


class SliceLimit(Section):
    """The limit of one slice, whose key is a tag of the suite's rows."""

    block_drop: Share
    """The relative drop on the rows with the tag must not be shown to be beyond this."""


class GatesSlices(Section):
    """A measurement of a drop, of which some slices may gate."""

    gate_slices: Mapping[str, SliceLimit] = Field(default_factory=dict)
    """Slices whose loss blocks, by tag: `{safety: {block_drop: 0.05}}`. The measurement's share of false blocks stays
    `alpha`: half of it is for the whole, half for all these slices together (docs/measurements.md)."""


@dataclass(frozen=True, slots=True)
class SlicePower:
    """What a gated slice can show: the smallest relative ``drop`` of its ``items`` that blocks (None: not even 1)."""

    tag: str
    items: int
    limit: float
    drop: float | None

    def __str__(self) -> str:
        """Both in one clause, without a full stop."""
        has = f"the slice {self.tag} has {self.items:,} items"
        if self.drop is None:
            return f"{has}: not even the loss of all right answers would block; add rows with this tag"
        return f"{has}: the smallest drop it can show is {100 * self.drop:.0f} % (limit {100 * self.limit:g} %)"


def gated(measurement: AnyMeasurement) -> Mapping[str, float]:
    """The limit of each slice that gates, by tag."""
    if not isinstance(measurement, GatesSlices):
        return {}
    return {tag: limit.block_drop for tag, limit in measurement.gate_slices.items()}


def shared_levels(evidence: EvidenceSettings, planned: float, look: Look, slices: int) -> Levels | None:
    """The levels at ``look`` where ``slices`` slices gate; None without any.

    The whole measurement has half of alpha, each slice its part of the other half (weighted Bonferroni), and each
    spends its own over the looks as the whole of alpha would be spent.
    """
    if not slices:
        return None
    parts = _parts(evidence.alpha, slices)
    if look.of == 1:
        return parts
    whole, each = (looks(evidence.model_copy(update={"alpha": part}), planned)[look.number - 1].alpha for part in parts)
    return whole, each


def with_levels(evidence: Evidence, limits: Mapping[str, float]) -> Evidence:
    """``evidence`` with the levels of this look, where slices of ``limits`` share alpha."""
    if not limits or evidence.shared is not None:
        return evidence
    return replace(evidence, shared=_parts(evidence.alpha, len(limits)))


def _parts(alpha: float, slices: int) -> Levels:
    return WHOLE_SHARE * alpha, (1 - WHOLE_SHARE) * alpha / slices


def waits(limits: Mapping[str, float], evidence: Evidence) -> tuple[str, ...]:
    """Why nothing passes yet, where slices of ``limits`` gate and planned items are left to ask."""
    return (WAITS,) if limits and evidence.early else ()


def gate_slices(
    scored: PairedScores, evidence: Evidence, limits: Mapping[str, float], rng: np.random.Generator
) -> tuple[Slice, ...]:
    """A slice for each tag of ``limits``: the relative drop, with the lower bound that blocks and no upper one.

    A slice that cannot gate has no interval: fewer than ``LEAST_SLICE`` items, or bootstrapped (graded scores, or
    clusters) with fewer than ``LEAST_GRADED_SLICE`` or too few clusters to resample.
    """
    return tuple(_gate(tag, limit, scored, evidence, rng) for tag, limit in sorted(limits.items()))


def _gate(tag: str, limit: float, scored: PairedScores, evidence: Evidence, rng: np.random.Generator) -> Slice:
    assert evidence.shared is not None, "with_levels comes first"
    part = scored.subset([i for i, item in enumerate(scored.items) if tag in item.tags])
    if not part.items:
        nan = math.nan
        return Slice(tag, 0, nan, nan, nan, limit=limit)
    described = replace(means_slice(tag, part), limit=limit)
    bootstrapped = not part.binary or any(item.cluster for item in part.items)
    if len(part.items) < (LEAST_GRADED_SLICE if bootstrapped else LEAST_SLICE):
        return described
    _, compare = comparison(part, evidence, rng, absolute=False)
    drop = drop_of(part, compare, evidence.shared[1], absolute=False)
    if drop.doubt:
        return described
    return replace(described, change=drop.estimate, interval=(drop.low, math.inf))


def idle_notes(gates: Sequence[Slice]) -> list[str]:
    """A note on each slice of ``gates`` that could not block, for instance as its rows occur in the training data."""
    return [
        f"the slice {part.name} does not gate: with {part.n} items that count it has too few, or too few clusters"
        for part in gates
        if part.interval is None
    ]


def slice_powers(
    measurement: Measurement,
    items: Sequence[Item],
    evidence: EvidenceSettings,
    base: float = ASSUMED_BASE,
    *,
    trained: bool = True,
) -> list[SlicePower]:
    """What each gated slice of ``measurement`` can show, if as many of ``items`` are asked as planned.

    Of the rows with a tag only those count that are expected to decide, which in a tail depends on whether the manifest
    names training data (``trained``).

    The base is right on the share ``base`` of a slice, and the candidate wrong on some of these and right on no others:
    the smallest such loss that blocks at the last look, by the score test.
    """
    limits, share = gated(measurement), planned_share(measurement, len(items))
    tagged = {tag: [item for item in items if tag in item.tags] for tag in sorted(limits)}
    counts = {
        tag: round(share * measurement.items_that_decide(rows, trained=trained)) if rows else 0
        for tag, rows in tagged.items()
    }
    _, alpha = _parts(evidence.alpha, max(1, len(limits)))
    return [
        SlicePower(tag, n, limits[tag], _smallest_drop(n, round(base * n), limits[tag], alpha))
        for tag, n in counts.items()
    ]


def _smallest_drop(n: int, right: int, limit: float, alpha: float) -> float | None:
    if n < LEAST_SLICE or right < 1:
        return None
    base = (np.arange(n) < right).astype(float)
    compare = score_test(absolute=False)

    def blocks(lost: int) -> bool:
        candidate = base * (np.arange(n) >= lost)
        return compare(base, candidate).interval(alpha).low > limit

    if not blocks(right):
        return None
    low, high = 0, right
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if blocks(middle) else (middle, high)
    return high / right
