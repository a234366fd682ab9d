"""Grades from a judge: the expected digit over criteria and scale orders, and whether the judge has earned its vote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ftgate.domain import Answer, Fitness, FloatArray, Item, Pair, Question
from ftgate.judge.canaries import Specimen, canaries, gold
from ftgate.judge.rubric import CRITERIA, DIGITS, ORDERS, judge_messages
from ftgate.measurements.scoring import bounded
from ftgate.scores import Scored
from ftgate.stats.calibration import auroc_interval

AskJudge = Callable[[Sequence[Question]], list[Answer]]

MIN_DIGIT_MASS = 0.5
"""Below this probability on the five digits together, a reply is not a grade."""
MIN_SPECIMENS = 40
MIN_AUROC = 0.8
MIN_GAP = 0.5
MAX_RETEST_SHIFT = 0.02
MAX_UNPARSEABLE = 0.01
SPECIMENS = 60
RETESTS = 20


@dataclass(frozen=True, slots=True)
class Grade:
    """A grade in [0, 1] as (low, high): equal when every reply could be read, the worst and best case otherwise."""

    low: float
    high: float

    @property
    def value(self) -> float:
        """The middle of the two."""
        return (self.low + self.high) / 2

    @property
    def readable(self) -> bool:
        """Whether every reply was a grade."""
        return self.low == self.high


class Judge:
    """Grades answers blind: it sees prompt, reference and answer, never the name of a model.

    ``ask`` puts questions to the judging model and returns their answers in order; it is passed in, so that answers are
    journalled like any other and a grade that was paid for is never asked for again.
    """

    def __init__(self, ask: AskJudge, measurement: str = "judge") -> None:
        self._ask = ask
        self._measurement = measurement

    def grade(self, texts: Sequence[tuple[Item, str]], *, repeat: int = 0) -> list[Grade]:
        """One grade for each (item, answer text): mean over three criteria and two scale orders of (E[digit] - 1) / 4.

        The expected digit weighs 1 to 5 by their probabilities, renormalised over the five (G-Eval, section 2.2).
        """
        distinct = list(dict.fromkeys((item.id, text) for item, text in texts))
        by_id = {item.id: item for item, _ in texts}
        questions = [q for item_id, text in distinct for q in self._questions(by_id[item_id], text, repeat)]
        answers = self._ask(questions)
        size = len(CRITERIA) * len(ORDERS)
        grades = {key: _combine(answers[i * size : (i + 1) * size]) for i, key in enumerate(distinct)}
        return [grades[(item.id, text)] for item, text in texts]

    def score(self, pairs: Sequence[Pair]) -> Scored:
        """Grade both answers of every pair. An answer that could not be had is bounded, not graded."""
        sides = [(p.item, a) for p in pairs for a in (p.base[0], p.candidate[0])]
        graded = iter(self.grade([(item, a.text) for item, a in sides if a.error is None]))
        bounds = [next(graded) if a.error is None else Grade(0.0, 1.0) for _, a in sides]
        ends = [(g.low, g.high) for g in bounds]
        return bounded(tuple(p.item for p in pairs), ends[::2], ends[1::2], binary=False)

    def fitness(self, items: Sequence[Item], rng: np.random.Generator) -> Fitness:
        """Grade known-good and known-bad answers and say whether this judge may vote (methods: section 6)."""
        order = [items[i] for i in rng.permutation(len(items))]
        good, bad = gold(order, SPECIMENS), canaries(order, SPECIMENS, rng)
        specimens = [*good, *bad]
        if min(len(good), len(bad)) < MIN_SPECIMENS:
            reason = f"only {len(good)} items carry a reference answer; {MIN_SPECIMENS} are needed to test the judge"
            nan = float("nan")
            return Fitness(False, reason, nan, nan, nan, nan, nan, 0.0, 0.0, len(bad), len(good))
        grades = self.grade([(s.item, s.text) for s in specimens])
        again = self.grade([(s.item, s.text) for s in specimens[:RETESTS]], repeat=1)
        return _fitness(specimens, grades, again)

    def _questions(self, item: Item, text: str, repeat: int) -> list[Question]:
        return [
            Question(
                self._measurement,
                item.id,
                judge_messages(criterion, order, item.messages, text, item.answer),
                part=f"{criterion.name} {order}",
                options=DIGITS,
                repeat=repeat,
            )
            for criterion in CRITERIA
            for order in ORDERS
        ]


def _combine(answers: Sequence[Answer]) -> Grade:
    """Average the replies to one answer's questions; an unreadable reply counts as 0 to 1."""
    bounds = [_reply(answer) for answer in answers]
    return Grade(float(np.mean([low for low, _ in bounds])), float(np.mean([high for _, high in bounds])))


def _reply(answer: Answer) -> tuple[float, float]:
    if answer.error is not None:
        return 0.0, 1.0
    mass: FloatArray = np.exp(np.asarray(answer.option_logprobs, dtype=np.float64))
    if not np.isfinite(mass).all() or mass.sum() < MIN_DIGIT_MASS:
        return 0.0, 1.0
    expected = float((np.arange(1, 6) * mass).sum() / mass.sum())
    return (expected - 1) / 4, (expected - 1) / 4


def _fitness(specimens: Sequence[Specimen], grades: Sequence[Grade], again: Sequence[Grade]) -> Fitness:
    values = np.array([g.value for g in grades])
    is_good = np.array([s.kind == "gold" for s in specimens])
    unparseable = float(np.mean([not g.readable for g in grades]))
    shift = float(np.mean([abs(a.value - b.value) for a, b in zip(again, grades, strict=False)]))
    area = auroc_interval(values, is_good.astype(np.float64))
    gap = float(values[is_good].mean() - values[~is_good].mean())
    failed = [
        text
        for broken, text in (
            (not area.low > MIN_AUROC, f"AUROC lower bound {area.low:.2f} is not above {MIN_AUROC}"),
            (gap < MIN_GAP, f"gap between good and bad answers {gap:.2f} is below {MIN_GAP}"),
            (shift > MAX_RETEST_SHIFT, f"grades moved by {shift:.3f} when asked again, above {MAX_RETEST_SHIFT}"),
            (unparseable > MAX_UNPARSEABLE, f"{100 * unparseable:.1f} % of its replies were no grade"),
        )
        if broken
    ]
    bad = values[~is_good]
    return Fitness(
        fit=not failed,
        reason="; ".join(failed) or f"tells good from bad answers: AUROC {area.value:.2f}, gap {gap:.2f}",
        auroc=area.value,
        auroc_low=area.low,
        gap=gap,
        retest_shift=shift,
        unparseable=unparseable,
        floor=float(bad.mean()),
        floor_variance=float(bad.var(ddof=1)),
        canaries=len(bad),
        gold=int(is_good.sum()),
    )
