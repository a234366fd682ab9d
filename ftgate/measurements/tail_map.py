"""Where each query lies relative to the training data, as it is measured once and handed to the tail's comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TailMap:
    """Where each query lies relative to the training data.

    ``distance`` has shape (n,): cosine distance to the k-th nearest training row, in query order. ``outside_p`` is the
    share of training rows at least as far out, add-one corrected. ``method`` names the embedding that was used.
    ``n_train`` distinct training rows were compared with, of the ``in_file`` that the file holds where it was sampled.
    ``topics`` names the group of like queries that each belongs to; empty where there are too few. ``details`` say what
    else was found (:mod:`ftgate.tail.coverage`).
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
