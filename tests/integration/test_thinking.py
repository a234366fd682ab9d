"""Thinking in runs and in ``ftgate check``: who thinks, thoughts before letters, what changed at the verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engines.thinking_templates import CHANNELS, OPENED, SWITCHED
from support.players import CAREFUL, Script, luck, script
from support.world import TEMPLATE, World

from ftgate.cli.main import main
from ftgate.config.engine import EngineSettings
from ftgate.domain import Answer, EngineInfo, Item, Message, Model, Question, Suite, TaskRequest
from ftgate.engines.scripted import ScriptedEngine
from ftgate.engines.thought_budget import NO_OPTION
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.gate.journal import answer_key
from ftgate.jobs.prepare import load_job
from ftgate.measurements.registry import read_measurements
from ftgate.models.rendering import MAY_THINK
from ftgate.preflight.thinking import thinking_facts, unread_after_thoughts
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")

THOUGHT = "<think>\nIs it red?\n</think>"


def thinker(base: float, candidate: float, endless: float = 0.0) -> Script:
    """These shares of the two models' answers have a thought; this share of the candidate's thoughts never ends."""
    usual = script(CAREFUL)

    def reply(model: Model, question: Question) -> Answer:
        answer = usual(model, question)
        if model.name == "judge" or luck("thinks", question.item_id) >= (base if model.name == "base" else candidate):
            return answer
        if model.name == "bot" and luck("endless", question.item_id) < endless:
            nothing = (NO_OPTION,) * len(question.options)
            return Answer("<think>\nIs it red? Is it", nothing, finish="length", tokens=30)
        return replace(answer, text=f"{THOUGHT}\n\n{answer.text}" if answer.text else THOUGHT, tokens=30)

    return reply


def gate(world: World, reply: Script) -> Report:
    job = load_job(world.policy_path, world.manifest_path)
    return evaluate(
        job, world.root / "out", SilentProgress(), engine=ScriptedEngine(reply), judge_engine=ScriptedEngine(reply)
    )


def test_two_models_that_think_are_compared_as_ever(world: World) -> None:
    report = gate(world, thinker(1.0, 1.0))
    assert report.verdict == "allow", report.reasons
    assert report.notes == []
    counts = report.measurements["calibration"].details["traces"]
    assert counts["base"]["reasoned"] == counts["base"]["answers"] > 500, "letters have thoughts, too"
    stored = [json.loads(line) for line in (world.root / "out" / "answers.jsonl").read_text().splitlines()]
    letters = [r["answer"] for r in stored if r["type"] == "answer" and r["options"] and r["model"] == "bot"]
    assert letters
    assert all(answer["text"] == THOUGHT and answer["tokens"] == 30 for answer in letters), "the whole thought is kept"
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.measurements == report.measurements
    assert again.notes == report.notes


@pytest.mark.parametrize(
    ("base", "candidate", "note"),
    [
        (
            1.0,
            0.0,
            "the candidate stopped thinking: a reasoning trace precedes 0 % of its answers and 100 % of the base's",
        ),
        (
            0.0,
            1.0,
            "the candidate started thinking: a reasoning trace precedes 100 % of its answers and 0 % of the base's",
        ),
    ],
)
def test_a_candidate_that_started_or_stopped_thinking_is_named(
    world: World, base: float, candidate: float, note: str
) -> None:
    report = gate(world, thinker(base, candidate))
    assert report.verdict == "allow", report.reasons
    assert report.notes == [note]
    for name in ("comment.md", "report.html"):
        written = (world.root / "out" / name).read_text(encoding="utf-8")
        assert note.partition(":")[0] in written, name


def test_thoughts_before_letters_that_never_end_block_by_form_and_name_no_letter(world: World) -> None:
    world.policy["measurements"] = {"tail": world.policy["measurements"]["tail"]}
    del world.policy["judge"]
    world.save()
    report = gate(world, thinker(1.0, 1.0, endless=0.5))
    assert report.verdict == "block"
    form = report.measurements["form"]
    assert form.status == "block"
    assert "cut at the token limit" in form.reason
    assert report.measurements["tail"].status == "block", "no letter is a wrong answer"
    (note,) = report.notes
    assert note.startswith("the candidate does not close its thoughts: ")
    assert "and 0 % of the base's" in note


def checked(world: World, capsys: pytest.CaptureFixture[str], template: str, **engine: Any) -> dict[str, Any]:
    settings = world.root / "models" / "base" / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"chat_template": template}))
    world.policy["engine"] = {"kind": "transformers", "max_model_len": 1024, "thinking_tokens": 300} | engine
    world.save()
    with pytest.raises(SystemExit):
        main(["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path), "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.parametrize(
    ("template", "named"),
    [
        (SWITCHED, "lets the model think first: up to 300 tokens"),
        (OPENED, "opens a reasoning trace (<think>) before every answer: up to 300 tokens"),
        (CHANNELS, "has the model name a channel, first that of its reasoning trace: up to 300 tokens"),
    ],
)
def test_check_says_who_thinks(world: World, capsys: pytest.CaptureFixture[str], template: str, named: str) -> None:
    document = checked(world, capsys, template)
    assert any(named in note for note in document["notes"]), document["notes"]
    longest = {p["suite"]: p["longest"] for p in document["prompts"] if p["reader"] == "base"}
    off = checked(world, capsys, template, thinking=False)
    assert not any("up to 300 tokens" in note for note in off["notes"])
    for prompts in off["prompts"]:
        if prompts["reader"] == "base":
            assert longest[prompts["suite"]] >= prompts["longest"] + 300 - 10, "the thought needs room"


def test_check_says_nothing_of_thoughts_where_there_are_none(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    document = checked(world, capsys, TEMPLATE)
    assert not any("think" in said or "trace" in said for said in (*document["notes"], *document["warnings"]))
    ignored = checked(world, capsys, TEMPLATE, thinking=True)
    assert any("thinking is on, which changes nothing" in warning for warning in ignored["warnings"])


def test_check_refuses_a_thought_that_cannot_be_switched_off(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    document = checked(world, capsys, TEMPLATE + "{{ '<|my:think|>' }}", thinking="off")
    (problem,) = [p for p in document["problems"] if "thinking" in p["message"]]
    assert "opens a reasoning trace (<|my:think|>)" in problem["message"]
    assert problem["hint"] == "set engine.thinking: template"


def test_prompts_that_are_too_long_because_of_a_thought_are_refused_with_both_limits(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    document = checked(world, capsys, SWITCHED, thinking_tokens=1020)
    problems = [p for p in document["problems"] if "too long" in p["message"]]
    letters, texts = (next(p for p in problems if name in p["message"]) for name in ("target", "forgetting"))
    assert "with a thought of up to 1,020 and its answer" in letters["message"]
    others = "raise engine.max_model_len (at most the model's own context), or remove rows"
    assert letters["hint"] == f"lower engine.thinking_tokens, {others}", "letters have no max_tokens"
    assert texts["hint"] == f"lower measurements.forgetting.max_tokens or engine.thinking_tokens, {others}"
    document = checked(world, capsys, SWITCHED, thinking_tokens=1020, thinking="off")
    assert not any("too long" in p["message"] for p in document["problems"])


def test_continuations_of_a_conversation_are_not_read_after_a_thought() -> None:
    (measurement,) = read_measurements({"forgetting": {"dataset": "lm-eval:boolq"}}, "test")
    turns = json.dumps([{"role": "user", "content": "is it?"}])
    request = TaskRequest("boolq", "acc", turns, ("no", "yes"), (" no", " yes"), gold=(1,), chat=True)
    item = Item("1", (Message("user", "is it?"),), choices=("no", "yes"), request=request)
    suites = {"forgetting": Suite("forgetting", (item,), "", "lm-eval:boolq")}
    assert list(unread_after_thoughts((measurement,), suites)) == [
        "measurements.forgetting: continuations are compared, which are not read after a thought"
    ]
    raw = replace(item, request=replace(request, chat=False))
    assert not list(unread_after_thoughts((measurement,), {"forgetting": replace(suites["forgetting"], items=(raw,))}))


def test_a_template_that_fails_says_nothing_of_thoughts() -> None:
    def fails(given: Any) -> str:
        raise ValueError(str(given))

    assert not thinking_facts(fails, EngineSettings()).thinks


def test_answers_from_before_thinking_could_be_set_are_not_taken_for_those_of_a_model_that_may_think() -> None:
    engine, asked = EngineInfo("vllm", {}, "cpu", "float32"), Question("m", "i", (Message("user", "x"),))
    plain = Model("a", Path(), "sha256:1")
    may = replace(plain, facts={"rendering": [MAY_THINK]})
    assert answer_key(plain, asked, engine) != answer_key(may, asked, engine)
    off = replace(engine, settings={"thinking": "off"})
    assert answer_key(plain, asked, off) == answer_key(may, asked, off) != answer_key(plain, asked, engine)
