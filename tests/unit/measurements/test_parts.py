"""Parts of the tail: intervals that correct for nothing, and the worst topic, searched and confirmed on other items."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from support.evidence import described, evidence_of, items

from ftgate.measurements.slices import LEAST_TOPIC, SliceBuilder
from ftgate.measurements.tail import Tail
from ftgate.measurements.tail_map import TailMap
from ftgate.scoring.scores import PairedScores
from ftgate.stats.ratio import PairedCounts, drop_interval

TAIL = Tail(dataset="q", scorer="exact")
TOPICS = [f"topic {t}" for t in range(5)]


def scores(n: int, lost: dict[int, float], seed: int, alike: float = 0.9) -> PairedScores:
    """Right or wrong answers to five topics in turn; one in ``lost`` loses that share of what the base got right.

    The models have a share ``alike`` of their luck in common.
    """
    rng = np.random.default_rng(seed)
    right = (rng.random(n) < 0.8).astype(float)
    rates = np.array([lost.get(i % 5, 0.0) for i in range(n)])
    same = rng.random(n) < alike  # noise that favours neither model
    other = np.where(same, right, (rng.random(n) < 0.8).astype(float))
    return PairedScores.exact(items(n), right, other * (rng.random(n) >= rates), binary=True)


def part(scored: PairedScores, seed: int = 0) -> SliceBuilder:
    return SliceBuilder(evidence_of(scored), 0.15, np.random.default_rng(seed), absolute=False)


def groups(scored: PairedScores) -> dict[str, PairedScores]:
    n = len(scored.items)
    return {name: scored.subset(list(range(t, n, 5))) for t, name in enumerate(TOPICS)}


def test_the_topic_that_broke_is_confirmed() -> None:
    scored = scores(1000, {3: 0.6}, 0)
    found = {s.name: s for s in part(scored).test(scored, groups(scored))}
    assert found["topic 3"].status == "beyond"
    assert found["topic 3"].n == 100, "the half that had no say in the choice"
    assert len(found) <= 3
    assert all(s.status == "" for name, s in found.items() if name != "topic 3")


def test_a_search_through_noise_confirms_no_more_than_it_may() -> None:
    false = 0
    for seed in range(200):
        scored = scores(400, {}, seed)
        false += any(s.status for s in part(scored).test(scored, groups(scored)))
    assert false <= 200 * 0.05 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_small_topics_and_topics_that_gained_are_not_searched() -> None:
    scored = scores(5 * LEAST_TOPIC - 5, {0: 0.9}, 0)
    assert part(scored).test(scored, groups(scored)) == ()
    same = PairedScores.exact(items(500), np.ones(500), np.ones(500), binary=True)
    assert part(same).test(same, groups(same)) == ()


def tagged(scored: PairedScores) -> PairedScores:
    """Each item with the tag of one of six groups, none of which shares an item with topic 3."""
    tags = [() if i % 5 == 3 else (f"tag {i % 6}",) for i in range(len(scored.items))]
    return PairedScores.exact(items(len(tags), tags), scored.base, scored.candidate, binary=True)


def called_worse_for_nothing(runs: int, lost: dict[int, float]) -> float:
    """How often any tag or topic without a loss is called worse, where topic 3 alone may have one."""
    false = 0
    for seed in range(runs):
        scored = tagged(scores(400, lost, seed, alike=0.2))
        found = part(scored).test(scored, groups(scored))
        false += any(s.status for s in found if s.name != "topic 3")
    return false / runs


@pytest.mark.parametrize("lost", [{}, {3: 0.6}])
def test_tags_and_topics_together_are_called_worse_for_nothing_no_more_often_than_alpha(lost: dict[int, float]) -> None:
    assert called_worse_for_nothing(120, lost) <= 0.05 + 3 * (0.05 * 0.95 / 120) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("lost", [{}, {3: 0.6}])
def test_the_same_in_many_runs(lost: dict[int, float]) -> None:
    assert called_worse_for_nothing(1000, lost) <= 0.05 + 2 * (0.05 * 0.95 / 1000) ** 0.5


def test_tags_and_topics_are_one_family_and_untested_topics_keep_their_places() -> None:
    """By hand: two tags and three places for topics are five tests, of which the first is at alpha / 5."""
    quiet = PairedScores.exact(items(500), np.ones(500), np.ones(500), binary=True)
    tags = [("code",)] * 40 + [("prose",)] * 460
    scored = PairedScores.exact(items(500, tags), np.ones(500), np.repeat([0.0, 1.0], [6, 494]), binary=True)
    code = next(s for s in part(scored).test(scored, groups(quiet)) if s.name == "code")
    expected = drop_interval(PairedCounts(34, 0, 6, 0), 0.05 / 5)
    assert code.interval == pytest.approx((expected.low, expected.high))


@cache
def mapped(n: int) -> TailMap:
    ids = tuple(f"i{i}" for i in range(n))
    topics = tuple(TOPICS[i % 5] for i in range(n))
    details = {"told_from_training": {"auc": 0.7, "interval": [0.6, 0.8], "texts": 500}}
    return TailMap(ids, tuple(i / n for i in range(n)), (0.5,) * n, 5, 100, "given", topics, details)


def test_the_report_has_intervals_the_head_and_the_worst_topic() -> None:
    scored = scores(1000, {3: 0.6}, 0)
    estimate = described(TAIL, evidence_of(scored, tail=mapped(1000)))
    by_name = {s.name: s for s in estimate.slices}
    assert all(by_name[f"distance decile {i}"].interval for i in range(1, 11))
    assert by_name["head"].interval is not None
    assert estimate.details["worst_slice"]["name"] == "topic 3"
    gap = estimate.details["tail_minus_head"]
    assert gap["interval"][0] < gap["change"] == estimate.change - by_name["head"].change < gap["interval"][1]
    assert estimate.details["told_from_training"]["auc"] == 0.7


def test_a_map_without_topics_has_none_and_tiny_deciles_no_interval() -> None:
    scored = scores(30, {}, 1)
    plain = TailMap(tuple(f"i{i}" for i in range(30)), tuple(i / 30 for i in range(30)), (0.5,) * 30, 5, 100, "given")
    estimate = described(TAIL, evidence_of(scored, tail=plain))
    assert not [s for s in estimate.slices if s.name.startswith("topic")]
    assert all(s.interval is None for s in estimate.slices if s.name.startswith("distance"))
    assert "worst_slice" not in estimate.details


@pytest.mark.slow
def test_the_interval_between_tail_and_head_covers() -> None:
    covered = 0
    for seed in range(400):
        scored = scores(1000, {}, seed)
        gap = described(TAIL, evidence_of(scored, tail=mapped(1000))).details["tail_minus_head"]
        covered += gap["interval"][0] <= 0 <= gap["interval"][1]
    assert 0.86 <= covered / 400 <= 0.95
