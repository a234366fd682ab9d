"""Measurements that ask nothing: they are decided on the answers that other measurements asked for anyway."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ftgate.domain import Answer, Estimate, Item, Pair
from ftgate.measurements.base import AnyMeasurement, Measurement
from ftgate.scoring.scores import PairedScores

BEGUN = "begun"
"""The ``finish`` of an answer of which only the beginning was asked for, in place of the engine's."""


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

    A conversation that several items share is read once: the models answered it once. Thoughts before option letters
    are texts, too. What an advisory measurement asked is not read, or it would change the verdict by a detour.
    """
    pairs: dict[object, Pair] = {}
    for measurement, asked in answered:
        if measurement.tier == "advisory":
            continue
        for pair in asked:
            text = measurement.asks_text(pair.item)
            key = (pair.item.messages, text)
            if key not in pairs and (text or thought_before_options(pair)):
                item = as_read(measurement, pair.item)
                pairs[key] = Pair(item, _read(measurement, pair.base), _read(measurement, pair.candidate))
    return tuple(pairs.values())


def _read(measurement: Measurement, answers: Sequence[Answer]) -> tuple[Answer, ...]:
    """The first answer; how it ended says nothing where only its beginning was asked for."""
    first = tuple(answers[:1])
    begun = measurement.cut_on_purpose
    return tuple(replace(answer, finish=BEGUN) if begun and answer.error is None else answer for answer in first)


def thought_before_options(pair: Pair) -> bool:
    """Whether either model thought before its first answer, which names an option."""
    return any(answer.option_logprobs and answer.trace for answer in (*pair.base[:1], *pair.candidate[:1]))


def as_read(measurement: Measurement, item: Item) -> Item:
    """An item as a derived measurement sees it: no other measurement's item has the same id or cluster."""
    cluster = f"{measurement.name}/{item.cluster}" if item.cluster else None
    return replace(item, id=as_read_id(measurement, item.id), tags=(measurement.name,), cluster=cluster)


def as_read_id(measurement: Measurement, item_id: str) -> str:
    """The id under which a derived measurement sees an item."""
    return f"{measurement.name}/{item_id}"


def asked_by(item: Item) -> str:
    """The measurement that asked about an item that was read."""
    return item.tags[0]
