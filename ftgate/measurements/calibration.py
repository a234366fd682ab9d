"""Calibration: does the candidate's confidence still match its accuracy?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from ftgate.domain import Answer, Claim, FloatArray, Item, Pair, Question
from ftgate.measurements.base import Evidence, Measurement, Scorer, failure_of, failures, first_of, share_failed
from ftgate.measurements.multiple_choice import choice_messages, letters_for
from ftgate.scores import Scored
from ftgate.stats import calibration as statistics
from ftgate.stats.normal import critical

LEAST_LETTER_MASS = 0.1
"""Below this the letters are noise, and nothing can pass on them."""
MIN_LETTER_MASS = 0.9
MAX_MASS_GAP = 0.05
PASS_FACTOR = 1.7
"""How many times wider the interval is on the side of a pass. Next to a calibrated base the bootstrap keeps most of a
standard error of bias, whatever n; with 1.96 instead of 1.7 * 1.645 = 2.8, a true rise at the limit passes up to 29 %
of the time when the candidate is underconfident (docs/decisions/0005)."""


class Calibration(Measurement):
    """Increase of the expected calibration error on multiple-choice questions."""

    name: ClassVar[str] = "calibration"
    relative: ClassVar[bool] = False
    span: ClassVar[float] = 2.0

    max_ece_increase: float = Field(default=0.05, gt=0, lt=1)
    """The expected calibration error may rise by less than this."""
    rotations: int = Field(default=2, ge=1, le=8)
    """Ask each item with its options in this many cyclic orders and average, against a preference for a letter."""
    bins: int = Field(default=10, ge=2, le=100)
    min_items: int = Field(default=500, ge=59)
    """With fewer items the binned error is too noisy to pass anyone."""

    @property
    def reads(self) -> Scorer:
        """Always multiple choice."""
        return "choice"

    @property
    def tolerance(self) -> float:
        """The rise of the calibration error that blocks."""
        return self.max_ece_increase

    def plan(self, item: Item) -> tuple[Question, ...]:
        """One question for each rotation of the options, at most as many as there are options."""
        return tuple(
            Question(self.name, item.id, choice_messages(item, r), part=f"rotation {r}", options=letters_for(item))
            for r in range(min(self.rotations, len(item.choices)))
        )

    def per_item(self, pairs: Sequence[Pair], scored: Scored) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002
        """Confidence less correctness of each item, moved from [-1, 1] to [0, 1]; 1/2 where an answer is missing."""
        sides = np.full((2, len(pairs)), 0.5)
        for side, answers in zip(sides, ([p.base for p in pairs], [p.candidate for p in pairs]), strict=True):
            read = [i for i, given in enumerate(answers) if all(failure_of(a) is None for a in given)]
            found = beliefs([(pairs[i].item, answers[i]) for i in read])
            side[read] = (1 + found.confidence - found.correct) / 2
        return sides[0], sides[1]

    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Claim:
        """Paired, bias-corrected difference of the two expected calibration errors (methods: section 5)."""
        # By id: then no sum depends on the order of the file.
        pairs = sorted((p for p in evidence.pairs if not failures(p)), key=lambda p: p.item.id)
        base = beliefs([(p.item, p.base) for p in pairs])
        candidate = beliefs([(p.item, p.candidate) for p in pairs])
        void = first_of(share_failed(evidence), "no item could be read" if len(pairs) < 2 else None)
        if len(pairs) < 2:
            return self._claim(float("nan"), float("nan"), float("nan"), (float("nan"),) * 2, 0, evidence, void=void)
        found = statistics.ece_difference(
            base.confidence,
            base.correct,
            candidate.confidence,
            candidate.correct,
            rng,
            draws=max(1000, evidence.draws // 2),
            bins=self.bins,
            alpha=evidence.alpha,
            pass_z=PASS_FACTOR * critical(evidence.alpha),
        )
        details = {"base": base.summary(self.bins), "candidate": candidate.summary(self.bins)}
        return self._claim(
            found.base,
            found.candidate,
            found.change,
            (found.low, found.high),
            len(pairs),
            evidence,
            doubts=self._doubts(found, base, candidate),
            void=void,
            details={**details, **_bias(found), "notes": _mass_notes(base, candidate)},
        )

    def _doubts(self, found: statistics.EceDifference, base: Beliefs, candidate: Beliefs) -> tuple[str, ...]:
        """What forbids a pass, however narrow the interval."""
        doubts = []
        if found.n < self.min_items:
            doubts.append(f"{found.n} items are too few to pass calibration: at least {self.min_items} are needed")
        if not found.gap_high < self.max_ece_increase:
            doubts.append(
                f"the signed confidence gap may have risen by {100 * found.gap_high:.1f} %, "
                f"beyond the limit {100 * self.max_ece_increase:.1f} %"
            )
        for name, model in (("base", base), ("candidate", candidate)):
            if not model.mass.mean() >= LEAST_LETTER_MASS:
                doubts.append(
                    f"the {name} puts only {100 * model.mass.mean():.0f} % of its probability on the option letters: "
                    "what it believes about them says nothing about its answers"
                )
        return tuple(doubts)

    def _claim(
        self,
        base: float,
        candidate: float,
        change: float,
        interval: tuple[float, ...],
        n: int,
        evidence: Evidence,
        **more: Any,
    ) -> Claim:
        return Claim(
            measurement=self.name,
            base=base,
            candidate=candidate,
            change=change,
            unit="ECE increase",
            interval=(interval[0], interval[1]),
            level=1 - 2 * evidence.alpha,
            n=n,
            least_n=self.min_items,
            method=f"paired bootstrap, bias-corrected, {self.bins} equal-width bins",
            worse="up",
            limit=self.max_ece_increase,
            **more,
        )


class Beliefs:
    """What one model believed about each item: option probabilities averaged over rotations.

    ``confidence`` and ``correct`` have shape (n,): probability of the top option, and whether it is the right one.
    ``true_probability`` is the probability of the right option, ``mass`` the probability of all letters together
    before they were normalised.
    """

    def __init__(self, confidence: FloatArray, correct: FloatArray, truth: FloatArray, mass: FloatArray) -> None:
        self.confidence = confidence
        self.correct = correct
        self.true_probability = truth
        self.mass = mass

    def summary(self, bins: int) -> dict[str, Any]:
        """Every number that the report shows about one model's calibration."""
        conf, correct = self.confidence, self.correct
        table = statistics.reliability_bins(conf, correct, bins=bins)
        return {
            "accuracy": float(correct.mean()),
            "confidence": float(conf.mean()),
            "ece": statistics.expected_calibration_error(conf, correct, bins=bins),
            "ece_15": statistics.expected_calibration_error(conf, correct, bins=15),
            "ece_equal_mass": statistics.expected_calibration_error(conf, correct, bins=bins, scheme="mass"),
            "brier": statistics.brier_score(conf, correct),
            "nll": statistics.negative_log_likelihood(np.minimum(self.true_probability, 1.0)),
            "auroc": statistics.auroc(conf, correct),
            "accuracy_at_80_coverage": statistics.accuracy_at_coverage(conf, correct, 0.8),
            "letter_mass": float(self.mass.mean()),
            "bins": [
                {"low": b.low, "high": b.high, "n": b.count, "confidence": b.confidence, "accuracy": b.accuracy}
                for b in table
            ],
        }


def beliefs(rows: Sequence[tuple[Item, tuple[Answer, ...]]]) -> Beliefs:
    """Average each item's option probabilities over its rotations, options put back in the item's own order.

    Raises ValueError, naming the item, where an answer has another number of log-probabilities than the item options.
    """
    confidence, correct, truth, mass = (np.zeros(len(rows)) for _ in range(4))
    for i, (item, answers) in enumerate(rows):
        size = len(item.choices)
        total = np.zeros(size)
        for rotation, answer in enumerate(answers):
            if len(answer.option_logprobs) != size:
                raise ValueError(
                    f"item {item.id!r}: {len(answer.option_logprobs)} log-probabilities for {size} options"
                )
            raw = np.exp(np.asarray(answer.option_logprobs, dtype=np.float64))
            mass[i] += raw.sum() / len(answers)
            # Letter j of rotation r stands for choice (j + r) mod size; an engine that gives all letters
            # probability 0 knows nothing about them, which is an even spread.
            share = raw / raw.sum() if raw.sum() > 0 else np.full(size, 1 / size)
            total[(np.arange(size) + rotation) % size] += share / len(answers)
        right = item.choices.index(item.answer or "")
        top = int(np.argmax(total))
        confidence[i], correct[i], truth[i] = min(total[top], 1.0), float(top == right), total[right]
    return Beliefs(confidence, correct, truth, mass)


def _bias(found: statistics.EceDifference) -> dict[str, Any]:
    return {
        "plug_in_difference": found.plug_in,
        "standard_error": found.standard_error,
        "signed_gap": {"change": found.gap, "upper_bound": found.gap_high},
    }


def _mass_notes(base: Beliefs, candidate: Beliefs) -> list[str]:
    """Warnings about probability that went to something other than an option letter."""
    notes = []
    low, high = float(base.mass.mean()), float(candidate.mass.mean())
    for name, value in (("base", low), ("candidate", high)):
        if value < MIN_LETTER_MASS:
            notes.append(f"the {name} puts only {100 * value:.0f} % of its probability on the option letters")
    if abs(low - high) > MAX_MASS_GAP:
        notes.append(f"the two models differ in letter mass: {100 * low:.0f} % and {100 * high:.0f} %")
    return notes
