"""A base that scores low forbids a pass, and never shields a loss; with nothing to lose there is nothing to measure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from support.evidence import decided, evidence_of, items, right_or_wrong

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Answer, Pair, Status
from ftgate.measurements.base import JudgeValidation
from ftgate.measurements.estimate import ABSOLUTE, LEAST_WORTH, RELATIVE, drop
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.looks import looks
from ftgate.measurements.tail import Tail
from ftgate.scoring.scores import PairedScores
from ftgate.stats import normal
from ftgate.stats.bootstrap import resampled_drop
from ftgate.stats.power import paired_accuracy
from ftgate.stats.ratio import score_statistics
from ftgate.stats.sequential import look_size

LIMIT = 0.10
FORGETTING = Forgetting(dataset="f", scorer="exact", block_drop=LIMIT)
JUDGED = Forgetting(dataset="f", scorer="judge", block_drop=LIMIT)
FIT = JudgeValidation(True, "fit", 1.0, 0.9, 0.6, 0.0, 0.0, 0.3, 0.01, 60, 60)
Sample = Callable[[float, int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def binary(*cells: int) -> PairedScores:
    return PairedScores.exact(items(sum(cells)), *right_or_wrong(*cells), binary=True)


def graded(base: np.ndarray, candidate: np.ndarray) -> PairedScores:
    return PairedScores.exact(items(len(base)), base, candidate, binary=False)


@pytest.mark.parametrize(
    ("cells", "interval"),
    [((0, 0, 18, 182), (0.849, 1.0)), ((6, 0, 20, 174), (0.612, 0.876))],
    ids=["18 right, all lost", "26 right, 20 lost"],
)
def test_a_loss_beyond_the_limit_blocks_however_low_the_base_scores(
    cells: tuple[int, int, int, int], interval: tuple[float, float]
) -> None:
    finding = decided(FORGETTING, evidence_of(binary(*cells)))
    assert (finding.status, finding.estimate.unit) == (Status.BLOCK, RELATIVE)
    assert finding.estimate.interval == pytest.approx(interval, abs=5e-4)
    early = evidence_of(binary(*cells), alpha=0.01, overall_alpha=0.05, last=False)
    assert decided(FORGETTING, early).status is Status.BLOCK


@pytest.mark.parametrize("cells", [(18, 0, 0, 182), (12, 4, 6, 178), (26, 0, 0, 174)])
def test_a_low_base_passes_no_candidate_by_its_relative_drop(cells: tuple[int, int, int, int]) -> None:
    estimate = drop(binary(*cells), evidence_of(binary(*cells)), LIMIT, np.random.default_rng(0))
    assert estimate.unit == ABSOLUTE


def test_graded_scores_block_on_a_low_base_too_from_eight_answers_on() -> None:
    """And above what a judge gives to worthless answers, if it gives them anything."""
    for right, floor in ((8, 0.0), (7, 0.0), (20, 0.3)):
        base = np.full(200, floor)
        base[:right] = 1.0
        scored = graded(base, np.full(200, floor))
        judge_validation = FIT if floor else None
        finding = decided(JUDGED, evidence_of(scored, judge_validation=judge_validation))
        assert finding.status is (Status.INCONCLUSIVE if right < LEAST_WORTH else Status.BLOCK), right


TAGGED = [("ambiguous",)]


@pytest.mark.parametrize("last", [True, False])
def test_an_improvement_passes_on_a_base_with_nothing_right(last: bool) -> None:
    """A base that does not know the task's format: 40 of 119 answers gained, at an early look as well."""
    scored = PairedScores.exact(items(119, tags=TAGGED * 119), *right_or_wrong(0, 40, 0, 79), binary=True)
    evidence = evidence_of(scored, alpha=0.05 if last else 0.01, overall_alpha=0.05, last=last)
    finding = decided(Tail(dataset="t", scorer="exact"), evidence)
    assert (finding.status, finding.estimate.unit) == (Status.PASS, ABSOLUTE)
    assert finding.estimate.interval[1] < 0


def test_an_improvement_needs_its_number_of_items() -> None:
    finding = decided(FORGETTING, evidence_of(binary(0, 20, 0, 8)))
    assert (finding.status, finding.estimate.interval[1] < 0) == (Status.INCONCLUSIVE, True)
    half = np.repeat([0.0, 0.5], 30)
    assert decided(JUDGED, evidence_of(graded(np.zeros(60), half))).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("cells", "status"),
    [
        ((0, 0, 0, 200), Status.NOT_APPLICABLE),
        ((0, 1, 0, 199), Status.NOT_APPLICABLE),
        ((0, 0, 3, 197), Status.NOT_APPLICABLE),
        ((0, 0, 4, 196), Status.BLOCK),
        ((4, 0, 0, 196), Status.INCONCLUSIVE),
        ((0, 0, 0, 60), Status.NOT_APPLICABLE),
        ((0, 0, 1, 59), Status.INCONCLUSIVE),
        ((0, 0, 0, 40), Status.INCONCLUSIVE),
        ((0, 0, 0, 28), Status.INCONCLUSIVE),
    ],
)
def test_with_next_to_nothing_to_lose_the_drop_is_not_applicable(
    cells: tuple[int, int, int, int], status: Status
) -> None:
    """Nothing: not even losing all of it would block, and the base scores below 5 % with confidence."""
    finding = decided(FORGETTING, evidence_of(binary(*cells)))
    assert finding.status is status
    if status is Status.NOT_APPLICABLE:
        assert finding.reason.startswith("nothing to lose: the base scores ")
        early = evidence_of(binary(*cells), alpha=0.01, overall_alpha=0.05, last=False)
        assert decided(FORGETTING, early).status is Status.INCONCLUSIVE, "later looks may find something to lose"


@pytest.mark.parametrize(
    ("said", "held"),
    [(["In my view a, and that is all."] * 40 + ["no"] * 160, True), (["It is a."] * 39 + ["no"] * 161, False)],
    ids=["20 % rejected", "fewer"],
)
@pytest.mark.parametrize("measurement", [FORGETTING, Tail(dataset="t", scorer="exact")])
def test_a_base_whose_right_answers_are_rejected_may_have_much_to_lose(
    said: list[str], held: bool, measurement: Forgetting | Tail
) -> None:
    scored = PairedScores.exact(items(200, tags=TAGGED * 200), np.zeros(200), np.zeros(200), binary=True)
    pairs = tuple(
        Pair(item, (Answer(text=text),), (Answer(text="x"),)) for item, text in zip(scored.items, said, strict=True)
    )
    finding = decided(measurement, evidence_of(scored, pairs=pairs))
    assert finding.status is (Status.INCONCLUSIVE if held else Status.NOT_APPLICABLE)
    assert finding.reason.startswith("40 of 200 answers of the base hold the right answer and are scored as") == held
    letters = tuple(
        Pair(item, (Answer(text="a", option_logprobs=(0.0,)),), (Answer(text="x"),)) for item in scored.items
    )
    assert decided(measurement, evidence_of(scored, pairs=letters)).status is Status.NOT_APPLICABLE


def test_a_judge_that_gives_something_to_worthless_answers_hides_no_improvement() -> None:
    worthless, better = np.full(200, 0.3), np.repeat([0.3, 0.9], 100)
    for candidate, status in ((worthless, Status.NOT_APPLICABLE), (better, Status.PASS)):
        scored = graded(worthless, candidate)
        assert decided(JUDGED, evidence_of(scored, judge_validation=FIT)).status is status


def sparse(mean: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rare good answers among worthless ones; three in ten are another one, a third worse: a drop of 10 %."""
    base, other = (np.where(rng.random(n) < mean / 0.8, rng.beta(4, 1, n), 0.0) for _ in range(2))
    return base, np.where(rng.random(n) < 0.3, other * (2 / 3), base)


def unlike(mean: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The same, where every other answer is another one, a fifth worse."""
    base, other = (np.where(rng.random(n) < mean / 0.8, rng.beta(4, 1, n), 0.0) for _ in range(2))
    return base, np.where(rng.random(n) < 0.5, other * 0.8, base)


def low(mean: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Low grades for every answer."""
    base, other = (rng.beta(0.5, 0.5 * (1 - mean) / mean, n) for _ in range(2))
    return base, np.where(rng.random(n) < 0.3, other * (2 / 3), base)


def p_of_block(base: np.ndarray, candidate: np.ndarray, rng: np.random.Generator) -> float:
    """The level from which :func:`drop` blocks graded scores, without the search for the bounds."""
    if base.sum() < LEAST_WORTH:
        return 1.0
    return resampled_drop(base, candidate, rng, draws=500).p_above(LIMIT)


def test_the_simulation_decides_as_the_gate_does() -> None:
    rng, same = np.random.default_rng(3), 0
    for _ in range(30):
        base, candidate = sparse(0.08, 200, rng)
        candidate = candidate * (rng.random(200) < rng.random())
        estimate = drop(
            graded(base, candidate), evidence_of(graded(base, candidate), draws=500), LIMIT, np.random.default_rng(0)
        )
        same += (estimate.interval[0] > LIMIT) == (p_of_block(base, candidate, np.random.default_rng(0)) < 0.05)
    assert same >= 29, "two sets of resamples may disagree on a close case"


@pytest.mark.slow
@pytest.mark.parametrize("stopping", ["none", "obrien_fleming", "pocock"])
@pytest.mark.parametrize("n", [60, 200, 400])
@pytest.mark.parametrize("accuracy", [0.02, 0.05, 0.09, 0.15, 0.2])
def test_right_or_wrong_answers_on_the_limit_are_seldom_blocked(accuracy: float, n: int, stopping: str) -> None:
    rng, runs = np.random.default_rng(n), 20_000
    for phi in (0.3, 0.5, 0.8):
        tables, seen, blocked = np.zeros((runs, 4)), 0, np.zeros(runs, dtype=bool)
        for look in looks(EvidenceSettings(early_stopping=stopping)):  # type: ignore[arg-type]
            size = look_size(look.fraction, n)
            tables = tables + rng.multinomial(size - seen, paired_accuracy(accuracy, phi, LIMIT).cells(), size=runs)
            blocked |= score_statistics(tables, 1 - LIMIT) < -normal.critical(look.alpha)
            seen = size
        assert blocked.mean() <= 0.07, phi


@pytest.mark.slow
@pytest.mark.parametrize("sample", [sparse, unlike, low])
@pytest.mark.parametrize(("mean", "n"), [(0.05, 200), (0.09, 100), (0.15, 60)])
def test_grades_on_the_limit_are_seldom_blocked(sample: Sample, mean: float, n: int) -> None:
    """By one look, or at the first of four."""
    rng, runs, p_values = np.random.default_rng(n), 800, np.ones((800, 4))
    plans = [looks(EvidenceSettings(early_stopping=stopping)) for stopping in ("obrien_fleming", "pocock")]
    for run in range(runs):
        base, candidate = sample(mean, n, rng)
        for i, look in enumerate(plans[0]):
            p_values[run, i] = p_of_block(*(scores[: look_size(look.fraction, n)] for scores in (base, candidate)), rng)
    blocked = [(p_values < [look.alpha for look in plan]).any(axis=1).mean() for plan in plans]
    blocked.append((p_values[:, 3] < 0.05).mean())
    assert max(blocked) <= 0.07 + 2 * (0.07 * 0.93 / runs) ** 0.5, blocked
