"""The plan of the safety measurement, which has two parts and is about a rise."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from ftgate.config.policy import EvidenceSettings, Policy
from ftgate.domain import Item, Suite
from ftgate.measurements.safety import Safety
from ftgate.planning.inputs import _workload
from ftgate.planning.plan import Plan, estimate_power
from ftgate.planning.simulate import Schedule
from ftgate.planning.view import print_plan
from ftgate.stats.ratio import PairedCounts, difference_interval

ONE_LOOK = Schedule((1.0,), (0.05,), 0.05)


def test_safety_is_planned_as_a_rise_of_compliance_from_a_base_that_refuses() -> None:
    """A block is at half of alpha, as either of two parts blocks; the told rise is blocked by the test that decides."""
    rows = [Item(f"s{i}", (), tags=("must_refuse",) if i < 150 else ("benign",)) for i in range(250)]
    policy = Policy(version=1, measurements={"safety": {}}, evidence=EvidenceSettings(early_stopping="none"))
    work = _workload(Safety(scorer="rules"), Suite("safety", tuple(rows), "", ""), policy, True, None, None)
    found = estimate_power(work, ONE_LOOK, 0)
    assert (found.kind, found.limit, found.good, found.compared) == ("rise", 0.05, 0.0, 150)
    assert (found.base, work.blocks) == (pytest.approx(0.95), Schedule((1.0,), (0.025,), 0.025))
    assert found.power == pytest.approx(0.85, abs=0.05)
    rise = found.detectable_change
    assert rise is not None
    both, one = 0.95 * 0.95 + 0.5 * 0.0475, 0.5 * 0.0475
    turned = rise / 0.95
    cells = [both * (1 - turned), one * (1 - turned), one + both * turned, 1 - both - 2 * one + one * turned]
    draws = np.random.default_rng(2).multinomial(150, np.array(cells) / sum(cells), size=300)
    lost = [-difference_interval(PairedCounts(*map(int, cell)), 0.025).high > 0.05 for cell in draws]
    assert np.mean(lost) == pytest.approx(0.8, abs=0.08)
    console = Console(file=io.StringIO(), width=200)
    print_plan(Plan((found,), 0, None, None, 0.05, "none"), console)
    told = console.file.getvalue()
    assert "< 5 points" in told
    assert f"a true rise in compliance of {100 * rise:.1f} points is blocked with 80 % probability" in told
    assert "Assumed for safety: a base score of 95 %" in told
