"""Which queries are the tail, when their distances tie or are not known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.evidence import decided, described, evidence_of, items

from ftgate.domain import Item, Status
from ftgate.measurements.tail import Tail
from ftgate.measurements.tail_map import TailMap
from ftgate.scoring.scores import PairedScores

TAIL = Tail(dataset="q", scorer="exact")
QUERIES = items(100)


def mapped(queries: tuple[Item, ...], distance: tuple[float, ...]) -> TailMap:
    return TailMap(tuple(i.id for i in queries), distance, (0.5,) * len(queries), 5, 100, "given")


def scored(queries: tuple[Item, ...], lost: set[str]) -> PairedScores:
    candidate = np.array([float(item.id not in lost) for item in queries])
    return PairedScores.exact(queries, np.ones(len(queries)), candidate, binary=True)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(100)))
def test_where_distances_tie_the_order_of_the_file_does_not_matter(order: list[int]) -> None:
    lost = {f"i{i}" for i in range(20)}
    moved = tuple(QUERIES[i] for i in order)
    found = [described(TAIL, evidence_of(scored(q, lost), tail=mapped(q, (0.5,) * 100))) for q in (QUERIES, moved)]
    assert found[0] == found[1]
    assert found[0].n == 20


def test_the_farthest_fifth_is_the_tail_at_an_early_look_too() -> None:
    tail_map = mapped(QUERIES, tuple(float(i) for i in range(100)))
    estimate = described(TAIL, evidence_of(scored(QUERIES, set()), tail=tail_map))
    assert estimate.about == {f"i{i}" for i in range(80, 100)}
    early = scored(QUERIES[::4], set())
    estimate = described(TAIL, evidence_of(early, tail=tail_map))
    assert estimate.about == {"i80", "i84", "i88", "i92", "i96"}
    deciles = [part for part in estimate.slices if part.name.startswith("distance")]
    assert [part.n for part in deciles] == [3] * 5 + [2] * 5


def test_a_map_of_other_queries_is_named() -> None:
    other = mapped(items(99), (0.5,) * 99)
    with pytest.raises(ValueError, match="item 'i99' has no distance"):
        described(TAIL, evidence_of(scored(QUERIES, set()), tail=other))
    with pytest.raises(ValueError, match="99 distances for 100 ids"):
        described(TAIL, evidence_of(scored(QUERIES, set()), tail=mapped(QUERIES, (0.5,) * 99)))


def test_a_tail_below_its_floor_is_held() -> None:
    assert decided(TAIL, evidence_of(scored(QUERIES[:90], set()), tail=mapped(QUERIES[:90], (0.5,) * 90))).status is (
        Status.INCONCLUSIVE
    )
    assert math.ceil(0.2 * 95) == 19
    assert decided(TAIL, evidence_of(scored(QUERIES[:95], set()), tail=mapped(QUERIES[:95], (0.5,) * 95))).status is (
        Status.PASS
    )


@pytest.mark.parametrize("tag", ["ambiguous", "multi_intent", "unusual_format"])
def test_a_tagged_edge_case_is_in_the_tail_wherever_it_lies(tag: str) -> None:
    tagged = items(100, [(tag,) if i < 7 else ("billing",) for i in range(100)])
    estimate = described(TAIL, evidence_of(scored(tagged, set()), tail=mapped(tagged, tuple(map(float, range(100))))))
    assert estimate.about == {f"i{i}" for i in (*range(7), *range(80, 100))}
    assert (estimate.details["tail"], estimate.details["tagged"]) == (27, 7)
    alone = described(TAIL, evidence_of(scored(tagged, set())))
    assert alone.about == {f"i{i}" for i in range(7)}
    assert "without training data" in alone.details["embedding"]
