"""Runs whose models are served differently: one engine each, and nothing asked again that stayed as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.players import CAREFUL, script
from support.world import World, write_full

from ftgate.config.engine import EngineSettings
from ftgate.domain import EngineInfo
from ftgate.engines import registry
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_all, load_job
from ftgate.preflight.check import preflight
from ftgate.preflight.hardware import detect
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")


class Playing(ScriptedEngine):
    """Plays base and candidate, and says with which data type."""

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(script(CAREFUL))
        self.dtype = settings.dtype

    def info(self) -> EngineInfo:
        return EngineInfo("scripted", {}, "scripted", self.dtype)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Playing]:
    opened: list[Playing] = []

    def open_one(settings: EngineSettings, _: Path | None) -> Playing:
        opened.append(Playing(settings))
        return opened[-1]

    monkeypatch.setattr(registry, "_ENGINES", {"scripted": open_one})
    return opened


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.policy["measurements"] = {"target": made.policy["measurements"]["target"]}
    del made.policy["judge"]
    made.policy["engine"] = {"kind": "scripted", "dtype": "bfloat16"}
    made.save()
    return made


def gate(world: World, **engine: Any) -> Report:
    world.policy["engine"].update(engine)
    world.save()
    return evaluate(load_job(world.policy_path, world.manifest_path), world.root / "out", SilentProgress())


def test_each_model_is_asked_on_its_own_engine(world: World, engines: list[Playing]) -> None:
    report = gate(world, candidate={"dtype": "float16"})
    assert [engine.dtype for engine in engines] == ["bfloat16", "float16"]
    assert [{ask.model.name for ask in engine.asked} for engine in engines] == [{"base"}, {"bot"}]
    assert report.provenance["engine"]["dtype"] == "bfloat16"
    assert report.provenance["candidate_engine"]["dtype"] == "float16"
    assert any(line.item.endswith("each on an engine of its own") for line in report.checklist)
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.measurements == report.measurements
    assert again.provenance["candidate_engine"] == report.provenance["candidate_engine"]


@pytest.mark.parametrize("other", [True, False])
def test_weights_in_another_form_are_not_called_proven_to_have_taken_effect(
    world: World, engines: list[Playing], other: bool
) -> None:
    write_full(world.root / "models" / "copy", seed=3)
    world.manifest["candidate"] = {"source": "models/copy"}
    report = gate(world, **({"candidate": {"dtype": "float16"}} if other else {}))
    assert len(engines) == 1 + other
    (line,) = [line for line in report.checklist if line.item == "The candidate's weights took effect"]
    assert line.ok is (None if other else True)
    said = "that may be the form alone, as base and candidate differ in it (dtype bfloat16 and float16)"
    assert (said in line.evidence) == other
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.checklist == report.checklist


def test_another_form_of_the_candidate_asks_the_base_nothing(world: World, engines: list[Playing]) -> None:
    gate(world, candidate={"dtype": "float16"})
    engines.clear()
    gate(world, candidate={"dtype": "float32"})
    base, candidate = engines
    assert not base.asked
    assert candidate.asked


def test_one_engine_serves_both_where_nothing_differs(world: World, engines: list[Playing]) -> None:
    report = gate(world)
    assert len(engines) == 1
    assert "candidate_engine" not in report.provenance


def test_an_adapter_that_is_served_merged_is_merged(world: World) -> None:
    world.policy["engine"] = {"kind": "vllm", "served": "merged"}
    world.save()
    draft = load_all(world.policy_path, world.manifest_path)
    result = preflight(draft, detect())
    assert result.plan is not None
    assert (result.plan.kind, result.plan.reasons) == ("merge", ("it is served merged: engine.served",))


def test_flips_are_shown_under_the_profile_for_copies(world: World, engines: list[Playing]) -> None:
    world.policy["extends"] = "builtin:compression"
    target = gate(world).measurements["target"]
    assert engines
    assert target.limits["min_gain"] == -0.02
    assert target.details["flips"]["better"] == pytest.approx(target.improved / target.n)
    (note,) = [note for note in target.details["notes"] if note.startswith("flips: 0 of 200 items (0.0 %) got worse")]
    assert (
        note in (world.root / "out" / "comment.md").read_text()
        or "flips" in (world.root / "out" / "report.html").read_text()
    )
