"""Parts of a measurement: which are tested, at what level, and that chance alone marks few of them."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.evidence import described, evidence_of, items
from support.reference import drop_bootstrap

from ftgate.domain import Slice
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.slices import LEAST_SLICE, tag_slices, worst_slice
from ftgate.measurements.tail import Tail
from ftgate.scoring.rules import bounded
from ftgate.scoring.scores import PairedScores
from ftgate.stats.ratio import PairedCounts, drop_interval, score_statistic
from ftgate.stats.seeding import generator


def found(scored: PairedScores, *, absolute: bool = False) -> dict[str, Slice]:
    parts = tag_slices(scored, evidence_of(scored), 0.1, generator(0, "slices"), absolute=absolute)
    return {part.name: part for part in parts}


def in_parts(**cells: tuple[int, int]) -> PairedScores:
    """For each tag, so many items that both get right and so many that the candidate lost."""
    tags = [(tag.replace("__", ":"),) for tag, (kept, lost) in cells.items() for _ in range(kept + lost)]
    candidate = np.concatenate([np.repeat([1.0, 0.0], counts) for counts in cells.values()])
    return PairedScores.exact(items(len(tags), tags), np.ones(len(tags)), candidate, binary=True)


def test_levels_and_statuses_step_down() -> None:
    """Three families: lost 60 %, lost 15 %, lost nothing. By hand: z from the score test, levels .05/3, .05/2, .05."""
    parts = found(in_parts(code=(20, 30), facts=(85, 15), prose=(60, 0)))
    assert [parts[name].status for name in ("code", "facts", "prose")] == ["beyond", "worse", ""]
    for name, counts, level in (
        ("code", PairedCounts(20, 0, 30, 0), 0.05 / 3),
        ("facts", PairedCounts(85, 0, 15, 0), 0.05 / 2),
        ("prose", PairedCounts(60, 0, 0, 0), 0.05),
    ):
        expected = drop_interval(counts, level)
        assert parts[name].interval == pytest.approx((expected.low, expected.high))
        assert parts[name].change == pytest.approx(expected.estimate)
    # Alone, facts would be beyond 10 % at no level below 0.17; it is worse at any.
    assert score_statistic(PairedCounts(85, 0, 15, 0), 0.9) > -1.7


def test_many_parts_raise_the_bar_for_each() -> None:
    alone = found(in_parts(code=(36, 4)))["code"]
    among = found(in_parts(code=(36, 4), **{f"t{i}": (40, 0) for i in range(19)}))["code"]
    assert (alone.status, among.status) == ("worse", "")
    assert alone.interval is not None
    assert among.interval is not None
    assert among.interval[0] < alone.interval[0] < alone.interval[1] < among.interval[1]


def test_a_tag_with_a_value_and_a_tiny_part_are_described_and_make_the_family_no_larger() -> None:
    cells = {"code": (36, 4), "difficulty__hard": (0, 40), "rare": (0, LEAST_SLICE - 1)}
    parts = found(in_parts(**cells))
    assert list(parts) == ["code", "difficulty:hard", "rare"]
    for name in ("difficulty:hard", "rare"):
        assert (parts[name].interval, parts[name].status, parts[name].change) == (None, "", 1.0)
    assert parts["code"] == found(in_parts(code=(36, 4)))["code"]
    assert found(in_parts(code=(0, LEAST_SLICE)))["code"].interval is not None


def test_graded_parts_take_the_bootstrap() -> None:
    rng = np.random.default_rng(1)
    base = rng.beta(6, 2, 120)
    scored = PairedScores.exact(items(120, [("essays",)] * 120), base, 0.7 * base, binary=False)
    part = found(scored)["essays"]
    expected = drop_bootstrap(base, 0.7 * base, generator(0, "slices"), draws=400)
    assert part.interval == pytest.approx((expected.low, expected.high))
    assert part.status == "beyond"


def test_unknown_scores_are_taken_at_their_best_before_a_part_is_called_worse() -> None:
    ends = [(1.0, 1.0)] * 34 + [(0.0, 0.0)] * 3
    known = bounded(items(37, [("code",)] * 37), [(1.0, 1.0)] * 37, ends, binary=True)
    unknown = bounded(items(37, [("code",)] * 37), [(1.0, 1.0)] * 37, [*ends[:-1], (0.0, 1.0)], binary=True)
    assert (found(known)["code"].status, found(unknown)["code"].status) == ("worse", "")


def test_parts_have_the_unit_of_the_whole() -> None:
    scored = in_parts(code=(20, 30))
    part = found(scored, absolute=True)["code"]
    assert part.change == pytest.approx(0.6)
    low = PairedScores.exact(
        scored.items, *(np.repeat([1.0, 0.0], [right, 50 - right]) for right in (5, 3)), binary=True
    )
    estimate = described(Forgetting(dataset="x", scorer="exact"), evidence_of(low))
    assert estimate.unit.startswith("absolute drop")
    assert [part.change for part in estimate.slices] == [pytest.approx(0.04)]


def test_the_worst_part_is_the_one_that_surely_lost_most() -> None:
    scored = in_parts(code=(20, 30), facts=(3, 7), prose=(60, 0), hard__yes=(0, 50))
    estimate = described(Forgetting(dataset="x", scorer="exact"), evidence_of(scored))
    code = next(part for part in estimate.slices if part.name == "code")
    assert estimate.details["worst_slice"] == {
        "name": "code",
        "n": 50,
        "change": code.change,
        "interval": code.interval,
    }
    assert worst_slice([Slice("a", 3, 1.0, 0.0, 1.0)]) == {}
    plain = PairedScores.exact(items(40), np.ones(40), np.ones(40), binary=True)
    assert "worst_slice" not in described(Forgetting(dataset="x"), evidence_of(plain)).details


def test_the_tail_tests_its_tags_too() -> None:
    scored = in_parts(ambiguous=(20, 30), billing=(85, 15))
    estimate = described(Tail(dataset="x", scorer="exact"), evidence_of(scored))
    assert {part.name: part.status for part in estimate.slices} == {
        "head": "",
        "ambiguous": "beyond",
        "billing": "worse",
    }
    assert estimate.details["worst_slice"]["name"] == "ambiguous"


def family_error(repetitions: int, *, binary: bool) -> float:
    """How often any of ten parts that lost nothing is called worse."""
    rng, false = np.random.default_rng(2), 0
    all_items = items(300, [(f"t{i % 10}",) for i in range(300)])
    for i in range(repetitions):
        draws = (rng.random((2, 300)) < 0.8).astype(float) if binary else rng.beta(4, 1, (2, 300))
        scored = PairedScores.exact(all_items, draws[0], draws[1], binary=binary)
        parts = tag_slices(scored, evidence_of(scored, draws=500), 0.1, generator(i, "family"))
        false += any(part.status for part in parts)
    return false / repetitions


def test_chance_marks_a_part_in_one_run_of_twenty_at_most() -> None:
    assert family_error(150, binary=True) < 0.11


@pytest.mark.slow
@pytest.mark.parametrize("binary", [True, False])
def test_chance_marks_a_part_in_one_run_of_twenty_at_most_in_many_runs(binary: bool) -> None:
    assert family_error(600 if binary else 400, binary=binary) < 0.08


def test_twenty_parts_of_two_thousand_items_are_cheap() -> None:
    rng = np.random.default_rng(3)
    base = rng.beta(8, 2, 2000)
    scored = PairedScores.exact(
        items(2000, [(f"t{i % 20}",) for i in range(2000)]), base, rng.permutation(base), binary=False
    )
    started = time.process_time()
    tag_slices(scored, evidence_of(scored, draws=2000), 0.1, generator(0, "cheap"))
    assert time.process_time() - started < 1.5  # about 0.2 on an idle machine
