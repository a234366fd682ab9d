"""Questions asked ahead: what is decided depends on a look's own items, never on which answers have come by then."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from support.players import CAREFUL, Player, script
from support.world import World, write_rows

from ftgate.domain import Answer, Model, Question
from ftgate.engines.base import Ask
from ftgate.engines.scripted import Script, ScriptedEngine
from ftgate.errors import EngineError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")

SLIPPING = Player(target=0.9, forgetting=0.82)
CLOCKS = {"timing", "engine_starts"}


class AheadEngine(ScriptedEngine):
    """Has several questions in flight, which finish in random order while the gate scores and decides."""

    def __init__(self, play: Script, seed: int, in_flight: int = 50, **options: Any) -> None:
        super().__init__(play, **options)
        self.rng, self.in_flight = random.Random(seed), in_flight
        self.taken_back = 0

    @property
    def runs_ahead(self) -> bool:
        return True

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        unsent = sorted(range(len(asks)), key=lambda index: asks[index].look)
        flying: list[tuple[int, Answer]] = []
        try:
            while unsent or flying:
                while unsent and len(flying) < self.in_flight:
                    index = unsent.pop(0)
                    [(_, answer)] = super().ask([asks[index]])
                    flying.append((index, answer))
                yield flying.pop(self.rng.randrange(len(flying)))
        finally:
            self.taken_back += len(flying)


def gate(world: World, out: str, play: Script, engine: ScriptedEngine) -> Report:
    job = load_job(world.policy_path, world.manifest_path)
    judge = ScriptedEngine(play)
    return evaluate(job, world.root / out, SilentProgress(), engine=engine, judge_engine=judge)


def content(report: Report) -> dict[str, Any]:
    """All of a report but times, which differ from run to run."""
    document = report.model_dump(exclude=CLOCKS)
    document["provenance"] = {
        key: value for key, value in document["provenance"].items() if key not in ("started", "finished", "decided_at")
    }
    return document


@pytest.fixture
def looked(world: World) -> World:
    """Four looks at small suites."""
    world.policy["evidence"] = {"early_stopping": "obrien_fleming", "draws": 200}
    for name in ("calibration", "tail"):
        world.policy["measurements"].pop(name)
    world.save()
    return world


@pytest.mark.parametrize(("player", "seeds"), [(CAREFUL, (1, 2)), (SLIPPING, (3, 4)), (Player(forgetting=0.5), (5, 6))])
def test_the_order_in_which_answers_come_changes_nothing(looked: World, player: Player, seeds: tuple[int, int]) -> None:
    in_order = gate(looked, "out", script(player), ScriptedEngine(script(player)))
    for seed in seeds:
        engine = AheadEngine(script(player), seed, in_flight=1 + 60 * (seed % 3))
        report = gate(looked, f"out{seed}", script(player), engine)
        assert content(report) == content(in_order)
        again = decide_again(looked.root / f"out{seed}", None, looked.root / f"again{seed}", SilentProgress())
        assert content(again) == content(in_order)


def test_what_is_not_needed_is_taken_back_and_what_came_is_kept_for_a_later_run(looked: World) -> None:
    play = script(Player(forgetting=0.3))
    engine = AheadEngine(play, 7)
    report = gate(looked, "out", play, engine)
    assert report.verdict == "block"
    assert report.stopping is not None
    assert report.stopping.looks["forgetting"] < 4
    assert engine.taken_back > 0
    everything = AheadEngine(play, 8)
    looked.policy["evidence"]["early_stopping"] = "none"
    looked.save()
    gate(looked, "out", play, everything)
    first = {(a.model.name, a.question) for a in engine.asked}
    repeated = [ask for ask in everything.asked if (ask.model.name, ask.question) in first]
    assert len(repeated) <= engine.taken_back, "only what was in flight is asked again"


def test_a_look_is_decided_while_later_questions_are_in_flight(looked: World) -> None:
    play, engine = script(SLIPPING), AheadEngine(script(SLIPPING), 9)
    asked_when_graded: list[int] = []

    def judged(model: Model, question: Question) -> Answer:
        asked_when_graded.append(len(engine.asked))
        return play(model, question)

    job = load_job(looked.policy_path, looked.manifest_path)
    report = evaluate(job, looked.root / "out", SilentProgress(), engine=engine, judge_engine=ScriptedEngine(judged))
    assert report.stopping is not None
    assert len(set(asked_when_graded)) > 3, "the judge grades between looks"
    whole = ScriptedEngine(play)
    gate(looked, "whole", play, whole)
    assert len(engine.asked) <= len(whole.asked) + engine.in_flight * 4


def test_an_engine_that_breaks_ahead_loses_no_answer_that_came(looked: World) -> None:
    play = script(SLIPPING)
    expected = gate(looked, "whole", play, ScriptedEngine(play))
    with pytest.raises(EngineError, match="stops after"):
        gate(looked, "out", play, AheadEngine(play, 10, fail_after=500))
    second = AheadEngine(play, 11)
    report = gate(looked, "out", play, second)
    assert content(report)["measurements"] == content(expected)["measurements"]


def test_a_prompt_that_failed_ahead_is_asked_again_when_its_look_comes(looked: World) -> None:
    """A scripted engine stands for a server: it may do better next time."""
    rows = [{"id": f"g{i}", "prompt": f"spell {i}", "answer": f"word {i} of {i % 7}"} for i in range(200)]
    write_rows(looked.root / "evals" / "general.jsonl", rows)
    play, failed = script(CAREFUL), set()

    def flaky(model: Model, question: Question) -> Answer:
        key = (model.name, question.item_id, question.part, question.repeat, question.measurement)
        if model.name != "judge" and question.item_id.endswith("7") and key not in failed:
            failed.add(key)
            return Answer(finish="error", error="busy")
        return play(model, question)

    report = gate(looked, "out", flaky, AheadEngine(flaky, 12, in_flight=10_000))
    assert failed
    assert report.verdict == gate(looked, "whole", play, ScriptedEngine(play)).verdict
