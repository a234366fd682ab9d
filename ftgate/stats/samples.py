"""Several scores of one item: averaged first, because only items are independent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ftgate.stats import checks
from ftgate.stats.checks import FloatArray


def average_samples(scores: ArrayLike, item_ids: Sequence[str]) -> tuple[tuple[str, ...], FloatArray]:
    """The ids, sorted, and the mean score of each: shape (k,) from one score in [0, 1] a sample, shape (r,).

    Treating five samples of an item as five items doubles both errors (methods, section 3). Means are of exact sums, so
    the order of the rows does not matter, and the same ids give two models the same order of items. Raises ValueError
    for scores outside [0, 1], another number of ids than of scores, and an id that is missing or empty.
    """
    values = checks.scores("scores", scores)
    if len(item_ids) != len(values):
        raise ValueError(f"item_ids has {len(item_ids)} entries for {len(values)} scores")
    samples: dict[str, list[float]] = {}
    for i, (name, value) in enumerate(zip(item_ids, values.tolist(), strict=True)):
        if not name:
            raise ValueError(f"item_ids[{i}] = {name!r}: the id of an item was expected")
        samples.setdefault(name, []).append(value)
    ids = tuple(sorted(samples))
    return ids, np.array([math.fsum(samples[name]) / len(samples[name]) for name in ids])
