"""How sure a model was of each answer, and whether it was right: from option letters, or from sampled answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftgate.domain import Answer, FloatArray, Item
from ftgate.scoring.checks import json_values, same_number
from ftgate.scoring.numbers import last_number
from ftgate.scoring.rules import RULES
from ftgate.scoring.text import same_text
from ftgate.stats import calibration as statistics
from ftgate.stats.smooth_ece import smooth_ece
from ftgate.stats.temperature import best_temperature

CLEAR_GAP = 0.01
"""Mean confidence less accuracy beyond which a model is called too sure, or too unsure."""

NO_TEMPERATURE = "none: how often samples agree does not tell what another temperature would give"


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
    probability of all letters together before they were normalised. ``smoothed`` is there for sampled answers: the
    agreement of K of them as (agreeing + 1/2) / (K + 1), which is never 0 or 1 (Krichevsky & Trofimov 1981).
    """

    confidence: FloatArray
    correct: FloatArray
    options: Options | None = None
    smoothed: FloatArray | None = None

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
            **(_of_samples(self.smoothed, correct) if self.smoothed is not None else {}),
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


def _of_samples(smoothed: FloatArray, correct: FloatArray) -> dict[str, Any]:
    """The log score of "the greedy answer is right", and why there is no temperature.

    A temperature changes the probabilities from which answers are drawn. How often drawn answers agree says nothing
    about what would be drawn at another one: a sum over answers, each scaled by itself, of which few were seen.
    """
    return {
        "log_loss": statistics.negative_log_likelihood(np.where(correct == 1.0, smoothed, 1 - smoothed)),
        "log_loss_smoothing": "(agreeing samples + 1/2) / (samples + 1)",
        "repairing_temperature": NO_TEMPERATURE,
    }


def from_options(rows: Sequence[tuple[Item, tuple[Answer, ...]]]) -> Beliefs:
    """Average each item's option probabilities over its rotations, options put back in the item's own order.

    Raises ValueError, naming the item, where an answer has another number of log-probabilities than the item options.
    """
    alike: dict[tuple[int, int], list[int]] = {}
    for i, (item, answers) in enumerate(rows):
        for answer in answers:
            if len(answer.option_logprobs) != len(item.choices):
                raise ValueError(
                    f"item {item.id!r}: {len(answer.option_logprobs)} log-probabilities for {len(item.choices)} options"
                )
        alike.setdefault((len(item.choices), len(answers)), []).append(i)
    mass, table = np.zeros(len(rows)), [np.zeros(0)] * len(rows)
    for group in alike.values():
        raw = np.exp(np.array([[answer.option_logprobs for answer in rows[i][1]] for i in group], dtype=np.float64))
        mass[group] = raw.sum(axis=2).mean(axis=1)
        for i, total in zip(group, _averaged(raw), strict=True):
            table[i] = total
    right = tuple(item.choices.index(item.answer or "") for item, _ in rows)
    top = [int(np.argmax(total)) for total in table]
    confidence = np.array([min(total[best], 1.0) for total, best in zip(table, top, strict=True)], dtype=np.float64)
    return Beliefs(confidence, np.equal(top, right).astype(np.float64), Options(tuple(table), right, mass))


def _averaged(raw: FloatArray) -> FloatArray:
    """Probabilities of the choices, shape (items, choices), from those of letters, (items, rotations, letters)."""
    count, size = raw.shape[1:]
    # An engine that gives all letters probability 0 knows nothing about them, which is an even spread.
    sums = raw.sum(axis=2, keepdims=True)
    share = np.divide(raw, sums, out=np.full_like(raw, 1 / size), where=sums > 0)
    # Letter j of rotation r stands for choice (j + r) mod size.
    averaged: FloatArray = np.mean([np.roll(share[:, r], r, axis=1) for r in range(count)], axis=0)
    return averaged


def from_samples(rows: Sequence[tuple[Item, tuple[Answer, ...]]], scorer: str) -> Beliefs:
    """The share of each item's sampled answers that say what its greedy answer, the first, says.

    Raises UnscorableError where it cannot be told whether an answer is right (see :func:`equivalent`).
    """
    rule = RULES[scorer]
    confidence = [
        np.mean([equivalent(item, answers[0], sample, scorer) for sample in answers[1:]]) for item, answers in rows
    ]
    correct = [rule(item, answers[0]) for item, answers in rows]
    agreement, drawn = np.array(confidence, dtype=np.float64), np.array([len(answers) - 1 for _, answers in rows])
    smoothed = (agreement * drawn + 0.5) / (drawn + 1)
    return Beliefs(agreement, np.array(correct, dtype=np.float64), smoothed=smoothed)


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
