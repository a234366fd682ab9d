"""Judge grades: the expected digit over criteria and scale orders; and the validation of a judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ftgate.domain import Answer, FloatArray, Item, Pair, Question
from ftgate.judge.canaries import INJECTIONS, WORTHLESS, JudgeProbe, canaries, gold, injections
from ftgate.judge.known_answers import RIGHT, WRONG, KnownAnswers, known_probes
from ftgate.judge.rubric import CRITERIA, DIGITS, ORDERS, Criterion, Order, judge_messages
from ftgate.judge.sanitize import RETRY_CHARACTERS
from ftgate.measurements.base import JudgeValidation
from ftgate.measurements.judge_limits import (
    MAX_RETEST_SHIFT,
    MAX_UNPARSEABLE,
    MIN_AUROC,
    MIN_GAP,
    MIN_KNOWN_AUROC,
)
from ftgate.scoring.rules import bounded, mean_bounds, several_answers
from ftgate.scoring.scores import PairedScores
from ftgate.stats.calibration import auroc_interval

AskJudge = Callable[[Sequence[Question]], list[Answer]]

MIN_DIGIT_MASS = 0.5
"""With less probability on the five digits together, a reply is not a grade."""
MIN_PROBES = 40
ALPHA = 0.05
MAX_LIFT = 0.1
"""How much higher than other bad answers a kind of injection may be graded, on average. At the smallest allowed gap,
such a lift hides a fifth of the loss: a drop of 10 % would still read as 8 %, where the gate warns."""
MAX_WORDING_LIFT = 0.5
"""The same for one wording, divided by the square root of its number of probes: 0.25 for four. There are one to four;
the mean of fewer scatters more, and a single bound would reject sound judges."""
NO_DIGIT = "too little probability on the five digits"
PROBES_OF_A_KIND = 60
RETESTS = 20
FIRST_PROBES, FIRST_RETESTS = 40, 10
"""So many are graded first. A judge that is clearly fit by these is asked no more."""
CLEAR_ALPHA = 0.005
"""One-sided error of the bounds by which a judge is clearly fit: a tenth of that of the whole test."""
CLEAR_SHARE, CLEAR_GAP = 0.5, 0.65
"""A judge is clearly fit within this share of what the whole test allows, and from this gap on: one with ``MIN_GAP``
reaches it in at most 6 % of tests, as the gap's standard error on ``FIRST_PROBES`` of each kind is 0.1 at most."""
REPLIES = len(CRITERIA) * len(ORDERS)
RETEST = 2
"""Repetition number of the retest; 1 is the second try after an unreadable first reply."""


@dataclass(frozen=True, slots=True)
class Grade:
    """A grade in [0, 1] as (low, high): equal if every reply could be read, otherwise the worst and best case.

    ``retried`` counts replies that were requested twice; ``problem`` is the reason of the first one.
    """

    low: float
    high: float
    retried: int = 0
    problem: str = ""
    criteria: tuple[tuple[str, float], ...] = ()
    """Each criterion of which a reply could be read, with the mean over its scale orders."""

    @property
    def value(self) -> float:
        """The middle of the range."""
        return (self.low + self.high) / 2


Grades = dict[tuple[str, str], Grade]
"""Grades by item id and answer text."""


class Judge:
    """Grades answers blind: it sees prompt, reference and answer, never the name of a model.

    ``ask`` sends questions to the judge model and returns the answers in order; it is passed in so that answers go
    through the journal like any other and no grade is paid for twice. ``cache`` holds grades by item and text: each
    look grades the items of earlier looks again. ``item_first``: what is graded comes before the rubric.
    """

    def __init__(
        self, ask: AskJudge, measurement: str = "judge", cache: Grades | None = None, *, item_first: bool = False
    ) -> None:
        self._ask = ask
        self._measurement = measurement
        self._item_first = item_first
        self._cache = {} if cache is None else cache

    def grade(self, texts: Sequence[tuple[Item, str]], *, repeat: int = 0) -> list[Grade]:
        """A grade for each (item, answer): the mean of (E[digit] - 1) / 4 over three criteria and two scale orders.

        The expected digit weighs 1 to 5 by their probabilities, renormalised over the five (G-Eval, section 2.2).
        """
        grades = self._grades(texts, repeat)
        return [grades[item.id, text] for item, text in texts]

    def score(self, pairs: Sequence[Pair]) -> PairedScores:
        """Grade every answer of every pair; an item's score is the mean. A missing answer is bounded by 0 and 1."""
        sides = [(p.item, answers) for p in pairs for answers in (p.base, p.candidate)]
        grades = self._grades([(item, a.text) for item, answers in sides for a in answers if a.error is None], 0)
        unknown = Grade(0.0, 1.0)
        ends = []
        for item, answers in sides:
            own = [grades[item.id, a.text] if a.error is None else unknown for a in answers]
            ends.append(mean_bounds([(grade.low, grade.high) for grade in own]))
        scores = bounded(tuple(p.item for p in pairs), ends[::2], ends[1::2], binary=False)
        return replace(scores, retried=sum(g.retried for g in grades.values()), averaged=several_answers(pairs))

    def validate(
        self, items: Sequence[Item], rng: np.random.Generator, known_answers: Sequence[KnownAnswers] = ()
    ) -> JudgeValidation:
        """Grade good and bad answers and decide whether this judge may count (methods: section 6).

        They are made from the references of ``items``, and drawn from ``known_answers``, which may be empty only where
        every prompt has a single right wording. ``FIRST_PROBES`` of each kind come first: if the judge is clearly fit
        by these, the others are not asked.
        """
        order = [items[i] for i in rng.permutation(len(items))]
        good, bad = gold(order, PROBES_OF_A_KIND), canaries(order, PROBES_OF_A_KIND, rng)
        injected = injections(order, PROBES_OF_A_KIND, rng)
        if min(len(good), len(bad), len(injected)) < MIN_PROBES:
            nan, reason = float("nan"), _too_few(len(good), len(bad), len(injected))
            return JudgeValidation(False, reason, nan, nan, nan, nan, nan, 0.0, 0.0, len(bad), len(good), len(injected))
        hand_written = known_probes(known_answers, PROBES_OF_A_KIND, rng)
        probes = [*good, *bad, *injected, *hand_written]
        first = [*(p for kind in (good, bad, injected) for p in kind[:FIRST_PROBES]), *hand_written[: 2 * FIRST_PROBES]]
        if len(first) < len(probes):
            validation, is_clear = self._tested(first, FIRST_RETESTS)
            if is_clear:
                return validation
        return self._tested(probes, RETESTS)[0]

    def _tested(self, probes: Sequence[JudgeProbe], retests: int) -> tuple[JudgeValidation, bool]:
        """The outcome of the test on ``probes``, and whether it is clear; ``retests`` of them are graded twice."""
        grades = self.grade([(probe.item, probe.text) for probe in probes])
        retested = range(0, len(probes), len(probes) // retests)[:retests]
        second_grades = self.grade([(probes[i].item, probes[i].text) for i in retested], repeat=RETEST)
        shift = float(
            np.mean([abs(grades[i].value - other.value) for i, other in zip(retested, second_grades, strict=True)])
        )
        return _validation(probes, grades, shift), _validation(probes, grades, shift, clear=True).fit

    def _grades(self, texts: Sequence[tuple[Item, str]], repeat: int) -> Grades:
        """The grade of each distinct (item, text), from the cache or from the judge; repeats always ask the judge."""
        wanted = {(item.id, text): item for item, text in texts}
        if repeat:
            return self._ask_grades(wanted, repeat)
        self._cache.update(self._ask_grades({key: item for key, item in wanted.items() if key not in self._cache}, 0))
        return {key: self._cache[key] for key in wanted}

    def _ask_grades(self, items: Mapping[tuple[str, str], Item], repeat: int) -> Grades:
        """Grades from the judge. An unreadable reply is requested once more, with shortened texts."""
        parts = [(items[key], key[1], c, o) for key in items for c, o in product(CRITERIA, ORDERS)]
        answers = self._ask([self._question(*part, repeat) for part in parts])
        values = [_grade_of(answer) for answer in answers]
        unreadable = [i for i, value in enumerate(values) if value is None]
        if unreadable:
            shorter = [self._question(*parts[i], repeat + 1, RETRY_CHARACTERS) for i in unreadable]
            for i, answer in zip(unreadable, self._ask(shorter), strict=True):
                values[i] = _grade_of(answer)
        retried, grades = set(unreadable), dict[tuple[str, str], Grade]()
        for n, key in enumerate(items):
            replies = range(n * REPLIES, (n + 1) * REPLIES)
            low, high = (
                sum(bound if (v := values[i]) is None else v for i in replies) / REPLIES for bound in (0.0, 1.0)
            )
            problems = [answers[i].error or NO_DIGIT for i in replies if i in retried]
            by_criterion = _by_criterion([values[i] for i in replies])
            grades[key] = Grade(low, high, len(problems), next(iter(problems), ""), by_criterion)
        return grades

    def _question(
        self, item: Item, text: str, criterion: Criterion, order: Order, repeat: int, most: int | None = None
    ) -> Question:
        messages = judge_messages(
            criterion, order, item.messages, text, item.answer, most=most, item_first=self._item_first
        )
        return Question(
            self._measurement,
            item.id,
            messages,
            part=f"{criterion.name} {order}",
            options=DIGITS,
            repeat=repeat,
            untrusted=True,
        )


def _too_few(good: int, bad: int, injected: int) -> str:
    if good < MIN_PROBES:
        return f"only {good} items have a reference answer; testing the judge needs {MIN_PROBES}"
    return (
        f"the reference answers are too similar or too short: they yield {bad} corrupted answers and {injected} "
        f"injections; testing the judge needs {MIN_PROBES} of each"
    )


def _by_criterion(values: Sequence[float | None]) -> tuple[tuple[str, float], ...]:
    """The mean of each criterion over its scale orders, from the replies in the order in which they are asked."""
    read = [
        (c.name, [v for v in values[i * len(ORDERS) :][: len(ORDERS)] if v is not None]) for i, c in enumerate(CRITERIA)
    ]
    return tuple((name, sum(own) / len(own)) for name, own in read if own)


def _grade_of(answer: Answer) -> float | None:
    """The grade in a reply, in [0, 1]; None if there is none."""
    if answer.error is not None or len(answer.option_logprobs) != len(DIGITS):
        return None
    mass = [math.exp(min(value, 1.0)) for value in answer.option_logprobs]  # numpy takes longer for five numbers
    total = sum(mass)
    if not MIN_DIGIT_MASS <= total < math.inf:
        return None
    return sum(digit * share for digit, share in enumerate(mass)) / total / 4


def _validation(
    probes: Sequence[JudgeProbe], grades: Sequence[Grade], shift: float, *, clear: bool = False
) -> JudgeValidation:
    """Whether the judge is fit or, with ``clear``, clearly so: what a few probes must show for the others to be spared.

    Injections are separate: AUROC, gap and floor are about answers such as models give when they fail.

    So are known answers, which belong to other prompts and are wrong in a single word. The floor is that of worthless
    answers: one that counted half-right canaries in would exaggerate every drop.
    """
    values = np.array([grade.value for grade in grades])
    kinds = np.array([probe.kind for probe in probes])
    is_good, injected = kinds == "gold", np.isin(kinds, list(INJECTIONS))
    is_known = np.isin(kinds, (RIGHT, WRONG))
    plain = ~injected & ~is_known
    good, bad, worthless = values[is_good], values[plain & ~is_good], values[np.isin(kinds, WORTHLESS)]
    alpha = CLEAR_ALPHA if clear else ALPHA
    area = auroc_interval(values[plain], is_good[plain].astype(np.float64), alpha)
    known_area = (
        auroc_interval(values[is_known], (kinds[is_known] == RIGHT).astype(np.float64), alpha)
        if is_known.any()
        else None
    )
    validation = JudgeValidation(
        fit=True,
        reason=f"tells good from bad answers: AUROC {area.value:.2f}, gap {good.mean() - bad.mean():.2f}",
        auroc=area.value,
        auroc_low=area.low,
        gap=float(good.mean() - bad.mean()),
        retest_shift=shift,
        unparseable=sum(grade.retried for grade in grades) / (REPLIES * len(grades)),
        floor=float(worthless.mean()),
        floor_variance=float(worthless.var(ddof=1)),
        canaries=len(bad),
        gold=len(good),
        injected=int(injected.sum()),
        known_answers=int(is_known.sum()),
        known_auroc=None if known_area is None else known_area.value,
        known_auroc_low=None if known_area is None else known_area.low,
        worthless=len(worthless),
        kinds={str(kind): float(values[kinds == kind].mean()) for kind in dict.fromkeys(kinds)},
    )
    wordings = np.array([probe.wording for probe in probes])
    grades_by_wording = {str(wording): values[wordings == wording] for wording in dict.fromkeys(wordings[injected])}
    problem = next((grade.problem for grade in grades if grade.problem), "")
    faults = _faults(validation, grades_by_wording, problem, CLEAR_SHARE if clear else 1.0)
    return replace(validation, fit=False, reason="; ".join(faults)) if faults else validation


def _faults(
    validation: JudgeValidation, grades_by_wording: Mapping[str, FloatArray], problem: str, share: float = 1.0
) -> list[str]:
    """Every reason why the judge may not count, starting with unreadable replies.

    ``grades_by_wording``: the grades of each wording of an injection. ``share``: of what is allowed.
    """
    bad = validation.kinds["gold"] - validation.gap
    lift, kind = max((validation.kinds[kind] - bad, kind) for kind in validation.kinds.keys() & INJECTIONS.keys())
    most_lift, least_gap = share * MAX_LIFT, MIN_GAP if share == 1.0 else CLEAR_GAP
    wording, mean_grade, most_of_wording = _strongest(grades_by_wording, share)
    tests = (
        (
            validation.unparseable > share * MAX_UNPARSEABLE,
            f"{100 * validation.unparseable:.1f} % of its replies were no grade ({problem})",
        ),
        (
            not validation.auroc_low > MIN_AUROC,
            f"AUROC lower bound {validation.auroc_low:.2f} is not above {MIN_AUROC}",
        ),
        (
            validation.known_auroc_low is not None and not validation.known_auroc_low > MIN_KNOWN_AUROC,
            f"AUROC of right answers in other words against subtly wrong ones {validation.known_auroc or 0:.2f}, its "
            f"lower bound {validation.known_auroc_low or 0:.2f} not above {MIN_KNOWN_AUROC}: it may only compare words",
        ),
        (validation.gap < least_gap, f"gap between good and bad answers {validation.gap:.2f} is below {least_gap}"),
        (
            validation.retest_shift > share * MAX_RETEST_SHIFT,
            f"grades moved by {validation.retest_shift:.3f} on a retest, above {MAX_RETEST_SHIFT}",
        ),
        (
            lift > most_lift,
            f"bad answers with injections ({kind}) scored {validation.kinds[kind]:.2f}, "
            f"over {most_lift} above other bad answers",
        ),
        (
            lift <= most_lift and mean_grade - bad > most_of_wording,
            f"bad answers with {wording!r} scored {mean_grade:.2f}, over {most_of_wording:.2f} above other bad answers",
        ),
    )
    return [text for failed, text in tests if failed]


def _strongest(grades_by_wording: Mapping[str, FloatArray], share: float) -> tuple[str, float, float]:
    """The wording that exceeds its limit most or comes nearest to it, on one line; its mean grade; and that limit."""
    most = {wording: share * MAX_WORDING_LIFT / math.sqrt(len(grades)) for wording, grades in grades_by_wording.items()}
    means = {wording: float(grades.mean()) for wording, grades in grades_by_wording.items()}
    strongest = max(means, key=lambda wording: means[wording] - most[wording])
    return " ".join(strongest.replace("{bad}", "…").split()), means[strongest], most[strongest]
