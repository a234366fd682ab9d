"""Groups of like texts, a classifier for two bodies, and how much of a log is covered."""

from __future__ import annotations

import numpy as np
import pytest

from ftgate.stats.space import space_of
from ftgate.tail import coverage as tail_coverage


def around(rng: np.random.Generator, centre: np.ndarray, n: int) -> np.ndarray:
    return centre + 0.3 * rng.normal(size=(n, len(centre)))


@pytest.fixture
def centres() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(10, 32))


def names(n: int, kind: str = "text") -> list[str]:
    return [f"{kind} {i}" for i in range(n)]


def test_topics_are_found_named_and_never_small(centres: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    vectors = np.vstack([around(rng, centres[0], 200), around(rng, centres[1], 150), around(rng, centres[2], 10)])
    found = tail_coverage.topics(vectors, names(360), rng)
    sizes = {name: found.count(name) for name in set(found)}
    assert min(sizes.values()) >= tail_coverage.MIN_TOPIC_SIZE
    assert 2 <= len(sizes) <= tail_coverage.MAX_TOPICS
    assert not set(found[:200]) & set(found[200:350]), "two topics far apart share no group"
    assert all("like “text" in name for name in sizes)


def test_too_few_or_identical_texts_have_no_topics(centres: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    assert tail_coverage.topics(around(rng, centres[0], 79), names(79), rng) == ()
    assert tail_coverage.topics(np.ones((200, 4)), names(200), rng) == ()


def test_a_classifier_tells_a_foreign_body_and_no_other(centres: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    training = around(rng, centres[0], 300)
    same = tail_coverage.domain_classifier_auc(around(rng, centres[0], 300), training)
    other = tail_coverage.domain_classifier_auc(around(rng, centres[1], 300), training)
    assert same["interval"][0] <= 0.5 <= same["interval"][1] + 0.02
    assert other["auc"] > 0.99
    assert tail_coverage.domain_classifier_auc(training[:9], training) == {}


def coverage(items: np.ndarray, log: np.ndarray, training: np.ndarray, kind: str = "query") -> dict[str, object]:
    space = space_of(training)
    return dict(tail_coverage.coverage(log, names(len(log), kind), items, training, space, np.random.default_rng(0)))


def test_what_the_items_are_like_is_covered_and_a_foreign_topic_is_the_gap(centres: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    training = np.vstack([around(rng, c, 200) for c in centres[:5]])
    log = np.vstack(
        [*(around(rng, c, 80) for c in centres[:5]), around(rng, centres[8], 60), around(rng, centres[9], 40)]
    )
    both = np.vstack([around(rng, centres[8], 20), around(rng, centres[9], 20)])
    found = coverage(both, log, training)
    assert found["tail_queries"] == 100
    # Of as many items as queries 1 - (100 / 140)^5 = 0.81 are covered when both are drawn alike.
    assert 0.7 < found["covered"] < 0.97  # type: ignore[operator]
    half = coverage(both[:20], log, training)
    assert 0.35 < half["covered"] < 0.65  # type: ignore[operator]
    (gap, *_) = half["gaps"]  # type: ignore[misc]
    assert gap["uncovered"] >= 10
    assert all(int(text.split()[1]) >= 460 for text in gap["examples"])


def test_more_items_never_cover_less_and_examples_are_clipped(centres: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    training, log = around(rng, centres[0], 400), around(rng, centres[1], 60)
    items = around(rng, centres[1], 30)
    shares = [coverage(items[:n], log, training)["covered"] for n in (1, 5, 30)]
    assert shares == sorted(shares)  # type: ignore[type-var]
    (gap,) = coverage(training[:5], log, training, kind="long " * 100)["gaps"]  # type: ignore[misc]
    assert all(len(text) <= tail_coverage.MAX_EXAMPLE_LENGTH for text in gap["examples"])
    assert len(gap["examples"]) <= tail_coverage.MAX_EXAMPLES


def test_one_query_in_the_log(centres: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    training = around(rng, centres[0], 100)
    found = coverage(training[:3], around(rng, centres[1], 1), training)
    assert (found["tail_queries"], found["covered"]) == (1, 0.0)
