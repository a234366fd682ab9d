"""Tail: does the candidate still handle the queries that lie outside its training distribution?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ftgate.config.manifest import Source
from ftgate.domain import Claim, Slice
from ftgate.measurements.base import Evidence, Measurement, Scorer, Share, first_of, share_failed, share_unknown, unfit
from ftgate.measurements.estimate import ABSOLUTE, drop, flips, judging
from ftgate.measurements.slices import Part, worst_slice
from ftgate.measurements.tail_map import TailMap
from ftgate.scoring.scores import Scored
from ftgate.stats.seeding import drawn_order
from ftgate.stats.sequential import look_size

EDGE_CASES = frozenset({"ambiguous", "multi_intent", "unusual_format"})
"""Tags that put a query in the tail whatever its distance."""
OUTSIDE_LEVEL = 0.05


class Tail(Measurement):
    """Relative drop on the farthest share of real queries and on those tagged as edge cases."""

    name: ClassVar[str] = "tail"

    scorer: Scorer = "judge"
    """How answers become scores (docs/suites.md)."""
    tail_fraction: Share = 0.20
    """Share of the queries that form the tail: those farthest from the training data."""
    block_drop: Share = 0.15
    """The relative drop on the tail must stay below this."""
    embedding: Literal["hidden_states", "tfidf"] | Source = "hidden_states"
    """Vectors for distances: the base model's middle layer, hashed TF-IDF, or a separate embedding model
    (`{source: …}`, for example from sentence-transformers), pooled as its own files say, otherwise by the mean."""
    max_train_rows: int = Field(default=20_000, ge=2, le=1_000_000)
    """Maximum number of training rows to compare with; a larger file is sampled."""
    query_log: str | None = Field(default=None, min_length=1)
    """File of real queries without answers: the report shows how much of their tail the suite covers, and the gaps."""

    @property
    def reads(self) -> Scorer:
        """The policy's scorer."""
        return self.scorer

    @property
    def tolerance(self) -> float:
        """The drop that blocks."""
        return self.block_drop

    @property
    def embedding_kind(self) -> str:
        """`hidden_states`, `tfidf`, or `encoder` for a model of its own."""
        return self.embedding if isinstance(self.embedding, str) else "encoder"

    @property
    def wants_training_data(self) -> bool:
        """Distances are measured from the training data."""
        return True

    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Claim:
        """Relative drop on the tail with its interval (methods: section 7)."""
        scored, tail_map = evidence.scored, evidence.tail
        in_tail = self._in_tail(scored, tail_map)
        void = first_of(unfit(evidence.fitness), share_failed(evidence))
        if not in_tail.any():
            return self._empty(void or "no query lies in the tail: tag edge cases or give training_data", evidence)
        tail = scored.subset(np.flatnonzero(in_tail))
        void = first_of(void, share_unknown(tail))
        estimate = drop(tail, evidence, self.block_drop, rng)
        return estimate.claim(
            self.name,
            evidence,
            len(tail.items),
            worse="up",
            limit=self.block_drop,
            void=void,
            about=frozenset(item.id for item in tail.items),
        )

    def described(self, claim: Claim, evidence: Evidence, rng: np.random.Generator) -> Claim:
        """The claim with head, tags, topics and deciles of distance beside it, and how the tail was found."""
        scored, tail_map = evidence.scored, evidence.tail
        in_tail = self._in_tail(scored, tail_map)
        if not in_tail.any():
            return claim
        tail, head = scored.subset(np.flatnonzero(in_tail)), scored.subset(np.flatnonzero(~in_tail))
        part = Part(evidence, self.block_drop, rng, absolute=claim.unit == ABSOLUTE)
        nearer = [part.described("head", head)] if len(head.items) else []
        tested = part.tested(scored, _topics(scored, tail_map) if tail_map else {})
        deciles = _deciles(scored, tail_map, part) if tail_map else ()
        details = {
            **flips(tail),
            **judging(evidence),
            **(_against_head(claim, nearer[0]) if nearer else {}),
            **_where(scored, in_tail, tail_map),
            **worst_slice(tested),
        }
        return replace(claim, slices=(*nearer, *tested, *deciles), details=details)

    def _in_tail(self, scored: Scored, tail_map: TailMap | None) -> NDArray[np.bool_]:
        """Tagged edge cases and, where distances are known, the farthest ``tail_fraction`` of all queries."""
        in_tail = np.array([bool(EDGE_CASES.intersection(item.tags)) for item in scored.items], dtype=np.bool_)
        if tail_map is not None:
            # By rank, not by a border: queries that tie at the border must not all be let in.
            nearer = len(tail_map.distance) - look_size(self.tail_fraction, len(tail_map.distance))
            in_tail |= _ranks(scored, tail_map) >= nearer
        return in_tail

    def _empty(self, reason: str, evidence: Evidence) -> Claim:
        return Claim(
            measurement=self.name,
            base=float("nan"),
            candidate=float("nan"),
            change=float("nan"),
            unit="relative drop",
            interval=(float("nan"), float("nan")),
            level=1 - 2 * evidence.alpha,
            n=0,
            method="none",
            worse="up",
            limit=self.block_drop,
            void=reason,
        )


def _ranks(scored: Scored, tail_map: TailMap) -> NDArray[np.int64]:
    """The rank of each scored item among all queries, nearest first; a lot drawn from their ids breaks ties.

    At an early look fewer items are scored than were measured. Raises ValueError naming the first item whose distance
    is not known, and for another number of distances than of ids.
    """
    if len(tail_map.distance) != len(tail_map.item_ids):
        raise ValueError(f"the map of the tail has {len(tail_map.distance)} distances for {len(tail_map.item_ids)} ids")
    lots = drawn_order(0, "tail ties", tail_map.item_ids)
    order = sorted(lots, key=tail_map.distance.__getitem__)
    known = {tail_map.item_ids[place]: rank for rank, place in enumerate(order)}
    missing = next((item.id for item in scored.items if item.id not in known), None)
    if missing is not None:
        raise ValueError(f"item {missing!r} has no distance: the map of the tail is that of other queries")
    return np.array([known[item.id] for item in scored.items], dtype=np.int64)


def _deciles(scored: Scored, tail_map: TailMap, part: Part) -> tuple[Slice, ...]:
    """Scores by distance, nearest tenth first; fewer groups when there are under 10 queries."""
    groups = [group for group in np.array_split(np.argsort(_ranks(scored, tail_map)), 10) if len(group)]
    return tuple(part.described(f"distance decile {i}", scored.subset(group)) for i, group in enumerate(groups, 1))


def _topics(scored: Scored, tail_map: TailMap) -> dict[str, Scored]:
    """The scored items of each group of like queries."""
    topic = dict(zip(tail_map.item_ids, tail_map.topics, strict=bool(tail_map.topics)))
    members: dict[str, list[int]] = {}
    for i, item in enumerate(scored.items):
        if item.id in topic:
            members.setdefault(topic[item.id], []).append(i)
    return {name: scored.subset(members[name]) for name in sorted(members)}


def _against_head(tail: Claim, head: Slice) -> dict[str, Any]:
    """How much more the tail lost than the head, with an interval from the two (MOVER; Zou and Donner 2008).

    Statistics in Medicine 27:1693, section 2: the two parts share no item.
    """
    change = tail.change - head.change
    if head.interval is None or not np.isfinite([change, *tail.interval, *head.interval]).all():
        return {"tail_minus_head": {"change": change}}
    low = change - math.hypot(tail.change - tail.interval[0], head.interval[1] - head.change)
    high = change + math.hypot(tail.interval[1] - tail.change, head.change - head.interval[0])
    return {"tail_minus_head": {"change": change, "interval": [low, high]}}


def _where(scored: Scored, in_tail: NDArray[np.bool_], tail_map: TailMap | None) -> dict[str, Any]:
    """How the tail was found, and how much of the traffic lies outside the training distribution."""
    tagged = sum(bool(EDGE_CASES.intersection(item.tags)) for item in scored.items)
    found: dict[str, Any] = {"queries": len(scored.items), "tail": int(in_tail.sum()), "tagged": tagged}
    if tail_map is None:
        return {**found, "embedding": "none: no training data was given, so the tail is the tagged queries alone"}
    outside = float(np.mean(np.asarray(tail_map.outside_p) < OUTSIDE_LEVEL))  # of all queries, asked or not
    return {
        **found,
        "embedding": tail_map.method,
        "neighbours": tail_map.k,
        "training_rows": tail_map.n_train,
        **({"training_rows_in_file": tail_map.in_file} if tail_map.in_file is not None else {}),
        "outside_fraction": outside,
        **tail_map.details,
    }
