"""Tail: does the candidate still handle the queries that lie outside its training distribution?"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ftgate.domain import Claim, Slice, TailMap
from ftgate.measurements.base import Evidence, Measurement, Scorer, Share, first_of, share_failed, unfit
from ftgate.measurements.comparing import ABSOLUTE, drop, flips, judging
from ftgate.measurements.slices import plain_slice, tag_slices, worst_slice
from ftgate.scores import Scored
from ftgate.stats.seeding import drawn_order
from ftgate.stats.sequential import look_size

EDGE_CASES = frozenset({"ambiguous", "multi_intent", "unusual_format"})
"""Tags that put a query in the tail whatever its distance."""
OUTSIDE_LEVEL = 0.05


class Tail(Measurement):
    """Relative drop on the farthest share of real queries and on those tagged as edge cases."""

    name: ClassVar[str] = "tail"

    scorer: Scorer = "judge"
    tail_fraction: Share = 0.20
    """This share of the queries, the farthest from the training data, is the tail."""
    block_drop: Share = 0.15
    """The drop on the tail must stay below this."""
    embedding: Literal["hidden_states", "tfidf"] = "hidden_states"
    """What distances are measured in: the base model's middle layer, or hashed TF-IDF."""
    max_train_rows: int = Field(default=20_000, ge=1)
    """Training rows to compare with; a larger file is sampled."""

    @property
    def reads(self) -> Scorer:
        """The policy's scorer."""
        return self.scorer

    @property
    def tolerance(self) -> float:
        """The drop that blocks."""
        return self.block_drop

    @property
    def wants_training_data(self) -> bool:
        """Distances are measured from the training data."""
        return True

    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Claim:
        """Relative drop on the tail with its interval (methods: section 7); head, deciles and tags beside it."""
        scored, tail_map = evidence.scored, evidence.tail
        in_tail = self._in_tail(scored, tail_map)
        void = first_of(unfit(evidence.fitness), share_failed(evidence))
        if not in_tail.any():
            return self._empty(void or "no query lies in the tail: tag edge cases or give training_data", evidence)
        tail, head = scored.subset(np.flatnonzero(in_tail)), scored.subset(np.flatnonzero(~in_tail))
        estimate = drop(tail, evidence, self.block_drop, rng)
        absolute = estimate.unit == ABSOLUTE
        slices = [plain_slice("head", head, absolute=absolute)] if len(head.items) else []
        slices += tag_slices(scored, evidence, self.block_drop, rng, absolute=absolute)
        slices += _deciles(scored, tail_map, absolute) if tail_map else ()
        return Claim(
            measurement=self.name,
            base=estimate.base,
            candidate=estimate.candidate,
            change=estimate.change,
            unit=estimate.unit,
            interval=estimate.interval,
            level=1 - 2 * evidence.alpha,
            n=len(tail.items),
            method=estimate.method,
            worse="up",
            limit=self.block_drop,
            doubts=estimate.doubts,
            least_n=estimate.least_n,
            void=void,
            about=frozenset(item.id for item in tail.items),
            slices=tuple(slices),
            details={
                **flips(tail),
                **judging(evidence),
                **_where(scored, in_tail, tail_map),
                **worst_slice(slices),
            },
        )

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


def _deciles(scored: Scored, tail_map: TailMap, absolute: bool) -> tuple[Slice, ...]:
    """Scores by distance, nearest tenth first; fewer groups when there are under 10 queries."""
    groups = [group for group in np.array_split(np.argsort(_ranks(scored, tail_map)), 10) if len(group)]
    return tuple(
        plain_slice(f"distance decile {i}", scored.subset(group), absolute=absolute)
        for i, group in enumerate(groups, 1)
    )


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
        "outside_fraction": outside,
    }
