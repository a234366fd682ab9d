"""Whether a measurement can pass at all with the rows that it is given, before anything is asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ftgate.domain import Item
from ftgate.measurements.base import Measurement
from ftgate.measurements.estimate import LEAST_GRADED
from ftgate.measurements.paired import score_test
from ftgate.stats.bootstrap import MIN_CLUSTERS
from ftgate.stats.power import evidence_floor
from ftgate.stats.resampling import effective_clusters

MOST_TRIED = 1000
"""Rows. A gain that the score test does not show with so many is left to a plan."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a measurement can never pass and what to do, in rows of its suite. ``total``: it cannot block either."""

    reason: str
    remedy: str
    total: bool = False

    def __str__(self) -> str:
        """Both in one sentence, without a full stop."""
        return f"{self.reason}; {self.remedy}"


def least_items(measurement: Measurement, alpha: float, *, graded: bool) -> int:
    """The least number of items that decide with which the measurement can pass (methods: section 1).

    ``alpha`` is the one-sided error of all looks together, ``graded`` whether some items score between 0 and 1, because
    a judge or a rule grades them or several answers are averaged.
    """
    facts = measurement.power_facts()
    floor = evidence_floor(facts.floor, alpha) if facts.floor is not None else 1
    if facts.change == "gain" and not graded:
        floor = max(floor, least_gained(facts.limit, alpha) or 1)
    return max(floor, facts.least_items, LEAST_GRADED if graded and facts.change != "ece" else 1)


@cache
def least_gained(limit: float, alpha: float, base: float = 0.0) -> int | None:
    """The least number of 0/1 scores with which a candidate that is always right shows a gain above ``limit``.

    ``base`` is the share that the base gets right, rounded down to whole items; with 0 no candidate passes with fewer.
    None if ``MOST_TRIED`` are too few.
    """
    for n in range(1, MOST_TRIED + 1):
        right = (np.arange(n) < math.floor(base * n + 1e-9)).astype(np.float64)
        if -score_test(absolute=True)(right, np.ones(n)).interval(alpha).high > limit:
            return n
    return None


@cache
def least_lost(limit: float, alpha: float) -> int | None:
    """The least number of 0/1 scores on which a candidate that loses all of them shows a drop above ``limit``.

    None if ``MOST_TRIED`` are too few.
    """
    for n in range(1, MOST_TRIED + 1):
        if score_test(absolute=False)(np.ones(n), np.zeros(n)).interval(alpha).low > limit:
            return n
    return None


def hardly_passes(measurement: Measurement, items: Sequence[Item], alpha: float, *, trained: bool) -> str | None:
    """Why only a base that scores unusually low leaves a gain to show on ``items``; None if that is not so.

    For measurements of a gain in right answers that :func:`shortage` lets pass; arguments as there.
    """
    m, facts = measurement, measurement.power_facts()
    if facts.change != "gain" or m.averages(items) or m.grader(items):
        return None
    least, deciding = least_gained(facts.limit, alpha, facts.base), m.items_that_decide(items, trained=trained)
    if least is None or deciding >= least:
        return None
    return (
        f"measurements.{m.name} can hardly pass: it has {_rows(deciding)}, and where the base gets "
        f"{100 * facts.base:g} % right, even a candidate without a fault needs at least {least:,}; give it more rows: "
        "`ftgate plan` says how many a likely gain needs"
    )


def shortage(measurement: Measurement, items: Sequence[Item], alpha: float, *, trained: bool) -> Shortage | None:
    """Why the measurement can never pass with ``items``; None if it can.

    ``items`` are all that it may ask about, ``trained`` says whether the manifest names training data.
    """
    m, rows, judged = measurement, len(items), measurement.judges(items)
    averaged = m.averages(items)
    grader = m.grader(items)
    graded = averaged or bool(grader)
    least, deciding = least_items(m, alpha, graded=graded), m.items_that_decide(items, trained=trained)
    if not deciding:
        reason = f"measurements.{m.name} can neither pass nor block: it has no row {m.part} among its {rows:,} rows"
        training = ", or name training_data in the manifest" if m.distances is not None and not trained else ""
        return Shortage(
            reason,
            _remedy(m, f"add rows with the tag {m.part_tag}" if m.part_tag else f"add rows {m.part}") + training,
            total=True,
        )
    if deciding < least:
        have = _rows(rows) if deciding == rows else f"{deciding:,} of its {rows:,} rows {m.part}"
        why = " that a judge grades" if judged else " where several answers are averaged" if averaged else ""
        why = f" with scores between 0 and 1, as {grader} gives" if grader and not judged else why
        need = f"at least {least:,}" + (why if least == LEAST_GRADED else "")
        needed = math.ceil(least * rows / deciding)
        more = f"raise n to {needed:,}" if (m.n_max or m.n) == rows else _give(m, least, needed)
        if not graded and _never_blocks(m, deciding, alpha):
            reason = f"measurements.{m.name} can neither pass nor block: it has {have}, and a pass needs {need}"
            return Shortage(reason, f"{_remedy(m, more)}; `ftgate plan` says how many a likely gain needs", total=True)
        return Shortage(
            f"measurements.{m.name} can never pass: it has {have}, and a pass needs {need}", _remedy(m, more)
        )
    # Where not all rows decide, nothing is known of the clusters of those that do.
    clusters = effective_clusters([item.cluster or None for item in items])
    if m.clustered and deciding == rows and any(item.cluster for item in items) and clusters < MIN_CLUSTERS:
        have = f"its {rows:,} rows count as {clusters:.0f} clusters"
        reason = f"measurements.{m.name} can never pass: {have}, and a pass needs at least {MIN_CLUSTERS}"
        return Shortage(reason, "add rows of more clusters")
    return None


def _never_blocks(m: Measurement, deciding: int, alpha: float) -> bool:
    """Whether so few 0/1 scores never block. For a gain, a block mirrors a pass at the opposite limit."""
    facts = m.power_facts()
    if facts.change == "gain":
        return deciding < (least_gained(-facts.limit, alpha) or 1)
    return facts.change == "drop" and deciding < (least_lost(facts.limit, alpha) or 1)


def _give(m: Measurement, least: int, needed: int) -> str:
    """How many rows to give: of those with the tag that decides, where it is one, and of all otherwise."""
    return f"give it {least:,} rows with the tag {m.part_tag}" if m.part_tag else f"give it {needed:,} rows"


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def _remedy(m: Measurement, more: str) -> str:
    return f"{more}, or {m.more_rows}" if m.more_rows else more
