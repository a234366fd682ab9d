"""How sure a model was of each answer, and whether it was right: from option letters, or from sampled answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftgate.domain import Answer, FloatArray, Item
from ftgate.measurements.checks import json_values, same_number
from ftgate.measurements.scoring import RULES
from ftgate.measurements.texts import last_number, same_text
from ftgate.stats import calibration as statistics
from ftgate.stats.smooth_ece import smooth_ece
from ftgate.stats.temperature import best_temperature

CLEAR_GAP = 0.01
"""Mean confidence less accuracy beyond which a model is called too sure, or too unsure."""


@dataclass(frozen=True, slots=True)
class Options:
    """The option probabilities behind some beliefs: one row an item, the place of its right option, the letter mass."""

    probabilities: tuple[FloatArray, ...]
    right: tuple[int, ...]
    mass: FloatArray


@dataclass(frozen=True, slots=True)
class Beliefs:
    """What one model believed about each item: ``confidence`` in its answer and whether that is ``correct``.

    Both have shape (n,). ``options`` is there for multiple choice: probabilities averaged over rotations, and the
    probability of all letters together before they were normalised.
    """

    confidence: FloatArray
    correct: FloatArray
    options: Options | None = None

    def summary(self, bins: int) -> dict[str, Any]:
        """Every number that the report shows about one model's calibration."""
        conf, correct = self.confidence, self.correct
        table = statistics.reliability_bins(conf, correct, bins=bins)
        return {
            "accuracy": float(correct.mean()),
            "confidence": float(conf.mean()),
            "in_words": in_words(float(conf.mean() - correct.mean())),
            "ece": statistics.expected_calibration_error(conf, correct, bins=bins),
            "ece_15": statistics.expected_calibration_error(conf, correct, bins=15),
            "ece_equal_mass": statistics.expected_calibration_error(conf, correct, bins=bins, scheme="mass"),
            "ece_smooth": smooth_ece(conf, correct),
            "brier": statistics.brier_score(conf, correct),
            "auroc": statistics.auroc(conf, correct),
            "accuracy_at_80_coverage": statistics.accuracy_at_coverage(conf, correct, 0.8),
            **(_of_options(self.options) if self.options else {}),
            "bins": [
                {"low": b.low, "high": b.high, "n": b.count, "confidence": b.confidence, "accuracy": b.accuracy}
                for b in table
            ],
        }


def in_words(gap: float) -> str:
    """Mean confidence less accuracy, named."""
    if abs(gap) <= CLEAR_GAP:
        return "as sure as it is right"
    return f"{'over' if gap > 0 else 'under'}confident by {100 * abs(gap):.1f} p.p. on average"


def _of_options(options: Options) -> dict[str, Any]:
    truth = [min(float(row[right]), 1.0) for row, right in zip(options.probabilities, options.right, strict=True)]
    return {
        "nll": statistics.negative_log_likelihood(truth),
        "letter_mass": float(options.mass.mean()),
        "repairing_temperature": best_temperature(options.probabilities, options.right),
    }


def from_options(rows: Sequence[tuple[Item, tuple[Answer, ...]]]) -> Beliefs:
    """Average each item's option probabilities over its rotations, options put back in the item's own order.

    Raises ValueError, naming the item, where an answer has another number of log-probabilities than the item options.
    """
    confidence, correct, mass = (np.zeros(len(rows)) for _ in range(3))
    table, places = [], []
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
        confidence[i], correct[i] = min(total[top], 1.0), float(top == right)
        table.append(total)
        places.append(right)
    return Beliefs(confidence, correct, Options(tuple(table), tuple(places), mass))


def from_samples(rows: Sequence[tuple[Item, tuple[Answer, ...]]], scorer: str) -> Beliefs:
    """The share of each item's sampled answers that say what its greedy answer, the first, says.

    Raises UnscorableError where it cannot be told whether an answer is right (see :func:`equivalent`).
    """
    rule = RULES[scorer]
    confidence = [
        np.mean([equivalent(item, answers[0], sample, scorer) for sample in answers[1:]]) for item, answers in rows
    ]
    correct = [rule(item, answers[0]) for item, answers in rows]
    return Beliefs(np.array(confidence, dtype=np.float64), np.array(correct, dtype=np.float64))


def equivalent(item: Item, one: Answer, other: Answer, scorer: str) -> bool:
    """Whether two answers to an item are the same answer to its scorer.

    All right answers are one answer: the scorer cannot tell them apart. Wrong ones are the same where they say the
    same in the scorer's own normal form: the last number for ``numeric`` (and a numeric ``check``), the JSON value for
    a ``json_schema``, else the text after :func:`~ftgate.measurements.texts.normal`. Being wrong in two ways is no
    agreement; neither is it seen that two wrong sentences mean the same, for either model. Raises UnscorableError
    where a rule takes too long on an answer.
    """
    if same_text(one.text, other.text):
        return True
    kinds = {scorer, *(item.check or {})} if scorer == "check" else {scorer}
    if "numeric" in kinds:
        said = last_number(one.text)
        tolerance = (item.check or {}).get("tolerance", 0.0) if scorer == "check" else 0.0
        if said is not None and same_number(said, last_number(other.text), tolerance):
            return True
    if "json_schema" in kinds:
        values = [next(json_values(answer.text), None) for answer in (one, other)]
        if values[0] is not None and values[0] == values[1]:
            return True
    rule = RULES[scorer]
    return rule(item, one) == 1.0 and rule(item, other) == 1.0
