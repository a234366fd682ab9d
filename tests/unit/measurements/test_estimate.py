"""From scores to an estimate and a decision: floors, unknown scores, low bases, and what is no score at all."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from support.evidence import decided, described, evidence_of, items, right_or_wrong
from support.reference import drop_bootstrap

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Status
from ftgate.measurements.base import JudgeValidation, Measurement
from ftgate.measurements.estimate import ABSOLUTE, RELATIVE, difference, drop
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.tail import Tail
from ftgate.measurements.target import Target
from ftgate.scoring.rules import bounded
from ftgate.scoring.scores import PairedScores
from ftgate.stats.bootstrap import Floor
from ftgate.stats.power import evidence_floor
from ftgate.stats.ratio import PairedCounts, drop_interval
from ftgate.verdict import assess

N = 200
FIT = JudgeValidation(True, "fit", 1.0, 0.9, 0.6, 0.0, 0.0, 0.3, 0.01, 60, 60)
FORGETTING = Forgetting(dataset="f", scorer="exact")
JUDGED = Forgetting(dataset="f", scorer="judge")


def binary(*cells: int) -> PairedScores:
    return PairedScores.exact(items(sum(cells)), *right_or_wrong(*cells), binary=True)


def graded(n: int, base: float = 0.8, candidate: float = 0.8, clusters: int = 0) -> PairedScores:
    names = [f"c{i % clusters}" for i in range(n)] if clusters else []
    return PairedScores.exact(items(n, clusters=names), np.full(n, base), np.full(n, candidate), binary=False)


@pytest.mark.parametrize("unknown", [0, 1])
def test_the_judges_floor_is_taken_off_the_estimate_whether_or_not_every_grade_could_be_read(unknown: int) -> None:
    rng = np.random.default_rng(0)
    base, candidate = rng.uniform(0.7, 0.9, N), rng.uniform(0.6, 0.9, N)
    ends = [(float(value), float(value)) for value in candidate]
    ends[:unknown] = [(0.0, 1.0)] * unknown
    scored = bounded(items(N), [(float(value), float(value)) for value in base], ends, binary=False)
    found = drop(scored, evidence_of(scored, judge_validation=FIT), 0.1, np.random.default_rng(1))
    floor = Floor(FIT.floor, FIT.floor_variance, FIT.canaries)
    expected = drop_bootstrap(scored.base, scored.candidate, np.random.default_rng(1), draws=400, floor=floor)
    assert found.change == pytest.approx(expected.estimate)
    assert found.interval[0] < found.change < found.interval[1]


def test_the_drop_above_the_floor_is_shown_beside_the_one_of_the_bare_grades() -> None:
    """A judge that gives 0.4 to worthless answers shows half of the drop: 6.7 % of 13.3 %."""
    base, candidate = np.full(200, 0.8), np.full(200, 0.7467)
    scored = PairedScores.exact(items(200), base, candidate, binary=False)
    lenient = replace(FIT, floor=0.4, floor_variance=0.0)
    details = described(JUDGED, evidence_of(scored, judge_validation=lenient)).details
    assert details["judge_floor"] == 0.4
    assert details["drop_of_bare_grades"] == pytest.approx(0.0667, abs=1e-4)
    assert details["notes"] == [
        "what the judge gives even to worthless answers, 40 of 100, is subtracted from both scores first; without that "
        "it lost 6.7 %"
    ]
    strict = evidence_of(scored, judge_validation=replace(FIT, floor=0.01))
    assert "notes" not in described(JUDGED, strict).details
    assert "judge_floor" not in described(JUDGED, evidence_of(scored)).details


def test_the_floor_is_as_uncertain_as_the_worthless_answers_are_few() -> None:
    rng = np.random.default_rng(0)
    scored = PairedScores.exact(items(N), rng.uniform(0.7, 0.9, N), rng.uniform(0.6, 0.9, N), binary=False)
    widths = []
    for worthless in (None, 60, 6):
        judge_validation = replace(FIT, floor_variance=0.1, worthless=worthless)
        low, high = drop(
            scored, evidence_of(scored, judge_validation=judge_validation), 0.1, np.random.default_rng(1)
        ).interval
        widths.append(high - low)
    assert widths[0] == widths[1] < widths[2]


@pytest.mark.parametrize(("n", "status"), [(10, Status.INCONCLUSIVE), (28, Status.INCONCLUSIVE), (29, Status.PASS)])
def test_the_point_rule_keeps_the_evidence_floor(n: int, status: Status) -> None:
    estimate = FORGETTING.compare(evidence_of(binary(n, 0, 0, 0)), np.random.default_rng(0))
    assert assess(estimate, EvidenceSettings(rule="point")).status is status


def test_one_cluster_asks_for_clusters() -> None:
    scored = PairedScores.exact(graded(58, clusters=1).items, *right_or_wrong(58, 0, 0, 0), binary=True)
    finding = decided(FORGETTING, evidence_of(scored))
    assert finding.status is Status.INCONCLUSIVE
    assert "1 cluster is too few to resample" in finding.reason
    assert "settle" not in finding.reason


def test_the_interval_holds_the_estimate_where_the_candidate_scores_less_than_worthless_answers() -> None:
    base = [(0.7, 0.7)] * 19 + [(0.0, 1.0)] * 8
    scored = bounded(items(27), base, [(0.02, 0.02)] * 27, binary=False)
    found = drop(scored, evidence_of(scored, judge_validation=FIT), 0.1, np.random.default_rng(1))
    assert found.interval[0] <= found.change <= found.interval[1]
    assert found.change == 1, "what is worse than worthless is no more than all lost"


@pytest.mark.parametrize(("n", "status"), [(25, Status.INCONCLUSIVE), (100, Status.PASS)])
def test_a_few_graded_items_that_all_gain_the_same_prove_no_gain(n: int, status: Status) -> None:
    """One answer in ten ruined and the others a little better is no gain, and 25 items hide it one time in fourteen."""
    found = decided(Target(dataset="t", scorer="judge"), evidence_of(graded(n, 0.8, 0.9)))
    assert found.status is status


@pytest.mark.parametrize(("n", "status"), [(28, Status.INCONCLUSIVE), (29, Status.WARN), (40, Status.PASS)])
def test_identical_answers_pass_from_the_evidence_floor_on(n: int, status: Status) -> None:
    """At 28 the interval alone would pass: its upper bound is below the limit."""
    assert drop_interval(PairedCounts(n, 0, 0, 0)).high < FORGETTING.block_drop
    found = decided(FORGETTING, evidence_of(binary(n, 0, 0, 0)))
    assert found.status is status
    if n == 28:
        assert "fewer than 29, a total collapse on 10 %" in found.reason
        assert found.estimate.needed_n == 29


@pytest.mark.parametrize(
    ("scorer", "loss", "floor"),
    [("exact", 0.10, 29), ("judge", 0.01, 299), ("judge", 0.10, 100)],
)
def test_an_allowed_loss_of_the_target_takes_as_many_items_as_a_drop(scorer: str, loss: float, floor: int) -> None:
    """At least as many as show that no collapse on such a share of the prompts went unseen."""
    measurement = Target(dataset="t", scorer=scorer, min_gain=-loss)  # type: ignore[arg-type]

    def status(n: int) -> Status:
        scored = graded(n) if scorer == "judge" else binary(n, 0, 0, 0)
        return decided(measurement, evidence_of(scored)).status

    assert [status(n) for n in (floor - 1, floor)] == [Status.INCONCLUSIVE, Status.PASS]
    assert floor == max(evidence_floor(loss), 100 if scorer == "judge" else 1)


def test_a_target_that_allows_the_loss_of_everything_is_not_applicable() -> None:
    found = decided(Target(dataset="t", scorer="exact", min_gain=-1.0), evidence_of(binary(40, 0, 0, 0)))
    assert found.status is Status.NOT_APPLICABLE
    assert "nothing that it could lose would block" in found.reason


@pytest.mark.parametrize(
    ("measurement", "scored", "needed"),
    [
        (FORGETTING, binary(27, 0, 0, 0), 29),
        (JUDGED, graded(20), 100),
        (JUDGED, graded(50), 100),
        (JUDGED, graded(200, clusters=20), 600),
        (FORGETTING, PairedScores.exact(graded(58, clusters=2).items, *right_or_wrong(58, 0, 0, 0), binary=True), 1740),
        (Target(dataset="t", scorer="judge"), graded(50, 0.8, 0.9), 100),
        (Target(dataset="t", scorer="judge"), graded(200, 0.8, 0.9, clusters=20), 600),
    ],
)
def test_the_items_needed_count_every_reason_to_hold(
    measurement: Measurement, scored: PairedScores, needed: int
) -> None:
    found = decided(measurement, evidence_of(scored))
    assert found.status is Status.INCONCLUSIVE
    assert found.estimate.needed_n == needed


EARLY = {"alpha": 8.8e-5, "overall_alpha": 0.05, "last": False}


def test_a_stricter_look_does_not_make_a_base_too_low() -> None:
    """17 % right of 200: at the level of the first look alone the base might score under 10 %."""
    scored = binary(30, 2, 4, 164)
    assert drop(scored, evidence_of(scored, **EARLY), 0.1, np.random.default_rng(0)).unit == RELATIVE
    assert drop(scored, evidence_of(scored, alpha=8.8e-5), 0.1, np.random.default_rng(0)).unit == ABSOLUTE


@pytest.mark.parametrize(("last", "status"), [(False, Status.INCONCLUSIVE), (True, Status.PASS)])
def test_an_absolute_drop_passes_at_the_last_look_alone(last: bool, status: Status) -> None:
    """Later looks may find the base high enough for a relative drop, which is up to ten times as large."""
    found = decided(FORGETTING, evidence_of(binary(22, 0, 0, 178), alpha=0.01, overall_alpha=0.05, last=last))
    assert found.estimate.unit == ABSOLUTE
    assert found.status is status
    assert last or "before the last look" in found.reason


def test_an_early_look_may_block_on_a_low_base() -> None:
    strict = FORGETTING.model_copy(update={"block_drop": 0.05, "warn_drop": 0.05})
    found = decided(strict, evidence_of(binary(0, 0, 100, 900), alpha=0.01, overall_alpha=0.05, last=False))
    assert found.estimate.unit == RELATIVE
    assert found.status is Status.BLOCK


@pytest.mark.parametrize("value", [math.nan, -0.1, 1.5, math.inf])
@pytest.mark.parametrize("measurement", [JUDGED, Target(dataset="t", scorer="judge"), Tail(dataset="t")])
def test_what_is_no_score_is_named_with_its_item(measurement: Measurement, value: float) -> None:
    tagged = items(60, tags=[("ambiguous",)] * 60)
    candidate = np.full(60, 0.5)
    candidate[7] = value
    scored = PairedScores.exact(tagged, np.full(60, 0.5), candidate, binary=False)
    with pytest.raises(ValueError, match=r"candidate score of item 'i7' = .*from 0 to 1"):
        measurement.compare(evidence_of(scored), np.random.default_rng(0))


def test_no_items_are_named_too() -> None:
    nothing = PairedScores.exact((), np.zeros(0), np.zeros(0), binary=True)
    for compare in (lambda: drop(nothing, evidence_of(nothing), 0.1, np.random.default_rng(0)),
                    lambda: difference(nothing, evidence_of(nothing), np.random.default_rng(0))):  # fmt: skip
        with pytest.raises(ValueError, match="no items"):
            compare()


def test_scores_of_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match=r"base has shape \(200,\): expected one entry for each of 50 items"):
        PairedScores.exact(items(50), np.ones(200), np.ones(200), binary=True)
    with pytest.raises(ValueError, match=r"candidate has shape \(49,\)"):
        PairedScores.exact(items(50), np.ones(50), np.ones(49), binary=True)


@pytest.mark.parametrize("rule", ["interval", "point"])
@pytest.mark.parametrize("measurement", [JUDGED, Target(dataset="t", scorer="judge"), Tail(dataset="t")])
@pytest.mark.parametrize(("unknown", "invalid_reason"), [(2, False), (3, True), (N, True)])
def test_scores_that_nobody_knows_pass_under_no_rule(
    measurement: Measurement, rule: Literal["interval", "point"], unknown: int, invalid_reason: bool
) -> None:
    """Their middle, 0.5, lies within 10 % of a base of 0.54."""
    ends = [(0.0, 1.0)] * unknown + [(0.54, 0.54)] * (N - unknown)
    scored = bounded(items(N, tags=[("ambiguous",)] * N), [(0.54, 0.54)] * N, ends, binary=False)
    estimate = measurement.compare(evidence_of(scored), np.random.default_rng(0))
    assert (estimate.invalid_reason is not None) is invalid_reason
    found = assess(estimate, EvidenceSettings(rule=rule))
    if invalid_reason:
        assert found.status is Status.INCONCLUSIVE
        assert f"{unknown} of {N} items have no score" in found.reason
        assert "'i0'" in found.reason
