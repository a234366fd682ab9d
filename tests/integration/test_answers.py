"""Several answers a prompt in whole runs: who is asked what, what the report says, and that nothing is asked twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.players import CAREFUL, Script, luck, script
from support.world import World, write_rows

from ftgate.cli.main import main
from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError, EngineError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")

N = 200


@pytest.fixture
def free(world: World) -> World:
    """One measurement, of free-form answers: eight of the base and two of the candidate to each item."""
    rows = [{"id": f"f{i}", "prompt": f"say word {i}", "answer": f"word {i}"} for i in range(N)]
    write_rows(world.root / "evals" / "free.jsonl", rows)
    return averaging(world, {"base": 8, "candidate": 2})


def averaging(world: World, answers: Any, scorer: str = "exact") -> World:
    section = {"dataset": "evals/free.jsonl", "scorer": scorer, "answers": answers, "temperature": 0.7}
    world.policy["measurements"] = {"forgetting": section}
    world.save()
    return world


def sampling(kept: float = 1.0) -> Script:
    """Answers that are right by chance, more often on easy items; the candidate keeps this share of what is right."""
    usual = script(CAREFUL)

    def reply(model: Model, question: Question) -> Answer:
        if model.name == "judge":
            return usual(model, question)
        easy = 0.6 + 0.4 * luck(question.item_id, "difficulty")
        right = luck(question.item_id, question.seed, model.name) < easy * (1 if model.name == "base" else kept)
        return Answer(text=f"word {question.item_id[1:]}" if right else "no idea", tokens=3)

    return reply


def run(world: World, out: str = "out", engine: ScriptedEngine | None = None, reuse: tuple[str, ...] = ()) -> Report:
    job = load_job(world.policy_path, world.manifest_path)
    earlier = [world.root / name for name in reuse]
    engine = engine or ScriptedEngine(sampling())
    judge = ScriptedEngine(sampling())
    return evaluate(job, world.root / out, SilentProgress(), reuse=earlier, engine=engine, judge_engine=judge)


def asked(engine: ScriptedEngine, *, again: bool = False) -> Counter[str]:
    """How many questions each model was asked, the base's A/A test aside or alone."""
    return Counter(ask.model.name for ask in engine.asked if bool(ask.question.repeat) is again)


def test_each_model_gives_its_answers_and_the_report_says_how_many(free: World) -> None:
    engine = ScriptedEngine(sampling())
    report = run(free, engine=engine)
    assert asked(engine) == {"base": 8 * N, "bot": 2 * N}
    assert asked(engine, again=True) == {"base": 8 * N // 4}
    found = report.measurements["forgetting"]
    assert (report.verdict, found.status, found.n) == ("allow", "pass", N)
    assert "bootstrap" in found.method
    assert found.details["answers"] == {"base": 8, "candidate": 2, "temperature": 0.7}
    line = next(entry for entry in report.checklist if "same questions" in entry.item)
    assert line.evidence == "general skills: 200 items (8 of the base's answers and 2 of the candidate's averaged)"
    example = found.regressions[0]
    assert example.base_answer.startswith("(the first of 8 answers) ")
    assert example.candidate_answer.startswith("(the first of 2 answers) ")
    assert example.base_score is not None
    assert 8 * example.base_score == pytest.approx(round(8 * example.base_score))
    assert report.stopping is not None
    assert (report.stopping.questions_asked, report.stopping.questions_saved) == (10 * N, 0)
    assert report.measurements["form"].n == N, "the form of the first answers is compared"
    assert report.controls["pilot"]["forgetting"]["items"] == 20
    assert report.controls["a_a"]["forgetting"]["ok"]
    assert report.controls["positive_control"]["forgetting"]["ok"]
    assert "2 of the candidate" in (free.root / "out" / "report.html").read_text()


def test_a_worse_candidate_is_blocked_at_an_early_look(free: World) -> None:
    free.policy["evidence"]["early_stopping"] = "obrien_fleming"
    free.save()
    report = run(free, engine=ScriptedEngine(sampling(kept=0.6)))
    assert (report.verdict, report.measurements["forgetting"].status) == ("block", "block")
    assert report.stopping is not None
    assert report.stopping.questions_asked + report.stopping.questions_saved == 10 * N
    assert report.stopping.questions_saved > 0


@pytest.mark.parametrize("scorer", ["exact", "judge"])
def test_it_is_decided_again_from_the_journal(free: World, scorer: str) -> None:
    report = run(averaging(free, 3, scorer))
    assert report.measurements["forgetting"].status == "pass", report.measurements["forgetting"].reason
    again = decide_again(free.root / "out", None, free.root / "again", SilentProgress())
    assert again.measurements == report.measurements
    assert again.verdict == report.verdict


def test_a_run_that_was_cut_short_asks_nothing_twice_and_ends_as_it_would_have(free: World) -> None:
    whole = run(free, "whole")
    first = ScriptedEngine(sampling(), fail_after=900)
    with pytest.raises(EngineError):
        run(free, engine=first)
    second = ScriptedEngine(sampling())
    assert run(free, engine=second).measurements == whole.measurements
    questions = [(ask.model.name, str(ask.question.content())) for ask in (*first.asked, *second.asked)]
    assert len(questions) == len(set(questions)) == 12 * N


def test_more_answers_later_ask_for_the_new_ones_only(free: World) -> None:
    run(averaging(free, 2), "two")
    engine = ScriptedEngine(sampling())
    report = run(averaging(free, {"base": 5, "candidate": 2}), "five", engine, reuse=("two",))
    assert asked(engine) == {"base": 3 * N}
    assert report.measurements["forgetting"].details["answers"]["base"] == 5


def test_a_decision_on_fewer_answers_is_possible_and_one_on_more_is_refused(free: World) -> None:
    run(averaging(free, 4))
    averaging(free, 2)
    fewer = decide_again(free.root / "out", free.policy_path, free.root / "again", SilentProgress())
    assert fewer.measurements["forgetting"].details["answers"]["base"] == 2
    averaging(free, 5)
    with pytest.raises(ConfigurationError, match="lacks answers"):
        decide_again(free.root / "out", free.policy_path, free.root / "again", SilentProgress())


def test_failed_answers_are_asked_again_and_the_others_are_kept(free: World) -> None:
    def breaking(model: Model, question: Question) -> Answer:
        if question.part == "answer 2" and question.item_id in ("f3", "f4", "f5"):
            return Answer(finish="error", error="too long")
        return sampling()(model, question)

    report = run(free, engine=ScriptedEngine(breaking))
    assert report.measurements["forgetting"].status == "inconclusive"
    assert "3 of 200 items failed" in report.measurements["forgetting"].reason
    engine = ScriptedEngine(sampling())
    assert run(free, engine=engine).measurements["forgetting"].status == "pass"
    assert asked(engine) == {"base": 3, "bot": 3}


def leave(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return int(left.value.code or 0), shown.out + shown.err


def test_the_commands_take_them(free: World, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run(free)
    code, shown = leave(capsys, "decide", free.root / "out", "--out", tmp_path / "again")
    assert code == 0, shown
    written = json.loads((tmp_path / "again" / "report.json").read_text())
    assert written["measurements"]["forgetting"]["details"]["answers"]["candidate"] == 2
    files = ("--policy", free.policy_path)
    code, shown = leave(capsys, "plan", *files, "--out", free.root / "out", "--json")
    (prospect,) = json.loads(shown)["prospects"]
    assert (code, prospect["answers"], prospect["questions"], prospect["learned"]) == (0, [8, 2], 10 * N, True)
    averaging(free, 1)
    code, shown = leave(capsys, "plan", *files, "--json")
    (single,) = json.loads(shown)["prospects"]
    assert (single["answers"], single["questions"]) == ([1, 1], 2 * N)
    free.policy["measurements"]["forgetting"] |= {"answers": 4, "temperature": 0}
    free.save()
    code, shown = leave(capsys, "check", *files, "--manifest", free.manifest_path)
    assert code == 2
    assert "at temperature 0" in shown
    assert "set temperature" in " ".join(shown.split())
