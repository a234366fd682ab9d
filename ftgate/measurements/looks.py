"""The looks of a group-sequential design: after which items to decide, and at what level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Finding, Item, Suite
from ftgate.measurements.base import Measurement
from ftgate.measurements.tail_map import TailMap
from ftgate.stats.seeding import drawn_order
from ftgate.stats.sequential import Spending, boundaries, look_size, nominal_levels

CONTROL_ITEMS = 100
HEAD_ITEMS = 100
"""Of the items that decide nothing, so many are asked, for comparison."""
QUARTERS = (0.25, 0.5, 0.75, 1.0)
THIRDS = (1 / 3, 2 / 3, 1.0)
_SPENDING: dict[str, Spending] = {"obrien_fleming": "obrien-fleming", "pocock": "pocock"}


@dataclass(frozen=True, slots=True)
class Look:
    """One look: after ``fraction`` of the items, deciding with one-sided error ``alpha``."""

    number: int
    of: int
    fraction: float
    alpha: float

    @property
    def last(self) -> bool:
        """Whether it is the last look."""
        return self.number == self.of


def looks(evidence: EvidenceSettings, planned: float = 1.0) -> tuple[Look, ...]:
    """The looks of one measurement. Without early stopping there is one, at the end.

    With early stopping they come after a quarter, half, three quarters and all of the planned items, at the levels of a
    group-sequential design with Lan-DeMets spending (methods: section 4). If the suite has more items than planned
    (``planned`` is their share), the rest is looked at in thirds. Every look spends error; most of it is spent by the
    planned items (:func:`~ftgate.stats.sequential.spent_in_stages`), which could otherwise decide hardly anything.
    """
    early = evidence.early_stopping != "none" and evidence.rule != "point"
    fractions = [planned * quarter for quarter in (QUARTERS if early else (1.0,))]
    if planned < 1:
        fractions += [planned + (1 - planned) * third for third in (THIRDS if early else (1.0,))]
    if len(fractions) == 1:
        return (Look(1, 1, 1.0, evidence.alpha),)
    spending = _SPENDING.get(evidence.early_stopping, "obrien-fleming")
    levels = _levels(tuple(fractions), evidence.alpha, spending, planned)
    return tuple(
        Look(i, len(fractions), fraction, level)
        for i, (fraction, level) in enumerate(zip(fractions, levels, strict=True), 1)
    )


@cache
def _levels(fractions: tuple[float, ...], alpha: float, spending: Spending, planned: float) -> tuple[float, ...]:
    """The level of each look; cached, because every look needs all of them."""
    return nominal_levels(boundaries(fractions, alpha, spending, planned))


def planned_share(measurement: Measurement, rows: int) -> float:
    """The planned share of the ``rows`` of the suite; the rest is asked only if the result is undecided."""
    if measurement.n is None or measurement.n_max is None:
        return 1.0
    return min(1.0, measurement.n / rows)


def asked_items(measurement: Measurement, items: Sequence[Item], tail: TailMap | None, seed: int) -> tuple[Item, ...]:
    """The items that decide and, of the others (the head), ``HEAD_ITEMS`` at random, fixed by the seed and the ids."""
    decides = measurement.decides(items, tail)
    head = [item.id for item, is_deciding in zip(items, decides, strict=True) if not is_deciding]
    chosen = {head[i] for i in drawn_order(seed, f"{measurement.name} head", head)[:HEAD_ITEMS]}
    return tuple(item for item, is_deciding in zip(items, decides, strict=True) if is_deciding or item.id in chosen)


def items_at(look: Look, suite: Suite, seed: int) -> tuple[Item, ...]:
    """The items that are asked up to ``look``: the first ones in a random order determined by seed and ids."""
    size = look_size(look.fraction, len(suite.items))
    if size >= len(suite.items):
        return suite.items
    chosen = drawn_order(seed, f"{suite.name} order", [item.id for item in suite.items])[:size]
    return tuple(suite.items[i] for i in sorted(chosen))


def sample(suite: Suite, seed: int) -> tuple[Item, ...]:
    """Items for a control: those of the first look, at most ``CONTROL_ITEMS``."""
    fraction = min(QUARTERS[0], CONTROL_ITEMS / len(suite.items))
    return items_at(Look(1, 1, fraction, 0.5), suite, seed)


def pilot_items(suite: Suite, seed: int, count: int) -> tuple[Item, ...]:
    """Up to ``count`` items: the first of those that every look and control takes."""
    return items_at(Look(1, 1, min(1.0, count / len(suite.items)), 0.5), suite, seed)


def settled(findings: Sequence[Finding]) -> bool:
    """Whether more items cannot change the verdict: something blocks, or everything that gates is decided."""
    return any(f.blocks for f in findings) or all(f.settled for f in findings if f.tier != "advisory")
