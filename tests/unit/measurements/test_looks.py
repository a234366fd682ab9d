"""Looks: when, at which level, and at which items."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.evidence import items
from support.world import World

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Suite
from ftgate.jobs.prepare import load_job
from ftgate.measurements.looks import Look, items_at, looks
from ftgate.stats.normal import critical
from ftgate.stats.sequential import look_size

SUITE = Suite("tail", items(50), "0" * 64, "memory")


@given(st.permutations(range(50)), st.floats(0.02, 1))
def test_which_items_are_looked_at_does_not_depend_on_the_order_of_the_file(order: list[int], fraction: float) -> None:
    moved = replace(SUITE, items=tuple(SUITE.items[i] for i in order))
    look = Look(1, 2, fraction, 0.05)
    once, again = items_at(look, SUITE, 3), items_at(look, moved, 3)
    assert {item.id for item in once} == {item.id for item in again}
    assert list(again) == [item for item in moved.items if item in once]


def test_each_look_keeps_the_items_of_the_one_before() -> None:
    seen = [{item.id for item in items_at(look, SUITE, 3)} for look in looks(EvidenceSettings())]
    assert [len(ids) for ids in seen] == [13, 25, 38, 50]
    assert seen == sorted(seen, key=len)
    assert all(before < after for before, after in itertools.pairwise(seen))
    assert {item.id for item in items_at(looks(EvidenceSettings())[0], SUITE, 4)} != seen[0]


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_planned_items_are_asked_for_exactly(n: int, more: int) -> None:
    """200 / 420 of 420 items are 200 items, not 201."""
    suite = replace(SUITE, items=SUITE.items[:1] * (n + more))
    plan = looks(EvidenceSettings(early_stopping="none"), n / (n + more))
    assert [look.last for look in plan] == [False, True]
    assert len(items_at(plan[0], suite, 0)) == n


@pytest.mark.parametrize(("stopping", "sizes"), [("none", [200, 800]), ("pocock", [50, 100, 150, 200, 400, 600, 800])])
def test_items_beyond_the_planned_ones_are_looked_at_in_thirds(stopping: str, sizes: list[int]) -> None:
    plan = looks(EvidenceSettings(early_stopping=stopping), 0.25)
    assert [look_size(look.fraction, 800) for look in plan] == sizes
    assert [(look.number, look.of) for look in plan] == [(i + 1, len(sizes)) for i in range(len(sizes))]


def test_the_planned_items_can_decide() -> None:
    """The look at ``n`` is nearly as strict as a single test; without ``n_max`` the levels are as they were."""
    extended, plain = looks(EvidenceSettings(), 0.25), looks(EvidenceSettings())
    assert critical(extended[3].alpha) == pytest.approx(1.940, abs=1e-3)
    assert critical(extended[-1].alpha) == pytest.approx(2.156, abs=1e-3)
    assert [critical(look.alpha) for look in plain] == pytest.approx([3.750, 2.540, 2.016, 1.720], abs=1e-3)


@pytest.mark.parametrize("n", [37, 120])
def test_a_sample_of_a_suite_does_not_depend_on_the_order_of_its_file(tmp_path: Path, n: int) -> None:
    chosen = []
    for name in ("straight", "reversed"):
        world = World(tmp_path / f"{name}{n}")
        world.policy["measurements"]["target"]["n"] = n
        world.save()
        path = world.root / "evals" / "target.jsonl"
        rows = path.read_text().splitlines()
        path.write_text("\n".join(rows if name == "straight" else rows[::-1]) + "\n")
        suite = load_job(world.policy_path, world.manifest_path).suites["target"]
        chosen.append({item.id for item in suite.items})
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == n
