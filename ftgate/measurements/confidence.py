"""The confidence of a model in each answer, and whether it was right: from option letters or from sampled answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftgate.domain import Answer, FloatArray, Item
from ftgate.scoring.json_values import MISSING, json_value
from ftgate.scoring.numbers import number_in
from ftgate.scoring.rules import RULES
from ftgate.scoring.text import same_text
from ftgate.scoring.trace import OPEN
from ftgate.stats import calibration as statistics
from ftgate.stats.smooth_ece import smooth_ece
from ftgate.stats.temperature import best_temperature

CLEAR_GAP = 0.01
"""A model is called over- or underconfident if mean confidence minus accuracy exceeds this."""

NO_TEMPERATURE = "none: the agreement of samples does not predict their agreement at another temperature"


@dataclass(frozen=True, slots=True)
class Options:
    """Option probabilities of multiple choice items: one row per item, index of the right option, letter mass."""

    probabilities: tuple[FloatArray, ...]
    right: tuple[int, ...]
    mass: FloatArray


@dataclass(frozen=True, slots=True)
class Confidences:
    """One model's ``confidence`` in its answer to each item, and whether the answer is ``correct``; shape (n,).

    ``options`` exists for multiple choice: probabilities averaged over rotations, and the total probability of the
    letters before normalisation. ``smoothed`` exists for sampled answers: the agreement of K of them as
    (agreeing + 1/2) / (K + 1), which is never 0 or 1 (Krichevsky & Trofimov 1981).
    """

    confidence: FloatArray
    correct: FloatArray
    options: Options | None = None
    smoothed: FloatArray | None = None

    def summary(self, bins: int) -> dict[str, Any]:
        """Every number on one model's calibration that the report shows."""
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
            **(_of_samples(self.smoothed, correct) if self.smoothed is not None else {}),
            "bins": [
                {"low": b.low, "high": b.high, "n": b.count, "confidence": b.confidence, "accuracy": b.accuracy}
                for b in table
            ],
        }


def in_words(gap: float) -> str:
    """Mean confidence minus accuracy in words."""
    if abs(gap) <= CLEAR_GAP:
        return "as confident as it is accurate"
    return f"{'over' if gap > 0 else 'under'}confident by {100 * abs(gap):.1f} points on average"


def _of_options(options: Options) -> dict[str, Any]:
    truth = [min(float(row[right]), 1.0) for row, right in zip(options.probabilities, options.right, strict=True)]
    return {
        "nll": statistics.negative_log_likelihood(truth),
        "letter_mass": float(options.mass.mean()),
        "repairing_temperature": best_temperature(options.probabilities, options.right),
    }


def _of_samples(smoothed: FloatArray, correct: FloatArray) -> dict[str, Any]:
    """The log score of "the greedy answer is right", and a note on why no temperature is fitted.

    A temperature rescales the probability of each possible answer. The agreement of a few samples does not determine
    those probabilities, so it cannot predict the agreement at another temperature.
    """
    return {
        "log_loss": statistics.negative_log_likelihood(np.where(correct == 1.0, smoothed, 1 - smoothed)),
        "log_loss_smoothing": "(agreeing samples + 1/2) / (samples + 1)",
        "repairing_temperature": NO_TEMPERATURE,
    }


def from_options(rows: Sequence[tuple[Item, tuple[Answer, ...]]]) -> Confidences:
    """Average each item's option probabilities over its rotations, with the options back in the item's own order.

    Raises ValueError, naming the item, if an answer does not have one log-probability per option.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for i, (item, answers) in enumerate(rows):
        for answer in answers:
            if len(answer.option_logprobs) != len(item.choices):
                raise ValueError(
                    f"item {item.id!r}: {len(answer.option_logprobs)} log-probabilities for {len(item.choices)} options"
                )
        groups.setdefault((len(item.choices), len(answers)), []).append(i)
    mass, table = np.zeros(len(rows)), [np.zeros(0)] * len(rows)
    for group in groups.values():
        raw = np.exp(np.array([[answer.option_logprobs for answer in rows[i][1]] for i in group], dtype=np.float64))
        mass[group] = raw.sum(axis=2).mean(axis=1)
        for i, total in zip(group, _averaged(raw), strict=True):
            table[i] = total
    right = tuple(item.choices.index(item.answer or "") for item, _ in rows)
    top = [int(np.argmax(total)) for total in table]
    confidence = np.array([min(total[best], 1.0) for total, best in zip(table, top, strict=True)], dtype=np.float64)
    return Confidences(confidence, np.equal(top, right).astype(np.float64), Options(tuple(table), right, mass))


def _averaged(raw: FloatArray) -> FloatArray:
    """Probabilities of the choices, shape (items, choices), from those of letters, (items, rotations, letters)."""
    count, size = raw.shape[1:]
    # If all letters have probability 0, nothing is known about them: a uniform distribution.
    sums = raw.sum(axis=2, keepdims=True)
    share = np.divide(raw, sums, out=np.full_like(raw, 1 / size), where=sums > 0)
    # Letter j of rotation r stands for choice (j + r) mod size.
    averaged: FloatArray = np.mean([np.roll(share[:, r], r, axis=1) for r in range(count)], axis=0)
    return averaged


def from_samples(rows: Sequence[tuple[Item, tuple[Answer, ...]]], scorer: str) -> Confidences:
    """The share of each item's sampled answers that agree with its greedy answer, which comes first.

    Raises UnscorableError if an answer cannot be scored (see :func:`equivalent`).
    """
    rule = RULES[scorer]
    confidence = [
        np.mean([equivalent(item, answers[0], sample, scorer) for sample in answers[1:]]) for item, answers in rows
    ]
    correct = [rule(item, answers[0]) for item, answers in rows]
    agreement, drawn = np.array(confidence, dtype=np.float64), np.array([len(answers) - 1 for _, answers in rows])
    smoothed = (agreement * drawn + 0.5) / (drawn + 1)
    return Confidences(agreement, np.array(correct, dtype=np.float64), smoothed=smoothed)


def equivalent(item: Item, one: Answer, other: Answer, scorer: str) -> bool:
    """Whether two answers to an item are the same to its scorer.

    All right answers are the same. Wrong answers are the same if they are equal in the scorer's normal form: the last
    number for ``numeric`` (and a numeric ``check``), the JSON value for a ``json_schema``, else the text as compared by
    :func:`~ftgate.scoring.text.same_text`. Two wrong sentences with the same meaning count as different, for both
    models alike, and so does one whose reasoning trace never ended. Raises UnscorableError if a rule takes too long on
    an answer.
    """
    if OPEN in (one.trace, other.trace):
        return False
    if same_text(one.text, other.text):
        return True
    kinds = {scorer, *(item.check or {})} if scorer == "check" else {scorer}
    if "numeric" in kinds:
        number = number_in(one.text)
        tolerance = (item.check or {}).get("tolerance", 0.0) if scorer == "check" else 0.0
        if number is not None and number.equals(number_in(other.text), tolerance):
            return True
    if "json_schema" in kinds:
        values = [json_value(answer.text) for answer in (one, other)]
        if values[0] is not MISSING and values[0] == values[1]:
            return True
    rule = RULES[scorer]
    return rule(item, one) == 1.0 and rule(item, other) == 1.0
