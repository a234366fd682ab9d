"""Measurements that ask nothing: they are decided on the answers that other measurements asked for anyway."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ftgate.domain import Estimate, Item, Pair
from ftgate.measurements.base import AnyMeasurement, Measurement
from ftgate.scoring.scores import PairedScores


class DerivedMeasurement(AnyMeasurement):
    """A measurement of the other measurements' free-form answers. It has no suite, and is on unless switched off.

    It sees each item under an id of its own, with the name of the measurement that asked as its only tag
    (:func:`read_pairs`). It is looked at whenever the others are. As it asks nothing, it has the answers that the
    others need for their decisions and no more; where these are too few for it, it should not be applicable.
    """

    enabled: bool = True
    """`false` switches the measurement off. It is on even if the policy has no section for it."""

    @abstractmethod
    def score(self, pairs: Sequence[Pair]) -> PairedScores:
        """Both models' scores for the answers that were read; higher is better."""

    def unseen(self, readable: Mapping[str, int], alpha: float) -> str:  # noqa: ARG002
        """Why it will not be applicable, told before anything is asked; empty if it may be.

        ``readable`` holds the number of free-form items of each measurement, ``alpha`` is the error of a decision.
        """
        return ""

    def in_words(self, estimate: Estimate, pairs: Sequence[Pair]) -> str:  # noqa: ARG002
        """What lies behind ``estimate``, which comes from ``pairs``: it follows the reason of a block or a hold."""
        return ""


def read_pairs(answered: Iterable[tuple[Measurement, Sequence[Pair]]]) -> tuple[Pair, ...]:
    """The free-form pairs of all measurements, with the first answer of each side alone.

    A conversation that several items share is read once: the models answered it once.
    """
    pairs: dict[object, Pair] = {}
    for measurement, asked in answered:
        for pair in asked:
            if pair.item.messages not in pairs and measurement.asks_text(pair.item):
                item = as_read(measurement, pair.item)
                pairs[pair.item.messages] = Pair(item, pair.base[:1], pair.candidate[:1])
    return tuple(pairs.values())


def as_read(measurement: Measurement, item: Item) -> Item:
    """An item as a derived measurement sees it: no other measurement's item has the same id or cluster."""
    cluster = f"{measurement.name}/{item.cluster}" if item.cluster else None
    return replace(item, id=f"{measurement.name}/{item.id}", tags=(measurement.name,), cluster=cluster)


def asked_by(item: Item) -> str:
    """The measurement that asked about an item that was read."""
    return item.tags[0]
