"""Tail: does the candidate still handle the queries that lie outside its training distribution?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ftgate.domain import Claim, FloatArray, Slice, TailMap
from ftgate.measurements.base import Evidence, Measurement, Scorer, Share, first_of, share_failed, unfit
from ftgate.measurements.comparing import by_tag, drop, flips, judging, plain_slice
from ftgate.scores import Scored

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
        slices = [plain_slice("head", head)] if len(head.items) else []
        slices += [*by_tag(scored), *(_deciles(scored, tail_map) if tail_map else ())]
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
            least_n=evidence.least_items(self.block_drop),
            void=void,
            about=frozenset(item.id for item in tail.items),
            slices=tuple(slices),
            details={**flips(tail), **judging(evidence), **_where(scored, in_tail, tail_map)},
        )

    def _in_tail(self, scored: Scored, tail_map: TailMap | None) -> NDArray[np.bool_]:
        """Tagged edge cases and, where distances are known, the farthest ``tail_fraction`` of all queries."""
        in_tail = np.array([bool(EDGE_CASES.intersection(item.tags)) for item in scored.items], dtype=np.bool_)
        if tail_map is not None:
            # By rank, not by a border: queries that tie at the border must not all be let in.
            size = math.ceil(self.tail_fraction * len(tail_map.distance))
            farthest = np.argsort(-np.asarray(tail_map.distance), kind="stable")[:size]
            far = {tail_map.item_ids[i] for i in farthest}
            in_tail |= np.array([item.id in far for item in scored.items], dtype=np.bool_)
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


def _of(scored: Scored, ids: Sequence[str], values: Sequence[float]) -> FloatArray:
    """The value of each scored item; at an early look these are fewer than were measured."""
    known = dict(zip(ids, values, strict=True))
    return np.array([known[item.id] for item in scored.items])


def _deciles(scored: Scored, tail_map: TailMap) -> tuple[Slice, ...]:
    """Scores by distance, nearest tenth first; fewer groups when there are under 10 queries."""
    order = np.argsort(_of(scored, tail_map.item_ids, tail_map.distance), kind="stable")
    groups = [group for group in np.array_split(order, 10) if len(group)]
    return tuple(plain_slice(f"distance decile {i}", scored.subset(group)) for i, group in enumerate(groups, 1))


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
