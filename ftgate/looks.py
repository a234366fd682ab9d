"""When to look at the results, and how sure each look must be so that all of them together err no more than one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Finding, Item, Status, Suite
from ftgate.stats.seeding import generator
from ftgate.stats.sequential import Spending, boundaries, nominal_levels

CONTROL_ITEMS = 100
QUARTERS = (0.25, 0.5, 0.75, 1.0)
_SPENDING: dict[str, Spending] = {"obrien_fleming": "obrien-fleming", "pocock": "pocock"}


@dataclass(frozen=True, slots=True)
class Look:
    """One look: after ``fraction`` of the items, deciding with one-sided error ``alpha``."""

    number: int
    of: int
    fraction: float
    alpha: float


def looks(evidence: EvidenceSettings) -> tuple[Look, ...]:
    """The looks of a run. Without early stopping there is one, at the end.

    With it, a quarter, half, three quarters and all of the items, at the levels of a group-sequential design with
    Lan-DeMets spending (methods: section 4).
    """
    if evidence.early_stopping == "none" or evidence.rule == "point":
        return (Look(1, 1, 1.0, evidence.alpha),)
    levels = nominal_levels(boundaries(QUARTERS, evidence.alpha, _SPENDING[evidence.early_stopping]))
    return tuple(
        Look(i, len(QUARTERS), fraction, level)
        for i, (fraction, level) in enumerate(zip(QUARTERS, levels, strict=True), 1)
    )


def items_at(look: Look, suite: Suite, seed: int) -> tuple[Item, ...]:
    """The items that have been asked by ``look``: the first ones of a random order that the seed fixes."""
    size = math.ceil(look.fraction * len(suite.items))
    if size >= len(suite.items):
        return suite.items
    chosen = generator(seed, f"{suite.name} order").permutation(len(suite.items))[:size]
    return tuple(suite.items[i] for i in np.sort(chosen))


def sample(suite: Suite, seed: int) -> tuple[Item, ...]:
    """Some items for a control: of the first look's items, at most ``CONTROL_ITEMS``."""
    fraction = min(QUARTERS[0], CONTROL_ITEMS / len(suite.items))
    return items_at(Look(1, 1, fraction, 0.5), suite, seed)


def settled(findings: Sequence[Finding]) -> bool:
    """Whether nothing further could change the verdict: something blocks, or everything is decided."""
    return any(f.status is Status.BLOCK for f in findings) or all(f.settled for f in findings)
