"""The studentised bootstrap: what must not matter, what must, and how often it errs."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from support.reference import difference_bootstrap, drop_bootstrap

from ftgate.stats.bootstrap import (
    Floor,
    relative_drop,
    resampled_difference,
    resampled_drop,
)
from ftgate.stats.interval import Interval
from ftgate.stats.ratio import PairedCounts, drop_interval
from ftgate.stats.resampling import effective_clusters
from ftgate.stats.seeding import generator

pairs = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        *(
            hnp.arrays(np.float64, n, elements=st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1)))
            for _ in range(2)
        )
    )
)


def rng() -> np.random.Generator:
    return generator(7, "a test")


def graded(n: int, seed: int, drop: float = 0.1, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose expected relative drop is exactly ``drop``: the candidate keeps a beta share of each base score."""
    draw = np.random.default_rng(seed)
    kept = draw.beta((1 - drop) / noise, drop / noise, n)
    base = draw.beta(6, 2, n)
    return base, base * kept


def test_relative_drop() -> None:
    assert relative_drop([0.8, 0.4], [0.6, 0.3]) == pytest.approx(0.25)
    assert relative_drop([0.5, 0.5], [0.5, 0.5]) == 0.0
    assert relative_drop([0.0, 0.0], [0.0, 0.0]) == 0.0
    assert relative_drop([0.0, 0.0], [0.0, 0.1]) == -math.inf


def test_statistic_and_quantile_by_hand() -> None:
    """The bound solves T(t) = q*(0.05), with both sides worked out item by item from the same draws."""
    base, candidate = graded(25, 3)
    order = np.lexsort((base, candidate))  # by the candidate's scores, since the lowest of all is one of them
    assert candidate.min() < base.min()
    b, c = base[order], candidate[order]
    found = drop_bootstrap(base, candidate, rng(), draws=500)
    index = rng().integers(0, 25, size=(500, 25))
    for t, tail in ((found.high, 0.05), (found.low, 0.95)):
        w = (1 - t) * b - c
        stars = w[index]
        least = (1 + (1 - t) ** 2) / 2 / 25**2
        spread = np.sqrt(stars.var(axis=1, ddof=1) + least)
        t_star = (stars.mean(axis=1) - w.mean()) * 5 / spread
        statistic = w.mean() * 5 / math.sqrt(w.var(ddof=1) + least)
        assert statistic == pytest.approx(np.quantile(t_star, tail), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(pairs, st.randoms(use_true_random=False))
def test_order_of_items_and_side_of_models_do_not_matter(data: tuple[np.ndarray, np.ndarray], shuffle) -> None:
    base, candidate = data
    order = list(range(len(base)))
    shuffle.shuffle(order)
    drop, gain = (f(base, candidate, rng(), draws=200) for f in (drop_bootstrap, difference_bootstrap))
    assert drop.low <= drop.estimate <= drop.high <= 1
    assert -1 <= gain.low <= gain.estimate <= gain.high <= 1
    assert drop_bootstrap(base[order], candidate[order], rng(), draws=200) == drop
    assert difference_bootstrap(base[order], candidate[order], rng(), draws=200) == gain
    assert difference_bootstrap(candidate, base, rng(), draws=200) == gain.negated()


@settings(max_examples=30, deadline=None)
@given(pairs, st.integers(1, 6), st.randoms(use_true_random=False))
def test_order_does_not_matter_within_clusters(data: tuple[np.ndarray, np.ndarray], size: int, shuffle) -> None:
    base, candidate = data
    names = [f"c{i // size}" if i % 5 else None for i in range(len(base))]
    order = list(range(len(base)))
    shuffle.shuffle(order)
    moved = [names[i] for i in order]
    for estimate in (drop_bootstrap, difference_bootstrap):
        found = estimate(base, candidate, rng(), draws=200, clusters=names)
        assert estimate(base[order], candidate[order], rng(), draws=200, clusters=moved) == found
    back = difference_bootstrap(candidate, base, rng(), draws=200, clusters=names)
    assert back == difference_bootstrap(base, candidate, rng(), draws=200, clusters=names).negated()


def test_mirrored_data_give_a_symmetric_interval() -> None:
    found = difference_bootstrap([0.2, 0.8, 0.5], [0.8, 0.2, 0.5], rng())
    assert found.estimate == 0
    assert found.low == -found.high
    found = drop_bootstrap([0.2, 0.8, 0.5] * 9, [0.8, 0.2, 0.5] * 9, rng())
    assert found.estimate == 0
    assert found.low == pytest.approx(1 - 1 / (1 - found.high), rel=1e-12)


@pytest.mark.parametrize("floor", [None, Floor(0.2, 0.02, 40)])
@pytest.mark.parametrize("clusters", [None, [f"c{i // 2}" for i in range(60)]])
@pytest.mark.parametrize("seed", range(8))
def test_swapping_the_models_maps_the_bounds_of_a_drop_to_their_mirror_image(
    seed: int, clusters: list[str] | None, floor: Floor | None
) -> None:
    """What is 1 - t of the base is 1 / (1 - t) of the candidate, as for the score test of a ratio."""
    base, candidate = graded(60, seed, drop=0.03)
    there, back = (
        drop_bootstrap(*models, rng(), draws=500, clusters=clusters, floor=floor)
        for models in ((base, candidate), (candidate, base))
    )
    mirrored = [1 - 1 / (1 - value) for value in (back.estimate, back.high, back.low)]
    assert (there.estimate, there.low, there.high) == pytest.approx(mirrored, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(pairs, st.sampled_from([-0.2, 0.0, 0.1]), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_p_values_say_what_the_bounds_say(data: tuple[np.ndarray, np.ndarray], t: float, alpha: float) -> None:
    base, candidate = data
    for found in (
        resampled_drop(base, candidate, rng(), draws=400),
        resampled_difference(base, candidate, rng(), draws=400),
    ):
        above, below = found.p_above(t), found.p_below(t)
        assert 0 <= above <= 1
        assert 0 <= below <= 1
        interval, apart = found.interval(alpha), 1e-9  # the precision of the search
        if interval.low > t + apart:
            assert above <= alpha
        if interval.low < t - apart:
            assert above >= alpha
        if interval.high < t - apart:
            assert below <= alpha
        if interval.high > t + apart:
            assert below >= alpha


def test_p_values_go_below_what_the_draws_can_count() -> None:
    base, candidate = graded(200, 4)
    found = resampled_drop(base, candidate, rng(), draws=500)
    assert 0 < found.p_above(0.0) < 1e-4
    assert found.p_above(found.estimate) == pytest.approx(0.5, abs=0.1)
    level = found.p_above(0.05)
    assert found.interval(level).low == pytest.approx(0.05, abs=1e-6)
    assert resampled_drop([0.5], [0.4], rng()).p_above(0.0) == 1


def test_tighter_levels_give_wider_intervals() -> None:
    base, candidate = graded(80, 1)
    found = [drop_bootstrap(base, candidate, rng(), alpha=alpha) for alpha in (1e-4, 0.006, 0.05, 0.2)]
    for wide, narrow in pairwise(found):
        assert wide.low < narrow.low < narrow.high < wide.high


def test_agrees_with_the_normal_interval_when_n_is_large() -> None:
    base, candidate = graded(3000, 2)
    found = drop_bootstrap(base, candidate, rng())
    w = (1 - found.estimate) * base - candidate
    half = stats.norm.isf(0.05) * w.std(ddof=1) / math.sqrt(3000) / base.mean()
    assert found.high - found.estimate == pytest.approx(half, rel=0.08)
    assert found.estimate - found.low == pytest.approx(half, rel=0.08)


def test_agrees_with_the_score_test_on_binary_scores() -> None:
    base = np.repeat([1.0, 0.0, 1.0, 0.0], [140, 8, 24, 28])
    candidate = np.repeat([1.0, 1.0, 0.0, 0.0], [140, 8, 24, 28])
    found, exact = drop_bootstrap(base, candidate, rng()), drop_interval(PairedCounts(140, 8, 24, 28))
    assert found.estimate == pytest.approx(exact.estimate)
    assert (found.low, found.high) == (pytest.approx(exact.low, abs=0.01), pytest.approx(exact.high, abs=0.01))


def test_degenerate_scores_have_defined_results() -> None:
    one, zero = np.ones(40), np.zeros(40)
    same = drop_bootstrap(one, one, rng())
    assert same.estimate == 0
    assert same.low == pytest.approx(0, abs=1e-9)
    assert same.high == pytest.approx(0, abs=1e-9)
    assert drop_bootstrap(one, zero, rng()).high == 1
    assert drop_bootstrap(zero, zero, rng()) == Interval(0.0, -math.inf, 1.0)
    assert drop_bootstrap(zero, one, rng()) == Interval(-math.inf, -math.inf, 1.0)
    assert drop_bootstrap([0.5], [0.4], rng()) == Interval(pytest.approx(0.2), -math.inf, 1.0)
    assert difference_bootstrap([0.5], [0.25], rng()) == Interval(-0.25, -1.0, 1.0)


def test_models_that_score_alike_throughout_differ_by_nothing_at_any_level() -> None:
    scores = rng().random(60)
    same = resampled_difference(scores, scores, rng(), clusters=[str(i // 2) for i in range(60)])
    assert (same.interval(0.05).low, same.interval(0.001).high) == (0, 0)
    assert [same.p_above(change) for change in (-0.01, 0.0, 0.01)] == [0, 1, 1]
    assert [same.p_below(change) for change in (-0.01, 0.0, 0.01)] == [1, 1, 0]


def test_both_bounds_may_have_levels_of_their_own() -> None:
    base, candidate = rng().random(80), rng().random(80) ** 2
    for found in (resampled_difference(base, candidate, rng()), resampled_difference(candidate, base, rng())):
        both = found.interval(0.05, 0.01)
        assert (both.low, both.high) == (found.interval(0.05).low, found.interval(0.01).high)


def test_base_no_better_than_the_floor_rules_nothing_out() -> None:
    found = drop_bootstrap([0.2] * 40, [0.1] * 40, rng(), floor=Floor(0.3, 0.01, 60))
    assert math.isnan(found.estimate)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_floor_raises_the_drop_and_its_noise_widens_the_interval() -> None:
    base, candidate = graded(300, 5)
    plain = drop_bootstrap(base, candidate, rng())
    known, guessed = (drop_bootstrap(base, candidate, rng(), floor=Floor(0.3, v, 40)) for v in (0.0, 0.2))
    assert known.estimate == pytest.approx((base.mean() - candidate.mean()) / (base.mean() - 0.3))
    assert known.estimate > plain.estimate
    assert guessed.estimate == known.estimate
    assert guessed.low < known.low < known.high < guessed.high
    assert drop_bootstrap(base, candidate, rng(), floor=Floor(0.0, 0.0, 40)).high == pytest.approx(plain.high)


def test_clusters_widen_the_interval_of_repeated_rows() -> None:
    base, candidate = graded(60, 6)
    rows_b, rows_c, names = np.repeat(base, 5), np.repeat(candidate, 5), np.repeat(np.arange(60), 5).tolist()
    once = drop_bootstrap(base, candidate, rng())
    clustered = drop_bootstrap(rows_b, rows_c, rng(), clusters=names)
    naive = drop_bootstrap(rows_b, rows_c, rng())
    assert (clustered.low, clustered.high) == (pytest.approx(once.low, abs=1e-6), pytest.approx(once.high, abs=1e-6))
    assert naive.high - naive.low < 0.6 * (clustered.high - clustered.low)
    assert clustered.doubt is None


def test_few_clusters_are_a_doubt() -> None:
    base, candidate = graded(60, 6)
    found = drop_bootstrap(base, candidate, rng(), clusters=[i % 29 for i in range(60)])
    assert found.doubt == "29 clusters are too few to resample: at least 60 are needed"
    base, candidate = graded(120, 6)
    unequal = [*range(60), *[60] * 20, *[61] * 40]
    found = drop_bootstrap(base, candidate, rng(), clusters=unequal)
    assert found.doubt == "62 clusters count as 7, which is too few to resample: at least 60 are needed"
    assert drop_bootstrap(base, candidate, rng(), clusters=[i // 2 for i in range(120)]).doubt is None
    one = drop_bootstrap(base, candidate, rng(), clusters=["all"] * 120)
    assert (one.low, one.doubt) == (-math.inf, "1 cluster is too few to resample: at least 60 are needed")


def test_unequal_clusters_take_a_stricter_level() -> None:
    """62 clusters that count as 7.2: bounds at 5 % lie where 0.58 % would be, and the p-values say the same."""
    base, candidate = graded(120, 6)
    names = [*range(60), *[60] * 20, *[61] * 40]
    assert effective_clusters(names) == pytest.approx(120**2 / (60 + 20**2 + 40**2))
    for resampled in (resampled_drop, resampled_difference):
        found = resampled(base, candidate, rng(), draws=400, clusters=names)
        equal = replace(found, level_share=1.0)
        assert found.level_share == effective_clusters(names) / 62
        assert found.interval(0.05) == equal.interval(0.05 * found.level_share)
        assert found.p_above(found.interval(0.05).low) == pytest.approx(0.05, abs=1e-4)
        assert found.p_below(found.interval(0.05).high) == pytest.approx(0.05, abs=1e-4)
        assert found.p_above(0.9) == 1


@pytest.mark.parametrize(
    ("clusters", "effective"), [([], 0.0), ([None, None, "a", "a"], 16 / 6), (["a"] * 5, 1.0), ([1, 2, 1, 2], 2.0)]
)
def test_effective_clusters(clusters: list[object], effective: float) -> None:
    assert effective_clusters(clusters) == effective


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: drop_bootstrap([0.5, 1.2], [0.5, 0.5], rng()), r"base\[1\] = 1.2"),
        (lambda: drop_bootstrap([0.5, 0.5], [0.5, math.nan], rng()), r"candidate\[1\] = nan"),
        (lambda: difference_bootstrap([0.5, 0.5], [0.5], rng()), "base has 2 items and candidate has 1"),
        (lambda: difference_bootstrap([], [], rng()), "base: there are no scores"),
        (lambda: drop_bootstrap([0.5] * 3, [0.5] * 3, rng(), clusters=["a"]), "clusters has 1 entries for 3 items"),
        (lambda: drop_bootstrap([0.5] * 3, [0.5] * 3, rng(), alpha=0.7), "alpha = 0.7"),
        (lambda: drop_bootstrap([0.5] * 3, [0.5] * 3, rng(), draws=10), "draws = 10"),
        (lambda: Floor(0.2, -0.1, 4), "floor.variance = -0.1"),
        (lambda: Floor(0.2, 0.1, 0), "floor.count = 0"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_two_thousand_items_are_fast() -> None:
    base, candidate = graded(2000, 8)
    start = time.process_time()
    drop_bootstrap(base, candidate, rng())
    assert time.process_time() - start < 3  # about 0.3 on an idle machine


def decided(*scores: np.ndarray, rng: np.random.Generator, **more: Any) -> tuple[bool, bool]:
    """Whether a drop is below 10 %, and whether above, at 5 % each, as its bounds would say.

    Without the search for them, which takes several times as long: test_the_p_values_say_what_the_bounds_say.
    """
    found = resampled_drop(*scores, rng, **more)
    return found.p_below(0.1) < 0.05, found.p_above(0.1) < 0.05


def errors(n: int, repetitions: int, draws: int) -> tuple[float, float]:
    """Percent of runs that pass and that block when the true drop is exactly 10 %."""
    found = [decided(*graded(n, 1000 + i), rng=generator(i, "errors"), draws=draws) for i in range(repetitions)]
    passed, blocked = 100 * np.mean(found, axis=0)
    return float(passed), float(blocked)


def test_error_rates_at_the_limit_in_small() -> None:
    passed, blocked = errors(100, 400, 400)
    # 5 % give or take 3.3 standard errors of 400 runs.
    assert 1.4 < passed < 8.6
    assert 1.4 < blocked < 8.6


@pytest.mark.slow
@pytest.mark.parametrize(("n", "repetitions"), [(40, 1500), (100, 1500), (200, 1500), (400, 1000)])
def test_error_rates_at_the_limit(n: int, repetitions: int) -> None:
    passed, blocked = errors(n, repetitions, 2000 if n < 400 else 1000)
    assert 3 < passed < 7
    assert 3 < blocked < 7


def collapsed(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One answer in ten is worth nothing any more and the others stay: a true drop of exactly 10 %."""
    draw = np.random.default_rng(seed)
    base = draw.beta(6, 2, n)
    return base, np.where(draw.random(n) < 0.1, 0.0, base)


@pytest.mark.parametrize("repetitions", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_t_test_of_the_same_contrast_passes_rare_collapses_too_often(repetitions: int) -> None:
    """n = 40: near 11.1/1.9 % by Fieller's t, which does not know how skewed the contrast is."""
    t05, fieller, ours = stats.t.isf(0.05, 39), np.zeros(2), np.zeros(2)
    for i in range(repetitions):
        base, candidate = collapsed(40, i)
        w = 0.9 * base - candidate
        t = w.mean() * math.sqrt(40) / w.std(ddof=1)
        fieller += (t < -t05, t > t05)
        ours += decided(base, candidate, rng=generator(i, "collapse"), draws=500)
    apart = 3.3 if repetitions > 1000 else 6
    assert 100 * fieller / repetitions == pytest.approx([11.1, 1.9], abs=apart / 2)
    assert (100 * ours / repetitions < 7).all()


def judged(n: int, draw: np.random.Generator, drop: float) -> tuple[np.ndarray, np.ndarray, Floor]:
    """A judge with sensitivity 0.9 and specificity 0.7 over answers that are right 80 % of the time or less."""
    latent = draw.random(n)
    marks = [np.where(latent < share, draw.random(n) < 0.9, draw.random(n) < 0.3) for share in (0.8, 0.8 * (1 - drop))]
    canaries = (draw.random(60) < 0.3).astype(float)
    return marks[0].astype(float), marks[1].astype(float), Floor(canaries.mean(), canaries.var(ddof=1), 60)


@pytest.mark.parametrize("repetitions", [150, pytest.param(1500, marks=pytest.mark.slow)])
def test_without_its_floor_a_judge_hides_a_drop(repetitions: int) -> None:
    draw, hidden, found = np.random.default_rng(4), 0, 0
    for i in range(repetitions):
        base, candidate, floor = judged(300, draw, 0.10)
        hidden += decided(base, candidate, rng=generator(i, "judge"), draws=400)[0]
        found += decided(base, candidate, rng=generator(i, "judge"), draws=400, floor=floor)[0]
    assert hidden > 0.12 * repetitions
    assert found < 0.10 * repetitions if repetitions < 1000 else found < 0.075 * repetitions


@pytest.mark.slow
def test_rows_of_one_cluster_are_not_independent() -> None:
    """Five rows an item: resampling rows errs far more often than resampling items, on both sides."""
    naive, clustered = np.zeros(2), np.zeros(2)
    names = np.repeat(np.arange(60), 5).tolist()
    for i in range(1500):
        base, candidate = (np.repeat(scores, 5) for scores in graded(60, 5000 + i))
        for count, groups in ((naive, None), (clustered, names)):
            count += decided(base, candidate, rng=generator(i, "rows"), draws=400, clusters=groups)
    assert (naive > 1.8 * clustered).all()
    assert (naive > 0.10 * 1500).all()
    assert (clustered < 0.08 * 1500).all()
