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
from ftgate.domain import Estimate, Finding, Status, Suite
from ftgate.jobs.prepare import load_job
from ftgate.measurements.looks import Look, asked_items, items_at, looks, pilot_items, planned_share, sample, settled
from ftgate.measurements.tail import Tail
from ftgate.measurements.target import Target
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


@pytest.mark.parametrize("more", [{"early_stopping": "none"}, {"rule": "point"}])
def test_without_early_stopping_there_is_one_look_with_all_of_alpha(more: dict[str, str]) -> None:
    assert looks(EvidenceSettings(alpha=0.03, **more)) == (Look(1, 1, 1.0, 0.03),)
    planned = looks(EvidenceSettings(alpha=0.03, **more), 0.25)
    assert [look.fraction for look in planned] == [0.25, 1.0]


def test_pocock_spends_more_early() -> None:
    pocock, plain = looks(EvidenceSettings(early_stopping="pocock")), looks(EvidenceSettings())
    assert pocock[0].alpha > 10 * plain[0].alpha
    assert pocock[-1].alpha < plain[-1].alpha
    assert [look.fraction for look in plain] == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("n", "n_max", "share"), [(None, None, 1.0), (100, None, 1.0), (None, 400, 1.0), (100, 400, 0.25), (400, 800, 1.0)]
)
def test_the_planned_share_is_of_the_rows_that_there_are(n: int | None, n_max: int | None, share: float) -> None:
    measurement = Target(dataset="x").model_copy(update={"n": n, "n_max": n_max})
    assert planned_share(measurement, 400) == share
    assert planned_share(measurement.model_copy(update={"n": 500}), 400) == 1.0


def test_of_what_decides_nothing_a_hundred_are_asked_whatever_the_order() -> None:
    tagged = items(150, tags=[("ambiguous",) if i % 10 == 0 else () for i in range(150)])
    tail = Tail(dataset="x")
    asked = asked_items(tail, tagged, None, 0)
    deciding = [item for item in tagged if item.tags]
    assert [item for item in asked if item.tags] == deciding
    assert len(asked) == len(deciding) + 100
    assert asked == tuple(item for item in tagged if item in asked), "in the order of the suite"
    assert set(asked_items(tail, tagged[::-1], None, 0)) == set(asked)
    assert set(asked_items(tail, tagged, None, 1)) != set(asked)
    assert asked_items(tail, tagged[:80], None, 0) == tagged[:80]
    assert asked_items(Target(dataset="x"), tagged, None, 0) == tagged


@pytest.mark.parametrize(("n", "size"), [(40, 10), (400, 100), (401, 100), (1000, 100), (3, 1)])
def test_a_control_takes_a_quarter_and_a_hundred_at_most_of_what_is_asked_first(n: int, size: int) -> None:
    suite = replace(SUITE, items=items(n))
    chosen = sample(suite, 3)
    assert len(chosen) == size
    assert set(chosen) <= set(items_at(looks(EvidenceSettings())[0], suite, 3))


@pytest.mark.parametrize(("count", "size"), [(1, 1), (10, 10), (50, 50), (60, 50)])
def test_a_pilot_takes_the_first_of_those(count: int, size: int) -> None:
    chosen = pilot_items(SUITE, 3, count)
    assert len(chosen) == size
    assert set(chosen) <= set(sample(SUITE, 3)) or size > len(sample(SUITE, 3))
    assert set(pilot_items(SUITE, 3, 5)) <= set(pilot_items(SUITE, 3, 10))


def test_the_whole_suite_stays_as_it_is() -> None:
    assert items_at(Look(1, 1, 1.0, 0.05), SUITE, 3) is SUITE.items
    part = items_at(Look(1, 1, 0.98, 0.05), SUITE, 3)
    assert len(part) == 49
    assert [item.id for item in part] == [item.id for item in SUITE.items if item in part]


@pytest.mark.parametrize(
    ("statuses", "done"),
    [
        ([Status.PASS, Status.WARN, Status.NOT_APPLICABLE], True),
        ([Status.INCONCLUSIVE, Status.BLOCK], True),
        ([Status.PASS, Status.INCONCLUSIVE], False),
        ([Status.PASS, Status.ERROR], False),
    ],
)
def test_a_run_ends_when_more_items_cannot_change_the_verdict(statuses: list[Status], done: bool) -> None:
    estimate = Estimate("tail", 0.8, 0.8, 0.0, "drop", (0.0, 0.0), 0.9, 9, "test", "up", 0.1)
    assert settled([Finding(estimate, status, "") for status in statuses]) is done
