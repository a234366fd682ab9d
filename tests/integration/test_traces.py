"""Reasoning traces in whole runs: what follows them is scored, and those that never end are seen."""

from __future__ import annotations

import json

import pytest
from support.players import CAREFUL, Script, luck, script
from support.world import World

from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")


def thinking(unfinished: float) -> Script:
    """The candidate reasons before each text, wrongly; this share of its traces never ends."""
    usual = script(CAREFUL)

    def reply(model: Model, question: Question) -> Answer:
        answer = usual(model, question)
        if model.name != "bot" or question.options:
            return answer
        if luck("trace", question.item_id) < unfinished:
            return Answer(text=f"<think>\n{answer.text}? Let me see.", finish="length", tokens=30)
        return Answer(text=f"<think>\nIs it Lyon?\n</think>\n\n{answer.text}", tokens=30)

    return reply


def gate(world: World, reply: Script) -> Report:
    job = load_job(world.policy_path, world.manifest_path)
    judge = ScriptedEngine(reply)
    return evaluate(job, world.root / "out", SilentProgress(), engine=ScriptedEngine(reply), judge_engine=judge)


def test_a_candidate_that_reasons_first_is_scored_by_its_answers(world: World) -> None:
    report = gate(world, thinking(0.0))
    assert report.verdict == "allow", report.reasons
    forgetting = report.measurements["forgetting"]
    assert forgetting.details["traces"]["base"]["reasoned"] == 0
    counts = forgetting.details["traces"]["candidate"]
    assert counts["reasoned"] == counts["answers"] > 0
    assert any("a reasoning trace precedes 0 of" in note for note in forgetting.details["notes"])
    stored = [json.loads(line) for line in (world.root / "out" / "answers.jsonl").read_text().splitlines()]
    texts = [r["answer"]["text"] for r in stored if r["type"] == "answer" and r["model"] == "bot" and not r["options"]]
    assert texts
    assert all(text.startswith("<think>\nIs it Lyon?\n</think>\n\n") for text in texts), "whole texts are kept"
    graded = [r["messages"] for r in stored if r["type"] == "answer" and r["model"] == "judge"]
    assert graded
    assert "Is it Lyon?" not in json.dumps(graded), "the judge is shown what follows the trace"
    for name in ("comment.md", "report.html"):
        assert "a reasoning trace precedes" in (world.root / "out" / name).read_text(encoding="utf-8"), name
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.measurements == report.measurements


def test_traces_that_never_end_count_as_cut(world: World) -> None:
    report = gate(world, thinking(0.5))
    assert report.verdict == "block"
    form = report.measurements["form"]
    assert form.status == "block"
    assert "cut at the token limit" in form.reason
    examples = [e.candidate_answer for m in report.measurements.values() for e in m.regressions]
    assert "(no answer: its reasoning never ended)" in examples
