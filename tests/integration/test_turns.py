"""Models that take turns on one device: few changes, the same verdict, and nothing lost when one of them fails."""

from __future__ import annotations

import pytest
from support.players import CAREFUL, Player, luck, script
from support.world import World, write_full, write_rows

from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import EngineError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
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
