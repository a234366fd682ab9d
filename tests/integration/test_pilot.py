"""The pilot in whole runs and in `ftgate plan --pilot`: what is asked of whom, and what is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from support.players import CAREFUL, Player, script
from support.world import World

from ftgate.cli.main import main
from ftgate.domain import Answer, Model, Question
from ftgate.engines import registry
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import EngineError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")

WEAK = Player(forgetting=0.02)


class Notes(SilentProgress):
    """Keeps what a run would print."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def gate(world: World, play: Any, **options: Any) -> tuple[Report, ScriptedEngine, list[str]]:
    world.save()
    engine, progress = ScriptedEngine(play, **options), Notes()
    job = load_job(world.policy_path, world.manifest_path)
    report = evaluate(job, world.root / "out", progress, engine=engine, judge_engine=ScriptedEngine(play))
    return report, engine, [note for note in progress.said if not note.startswith("asking: ")]


def by_rule(world: World) -> World:
    world.policy["measurements"]["forgetting"]["scorer"] = "exact"
    world.policy.pop("judge")
    return world


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_the_first_questions_are_twenty_of_the_base_per_suite_and_none_is_asked_twice(
    world: World, one_at_a_time: bool
) -> None:
    report, engine, notes = gate(by_rule(world), script(CAREFUL), one_at_a_time=one_at_a_time)
    first = engine.asked[: 5 * 20]  # calibration asks two rotations
    assert {ask.model.name for ask in first} == {"base"}
    for name in ("target", "forgetting", "tail", "calibration"):
        assert len({ask.question.item_id for ask in first if ask.question.measurement == name}) == 20
    asked = [
        (a.model.name, a.question.measurement, a.question.item_id, a.question.part, a.question.repeat)
        for a in engine.asked
    ]
    assert len(set(asked)) == len(asked)
    assert notes == []
    pilot = report.controls["pilot"]
    assert {name: (p["ok"], p["items"]) for name, p in pilot.items()} == dict.fromkeys(
        ("target", "forgetting", "tail", "calibration"), (True, 20)
    )
    assert pilot["tail"]["reason"] == f"the base scores {100 * pilot['tail']['base']:.0f} % on 20 items"
    assert "Pilot" in (world.root / "out" / "report.html").read_text()


def test_a_weak_base_is_warned_of_and_the_run_goes_on(world: World) -> None:
    report, _, notes = gate(by_rule(world), script(Player(target=0.9, forgetting=0.02), base=WEAK))
    assert len(notes) == 1
    assert notes[0].startswith("warning: forgetting: the base scores ")
    assert (
        "so low that a loss of 10 % could go unseen: use an easier suite such as builtin:general-easy-200" in notes[0]
    )
    assert report.controls["pilot"]["forgetting"]["ok"] is None
    assert report.controls["pilot"]["forgetting"]["reason"] in notes[0]
    assert set(report.measurements) >= {"target", "forgetting", "tail", "calibration"}
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.controls["pilot"] == report.controls["pilot"]


def test_a_judged_base_is_piloted_by_its_grades_and_nothing_is_graded_twice(world: World) -> None:
    judged: list[tuple[Any, ...]] = []
    usual = script(Player(target=0.9, forgetting=0.02), base=WEAK)

    def play(model: Model, question: Question) -> Answer:
        if model.name == "judge":
            judged.append((question.messages, question.part, question.repeat))
        return usual(model, question)

    report, _, notes = gate(world, play)
    assert report.controls["pilot"]["forgetting"]["ok"] is None
    assert any("could go unseen" in note for note in notes)
    assert len(set(judged)) == len(judged)


def test_a_base_that_answers_nothing_stops_the_run_before_anything_else_is_asked(world: World) -> None:
    usual = script(CAREFUL)

    def play(model: Model, question: Question) -> Answer:
        if question.measurement == "target":
            return Answer(finish="error", error="prompt of 9000 tokens is longer than 4096")
        return usual(model, question)

    world.save()
    engine = ScriptedEngine(play)
    job = load_job(by_rule(world).policy_path, world.manifest_path)
    with pytest.raises(
        EngineError, match="target can neither pass nor block: the base answered none of 20 items; the "
    ):
        evaluate(job, world.root / "out", SilentProgress(), engine=engine, judge_engine=ScriptedEngine(play))
    assert {ask.model.name for ask in engine.asked} == {"base"}
    assert len({(a.question.measurement, a.question.item_id) for a in engine.asked}) == 80


def test_a_run_refuses_a_tail_without_a_row_before_it_asks(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.manifest.pop("training_data")
    world.policy["measurements"]["tail"]["dataset"] = "evals/target.jsonl"
    world.policy["measurements"].pop("target")
    world.save()
    files = ["--policy", str(world.policy_path), "--manifest", str(world.manifest_path)]
    assert leave("run", *files, "--out", str(world.root / "out")) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "measurements.tail can neither pass nor block: it has no row in the tail among its 200 rows" in said
    assert "name training_data in the manifest" in said
    assert not (world.root / "out").exists()


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ScriptedEngine]]:
    """The command line's scripted engines, which play a weak base."""
    opened: list[ScriptedEngine] = []

    def scripted(*_: object) -> ScriptedEngine:
        opened.append(ScriptedEngine(script(CAREFUL, base=WEAK)))
        return opened[-1]

    monkeypatch.setattr(registry, "_ENGINES", {"scripted": scripted})
    yield opened
    assert all(engine.closed for engine in opened)


def test_a_plan_with_a_pilot_asks_the_base_alone_and_plans_with_its_score(
    world: World, engines: list[ScriptedEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    by_rule(world).save()
    shutil.rmtree(world.root / "models" / "bot")  # which may not be trained yet
    files = ["--policy", str(world.policy_path), "--manifest", str(world.manifest_path)]
    assert leave("plan", *files, "--pilot", "20", "--json") == 0
    plan = {p["name"]: p for p in json.loads(capsys.readouterr().out)["prospects"]}
    (engine,) = engines
    assert {ask.model.name for ask in engine.asked} == {"base"}
    assert len({(ask.question.measurement, ask.question.item_id) for ask in engine.asked}) == 80
    assert [model.name for model in engine.loaded] == []
    weak, tail = plan["forgetting"], plan["tail"]
    assert (weak["pilot"]["base"], weak["base"], weak["kind"]) == (0.0, pytest.approx(0.025), "loss")
    assert "could go unseen" in weak["pilot"]["warnings"][0]
    assert tail["base"] == pytest.approx(tail["pilot"]["base"])
    assert tail["base"] != 0.8
    assert leave("plan", *files, "--pilot", "20") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "General skills: this suite may not be able to decide: the base scores 0 % on 20 items" in told
    assert "the pilot's base score, and a correlation of 0.5" in told
    assert "a base score of 80 %" not in told


def test_a_pilot_needs_a_manifest(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.save()
    assert leave("plan", "--policy", str(world.policy_path), "--pilot", "20") == 2
    assert "give --manifest" in capsys.readouterr().err
