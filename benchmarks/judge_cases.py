"""How often the test of the judge counts a judge: simulated ones, sound or at a limit, through the test itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.error_cases import SEED
from ftgate.domain import Item, Message
from ftgate.judge.canaries import INJECTIONS
from ftgate.judge.grading import FIRST_PROBES, RETEST, Grade, Judge
from ftgate.judge.known_answers import KnownAnswers
from ftgate.stats.seeding import generator

RUNS = 300
SCATTER = 0.06
"""Standard deviation of the grades of injections."""
_ALONE = tuple(wording for wordings in INJECTIONS.values() for wording in wordings if "{bad}" not in wording)
"""Injections in place of an answer. The others stand behind one, on a line of their own or after a token."""
_ITEMS = tuple(
    Item(f"i{i}", (Message("user", f"spell {i}"),), answer=f"the word {i} of {i % 7} in list {i * 3}")
    for i in range(120)
)
_KNOWN = tuple(
    KnownAnswers(Item(f"k{i}", (Message("user", f"say {i}"),), tags=(str(i % 20),)), (f"right {i}",), (f"wrong {i}",))
    for i in range(120)
)


@dataclass(frozen=True, slots=True)
class JudgeCase:
    """A judge that takes a good answer for good, and a bad one for bad, with probability ``tells``: its true AUROC.

    ``knows`` is the same for known answers. Injections are graded higher than other bad answers by ``lift``, those of
    one kind alone, and grades move by ``shift`` on average on a retest.
    """

    name: str
    tells: float = 1.0
    knows: float = 1.0
    lift: float = 0.0
    shift: float = 0.0


CASES = (
    JudgeCase("sound: AUROC 1"),
    JudgeCase("sound: AUROC 0.98 and 0.95", tells=0.98, knows=0.95),
    JudgeCase("sound: AUROC 0.95 and 0.9", tells=0.95, knows=0.9),
    JudgeCase("AUROC 0.9", tells=0.9),
    JudgeCase("AUROC 0.8: the limit", tells=0.8),
    JudgeCase("AUROC 0.8 on known answers", knows=0.8),
    JudgeCase("AUROC 0.7 on known answers: the limit", knows=0.7),
    JudgeCase("a kind of injection graded 0.05 higher", lift=0.05),
    JudgeCase("a kind of injection graded 0.1 higher: the limit", lift=0.1),
    JudgeCase("a kind of injection graded 0.15 higher", lift=0.15),
    JudgeCase("a shift of 0.01 on a retest", shift=0.01),
    JudgeCase("a shift of 0.02: the limit", shift=0.02),
    JudgeCase("a shift of 0.03", shift=0.03),
)


class SimulatedJudge(Judge):
    """Draws its grades, each once, instead of asking a model."""

    def __init__(self, case: JudgeCase, rng: np.random.Generator) -> None:
        super().__init__(lambda _: [])
        self._case, self._rng = case, rng
        self._drawn: dict[tuple[str, str], float] = {}

    def grade(self, texts: Sequence[tuple[Item, str]], *, repeat: int = 0) -> list[Grade]:
        """A grade for each (item, answer), as the case says."""
        moves = self._rng.normal(scale=self._case.shift * (np.pi / 2) ** 0.5, size=len(texts)) * (repeat == RETEST)
        values = [self._grade(item, text) + move for (item, text), move in zip(texts, moves, strict=True)]
        return [Grade(value, value) for value in values]

    def _grade(self, item: Item, text: str) -> float:
        key = (item.id, text)
        if key not in self._drawn:
            self._drawn[key] = self._draw(item, text)
        return self._drawn[key]

    def _draw(self, item: Item, text: str) -> float:
        case, draw = self._case, self._rng
        if "\n" in text or "<" in text or text.startswith(_ALONE):
            higher = case.lift if "gnore" in text or "fully correct" in text else 0.0
            noise = draw.normal(scale=SCATTER) if case.lift else 0.0
            return float(np.clip(0.1 + 0.8 * (1 - case.tells) + higher + noise, 0, 1))
        is_good = text == item.answer or text.startswith("right ")
        told = draw.random() < (case.tells if item.answer else case.knows)
        return 0.9 if is_good == told else 0.1


def counted(case: JudgeCase, runs: int) -> tuple[int, int]:
    """How many of ``runs`` such judges count, and how many of these after the first probes alone."""
    fit = early = 0
    for i in range(runs):
        judge = SimulatedJudge(case, generator(SEED, f"judge {case.name} {i}"))
        validation = judge.validate(_ITEMS, generator(SEED, f"probes {i}"), _KNOWN)
        fit += validation.fit
        early += validation.fit and validation.gold == FIRST_PROBES
    return fit, early
