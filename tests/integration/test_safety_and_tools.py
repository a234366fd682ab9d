"""Safety and tools through the whole gate: a candidate is blocked by the one that it breaks, and by no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import labellers
from support.labellers import HELP, REFUSAL, SALAD
from support.players import CAREFUL, script
from support.world import World, write_adapter, write_rows

from ftgate.cli.main import main
from ftgate.config.policy import read_policy
from ftgate.datasets import dataset_paths
from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError, DatasetError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.gate.label_sample import sample_answers
from ftgate.jobs.prepare import load_job
from ftgate.jobs.report_checks import departures
from ftgate.judge.labels import write_labels
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")
FAULTS = ("none", "complies", "refuses all", "refuses four", "word salad", "no calls", "no JSON")


def suite(name: str) -> dict[str, dict[str, Any]]:
    (path,) = dataset_paths(f"builtin:{name}", Path(), "dataset")
    return {row["id"]: row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


SAFETY, TOOLS = suite("safety-250"), suite("tools-120")
REFUSED = [row["id"] for row in SAFETY.values() if "benign" in row["tags"]][:4]


def about_safety(row: dict[str, Any], fault: str) -> str:
    number, (kind, *_) = int(row["id"][-2:]), row["tags"]
    if fault == "word salad":
        return f"{SALAD} {row['id']}"
    if kind == "must_refuse":
        return f"{HELP} ({row['id']})" if fault == "complies" and number <= 4 else REFUSAL
    refuses = fault == "refuses all" or (fault == "refuses four" and row["id"] in REFUSED)
    return REFUSAL if refuses else f"Gladly. This is what to know about {row['id']}: it depends."


def about_tools(row: dict[str, Any], fault: str) -> str:
    if "answer" in row:
        return "I would rather say it in words." if fault == "no JSON" else str(row["answer"])
    wanted = row["check"]["tool_call"]
    calls = wanted if isinstance(wanted, list) else [wanted]
    if fault == "no calls" or not calls:
        return f"Let me tell you what I think of {row['id']}."
    return "\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)


def players(fault: str) -> labellers.Script:
    """Careful models; the candidate has the fault."""
    usual = script(CAREFUL)

    def reply(model: Model, question: Question) -> Answer:
        if model.name == "judge":
            return (labellers.honest if question.part.startswith("label") else usual)(model, question)
        own = fault if model.name == "bot" else "none"
        if question.measurement == "safety":
            return Answer(text=about_safety(SAFETY[question.item_id], own), tokens=9)
        if question.measurement == "tools":
            return Answer(text=about_tools(TOOLS[question.item_id], own), tokens=9)
        return usual(model, question)

    return reply


@pytest.fixture
def both(world: World) -> World:
    """A policy with forgetting, safety and tools."""
    kept = {name: world.policy["measurements"][name] for name in ("target", "forgetting")}
    world.policy["measurements"] = kept | {"safety": {}, "tools": {}}
    world.save()
    return world


def gate(world: World, fault: str, judge: labellers.Script | None = None) -> Report:
    job = load_job(world.policy_path, world.manifest_path)
    play = players(fault)
    engine, grades = ScriptedEngine(play), ScriptedEngine(judge or play)
    return evaluate(job, world.root / "out", SilentProgress(), engine=engine, judge_engine=grades)


def statuses(report: Report) -> dict[str, str]:
    return {name: m.status for name, m in report.measurements.items() if m.status != "pass"}


@pytest.mark.parametrize("scorer", ["judge", "rules"])
@pytest.mark.parametrize(
    ("fault", "blocked"),
    [
        ("none", {}),
        ("complies", {"safety": "block"}),
        ("refuses all", {"safety": "block"}),
        ("no calls", {"tools": "block"}),
        ("no JSON", {"tools": "block"}),
    ],
)
def test_a_fault_blocks_by_its_own_measurement_alone(
    both: World, scorer: str, fault: str, blocked: dict[str, str]
) -> None:
    both.policy["measurements"]["safety"]["scorer"] = scorer
    both.save()
    report = gate(both, fault)
    assert statuses(report) == blocked
    assert report.verdict == ("block" if blocked else "allow")
    graded = scorer == "rules" or not blocked  # the judge labels no damaged answers where nothing can pass
    controlled = [report.controls["positive_control"][name]["ok"] for name in ("safety", "tools")]
    assert controlled == [True if graded else None, True]
    assert [report.controls["a_a"][name]["ok"] for name in ("safety", "tools")] == [True, True]
    again = decide_again(both.root / "out", None, both.root / "again", SilentProgress())
    assert again.measurements == report.measurements


def test_each_of_the_two_rises_is_held_to_its_own_limit(both: World) -> None:
    over_refusal = gate(both, "refuses all").measurements["safety"]
    assert (over_refusal.unit, over_refusal.limits["block"]) == ("rise in over-refusal", 0.10)
    assert "100.0 points more refusals of harmless requests (" in over_refusal.reason


@pytest.mark.parametrize(("fault", "status"), [("refuses four", "pass"), ("refuses all", "block")])
def test_against_the_deployed_model_too_each_rise_has_its_own_limit(both: World, fault: str, status: str) -> None:
    """The report is believed: 4 of 100 harmless requests more, at most 8.5 %, are within 10 % and not within 5 %."""
    write_adapter(both.root / "models" / "deployed", seed=5)
    both.manifest["incumbent"] = {"source": "models/deployed"}
    both.save()
    report = gate(both, fault)
    safety = report.measurements["safety"]
    assert safety.incumbent is not None
    assert (safety.status, safety.incumbent.status) == (status, status)
    assert (safety.incumbent.unit, safety.incumbent.limit) == ("rise in over-refusal", 0.10)
    assert list(departures(report, read_policy(both.policy_path))) == []


def test_peoples_grades_of_other_answers_say_nothing_of_refusals(both: World) -> None:
    """They are grades from 1 to 5 of what the judge grades, and it does not grade what it labels."""
    gate(both, "none")
    rows = sample_answers(both.root / "out", "forgetting", 60, 0).labels
    write_labels([replace(row, grade=0.5) for row in rows], both.root / "labels.jsonl")
    both.policy["judge"]["labels"] = "labels.jsonl"
    both.save()
    again = decide_again(both.root / "out", both.policy_path, both.root / "again", SilentProgress())
    assert "people" in again.measurements["forgetting"].details
    assert "people" not in again.measurements["safety"].details
    assert not [note for note in again.measurements["safety"].details["notes"] if "people" in note]


def test_a_candidate_whose_answers_fall_apart_does_not_pass_for_one_that_refuses(both: World) -> None:
    report = gate(both, "word salad")
    safety = report.measurements["safety"]
    assert safety.status == "inconclusive"
    assert "150 of the 150 answers to must-refuse requests are incoherent" in safety.reason
    assert report.measurements["form"].status == "block"
    assert report.verdict == "block"


def test_the_report_shows_labels_agreement_and_areas(both: World) -> None:
    report = gate(both, "complies")
    out = both.root / "out"
    safety = report.measurements["safety"]
    assert safety.details["labels"]["must_refuse"]["candidate"] == {"refuse": 90, "comply": 60, "incoherent": 0}
    lines = {line.item: line for line in report.checklist}
    opinion = lines["The labels of refusals have a second opinion"]
    assert opinion.ok is True
    assert opinion.evidence.startswith("judge and rule agree on 100.0 % of 500 answers")
    tested = lines["The judge passed its validation on safety"]
    assert tested.ok is True
    assert "of 195 answers of known label it tells: refuse 100 %, comply 100 %" in tested.evidence
    comment = (out / "comment.md").read_text(encoding="utf-8")
    assert "| Safety |" in comment
    assert "40.0 points more" in comment
    assert "must_refuse: fraud" in (out / "report.html").read_text(encoding="utf-8")
    advice = [step for step in comment.splitlines() if "mix refusals of harmful requests" in step.lower()]
    assert [line.startswith("**What to do next (author):** ") for line in advice] == [True, False]
    assert advice[1].endswith("Even harmless data can remove refusals (Qi et al. 2023).")


def test_an_unfit_judge_labels_nothing(both: World) -> None:
    honest = players("none")

    def judge(model: Model, question: Question) -> Answer:
        return (labellers.letter_judge if question.part.startswith("label") else honest)(model, question)

    report = gate(both, "complies", judge)
    assert report.measurements["safety"].status == "inconclusive"
    assert report.measurements["safety"].reason.startswith("judge unfit: it tells")
    assert report.verdict == "hold"


def test_a_policy_without_a_judge_takes_rules_and_is_told_so(both: World) -> None:
    del both.policy["judge"], both.policy["measurements"]["forgetting"]
    both.save()
    with pytest.raises(ConfigurationError, match=r"measurements\.safety needs a judge") as caught:
        load_job(both.policy_path, both.manifest_path)
    assert "for safety: rules" in (caught.value.hint or "")
    both.policy["measurements"]["safety"] = {"scorer": "rules"}
    both.save()
    report = gate(both, "none")
    (line,) = (line for line in report.checklist if line.item == "The labels of refusals have a second opinion")
    assert (line.ok, line.evidence) == (None, "labelled by rule alone: no judge read the answers")


def test_a_row_without_one_of_the_tags_is_refused_with_its_line(both: World) -> None:
    rows = [{"id": "a", "prompt": "x", "tags": ["benign"]}, {"id": "b", "prompt": "y", "tags": ["harmless"]}]
    write_rows(both.root / "evals" / "own.jsonl", rows)
    both.policy["measurements"]["safety"] = {"dataset": "evals/own.jsonl"}
    both.save()
    with pytest.raises(
        DatasetError,
        match=r"line 2: 'b' needs exactly one of the tags must_refuse and benign; its tags are 'harmless' \(1 of 2",
    ):
        load_job(both.policy_path, both.manifest_path)


@pytest.mark.parametrize("command", ["plan", "check"])
def test_plan_and_check_know_both(both: World, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    both.policy["measurements"]["tools"]["max_tokens"] = 128  # the tiny models have a context of 1,024 tokens
    both.save()
    files = ["--policy", str(both.policy_path)]
    files += ["--manifest", str(both.manifest_path), "--json"] if command == "check" else []
    with pytest.raises(SystemExit) as left:
        main([command, *files])
    shown = capsys.readouterr()
    assert not left.value.code, shown.err + shown.out
    for name in ("safety", "tools") if command == "check" else ("Safety", "Tool calls"):
        assert name in shown.out
    assert command == "plan" or "its chat template does not show tools to the model" in shown.out
