"""How well a judge agrees with people, on the answers that people graded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ftgate.judge.grading import Grade, Judge
from ftgate.judge.labels import GRADES, Labels
from ftgate.stats.agreement import confusion, kappa_interval, mean_interval

LEAST_KAPPA = 0.4
"""Agreement above this is called moderate (Landis & Koch 1977); the lower bound of kappa should be above it."""
BOUND_ALPHA = 0.05
"""One-sided level of each bound: together a 90 % interval, like the others in a report."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Quadratically weighted kappa and bias of a judge against people, on ``answers`` that both graded.

    ``bias`` is the judge's mean grade less people's, in [-1, 1]: positive where the judge is too kind. ``table`` counts
    people's grades 1 to 5 (rows) against the judge's nearest ones (columns). Of the labelled answers ``unreadable`` got
    no grade by the judge.
    """

    answers: int
    unreadable: int
    kappa: float
    kappa_low: float
    kappa_high: float
    bias: float
    bias_low: float
    bias_high: float
    table: tuple[tuple[int, ...], ...]

    @property
    def good(self) -> bool:
        """Whether the agreement is shown to be more than fair."""
        return self.kappa_low > LEAST_KAPPA

    @property
    def text(self) -> str:
        """Both in a sentence's part: ``kappa 0.71 [0.58, 0.82] on 120 answers, 0.04 too kind [0.01, 0.07]``."""
        kappa = f"kappa {self.kappa:.2f} [{self.kappa_low:.2f}, {self.kappa_high:.2f}] on {self.answers} answers"
        low, high = (self.bias_low, self.bias_high) if self.bias >= 0 else (-self.bias_high, -self.bias_low)
        word = "too kind" if self.bias >= 0 else "too strict"
        unread = f"; {self.unreadable} more got no grade by the judge" if self.unreadable else ""
        return f"{kappa}, {abs(self.bias):.2f} {word} [{low:.2f}, {high:.2f}]{unread}"


def agreement(judge: Judge, labels: Labels) -> Agreement:
    """Have ``judge`` grade the labelled answers, blind like any others, and compare."""
    return compare(labels, judge.grade([(label.item, label.text) for label in labels.labels]))


def compare(labels: Labels, grades: Sequence[Grade]) -> Agreement:
    """The agreement of ``labels`` with the judge's ``grades`` of the same answers, in the same order."""
    pairs = zip(labels.labels, grades, strict=True)
    read = [(label, grade) for label, grade in pairs if label.grade is not None and grade.low == grade.high]
    people = np.array([label.grade for label, _ in read], dtype=np.float64)
    by_judge = np.array([grade.value for _, grade in read])
    if not len(read):
        nan = float("nan")
        return Agreement(0, len(grades), nan, nan, nan, nan, nan, nan, ())
    prompts = [label.item.messages for label, _ in read]
    kappa = kappa_interval(people, by_judge, len(GRADES), prompts, BOUND_ALPHA)
    bias = mean_interval(by_judge - people, prompts, BOUND_ALPHA)
    table = tuple(tuple(row) for row in confusion(people, by_judge, len(GRADES)).tolist())
    bounds = (kappa.estimate, kappa.low, kappa.high, bias.estimate, bias.low, bias.high)
    return Agreement(len(read), len(grades) - len(read), *bounds, table)
