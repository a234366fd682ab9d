"""Models that take turns on one device: few changes, the same verdict, and nothing lost when one of them fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.players import CAREFUL, Player, luck, script
from support.world import World, write_full, write_rows

from ftgate.domain import Answer, EngineInfo, Model, Question
from ftgate.engines.scripted import ScriptedDevice, ScriptedEngine
from ftgate.errors import EngineError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_all, load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")


def full_candidate(world: World, stopping: str = "none") -> World:
    write_full(world.root / "models" / "tuned", seed=5)
    world.manifest["candidate"]["source"] = "models/tuned"
    world.policy["evidence"]["early_stopping"] = stopping
    world.save()
    return world


def gate(world: World, out: str, player: Player, engine: ScriptedEngine) -> Report:
    judge = ScriptedEngine(script(player))
    job = load_job(world.policy_path, world.manifest_path)
    return evaluate(job, world.root / out, SilentProgress(), engine=engine, judge_engine=judge)


@pytest.mark.parametrize("stopping", ["none", "obrien_fleming"])
@pytest.mark.parametrize("player", [CAREFUL, Player(target=0.9, forgetting=0.6), Player(target=0.9, forgetting=0.82)])
def test_two_starts_however_many_looks_and_the_same_verdict(world: World, player: Player, stopping: str) -> None:
    full_candidate(world, stopping)
    turns = gate(world, "turns", player, ScriptedEngine(script(player), one_at_a_time=True))
    together = gate(world, "together", player, ScriptedEngine(script(player)))
    assert turns.engine_starts == together.engine_starts == 2
    assert turns.verdict == together.verdict
    assert turns.measurements == together.measurements
    again = decide_again(world.root / "turns", None, world.root / "again", SilentProgress())
    assert (again.verdict, again.measurements) == (turns.verdict, turns.measurements)


@pytest.mark.parametrize("player", [CAREFUL, Player(target=0.9, forgetting=0.6), Player(target=0.9, forgetting=0.82)])
@pytest.mark.parametrize(("weights", "starts"), [("adapter", 1), ("full", 2), ("full and incumbent", 3)])
def test_a_judge_on_the_same_device_costs_one_start(world: World, player: Player, weights: str, starts: int) -> None:
    """Four looks, the pilot, the A/A test and the positive control: the judge comes once, when all is answered."""
    world.policy["evidence"]["early_stopping"] = "obrien_fleming"
    world.save()
    if weights != "adapter":
        full_candidate(world, "obrien_fleming")
    if weights == "full and incumbent":
        write_full(world.root / "models" / "deployed", seed=7)
        world.manifest["incumbent"] = {"source": "models/deployed"}
        world.save()
    job = load_all(world.policy_path, world.manifest_path).job()
    reports = {}
    for name in ("beside", "in turns"):
        device = ScriptedDevice() if name == "in turns" else None
        engine = ScriptedEngine(script(player), one_at_a_time=device is not None, device=device)
        judge = ScriptedEngine(script(player), device=device)
        reports[name] = evaluate(job, world.root / name, SilentProgress(), engine=engine, judge_engine=judge)
        assert (engine.starts, judge.starts) == (starts, 1)
    assert reports["in turns"].verdict == reports["beside"].verdict
    assert reports["in turns"].measurements == reports["beside"].measurements
    again = decide_again(world.root / "in turns", None, world.root / "again", SilentProgress())
    assert again.measurements == reports["beside"].measurements


def test_an_item_that_cannot_be_asked_does_not_bring_the_models_back(world: World) -> None:
    """vLLM refuses a prompt that is too long each time: once in a run is enough."""

    class Local(ScriptedEngine):
        def info(self) -> EngineInfo:
            return replace(super().info(), kind="vllm")

    def short(model: Model, question: Question) -> Answer:
        too_long = model.name != "judge" and question.item_id == "g0"
        return Answer(finish="error", error="too long") if too_long else script(CAREFUL)(model, question)

    world.policy["evidence"]["early_stopping"] = "obrien_fleming"
    world.save()
    device = ScriptedDevice()
    engine, judge = Local(short, device=device), Local(short, device=device)
    job = load_job(world.policy_path, world.manifest_path)
    evaluate(job, world.root / "out", SilentProgress(), engine=engine, judge_engine=judge)
    assert "too long" in (world.root / "out" / "answers.jsonl").read_text(encoding="utf-8")
    assert (engine.starts, judge.starts) == (1, 1)


def test_base_and_adapter_share_an_engine_and_take_no_turns(world: World) -> None:
    engine = ScriptedEngine(script(CAREFUL), one_at_a_time=True)
    assert gate(world, "out", CAREFUL, engine).engine_starts == 1


def test_an_engine_that_breaks_in_the_second_turn_asks_the_first_nothing_again(world: World) -> None:
    full_candidate(world)
    whole = ScriptedEngine(script(CAREFUL), one_at_a_time=True)
    expected = gate(world, "whole", CAREFUL, whole)
    of_base = sum(ask.model.name == "base" for ask in whole.asked)
    with pytest.raises(EngineError):
        gate(world, "out", CAREFUL, ScriptedEngine(script(CAREFUL), one_at_a_time=True, fail_after=of_base + 10))
    second = ScriptedEngine(script(CAREFUL), one_at_a_time=True)
    report = gate(world, "out", CAREFUL, second)
    assert report.measurements == expected.measurements
    assert not [ask for ask in second.asked if ask.model.name == "base"]
    assert report.engine_starts == 1


def test_drawn_answers_are_drawn_ahead_with_the_seeds_that_every_look_asks_for(world: World) -> None:
    rows = [{"id": f"f{i}", "prompt": f"say word {i}", "answer": f"word {i}"} for i in range(600)]
    write_rows(world.root / "evals" / "free.jsonl", rows)
    full_candidate(world, "obrien_fleming")
    sampled = {"dataset": "evals/free.jsonl", "form": "sampled", "scorer": "exact", "max_tokens": 8}
    world.policy["measurements"] = {"calibration": sampled}
    world.save()

    def drawn(model: Model, question: Question) -> Answer:
        sure = luck(question.item_id, question.seed) < 0.75
        return Answer(text=f"word {question.item_id[1:]}" if sure else "no idea", tokens=2)

    engine = ScriptedEngine(drawn, one_at_a_time=True)
    job = load_job(world.policy_path, world.manifest_path)
    report = evaluate(job, world.root / "out", SilentProgress(), engine=engine)
    assert report.engine_starts == 2
    asked = [ask for ask in engine.asked if ask.model.name == "base" and ask.question.temperature]
    first = {(ask.question.item_id, ask.question.part) for ask in asked if not ask.question.repeat}
    assert len([ask for ask in asked if not ask.question.repeat]) == len(first) == 20 * 600
