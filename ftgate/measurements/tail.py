"""Tail: how much does the candidate lose on queries far from its training data?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ftgate.config.columns import Columns
from ftgate.config.manifest import Source
from ftgate.domain import BoolArray, Estimate, Item, Slice
from ftgate.measurements.base import (
    ChecklistLine,
    DistanceSettings,
    Evidence,
    Scorer,
    Share,
    first_reason,
    judge_unfit,
    too_many_failed,
    too_many_unknown,
)
from ftgate.measurements.estimate import ABSOLUTE, drop, flip_details, floor_details, judge_details
from ftgate.measurements.free_form import FreeFormMeasurement
from ftgate.measurements.gated_slices import GatesSlices, gate_slices, gated, waits, with_levels
from ftgate.measurements.slices import SliceBuilder, worst_slice
from ftgate.measurements.tail_map import TailMap
from ftgate.scoring.scores import PairedScores
from ftgate.stats.seeding import drawn_order
from ftgate.stats.sequential import look_size

EDGE_CASES = frozenset({"ambiguous", "multi_intent", "unusual_format"})
CHOSEN = "tail"
"""The tag of a row that `ftgate tail build` chose for its distance."""
IN_TAIL = EDGE_CASES | {CHOSEN}
"""Tags that put a query in the tail whatever its distance."""
OUTSIDE_LEVEL = 0.05


class Tail(GatesSlices, FreeFormMeasurement):
    """Relative drop on the farthest share of real queries and on those tagged as edge cases."""

    kind: ClassVar[str] = "tail"
    title: ClassVar[str] = "Unusual queries"
    question: ClassVar[str] = "does it still handle queries unlike its training data?"
    subject: ClassVar[str] = "unusual queries"
    limit_field: ClassVar[str] = "block_drop"
    part: ClassVar[str] = "in the tail"
    more_rows: ClassVar[str] = "take the suite from `ftgate tail build`, whose rows all count as tail"
    remedy: ClassVar[str] = "unusual queries"

    scorer: Scorer = "judge"
    """How answers become scores (docs/suites.md)."""
    tail_fraction: Share = 0.20
    """Share of the queries that form the tail: those farthest from the training data. Rows that `ftgate tail build`
    chose, and those tagged as edge cases, always belong to it; of all other rows 100 are asked."""
    block_drop: Share = 0.15
    """The relative drop on the tail must stay below this."""
    embedding: Literal["hidden_states", "tfidf"] | Source = "hidden_states"
    """Vectors for distances: the base model's middle layer, hashed TF-IDF, or a separate embedding model
    (`{source: …}`, for example from sentence-transformers), pooled as its own files say, otherwise by the mean."""
    max_train_rows: int = Field(default=20_000, ge=2, le=1_000_000)
    """Maximum number of training rows to compare with; a larger file is sampled."""
    query_log: str | None = Field(default=None, min_length=1)
    """File of real queries without answers: the report shows how much of their tail the suite covers, and the gaps."""
    query_log_columns: Columns | None = None
    """Which fields of the query log hold the query, for a file of no known shape."""

    @property
    def answer_scorer(self) -> Scorer:
        """The policy's scorer."""
        return self.scorer

    @property
    def tolerance(self) -> float:
        """The drop that blocks."""
        return self.block_drop

    @property
    def distances(self) -> DistanceSettings:
        """How to measure each query's distance from the training data."""
        return DistanceSettings(
            embedding=self.embedding,
            max_train_rows=self.max_train_rows,
            query_log=self.query_log,
            query_log_columns=self.query_log_columns,
        )

    @classmethod
    def checklist(cls, estimate: Estimate | None) -> ChecklistLine:
        """Whether there were queries outside the training distribution."""
        item = "Queries outside the training distribution were measured"
        if estimate is None:
            return ChecklistLine(item, False, f"the policy has no `{cls.kind}`")
        details = estimate.details
        if "tail" not in details:
            return ChecklistLine(item, False, "no query is in the tail")
        counts = f"{details['tail']} of {details['queries']} queries"
        counts += f", {details['chosen']} of them chosen by tail build" if details.get("chosen") else ""
        counts += f", {details['tagged']} of them tagged as edge cases"
        return ChecklistLine(item, details["tail"] > 0, counts)

    def decides(self, items: Sequence[Item], tail: TailMap | None) -> BoolArray:
        """Which items are in the tail: by their tags or, if distances are known, the farthest ``tail_fraction``."""
        in_tail = np.array([bool(IN_TAIL.intersection(item.tags)) for item in items], dtype=np.bool_)
        if tail is not None:
            # By rank, not by a distance threshold: of queries tied at the threshold only some belong to the tail.
            nearer = len(tail.distance) - look_size(self.tail_fraction, len(tail.distance))
            in_tail |= _ranks(items, tail) >= nearer
        return in_tail

    def items_that_decide(self, items: Sequence[Item], *, trained: bool) -> int:
        """The tagged queries and, with training data, a share of the others."""
        tagged = sum(bool(IN_TAIL.intersection(item.tags)) for item in items)
        others = len(items) - tagged
        return tagged + (look_size(self.tail_fraction, others) if trained and others else 0)

    def share_that_decided(self, details: Mapping[str, Any]) -> float | None:
        """The share of the queries that lay in the tail."""
        queries, tail = details.get("queries"), details.get("tail")
        return float(tail) / float(queries) if queries and tail else None

    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """Relative drop on the tail with its interval (methods: section 7)."""
        scored = evidence.scored
        in_tail = self.decides(scored.items, evidence.tail)
        invalid_reason = first_reason(judge_unfit(evidence.judge_validation), too_many_failed(evidence))
        if not in_tail.any():
            return self._no_estimate(
                invalid_reason or "no query is in the tail: tag edge cases or give training_data", evidence
            )
        tail = scored.subset(np.flatnonzero(in_tail))
        invalid_reason = first_reason(invalid_reason, too_many_unknown(tail))
        limits = gated(self)
        evidence = with_levels(evidence, limits)
        estimate = drop(tail, evidence, self.block_drop, rng)
        estimate = replace(estimate, cannot_pass=(*estimate.cannot_pass, *waits(limits, evidence)))
        return estimate.to_estimate(
            self.name,
            evidence,
            len(tail.items),
            worse=self.worse,
            limit=self.limit,
            invalid_reason=invalid_reason,
            about=frozenset(item.id for item in tail.items),
            rows=len(scored.items) + evidence.not_asked,
            gates=gate_slices(tail, evidence, limits, rng),
        )

    def with_details(self, estimate: Estimate, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """The estimate with slices for head, tags, topics and distance deciles, and details on the tail."""
        scored, tail_map = evidence.scored, evidence.tail
        in_tail = self.decides(scored.items, tail_map)
        if not in_tail.any():
            return estimate
        tail, head = scored.subset(np.flatnonzero(in_tail)), scored.subset(np.flatnonzero(~in_tail))
        slices = SliceBuilder(evidence, self.block_drop, rng, absolute=estimate.unit == ABSOLUTE)
        head_slices = [slices.describe("head", head)] if len(head.items) else []
        tested = slices.test(scored, _topics(scored, tail_map) if tail_map else {})
        deciles = _deciles(scored, tail_map, slices) if tail_map else ()
        details = {
            **flip_details(tail),
            **judge_details(evidence),
            **floor_details(tail, evidence, estimate.change, estimate.unit),
            **(_tail_minus_head(estimate, head_slices[0]) if head_slices else {}),
            **_tail_details(evidence, in_tail),
            **worst_slice(tested),
        }
        return replace(estimate, slices=(*head_slices, *tested, *deciles), details=details)

    def _no_estimate(self, reason: str, evidence: Evidence) -> Estimate:
        return Estimate(
            measurement=self.name,
            base=float("nan"),
            candidate=float("nan"),
            change=float("nan"),
            unit="relative drop",
            interval=(float("nan"), float("nan")),
            level=1 - 2 * evidence.alpha,
            n=0,
            method="none",
            worse=self.worse,
            limit=self.limit,
            invalid_reason=reason,
        )


def _rank_of(tail_map: TailMap) -> dict[str, int]:
    """The rank of every query by distance, nearest first; ties are broken at random, fixed by the ids.

    Raises ValueError if the numbers of distances and ids differ.
    """
    if len(tail_map.distance) != len(tail_map.item_ids):
        raise ValueError(f"the map of the tail has {len(tail_map.distance)} distances for {len(tail_map.item_ids)} ids")
    lots = drawn_order(0, "tail ties", tail_map.item_ids)
    order = sorted(lots, key=tail_map.distance.__getitem__)
    return {tail_map.item_ids[place]: rank for rank, place in enumerate(order)}


def deciles(tail_map: TailMap) -> dict[str, int]:
    """The tenth that each query belongs to by its distance: 1 holds the nearest."""
    return {item_id: 10 * rank // len(tail_map.item_ids) + 1 for item_id, rank in _rank_of(tail_map).items()}


def _ranks(items: Sequence[Item], tail_map: TailMap) -> NDArray[np.int64]:
    """The rank of each of ``items`` among all queries. Only some of the queries are asked.

    Raises ValueError naming the first item without a distance.
    """
    rank_of = _rank_of(tail_map)
    missing = next((item.id for item in items if item.id not in rank_of), None)
    if missing is not None:
        raise ValueError(f"item {missing!r} has no distance: the map of the tail is that of other queries")
    return np.array([rank_of[item.id] for item in items], dtype=np.int64)


def _deciles(scored: PairedScores, tail_map: TailMap, slices: SliceBuilder) -> tuple[Slice, ...]:
    """One slice for each tenth of all queries by distance, nearest first, of those that were asked."""
    ranks = _ranks(scored.items, tail_map)
    order = np.argsort(ranks)
    decile = 10 * ranks[order] // len(tail_map.item_ids) + 1
    groups = {int(i): order[decile == i] for i in np.unique(decile)}
    return tuple(slices.describe(f"distance decile {i}", scored.subset(group)) for i, group in groups.items())


def _topics(scored: PairedScores, tail_map: TailMap) -> dict[str, PairedScores]:
    """The scored items of each topic."""
    topic = dict(zip(tail_map.item_ids, tail_map.topics, strict=bool(tail_map.topics)))
    members: dict[str, list[int]] = {}
    for i, item in enumerate(scored.items):
        if item.id in topic:
            members.setdefault(topic[item.id], []).append(i)
    return {name: scored.subset(members[name]) for name in sorted(members)}


def _tail_minus_head(tail: Estimate, head: Slice) -> dict[str, Any]:
    """How much more the tail lost than the head, with an interval from both intervals (MOVER).

    Source: Zou and Donner 2008, Statistics in Medicine 27:1693, section 2. The two parts share no item.
    """
    change = tail.change - head.change
    if head.interval is None or not np.isfinite([change, *tail.interval, *head.interval]).all():
        return {"tail_minus_head": {"change": change}}
    low = change - math.hypot(tail.change - tail.interval[0], head.interval[1] - head.change)
    high = change + math.hypot(tail.interval[1] - tail.change, head.change - head.interval[0])
    return {"tail_minus_head": {"change": change, "interval": [low, high]}}


def _tail_details(evidence: Evidence, in_tail: BoolArray) -> dict[str, Any]:
    """How the tail was determined, and the share of queries outside the training distribution."""
    items, tail_map = evidence.scored.items, evidence.tail
    tail, tagged = int(in_tail.sum()), sum(bool(EDGE_CASES.intersection(item.tags)) for item in items)
    counts: dict[str, Any] = {"queries": len(items) + evidence.not_asked, "tail": tail, "tagged": tagged}
    if chosen := sum(CHOSEN in item.tags for item in items):
        counts["chosen"] = chosen
    if evidence.not_asked:
        counts["head_asked"] = len(items) - tail
    if tail_map is None:
        return {**counts, "embedding": "none: without training data the tail is the tagged queries only"}
    outside = float(np.mean(np.asarray(tail_map.outside_p) < OUTSIDE_LEVEL))  # of all queries, asked or not
    return {
        **counts,
        "embedding": tail_map.method,
        "neighbours": tail_map.k,
        "training_rows": tail_map.n_train,
        **({"training_rows_in_file": tail_map.in_file} if tail_map.in_file is not None else {}),
        "outside_fraction": outside,
        **tail_map.details,
    }
