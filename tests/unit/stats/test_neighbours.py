"""Distances from the training data (methods: section 7)."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftgate.stats.neighbours import distances, nearest, neighbour_count, spacing
from ftgate.stats.space import main_axes, space_of


def cloud(rng: np.random.Generator, n: int, d: int = 16) -> np.ndarray:
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d))


def test_queries_drawn_like_the_training_data_are_outside_about_one_time_in_twenty() -> None:
    rng = np.random.default_rng(0)
    rows = cloud(rng, 5000)
    found = distances(rows[:2000], rows[2000:])
    assert 0.03 <= np.mean(found.outside_p < 0.05) <= 0.07


def test_a_planted_foreign_topic_is_recovered() -> None:
    rng = np.random.default_rng(1)
    topics = rng.normal(size=(9, 64))
    training = topics[rng.integers(8, size=2000)] + 0.5 * rng.normal(size=(2000, 64))
    native = topics[rng.integers(8, size=400)] + 0.5 * rng.normal(size=(400, 64))
    foreign = topics[8] + 0.5 * rng.normal(size=(100, 64))
    found = distances(np.vstack([native, foreign]), training)
    tail = np.argsort(-found.query)[:100]
    assert np.mean(tail >= 400) >= 0.95


@given(st.integers(0, 15), st.floats(-1e3, 1e3))
@settings(max_examples=20, deadline=None)
def test_a_constant_added_to_one_dimension_changes_nothing(dimension: int, constant: float) -> None:
    rng = np.random.default_rng(2)
    queries, training = cloud(rng, 50), cloud(rng, 300)
    shift = constant * np.eye(16)[dimension]
    before, after = distances(queries, training), distances(queries + shift, training + shift)
    np.testing.assert_allclose(after.query, before.query, atol=1e-8)


def test_training_rows_leave_themselves_out() -> None:
    training = np.random.default_rng(3).normal(size=(200, 8))
    repeated = np.vstack([training, training[:50]])
    assert (distances(training, repeated, k=1).training > 0).all()
    assert np.allclose(distances(training, training, k=1).query, 0, atol=1e-9)


def test_against_an_independent_implementation() -> None:
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(4)
    queries, training = cloud(rng, 70), cloud(rng, 1500)
    k = neighbour_count(1500)
    scaled = [(part - training.mean(0)) / training.std(0) for part in (queries, training)]
    nearest = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(scaled[1])
    expected = nearest.kneighbors(scaled[0])[0][:, -1]
    np.testing.assert_allclose(distances(queries, training).query, expected, atol=1e-9)


def test_the_outside_p_is_the_conformal_one() -> None:
    """(1 + training distances at least as large) / (n + 1), against counting; one at the centre of all is inside."""
    rng = np.random.default_rng(13)
    found = distances(cloud(rng, 40), cloud(rng, 99), k=5)
    counted = [(1 + sum(own >= far for own in found.training)) / 100 for far in found.query]
    assert found.outside_p.tolist() == pytest.approx(counted)
    assert found.outside_p.min() >= 1 / 100


@pytest.mark.parametrize(("rows", "k"), [(2, 1), (3, 2), (100, 5), (1000, 25), (10_000, 50)])
def test_neighbour_count(rows: int, k: int) -> None:
    assert neighbour_count(rows) == k


@pytest.mark.parametrize(
    ("queries", "training", "message"),
    [
        (np.zeros((2, 3)), np.zeros((5, 4)), "same width"),
        (np.zeros((2, 3)), np.zeros((5, 3)), "distinct training rows"),
        (np.full((2, 3), np.nan), np.eye(3), "not a finite number"),
    ],
)
def test_bad_input_is_named(queries: np.ndarray, training: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distances(queries, training)


def test_identical_queries_and_constant_columns_have_defined_distances() -> None:
    training = np.column_stack([np.random.default_rng(5).normal(size=(50, 3)), np.ones(50)])
    found = distances(np.ones((4, 4)), training)
    assert np.isfinite(found.query).all()
    assert len(set(found.query.tolist())) == 1


def test_what_training_rows_never_had_makes_a_query_foreign_and_unlike_another() -> None:
    rng = np.random.default_rng(6)
    training = np.column_stack([rng.normal(size=(300, 6)), np.zeros((300, 2))])
    plain, one, other = np.zeros((3, 1, 8))
    plain[0, :6] = one[0, :6] = other[0, :6] = training[0, :6]
    one[0, 6] = other[0, 7] = 9.0
    space = space_of(training)
    far = nearest(np.vstack([plain, one, other]), training, space)
    assert far[0] < 1e-9 < 0.3 < far[1]
    assert nearest(one, other, space)[0] > 0.5


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_varies_by_rounding_alone_is_constant(kind: type[np.floating]) -> None:
    """Its spread would make noise of it; what varies by many roundings keeps its own."""
    last_digit = float(np.spacing(kind(0.5)))
    rng = np.random.default_rng(19)
    rounding, small = 0.5 + rng.integers(0, 2, size=(2, 400)) * np.array([[last_digit], [100_000 * last_digit]])
    rows = np.column_stack([rng.normal(size=(400, 3)), rounding, small]).astype(kind)
    spread = space_of(rows).spread
    assert spread[3] == np.median(spread[[0, 1, 2, 4]])
    assert spread[4] == pytest.approx(50_000 * last_digit, rel=0.1, abs=0)


def test_single_precision_and_blocks_change_nothing_that_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    training, queries = cloud(rng, 900), cloud(rng, 150)
    whole = distances(queries, training)
    monkeypatch.setattr("ftgate.stats.neighbours.BLOCK", 64)
    monkeypatch.setattr("ftgate.stats.neighbours.ASKED_BLOCK", 7)
    np.testing.assert_allclose(distances(queries, training).query, whole.query, atol=1e-12)
    single = distances(queries.astype(np.float32), training.astype(np.float32))
    np.testing.assert_allclose(single.query, whole.query, atol=1e-4)
    assert (distances(queries.astype(np.float32), training.astype(np.float32), k=1).training > 0).all()


def test_a_sample_of_the_training_rows_gives_the_same_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    rows = cloud(rng, 4000)
    monkeypatch.setattr("ftgate.stats.neighbours.MOST_OWN", 500)
    found = distances(rows[:1500], rows[1500:], rng=np.random.default_rng(0))
    assert len(found.training) == 500
    assert 0.03 <= np.mean(found.outside_p < 0.05) <= 0.07


def test_memory_is_bounded_whatever_the_rows_and_their_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftgate.stats.neighbours.HELD", 1_000_000)
    peaks = {}
    for n, width in ((20_000, 32), (80_000, 32), (20_000, 128)):
        path = tmp_path / f"{n}-{width}.npy"
        np.save(path, np.random.default_rng(0).normal(size=(n, width)).astype(np.float32))
        rows = np.load(path, mmap_mode="r")
        tracemalloc.start()
        nearest(rows[:100], rows, space_of(rows), k=5)
        peaks[n, width] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert max(peaks.values()) < 30e6
    assert peaks[80_000, 32] - peaks[20_000, 32] < 60 * 60_000 + 2e6, "the marks of the rows, not the rows themselves"


def topical(rng: np.random.Generator, scatter: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Training rows about 30 topics in 256 dimensions, and queries, the last 200 of which are about another."""
    topics = rng.normal(size=(31, 256))
    chosen = np.concatenate([rng.integers(30, size=7000), np.full(200, 30)])
    rows = (topics[chosen] + scatter * rng.normal(size=(7200, 256))).astype(np.float32)
    return rows[:6000], rows[6000:], 1000


@pytest.mark.parametrize(("scatter", "excess"), [(0.5, 0.01), (1.5, 0.02)])
def test_wide_rows_along_their_main_axes_tell_what_full_width_tells(
    scatter: float, excess: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 of 256 axes, fewer than there are topics: what that costs, measured against all of them."""
    training, queries, native = topical(np.random.default_rng(11), scatter)
    whole = distances(queries, training)
    monkeypatch.setattr("ftgate.stats.neighbours.HELD", 24 * len(training))
    monkeypatch.setattr("ftgate.stats.neighbours.ASKED_BLOCK", 500)
    found = distances(queries, training)
    assert (found.query >= whole.query - 1e-5).all(), "never that of a nearer row than the k-th"
    assert np.mean(found.query - whole.query) < excess
    assert np.mean(np.argsort(-found.query)[:200] >= native) >= 0.95
    assert 0.03 <= np.mean(found.outside_p[:native] < 0.05) <= 0.07
    assert (distances(queries, training, k=1).training > 0).all(), "a training row still leaves itself out"


def test_along_axes_few_rows_are_searched_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """All others are candidates then, each once: nothing is lost to the axes, however few."""
    rng = np.random.default_rng(14)
    queries, training = cloud(rng, 9), cloud(rng, 7)
    whole = distances(queries, training, k=6)
    monkeypatch.setattr("ftgate.stats.neighbours.HELD", 2 * len(training))
    found = distances(queries, training, k=6)
    np.testing.assert_allclose(found.training, whole.training, atol=1e-12)
    assert (found.query >= whole.query - 1e-12).all(), "of six candidates the farthest is at least the sixth"


def far_apart(rows: np.ndarray) -> np.ndarray:
    """The distance of each row from each, by the definition."""
    scaled = (rows - rows.mean(0)) / rows.std(0)
    unit = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return 1 - unit @ unit.T


def test_spacing_is_the_distance_to_the_kth_nearest_other_row() -> None:
    rows = cloud(np.random.default_rng(15), 240)
    expected = np.sort(far_apart(rows), axis=1)[:, neighbour_count(240)]  # the nearest is the row itself
    np.testing.assert_allclose(spacing(rows, space_of(rows), np.random.default_rng(0)), expected, atol=1e-9)
    pair = spacing(rows[:2], space_of(rows), np.random.default_rng(0))
    np.testing.assert_allclose(pair, nearest(rows[[1, 0]], rows[:1], space_of(rows))[0])
    assert spacing(rows[:1], space_of(rows), np.random.default_rng(0)).tolist() == [0.0]
    assert spacing(rows[:0], space_of(rows), np.random.default_rng(0)).tolist() == []


def test_of_many_rows_the_spacing_is_that_in_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftgate.stats.neighbours.SCALE_ROWS", 300)
    rows = cloud(np.random.default_rng(16), 301)
    missing = set(range(301)) - set(np.random.default_rng(0).choice(301, 300, replace=False).tolist())
    (out,) = missing
    apart = np.delete(far_apart(rows), out, axis=1)
    in_sample = np.arange(301) != out
    k = neighbour_count(300)
    expected = np.sort(apart, axis=1)[np.arange(301), np.where(in_sample, k, k - 1)]
    np.testing.assert_allclose(spacing(rows, space_of(rows), np.random.default_rng(0)), expected, atol=1e-9)


def test_the_nearest_of_some_rows_alone() -> None:
    rng = np.random.default_rng(17)
    queries, rows = cloud(rng, 20), cloud(rng, 100)
    space, some = space_of(rows), np.array([3, 50, 99])
    np.testing.assert_allclose(nearest(queries, rows, space, 2, some), nearest(queries, rows[some], space, 2))
    assert (nearest(queries, rows, space) <= nearest(queries, rows, space, 2)).all()


def test_progress_counts_training_rows_and_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftgate.stats.neighbours.ASKED_BLOCK", 7)
    rng, steps = np.random.default_rng(18), list[int]()
    distances(cloud(rng, 30), cloud(rng, 50), on_progress=steps.append)
    assert sum(steps) == 80
    assert max(steps) == 7


def test_main_axes_against_the_singular_vectors() -> None:
    rows = cloud(np.random.default_rng(12), 500)
    space = space_of(rows)
    axes = main_axes(rows, space, 5)
    expected = np.linalg.svd(space.unit(rows))[2][:5].T
    np.testing.assert_allclose(axes @ axes.T, expected @ expected.T, atol=1e-4)


def test_a_value_that_is_not_finite_is_named_by_its_row() -> None:
    training = np.random.default_rng(0).normal(size=(50, 3))
    training[17, 1] = np.inf
    with pytest.raises(ValueError, match="training row 18"):
        distances(training[:3], training)
    with pytest.raises(ValueError, match="query 2"):
        distances(np.array([[0.0, 0, 0], [0, np.nan, 0]]), training[:10])
