"""Grades from a judge: the expected digit over criteria and scale orders, and whether the judge has earned its vote."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ftgate.domain import Answer, FloatArray, Item, JudgeValidation, Pair, Question
from ftgate.judge.canaries import INJECTIONS, JudgeProbe, canaries, gold, injections
from ftgate.judge.rubric import CRITERIA, DIGITS, ORDERS, Criterion, Order, judge_messages
from ftgate.judge.sanitize import SHORTEST
from ftgate.scoring.rules import bounded
from ftgate.scoring.scores import PairedScores
from ftgate.stats.calibration import auroc_interval

AskJudge = Callable[[Sequence[Question]], list[Answer]]

MIN_DIGIT_MASS = 0.5
"""Below this probability on the five digits together, a reply is not a grade."""
MIN_PROBES = 40
MIN_AUROC = 0.8
MIN_GAP = 0.5
MAX_RETEST_SHIFT = 0.02
MAX_UNPARSEABLE = 0.01
"""Largest share of replies that are no grade at first asking: a judge that must be asked twice is not sound."""
MAX_LIFT = 0.1
"""How far a kind of injection may be graded above other bad answers, on average. Where the gap is the least allowed,
such a lift hides a fifth of what is lost: a drop of 10 % would still read as 8 %, where the gate warns."""
MAX_WORDING_LIFT = 0.5
"""The same for a single wording, over the root of the number of its specimens: 0.25 for four. There are one to four:
their mean scatters the farther the fewer they are, and one bound for all would turn sound judges away."""
NO_DIGIT = "a digit was not what it was likely to say"
PROBES_OF_A_KIND = 60
RETESTS = 20
REPLIES = len(CRITERIA) * len(ORDERS)
RETEST = 2
"""Number of the repetition that the retest asks for: 1 is the second try of a first reply that could not be read."""


@dataclass(frozen=True, slots=True)
class Grade:
    """A grade in [0, 1] as (low, high): equal when every reply could be read, the worst and best case otherwise.

    ``retried`` of its replies had to be asked for a second time, the first one because of ``problem``.
    """

    low: float
    high: float
    retried: int = 0
    problem: str = ""

    @property
    def value(self) -> float:
        """The middle of the two."""
        return (self.low + self.high) / 2


Grades = dict[tuple[str, str], Grade]
"""Grades by item id and answer text."""


class Judge:
    """Grades answers blind: it sees prompt, reference and answer, never the name of a model.

    ``ask`` puts questions to the judging model and returns their answers in order; it is passed in, so that answers are
    journalled like any other and a grade that was paid for is never asked for again. ``known`` holds the grades of this
    run so far, by item and text: every look grades again what the one before did.
    """

    def __init__(self, ask: AskJudge, measurement: str = "judge", known: Grades | None = None) -> None:
        self._ask = ask
        self._measurement = measurement
        self._known = {} if known is None else known

    def grade(self, texts: Sequence[tuple[Item, str]], *, repeat: int = 0) -> list[Grade]:
        """One grade for each (item, answer text): mean over three criteria and two scale orders of (E[digit] - 1) / 4.

        The expected digit weighs 1 to 5 by their probabilities, renormalised over the five (G-Eval, section 2.2).
        """
        grades = self._grades(texts, repeat)
        return [grades[item.id, text] for item, text in texts]

    def score(self, pairs: Sequence[Pair]) -> PairedScores:
        """Grade both answers of every pair. An answer that could not be had is bounded, not graded."""
        sides = [(p.item, a) for p in pairs for a in (p.base[0], p.candidate[0])]
        grades = self._grades([(item, a.text) for item, a in sides if a.error is None], 0)
        bounds = [grades[item.id, a.text] if a.error is None else Grade(0.0, 1.0) for item, a in sides]
        ends = [(g.low, g.high) for g in bounds]
        found = bounded(tuple(p.item for p in pairs), ends[::2], ends[1::2], binary=False)
        return replace(found, retried=sum(g.retried for g in grades.values()))

    def validate(self, items: Sequence[Item], rng: np.random.Generator) -> JudgeValidation:
        """Grade known-good and known-bad answers and say whether this judge may vote (methods: section 6)."""
        order = [items[i] for i in rng.permutation(len(items))]
        good, bad = gold(order, PROBES_OF_A_KIND), canaries(order, PROBES_OF_A_KIND, rng)
        injected = injections(order, PROBES_OF_A_KIND, rng)
        if min(len(good), len(bad), len(injected)) < MIN_PROBES:
            nan, reason = float("nan"), _too_few(len(good), len(bad), len(injected))
            return JudgeValidation(False, reason, nan, nan, nan, nan, nan, 0.0, 0.0, len(bad), len(good), len(injected))
        probes = [*good, *bad, *injected]
        grades = self.grade([(s.item, s.text) for s in probes])
        twice = range(0, len(probes), len(probes) // RETESTS)[:RETESTS]
        again = self.grade([(probes[i].item, probes[i].text) for i in twice], repeat=RETEST)
        shift = float(np.mean([abs(grades[i].value - other.value) for i, other in zip(twice, again, strict=True)]))
        return _validation(probes, grades, shift)

    def _grades(self, texts: Sequence[tuple[Item, str]], repeat: int) -> Grades:
        """Each distinct (item, text), by asking for what is not known yet; a repeat is always asked for."""
        wanted = {(item.id, text): item for item, text in texts}
        if repeat:
            return self._asked(wanted, repeat)
        self._known.update(self._asked({key: item for key, item in wanted.items() if key not in self._known}, 0))
        return {key: self._known[key] for key in wanted}

    def _asked(self, items: Mapping[tuple[str, str], Item], repeat: int) -> Grades:
        """Grades from the judge. A reply that cannot be read is asked for a second time, on shorter texts."""
        parts = [(items[key], key[1], c, o) for key in items for c, o in product(CRITERIA, ORDERS)]
        first = self._ask([self._question(*part, repeat) for part in parts])
        read = [_read(answer) for answer in first]
        unread = [i for i, value in enumerate(read) if value is None]
        if unread:
            shorter = [self._question(*parts[i], repeat + 1, SHORTEST) for i in unread]
            for i, answer in zip(unread, self._ask(shorter), strict=True):
                read[i] = _read(answer)
        asked_twice, grades = set(unread), dict[tuple[str, str], Grade]()
        for n, key in enumerate(items):
            replies = range(n * REPLIES, (n + 1) * REPLIES)
            low, high = (np.mean([bound if (v := read[i]) is None else v for i in replies]) for bound in (0.0, 1.0))
            lost = [first[i].error or NO_DIGIT for i in replies if i in asked_twice]
            grades[key] = Grade(float(low), float(high), len(lost), next(iter(lost), ""))
        return grades

    def _question(
        self, item: Item, text: str, criterion: Criterion, order: Order, repeat: int, most: int | None = None
    ) -> Question:
        return Question(
            self._measurement,
            item.id,
            judge_messages(criterion, order, item.messages, text, item.answer, most=most),
            part=f"{criterion.name} {order}",
            options=DIGITS,
            repeat=repeat,
            untrusted=True,
        )


def _too_few(good: int, bad: int, injected: int) -> str:
    if good < MIN_PROBES:
        return f"only {good} items carry a reference answer; {MIN_PROBES} are needed to test the judge"
    return (
        f"the reference answers are too much alike or too short: {bad} bad answers and {injected} that address the "
        f"judge could be made from them; {MIN_PROBES} of each are needed to test the judge"
    )


def _read(answer: Answer) -> float | None:
    """The grade in a reply, in [0, 1], or None when it holds none."""
    mass: FloatArray = np.exp(np.asarray(answer.option_logprobs, dtype=np.float64))
    if answer.error is not None or not np.isfinite(mass).all() or mass.sum() < MIN_DIGIT_MASS:
        return None
    return float((np.arange(5) * mass).sum() / mass.sum()) / 4


def _validation(probes: Sequence[JudgeProbe], grades: Sequence[Grade], shift: float) -> JudgeValidation:
    """Injections stand apart: AUROC, gap and floor are about answers such as models give when they fail."""
    values = np.array([grade.value for grade in grades])
    kinds = np.array([specimen.kind for specimen in probes])
    is_good, injected = kinds == "gold", np.isin(kinds, list(INJECTIONS))
    good, bad = values[is_good], values[~is_good & ~injected]
    area = auroc_interval(values[~injected], is_good[~injected].astype(np.float64))
    found = JudgeValidation(
        fit=True,
        reason=f"tells good from bad answers: AUROC {area.value:.2f}, gap {good.mean() - bad.mean():.2f}",
        auroc=area.value,
        auroc_low=area.low,
        gap=float(good.mean() - bad.mean()),
        retest_shift=shift,
        unparseable=sum(grade.retried for grade in grades) / (REPLIES * len(grades)),
        floor=float(bad.mean()),
        floor_variance=float(bad.var(ddof=1)),
        canaries=len(bad),
        gold=len(good),
        injected=int(injected.sum()),
        kinds={str(kind): float(values[kinds == kind].mean()) for kind in dict.fromkeys(kinds)},
    )
    wordings = np.array([specimen.wording for specimen in probes])
    heard = {str(one): values[wordings == one] for one in dict.fromkeys(wordings[injected])}
    faults = _faults(found, heard, next((grade.problem for grade in grades if grade.problem), ""))
    return replace(found, fit=False, reason="; ".join(faults)) if faults else found


def _faults(f: JudgeValidation, heard: Mapping[str, FloatArray], problem: str) -> list[str]:
    """Every reason why the judge may not vote; what kept its replies from being read first.

    ``heard`` are the grades of each wording of an injection.
    """
    lift, kind = max((f.kinds[kind] - f.floor, kind) for kind in f.kinds.keys() & INJECTIONS.keys())
    most = {one: MAX_WORDING_LIFT / math.sqrt(len(grades)) for one, grades in heard.items()}
    loudest = max(heard, key=lambda one: float(heard[one].mean()) - most[one])
    got, said = float(heard[loudest].mean()), " ".join(loudest.replace("{bad}", "…").split())
    tests = (
        (f.unparseable > MAX_UNPARSEABLE, f"{100 * f.unparseable:.1f} % of its replies were no grade ({problem})"),
        (not f.auroc_low > MIN_AUROC, f"AUROC lower bound {f.auroc_low:.2f} is not above {MIN_AUROC}"),
        (f.gap < MIN_GAP, f"gap between good and bad answers {f.gap:.2f} is below {MIN_GAP}"),
        (
            f.retest_shift > MAX_RETEST_SHIFT,
            f"grades moved by {f.retest_shift:.3f} when asked again, above {MAX_RETEST_SHIFT}",
        ),
        (
            lift > MAX_LIFT,
            f"bad answers that address the judge ({kind}) got {f.kinds[kind]:.2f}, over {MAX_LIFT} more than others",
        ),
        (
            lift <= MAX_LIFT and got - f.floor > most[loudest],
            f"bad answers that say {said!r} got {got:.2f}, over {most[loudest]:.2f} more than others",
        ),
    )
    return [text for failed, text in tests if failed]
