"""Which queries are the tail, when their distances tie or are not known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.evidence import decided, described, evidence_of, items

from ftgate.domain import Item, Status
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.looks import asked_items
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
    assert [part.n for part in deciles] == [3, 2] * 5, "tenths of all queries, of which every fourth was asked"


def test_rows_that_tail_build_chose_are_the_tail_wherever_they_lie() -> None:
    chosen = items(300, [("tail", "topic:1") if i < 200 else ("unusual_format", "perturbed:case") for i in range(300)])
    estimate = described(TAIL, evidence_of(scored(chosen, set()), tail=mapped(chosen, tuple(map(float, range(300))))))
    assert (estimate.n, estimate.rows) == (300, 300)
    assert not any(part.name == "head" for part in estimate.slices)
    assert {name: estimate.details[name] for name in ("queries", "tail", "chosen", "tagged")} == {
        "queries": 300, "tail": 300, "chosen": 200, "tagged": 100,
    }  # fmt: skip
    assert TAIL.items_that_decide(chosen, trained=True) == TAIL.items_that_decide(chosen, trained=False) == 300
    assert "200 of them chosen by tail build" in TAIL.checklist(estimate).evidence


def test_of_the_head_a_hundred_items_are_asked_fixed_by_seed_and_ids() -> None:
    queries = items(1000, [("ambiguous",) if i < 10 else () for i in range(1000)])
    tail_map = mapped(queries, tuple(map(float, range(1000))))
    asked = asked_items(TAIL, queries, tail_map, 0)
    assert [item.id for item in asked if item in queries[:10] + queries[800:]] == [
        item.id for item in queries[:10] + queries[800:]
    ]
    assert len(asked) == 210 + 100
    assert set(asked_items(TAIL, queries[::-1], tail_map, 0)) == set(asked)
    assert set(asked_items(TAIL, queries, tail_map, 1)) != set(asked)
    assert asked_items(Forgetting(dataset="x"), queries, None, 0) == queries


def test_the_report_counts_rows_that_were_not_asked_and_estimates_in_rows_of_the_file() -> None:
    queries = items(1000, [()] * 1000)
    tail_map = mapped(queries, tuple(map(float, range(1000))))
    asked = asked_items(TAIL, queries, tail_map, 0)
    lost = {f"i{i}" for i in range(800, 824)}
    evidence = evidence_of(scored(asked, lost), tail=tail_map, not_asked=1000 - len(asked))
    finding = decided(TAIL, evidence)
    details = finding.estimate.details
    assert (details["queries"], details["tail"], details["head_asked"]) == (1000, 200, 100)
    assert TAIL.share_that_decided(details) == 0.2
    deciles = [part.n for part in finding.estimate.slices if part.name.startswith("distance")]
    assert deciles[8:] == [100, 100]
    assert sum(deciles) == 300
    needed = finding.estimate.needed_n
    assert needed is not None
    assert needed > 1000, "rows of the file, not items in the tail"
    assert f"about {needed} rows would settle it (this run had 1000, and 200 of them count)" in finding.reason


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
