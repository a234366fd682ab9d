"""Calibration error and its difference: hand-worked values, bias, and how often the decision errs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ftgate.measurements.calibration import MISCALIBRATED, PASS_FACTOR
from ftgate.stats import calibration as cal
from ftgate.stats.seeding import generator

answers = st.integers(2, 40).flatmap(
    lambda n: st.lists(
        st.tuples(
            st.one_of(st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]), st.floats(0, 1)),
            st.integers(0, 1),
            st.floats(0, 1),
            st.integers(0, 1),
        ),
        min_size=n,
        max_size=n,
    )
)


def calibrated(n: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    confidence = 0.25 + 0.75 * draw.beta(2, 1.5, n)
    return confidence, (draw.random(n) < confidence).astype(float)


def overconfident_pair(n: int, draw: np.random.Generator) -> tuple[np.ndarray, ...]:
    """A calibrated base, and a candidate whose confidence is 0.05 above its accuracy throughout."""
    q = 0.4 + 0.57 * draw.beta(2, 1.2, n)
    shared = draw.random(n)
    own = np.where(draw.random(n) < 0.6, shared, draw.random(n))
    return q, (shared < q).astype(float), q, (own < q - 0.05).astype(float)


def test_known_answer() -> None:
    confidence, correct = np.full(100, 0.8), np.repeat([1.0, 0.0], [80, 20])
    for scheme in ("width", "mass"):
        assert cal.expected_calibration_error(confidence, correct, scheme=scheme) == pytest.approx(0, abs=1e-12)
    assert cal.expected_calibration_error(confidence, 1 - correct) == pytest.approx(0.6)


def test_by_hand() -> None:
    confidence, correct = [0.95, 0.85, 0.9, 0.3, 1.0], [1, 0, 1, 1, 0]
    # Bins: [.3, .4): |.3 - 1|; [.8, .9): |.85 - 0|; [.9, 1]: |2.85 - 2|.
    assert cal.expected_calibration_error(confidence, correct) == pytest.approx((0.7 + 0.85 + 0.85) / 5)
    assert cal.brier_score(confidence, correct) == pytest.approx((0.0025 + 0.7225 + 0.01 + 0.49 + 1) / 5)


def test_edges_belong_to_the_bin_above_and_one_to_the_last() -> None:
    table = cal.reliability_bins([k / 10 for k in range(11)], [1] * 11)
    assert [b.count for b in table] == [1] * 9 + [2]
    assert table[3] == cal.ReliabilityBin(0.3, 0.4, 1, 0.3, 1.0)
    assert table[9].confidence == pytest.approx(0.95)
    empty = cal.reliability_bins([0.55], [0])[0]
    assert (empty.count, empty.confidence, empty.accuracy) == (0, None, None)


def test_equal_mass_bins() -> None:
    table = cal.reliability_bins(np.linspace(0, 1, 100), np.ones(100), bins=5, scheme="mass")
    assert [b.count for b in table] == [20] * 5


@given(answers)
def test_ece_lies_between_the_gap_and_the_mean_residual(rows: list[tuple[float, int, float, int]]) -> None:
    conf, right = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], dtype=float)
    for scheme in ("width", "mass"):
        ece = cal.expected_calibration_error(conf, right, scheme=scheme)
        assert abs(np.mean(conf - right)) - 1e-12 <= ece <= np.mean(np.abs(conf - right)) + 1e-12
        bins = cal.reliability_bins(conf, right, scheme=scheme)
        again = sum(b.count * abs(b.confidence - b.accuracy) for b in bins if b.count) / len(conf)
        assert ece == pytest.approx(again, abs=1e-12)


def test_multiclass_brier_and_likelihood() -> None:
    assert cal.multiclass_brier_score([[0.7, 0.2, 0.1], [0, 1, 0]], [0, 2]) == pytest.approx(
        (0.09 + 0.04 + 0.01 + 2) / 2
    )
    assert cal.negative_log_likelihood([0.5, 1.0]) == pytest.approx(math.log(2) / 2)
    assert cal.negative_log_likelihood([0.0]) == pytest.approx(12 * math.log(10))


def test_accuracy_at_coverage() -> None:
    confidence, correct = [0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0]
    assert cal.accuracy_at_coverage(confidence, correct, 0.8) == pytest.approx(3 / 4)
    assert cal.accuracy_at_coverage(confidence, correct, 1.0) == pytest.approx(3 / 5)
    # All tie: any four of the five are the most confident ones.
    assert cal.accuracy_at_coverage([0.5] * 5, correct, 0.8) == pytest.approx(3 / 5)


@given(answers)
def test_auroc_is_the_share_of_ordered_pairs(rows: list[tuple[float, int, float, int]]) -> None:
    values, labels = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], dtype=float)
    high, low = values[labels == 1], values[labels == 0]
    area = cal.auroc(values, labels)
    if not len(high) or not len(low):
        assert math.isnan(area)
        return
    u = stats.mannwhitneyu(high, low, method="asymptotic", use_continuity=False).statistic
    assert area == pytest.approx(u / (len(high) * len(low)))
    found = cal.auroc_interval(values, labels)
    assert 0 <= found.low <= found.value == area <= found.high <= 1


def test_perfect_separation_still_has_a_bound() -> None:
    labels = np.repeat([1.0, 0.0], 40)
    found = cal.auroc_interval(labels, labels)
    assert found.value == 1
    assert found.low == pytest.approx(0.965, abs=1e-3)
    assert cal.auroc_interval(1 - labels, labels).low == 0
    assert cal.auroc_interval(labels[38:42], labels[38:42]).low < 0.8
    assert cal.auroc_interval([0.5, 0.4], [1, 1]).low == 0


def auroc_misses(true_area: float, repetitions: int) -> float:
    draw, labels, misses = np.random.default_rng(9), np.repeat([1.0, 0.0], 40), 0
    shift = stats.norm.ppf(true_area) * math.sqrt(2)
    for _ in range(repetitions):
        values = stats.norm.cdf(draw.normal(size=80) + shift * labels)
        misses += cal.auroc_interval(values, labels).low > true_area
    return misses / repetitions


def test_auroc_bound_holds() -> None:
    assert auroc_misses(0.8, 600) < 0.085


@pytest.mark.slow
@pytest.mark.parametrize("area", [0.7, 0.8, 0.9, 0.97])
def test_auroc_bound_holds_in_many_runs(area: float) -> None:
    assert auroc_misses(area, 10_000) < 0.06


@settings(max_examples=40, deadline=None)
@given(answers, st.randoms(use_true_random=False))
def test_order_does_not_matter_for_the_difference(rows: list[tuple[float, int, float, int]], shuffle) -> None:
    def difference(data) -> cal.EceDifference:
        return cal.ece_difference(
            *(np.array(column, dtype=float) for column in zip(*data, strict=True)), generator(1, "o"), draws=100
        )

    found = difference(rows)
    moved = list(rows)
    shuffle.shuffle(moved)
    assert difference(moved) == found
    assert found.low <= found.change <= found.high
    same = difference([(a, y, a, y) for a, y, _, _ in rows])
    assert (same.change, same.standard_error, same.gap) == (pytest.approx(0), pytest.approx(0, abs=1e-12), 0)


@settings(max_examples=60, deadline=None)
@given(answers)
def test_swapping_the_models_turns_the_signs(rows: list[tuple[float, int, float, int]]) -> None:
    conf_b, y_b, conf_c, y_c = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    there = cal.ece_difference(conf_b, y_b, conf_c, y_c, generator(1, "swap"), draws=100)
    back = cal.ece_difference(conf_c, y_c, conf_b, y_b, generator(1, "swap"), draws=100)
    assert (back.base, back.candidate) == (there.candidate, there.base)
    assert (back.plug_in, back.change, back.gap) == (-there.plug_in, -there.change, -there.gap)
    assert (back.standard_error, back.gap_standard_error) == (there.standard_error, there.gap_standard_error)
    assert there.change - there.low == pytest.approx(stats.norm.isf(0.05) * there.standard_error)


def test_data_that_are_their_own_mirror_image_did_not_change() -> None:
    draw = np.random.default_rng(6)
    conf, y = calibrated(50, draw)
    other, right = calibrated(50, draw)
    found = cal.ece_difference(
        np.concatenate([conf, other]), np.concatenate([y, right]),
        np.concatenate([other, conf]), np.concatenate([right, y]), generator(1, "even"), draws=200,
    )  # fmt: skip
    assert (found.plug_in, found.change, found.gap) == (0, 0, 0)
    assert found.base == found.candidate
    assert found.low < 0 < found.high


def test_difference_by_hand() -> None:
    conf_b, y_b = calibrated(80, np.random.default_rng(1))
    conf_c, y_c = np.minimum(conf_b + 0.1, 1), y_b
    found = cal.ece_difference(conf_b, y_b, conf_c, y_c, generator(2, "hand"), draws=400)
    assert conf_b.min() < conf_c.min(), "then the base's side comes first"
    order = np.lexsort((y_c, conf_c, y_b, conf_b))
    index = generator(2, "hand").integers(0, 80, size=(400, 80))
    ece = cal.expected_calibration_error
    stars = np.array([ece(conf_c[order][i], y_c[order][i]) - ece(conf_b[order][i], y_b[order][i]) for i in index])
    plug_in = ece(conf_c, y_c) - ece(conf_b, y_b)
    assert found.plug_in == pytest.approx(plug_in)
    assert found.change == pytest.approx(2 * plug_in - stars.mean())
    assert found.standard_error == pytest.approx(stars.std(ddof=1))
    assert found.low == pytest.approx(found.change - 1.6449 * found.standard_error, abs=1e-5)
    assert found.high == pytest.approx(found.change + 1.9600 * found.standard_error, abs=1e-5)
    gaps = (conf_c - y_c) - (conf_b - y_b)
    error = gaps.std(ddof=1) / math.sqrt(80)
    assert found.overconfidence == pytest.approx(gaps.mean() + 1.96 * error, abs=1e-5)
    own = conf_c - y_c
    assert found.underconfidence == pytest.approx(
        min(-gaps.mean() + 1.96 * error, -own.mean() + 1.96 * own.std(ddof=1) / math.sqrt(80)), abs=1e-5
    )
    wider = cal.ece_difference(conf_b, y_b, conf_c, y_c, generator(2, "hand"), draws=400, pass_z=2.8)
    assert (wider.low, wider.high) == (found.low, pytest.approx(found.change + 2.8 * found.standard_error))


@pytest.mark.parametrize(("base", "candidate", "over", "under"), [(0.1, 0.0, 0.03, 0.03), (-0.1, 0.0, 0.03, 0.03)])
def test_a_model_cannot_have_more_of_an_error_in_addition_than_it_has(
    base: float, candidate: float, over: float, under: float
) -> None:
    """From miscalibrated to calibrated: the gap moved by 0.1, and neither direction of error rose."""
    draw = np.random.default_rng(4)
    conf, luck = 0.3 + 0.5 * draw.beta(2, 1.2, 4000), draw.random((2, 4000))
    found = cal.ece_difference(
        conf, (luck[0] < conf - base).astype(float), conf, (luck[1] < conf - candidate).astype(float),
        generator(1, "repaired"), draws=200,
    )  # fmt: skip
    assert found.gap == pytest.approx(candidate - base, abs=0.02)
    assert found.overconfidence < over
    assert found.underconfidence < under


def test_the_error_over_chance_by_hand() -> None:
    """Bins [.5, .6) and [.9, 1]: sums of residuals 1 and 0.4, roots of the sums of their squares sqrt(1) and 0.2."""
    confidence, correct = [0.5] * 4 + [0.9] * 4, [0, 0, 0, 1, 1, 1, 1, 1]
    by_chance = math.sqrt(2 / math.pi) * (1 + 0.2)
    assert cal.ece_over_chance(confidence, correct) == pytest.approx((1 + 0.4) / by_chance)
    # Nine misses at .9 are 8.1 off, at most 2.5 standard deviations of which count.
    assert cal.ece_over_chance([0.9] * 9, [0] * 9) == pytest.approx(2.5 / math.sqrt(2 / math.pi))
    assert cal.ece_over_chance([1.0, 0.0], [1, 0]) == 0


def test_the_error_over_chance_is_one_for_a_calibrated_model_and_capped_in_each_bin() -> None:
    draw = np.random.default_rng(8)
    found = [cal.ece_over_chance(*calibrated(1000, draw)) for _ in range(200)]
    assert np.mean(found) == pytest.approx(1, abs=0.06)
    assert np.mean(np.array(found) > MISCALIBRATED) <= 0.01
    conf, luck = 0.3 + 0.5 * draw.beta(2, 1.2, 1000), draw.random(1000)
    assert cal.ece_over_chance(conf, (luck < conf - 0.12).astype(float)) > MISCALIBRATED
    in_few_bins = (luck < np.where(conf < 0.5, conf - 0.3, conf)).astype(float)
    assert cal.expected_calibration_error(conf, in_few_bins) > 0.05
    assert cal.ece_over_chance(conf, in_few_bins) < MISCALIBRATED


def test_plug_in_error_of_a_calibrated_model_is_biased() -> None:
    draw = np.random.default_rng(3)
    shown = [cal.expected_calibration_error(*calibrated(200, draw), bins=15) for _ in range(300)]
    assert np.mean(shown) == pytest.approx(0.073, abs=0.012)


def test_two_calibrated_models_do_not_block() -> None:
    blocks = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        found = cal.ece_difference(*calibrated(200, draw), *calibrated(200, draw), generator(seed, "aa"))
        blocks += found.low > 0.05
    assert blocks <= 1


def pass_rates(seeds: int) -> tuple[float, float, float]:
    """Share of passes at a true rise of exactly 0.05, n = 500: at 1.96 and 2.8 standard errors, and by percentiles."""
    plain = wide = percentile = 0
    for seed in range(seeds):
        pair = overconfident_pair(500, np.random.default_rng(seed))
        found = cal.ece_difference(*pair, generator(seed, "rise"), draws=1000)
        wider = found.change + PASS_FACTOR * stats.norm.isf(0.05) * found.standard_error
        plain += found.high < 0.05 and found.overconfidence < 0.05
        wide += wider < 0.05 and found.overconfidence < 0.05
        percentile += _percentile_high(pair, seed) < 0.05
    return plain / seeds, wide / seeds, percentile / seeds


def _percentile_high(pair: tuple[np.ndarray, ...], seed: int) -> float:
    draw, (conf_b, y_b, conf_c, y_c) = np.random.default_rng(seed), pair

    def sums(conf: np.ndarray, y: np.ndarray, index: np.ndarray) -> np.ndarray:
        where = np.minimum((conf * 10).astype(int), 9)[index] + 10 * np.arange(len(index))[:, None]
        flat = np.bincount(where.ravel(), weights=(conf - y)[index].ravel(), minlength=10 * len(index))
        return np.abs(flat.reshape(-1, 10)).sum(axis=1) / len(conf)

    index = draw.integers(0, 500, size=(200, 500))
    return float(np.quantile(sums(conf_c, y_c, index) - sums(conf_b, y_b, index), 0.95))


@pytest.mark.parametrize("seeds", [80, pytest.param(500, marks=pytest.mark.slow)])
def test_a_rise_at_the_limit_rarely_passes_and_the_percentile_interval_often_does(seeds: int) -> None:
    plain, wide, percentile = pass_rates(seeds)
    assert wide <= plain <= 0.10, "2.8 standard errors decide; 1.96 are enough where all lean to overconfidence"
    assert percentile >= 0.26


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cal.expected_calibration_error([0.5, math.nan], [1, 0]), r"confidence\[1\] = nan"),
        (lambda: cal.expected_calibration_error([0.5, 0.6], [1, 0.5]), r"correct\[1\] = 0.5"),
        (lambda: cal.expected_calibration_error([0.5], [1, 0]), "confidence has 1 items and correct has 2"),
        (lambda: cal.expected_calibration_error([0.5], [1], bins=0), "bins = 0"),
        (lambda: cal.expected_calibration_error([0.5], [1], scheme="odd"), "scheme = 'odd'"),  # type: ignore[arg-type]
        (lambda: cal.brier_score([], []), "confidence: there are no scores"),
        (lambda: cal.accuracy_at_coverage([0.5], [1], 0), "coverage = 0"),
        (lambda: cal.multiclass_brier_score([[0.5, 0.4]], [0]), "row 0"),
        (lambda: cal.multiclass_brier_score([[0.5, 0.5]], [2]), "row 0"),
        (lambda: cal.multiclass_brier_score([0.5, 0.5], [1, 0]), "do not describe the same items"),
        (lambda: cal.ece_difference([0.5], [1], [0.5], [1], generator(0, "")), "number of items = 1"),
        (lambda: cal.ece_difference([0.5] * 2, [1] * 2, [0.5] * 3, [1] * 3, generator(0, "")), "base has 2 items"),
        (lambda: cal.ece_difference([0.5] * 2, [1] * 2, [0.5] * 2, [1] * 2, generator(0, ""), pass_z=1), "pass_z = 1"),
        (lambda: cal.auroc([0.5], [0.5]), r"labels\[0\] = 0.5"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
