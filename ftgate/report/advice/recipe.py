"""The candidate's training recipe, read from the report's provenance, which is untrusted input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ftgate.report import numbers
from ftgate.report.escape import as_code
from ftgate.report.explanation import listed
from ftgate.report.schema import Number, Report, mapping

FEED_FORWARD = frozenset(
    {"gate_proj", "up_proj", "down_proj", "gate_up_proj", "fc1", "fc2", "c_fc", "dense_h_to_4h", "dense_4h_to_h"}
)
"""The names of feed-forward layers in common architectures."""
RISE = 1.02
"""Evaluation loss has risen if it is above this multiple of its lowest value: less is noise."""
CLIMB = 1.2
"""Training loss has climbed again if it is above this multiple of its lowest value."""
_ORDER = ("q", "k", "v", "o", "gate", "up", "down")
_MOST_TARGETS, _LONGEST_TARGET, _LONGEST_FILE = 8, 16, 40


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings that advice depends on; None or empty if unknown or not credible."""

    kind: str = ""
    quantised: str = ""
    """How the candidate was quantised, if the base was not."""
    rank: Number = None
    alpha: Number = None
    rslora: bool = False
    targets: tuple[str, ...] = ()
    training: Mapping[str, float] = field(default_factory=dict)
    """Facts about the training by name, such as ``learning_rate`` (see artifacts/training_facts.py)."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """The file that each fact came from."""
    best_kept: bool = False
    """The checkpoint with the best evaluation was restored, so later training did no harm."""

    @property
    def adapter(self) -> bool:
        """Whether the candidate is a LoRA adapter."""
        return self.kind == "adapter"

    @property
    def learning_rate(self) -> Number:
        """The peak learning rate."""
        return self.training.get("learning_rate")

    @property
    def epochs(self) -> Number:
        """The number of epochs trained or, if that is unknown, planned."""
        return self.training.get("epochs", self.training.get("epochs_planned"))

    @property
    def scale(self) -> Number:
        """The scaling of the adapter: alpha / rank, with rsLoRA alpha / sqrt(rank)."""
        if self.rank is None or self.alpha is None:
            return None
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @property
    def wide(self) -> bool:
        """Whether the adapter also targets feed-forward layers."""
        return any(target in FEED_FORWARD for target in self.targets)

    @property
    def attention(self) -> tuple[str, ...]:
        """The targets that are not feed-forward layers."""
        return tuple(target for target in self.targets if target not in FEED_FORWARD)

    @property
    def overfit(self) -> bool:
        """Whether evaluation loss ended above its lowest value and the last checkpoint was kept."""
        lowest, last = self.training.get("eval_loss_lowest"), self.training.get("eval_loss_last")
        return not self.best_kept and lowest is not None and last is not None and last > RISE * lowest

    @property
    def diverged(self) -> bool:
        """Whether training loss climbed again at the end, by at least half of what it had fallen."""
        first, lowest, last = (self.training.get(f"loss_{when}") for when in ("first", "lowest", "last"))
        if first is None or lowest is None or last is None:
            return False
        return last > CLIMB * lowest and last - lowest >= (first - lowest) / 2

    def source(self, fact: str) -> str:
        """`` (file)`` for the file that a fact came from; empty if unknown."""
        if fact == "epochs" and fact not in self.training:
            fact = "epochs_planned"
        return f" ({as_code(self.origin[fact])})" if fact in self.origin else ""


def recipe_of(report: Report) -> Recipe:
    """The candidate's recipe. Values of an unexpected type count as missing."""
    candidate = mapping(report.provenance.get("candidate"))
    training = mapping(candidate.get("training"))
    quantised = "" if mapping(report.provenance.get("base")).get("quantisation") else candidate.get("quantisation")
    return Recipe(
        kind="adapter" if candidate.get("merged") else str(candidate.get("kind", ""))[:20],  # it was trained as one
        quantised=str(quantised or "")[:_LONGEST_TARGET],
        rank=_positive(candidate.get("rank")),
        alpha=_positive(candidate.get("alpha")),
        rslora=candidate.get("rslora") is True,
        targets=tuple(_names(candidate.get("targets"))),
        training={
            str(k): value for k, v in training.items() if (value := numbers.finite(v)) is not None and value >= 0
        },
        origin={
            fact: str(name)[:_LONGEST_FILE]
            for name, facts in mapping(training.get("files")).items()
            for fact in _names(facts)
        },
        best_kept=training.get("best_kept") is True,
    )


def short(targets: tuple[str, ...]) -> str:
    """Module names without ``_proj``, in the order of the forward pass: ``q, k, v and up``."""
    names = [target.removesuffix("_proj")[:_LONGEST_TARGET] for target in targets]
    names.sort(key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    more = [f"{numbers.count(len(names) - _MOST_TARGETS)} more"] if len(names) > _MOST_TARGETS else []
    return listed([*names[:_MOST_TARGETS], *more])


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _positive(value: Any) -> Number:
    number = numbers.finite(value)
    return number if number is not None and 0 < number < 1e6 else None
