"""A candidate that has to be merged, through the whole gate: the report says so, and the digest stays its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.players import CAREFUL, script
from support.world import World, write_adapter
from support.zoo import MERGED

from ftgate.artifacts.snapshot import take_snapshot
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.advice.recipe import recipe_of
from ftgate.report.schema import Report

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("no_pictures")]


def test_the_report_says_that_and_why_it_was_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTGATE_CACHE", str(tmp_path / "cache"))
    world = World(tmp_path / "world")
    adapter = write_adapter(world.root / "models" / "dora")
    MERGED["DoRA"][0](adapter)
    world.manifest["candidate"]["source"] = "models/dora"
    world.save()

    def gate(out: str) -> tuple[Report, ScriptedEngine]:
        engine = ScriptedEngine(script(CAREFUL))
        job = load_job(world.policy_path, world.manifest_path)
        return evaluate(job, world.root / out, SilentProgress(), engine=engine, judge_engine=engine), engine

    report, engine = gate("out")
    assert report.verdict == "allow"
    candidate = report.provenance["candidate"]
    assert candidate["digest"] == take_snapshot(adapter, "").digest
    assert candidate["kind"] == "full"
    assert candidate["merged"]["with"].startswith("peft ")
    assert candidate["merged"]["because"] == ["use_dora: vLLM does not support DoRA"]
    assert candidate["merged"]["gap"] < 1e-3 < candidate["merged"]["effect"]
    assert "merge" not in candidate
    assert recipe_of(report).adapter, "advice is for the adapter that was trained"
    merged = {ask.model for ask in engine.asked if ask.model.name == "bot"}
    assert {model.path.parent.name for model in merged} == {"trees"}
    text = (world.root / "out" / "report.html").read_text()
    assert "merged" in text
    assert "DoRA" in text
    again = decide_again(world.root / "out", None, tmp_path / "again", SilentProgress())
    assert again.measurements == report.measurements
    assert again.provenance["candidate"] == candidate
    second, _ = gate("second")
    assert second.provenance["candidate"] == candidate
    assert not (world.root / "second" / "merge.log").exists(), "what was merged once is used again"
    assert "merge adapter" in report.timing
    assert json.loads((world.root / "out" / "report.json").read_text())["engine_starts"] == report.engine_starts
