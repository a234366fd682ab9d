"""From scores to an estimate, where some scores are unknown."""

from __future__ import annotations

import numpy as np
import pytest

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Fitness, Item, Message, Status
from ftgate.measurements.base import Evidence
from ftgate.measurements.comparing import drop
from ftgate.measurements.scoring import bounded
from ftgate.measurements.target import Target
from ftgate.scores import Scored
from ftgate.stats.bootstrap import Floor, drop_bootstrap
from ftgate.verdict import assess

N = 200
FIT = Fitness(True, "fit", 1.0, 0.9, 0.6, 0.0, 0.0, 0.3, 0.01, 60, 60)


@pytest.mark.parametrize("unknown", [0, 1])
def test_the_judges_floor_is_taken_off_the_estimate_whether_or_not_every_grade_could_be_read(unknown: int) -> None:
    rng = np.random.default_rng(0)
    base, candidate = rng.uniform(0.7, 0.9, N), rng.uniform(0.6, 0.9, N)
    ends = [(float(value), float(value)) for value in candidate]
    ends[:unknown] = [(0.0, 1.0)] * unknown
    items = tuple(Item(f"i{i}", (Message("user", "q"),)) for i in range(N))
    scored = bounded(items, [(float(value), float(value)) for value in base], ends, binary=False)
    found = drop(scored, Evidence((), scored, 0.05, 400, fitness=FIT), 0.1, np.random.default_rng(1))
    floor = Floor(FIT.floor, FIT.floor_variance, FIT.canaries)
    expected = drop_bootstrap(scored.base, scored.candidate, np.random.default_rng(1), draws=400, floor=floor)
    assert found.change == pytest.approx(expected.estimate)
    assert found.interval[0] < found.change < found.interval[1]


@pytest.mark.parametrize(("n", "status"), [(25, Status.INCONCLUSIVE), (100, Status.PASS)])
def test_a_few_graded_items_that_all_gain_the_same_prove_no_gain(n: int, status: Status) -> None:
    """One answer in ten ruined and the others a little better is no gain, and 25 items hide it one time in fourteen."""
    items = tuple(Item(f"i{i}", (Message("user", "q"),)) for i in range(n))
    scored = Scored.exact(items, np.full(n, 0.8), np.full(n, 0.9), binary=False)
    claim = Target(dataset="t", scorer="judge").compare(Evidence((), scored, 0.05, 400), np.random.default_rng(0))
    assert assess(claim, EvidenceSettings()).status is status
