"""Calibration: does the candidate's confidence still match its accuracy?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from ftgate.domain import Answer, Estimate, FloatArray, Item, Pair, Question, Side
from ftgate.measurements.base import (
    ChecklistLine,
    Evidence,
    Measurement,
    Scorer,
    failures,
    first_reason,
    too_many_failed,
)
from ftgate.measurements.confidence import Confidences, from_options, from_samples, in_words
from ftgate.measurements.item_count import item_count_line
from ftgate.measurements.power_facts import PowerFacts
from ftgate.scoring.choice import choice_messages, letters_for, sure
from ftgate.scoring.rules import failure_of
from ftgate.scoring.scores import PairedScores
from ftgate.scoring.text import UnscorableError
from ftgate.stats import calibration as statistics
from ftgate.stats.normal import critical

LEAST_LETTER_MASS = 0.1
"""With less probability on the option letters than this, confidence is noise and nothing can pass."""
MIN_LETTER_MASS = 0.9
MAX_MASS_GAP = 0.05
ENOUGH_ITEMS = 500
"""With fewer items a binned error is mostly noise (methods: section 5)."""
LEAST_SAMPLES = 20
PASS_FACTOR = 1.7
"""How many times wider the interval is on the side of a pass. If the base is calibrated, the bootstrap keeps a bias of
more than one standard error at any n; 1.7 * 1.645 = 2.8 standard errors allow for it (docs/decisions/0005)."""
PASS_FACTOR_MISCALIBRATED = 1.96 / 1.645
"""The same where the base is miscalibrated throughout, so that no bias remains."""
MISCALIBRATED = 2.2
"""From this ratio of the base's error to that by chance on, it counts as miscalibrated throughout."""


class Calibration(Measurement):
    """Increase of the expected calibration error, on multiple-choice questions or on free-form answers."""

    kind: ClassVar[str] = "calibration"
    title: ClassVar[str] = "Confidence"
    question: ClassVar[str] = "does its confidence still match its accuracy?"
    subject: ClassVar[str] = "confidence"
    limit_field: ClassVar[str] = "max_ece_increase"
    remedy: ClassVar[str] = "confidence"
    clustered: ClassVar[bool] = False
    relative: ClassVar[bool] = False
    span: ClassVar[float] = 2.0

    max_ece_increase: float = Field(default=0.05, gt=0, lt=1)
    """The expected calibration error must rise by less than this."""
    form: Literal["choices", "sampled"] = "choices"
    """Source of confidence: the probabilities of option letters, or the share of `samples` answers that agree."""
    scorer: Literal["exact", "contains", "numeric", "check"] = "exact"
    """With `form: sampled`: what makes an answer right, and two answers equal."""
    samples: int = Field(default=20, ge=LEAST_SAMPLES, le=1000)
    """With `form: sampled`: answers drawn at temperature 1 besides the greedy one. With fewer than 20 a model with
    perfect confidence looks miscalibrated."""
    rotations: int = Field(default=2, ge=1, le=8)
    """With `form: choices`: ask each item with its options in this many cyclic orders and average (letter bias). With
    1,000 items or more, 1 is enough: it costs what 2 cost for 500 items, and decides far more."""
    bins: int = Field(default=10, ge=2, le=100)
    """Number of equal-width confidence bins of the calibration error."""
    min_items: int = Field(default=500, ge=59)
    """With fewer items than this nothing passes: the binned error is too noisy."""

    @model_validator(mode="before")
    @classmethod
    def _sample_by_form(cls, fields: Any) -> Any:
        misplaced = [name for name in ("answers", "temperature") if isinstance(fields, Mapping) and name in fields]
        if misplaced:
            raise ValueError(
                f"{' and '.join(misplaced)}: not for calibration, which reads how sure a model is, not how good its "
                "answers are; remove it (with form: sampled, samples is the number of answers)"
            )
        return fields

    @property
    def answer_scorer(self) -> Scorer:
        """``choice``, or the scorer of free-form answers."""
        return "choice" if self.form == "choices" else self.scorer

    @property
    def tolerance(self) -> float:
        """The rise of the calibration error that blocks."""
        return self.max_ece_increase

    @classmethod
    def checklist(cls, estimate: Estimate | None) -> ChecklistLine:
        """Whether there were enough items for a binned error."""
        item = f"Confidence was measured on at least {ENOUGH_ITEMS} items"
        return item_count_line(item, cls.kind, ENOUGH_ITEMS, estimate)

    def power_facts(self) -> PowerFacts:
        """Those of a rise of the calibration error."""
        return PowerFacts("ece", self.limit, None, self.min_items, self.bins)

    def plan(self, item: Item, side: Side = "base") -> tuple[Question, ...]:  # noqa: ARG002
        """One question for each rotation of the options; or one greedy question, then the samples."""
        if self.form == "sampled":
            greedy = Question(self.name, item.id, item.messages, max_tokens=self.max_tokens, tools=item.tools)
            drawn = (replace(greedy, part=f"sample {i}", temperature=1.0) for i in range(1, self.samples + 1))
            return (greedy, *drawn)
        return tuple(
            Question(self.name, item.id, choice_messages(item, r), part=f"rotation {r}", options=letters_for(item))
            for r in range(min(self.rotations, len(item.choices)))
        )

    def scored_part(self, pair: Pair) -> Pair:
        """The answers to the first question: those to the others say how sure the model is."""
        return replace(pair, base=pair.base[:1], candidate=pair.candidate[:1])

    def per_item(self, pairs: Sequence[Pair], scored: PairedScores) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002
        """Confidence minus correctness of each item, mapped from [-1, 1] to [0, 1]; 1/2 if an answer is missing."""
        sides = np.full((2, len(pairs)), 0.5)
        for side, answers in zip(sides, ([p.base for p in pairs], [p.candidate for p in pairs]), strict=True):
            answered = [i for i, replies in enumerate(answers) if all(failure_of(a) is None for a in replies)]
            scorable = [i for i in answered if self._scorable(pairs[i].item, answers[i])]
            model = self._confidences([(pairs[i].item, answers[i]) for i in scorable])
            side[scorable] = (1 + model.confidence - model.correct) / 2
        return sides[0], sides[1]

    def flip_scores(self, pairs: Sequence[Pair], scored: PairedScores) -> tuple[FloatArray, FloatArray]:
        """1 for a right answer, else 1 minus the confidence: what is lost is a wrong answer that the model doubted."""
        base, candidate = (1 - np.maximum(0.0, 2 * side - 1) for side in self.per_item(pairs, scored))
        return base, candidate

    def answer_text(self, item: Item, answers: Sequence[Answer]) -> str:
        """The option with the highest mean probability over the rotations, and that probability."""
        if self.form != "choices" or any(failure_of(answer) is not None for answer in answers):
            return ""
        options = from_options([(item, tuple(answers))]).options
        if options is None:
            return ""
        best = int(np.argmax(options.probabilities[0]))
        return f"{letters_for(item)[best]}. {item.choices[best]} ({sure(options.probabilities[0][best])})"

    def _confidences(self, rows: Sequence[tuple[Item, tuple[Answer, ...]]]) -> Confidences:
        return from_options(rows) if self.form == "choices" else from_samples(rows, self.scorer)

    def _scorable(self, item: Item, answers: tuple[Answer, ...]) -> bool:
        """Whether the scorer can score every answer. A rule that takes too long on an answer cannot."""
        if self.form == "choices":
            return True
        try:
            self._confidences([(item, answers)])
        except UnscorableError:
            return False
        return True

    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """Paired, bias-corrected difference of the two expected calibration errors (methods: section 5)."""
        answered = sum(not failures(pair) for pair in evidence.pairs)
        base, candidate = self._both_confidences(evidence)
        n = len(base.confidence)
        invalid_reason = first_reason(
            too_many_failed(evidence), _too_many_unscorable(answered, n), "no item could be scored" if n < 2 else None
        )
        if n < 2:
            nothing = float("nan")
            return self._estimate(
                nothing, nothing, nothing, (nothing, nothing), 0, evidence, invalid_reason=invalid_reason
            )
        pass_factor = self._pass_factor(base)
        difference = statistics.ece_difference(
            base.confidence,
            base.correct,
            candidate.confidence,
            candidate.correct,
            rng,
            draws=max(1000, evidence.draws // 2),
            bins=self.bins,
            alpha=evidence.alpha,
            pass_z=pass_factor * critical(evidence.alpha),
        )
        notes = [*_direction_note(difference, candidate), *_letter_mass_notes(base, candidate)]
        return self._estimate(
            difference.base,
            difference.candidate,
            difference.change,
            (difference.low, difference.high),
            n,
            evidence,
            cannot_pass=self._reasons_against_pass(difference, base, candidate),
            invalid_reason=invalid_reason,
            details={**_bias_details(difference), "pass_factor": pass_factor, "notes": notes},
        )

    def with_details(self, estimate: Estimate, evidence: Evidence, rng: np.random.Generator) -> Estimate:  # noqa: ARG002
        """The estimate with every number on both models' confidence that the report shows."""
        if estimate.n < 2:
            return estimate
        base, candidate = (model.summary(self.bins) for model in self._both_confidences(evidence))
        return replace(estimate, details={"base": base, "candidate": candidate, **estimate.details})

    def _both_confidences(self, evidence: Evidence) -> tuple[Confidences, Confidences]:
        """Both models' confidences on the items that both answered and the scorer can score."""
        # Sorted by id, so that floating-point sums do not depend on the order of the file.
        answered = sorted((p for p in evidence.pairs if not failures(p)), key=lambda p: p.item.id)
        pairs = [p for p in answered if self._scorable(p.item, p.base) and self._scorable(p.item, p.candidate)]
        return self._confidences([(p.item, p.base) for p in pairs]), self._confidences(
            [(p.item, p.candidate) for p in pairs]
        )

    def _pass_factor(self, base: Confidences) -> float:
        """How many times wider the interval is on the side of a pass: it depends on the base alone."""
        ratio = statistics.ece_over_chance(base.confidence, base.correct, bins=self.bins)
        return PASS_FACTOR_MISCALIBRATED if ratio > MISCALIBRATED else PASS_FACTOR

    def _reasons_against_pass(
        self, difference: statistics.EceDifference, base: Confidences, candidate: Confidences
    ) -> tuple[str, ...]:
        """Why the measurement cannot pass, however narrow the interval is."""
        cannot_pass = []
        if difference.n < self.min_items:
            cannot_pass.append(f"{difference.n} items are too few to pass: at least {self.min_items} are needed")
        for direction in ("overconfidence", "underconfidence"):
            more = getattr(difference, direction)
            if not more < self.max_ece_increase:
                cannot_pass.append(
                    f"its {direction} (the signed confidence gap) may have risen by {100 * more:.1f} points, "
                    f"beyond the limit of {100 * self.max_ece_increase:.6g} points"
                )
        for name, model in (("base", base), ("candidate", candidate)):
            mass = model.options.mass.mean() if model.options else 1.0
            if not mass >= LEAST_LETTER_MASS:
                cannot_pass.append(
                    f"the {name} puts only {100 * mass:.0f} % of its probability on the option letters: "
                    "its confidence in them says nothing about its answers"
                )
        return tuple(cannot_pass)

    def _estimate(
        self,
        base: float,
        candidate: float,
        change: float,
        interval: tuple[float, ...],
        n: int,
        evidence: Evidence,
        **more: Any,
    ) -> Estimate:
        return Estimate(
            measurement=self.name,
            base=base,
            candidate=candidate,
            change=change,
            unit="ECE increase",
            interval=(interval[0], interval[1]),
            level=1 - 2 * evidence.alpha,
            n=n,
            least_n=self.min_items,
            method=f"paired bootstrap, bias-corrected, {self.bins} equal-width bins"
            + (f", confidence from {self.samples} samples" if self.form == "sampled" else ""),
            worse=self.worse,
            limit=self.limit,
            **more,
        )


def _too_many_unscorable(answered: int, scorable: int) -> str | None:
    """Why an estimate is invalid because more than 1 % of the answered items cannot be scored, or None."""
    unscorable = answered - scorable
    return f"{unscorable} items could not be scored as right or wrong" if unscorable > 0.01 * answered else None


def _bias_details(difference: statistics.EceDifference) -> dict[str, Any]:
    return {
        "plug_in_difference": difference.plug_in,
        "standard_error": difference.standard_error,
        "signed_gap": {
            "change": difference.gap,
            "overconfidence": difference.overconfidence,
            "underconfidence": difference.underconfidence,
        },
    }


def _direction_note(difference: statistics.EceDifference, candidate: Confidences) -> list[str]:
    """A note on whether the candidate is over- or underconfident, if its error rose beyond chance."""
    if not difference.low > 0:
        return []
    return [f"the candidate is {in_words(float(candidate.confidence.mean() - candidate.correct.mean()))}"]


def _letter_mass_notes(base: Confidences, candidate: Confidences) -> list[str]:
    """Notes on probability that went to something other than an option letter."""
    if base.options is None or candidate.options is None:
        return []
    notes = []
    low, high = float(base.options.mass.mean()), float(candidate.options.mass.mean())
    for name, value in (("base", low), ("candidate", high)):
        if value < MIN_LETTER_MASS:
            notes.append(f"the {name} puts only {100 * value:.0f} % of its probability on the option letters")
    if abs(low - high) > MAX_MASS_GAP:
        notes.append(f"the two models differ in letter mass: {100 * low:.0f} % and {100 * high:.0f} %")
    return notes
