"""The distances of the queries from the training data: computed once, then used by the tail measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TailMap:
    """The distance of each query from the training data.

    ``distance`` has shape (n,): cosine distance to the k-th nearest training row, in query order. ``outside_p`` is the
    share of training rows at least as far out, add-one corrected. ``method`` names the embedding. ``n_train`` is the
    number of distinct training rows compared with; ``in_file`` the number in the file, if it was sampled. ``topics``
    names the cluster of similar queries that each belongs to; empty if there are too few. ``details`` holds further
    results (:mod:`ftgate.tail.coverage`).
    """

    item_ids: tuple[str, ...]
    distance: tuple[float, ...]
    outside_p: tuple[float, ...]
    k: int
    n_train: int
    method: str
    topics: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)
    in_file: int | None = None
