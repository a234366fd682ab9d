"""Rows in the shapes of benchmarks, asked and scored as they lie in their files."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from support.world import World, write_rows

from ftgate.cli.main import main
from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress

pytestmark = pytest.mark.usefixtures("no_pictures")

COLOURS = ["red", "green", "blue", "grey"]
ROWS: dict[str, tuple[str, dict[str, Any], list[dict[str, Any]]]] = {
    "target": (
        "target.jsonl",
        {"scorer": "choice", "min_gain": 0.0},
        [
            {"question": f"colour {i}?", "subject": ("art", "light")[i % 2], "choices": COLOURS, "answer": i % 4}
            for i in range(200)
        ],
    ),
    "calibration": (
        "choices.jsonl",
        {},
        [
            {
                "id": f"arc-{i}",
                "question": f"shade {i}?",
                "choices": {"text": COLOURS, "label": list("ABCD")},
                "answerKey": "ABCD"[i % 4],
            }
            for i in range(400)
        ],
    ),
    "forgetting": (
        "general.jsonl",
        {"scorer": "numeric"},
        [{"question": f"sum {i}?", "answer": f"Half of it is {i} / 2.\n#### {i}"} for i in range(200)],
    ),
    "tail": (
        "queries.jsonl",
        {"scorer": "check"},
        [
            {
                "key": i,
                "prompt": f"write {i}?",
                "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
                "kwargs": [{}, {"relation": "less than", "num_words": 9}],
            }
            for i in range(200)
        ],
    ),
}


def number(question: Question) -> int:
    match = re.match(r"\w+ (\d+)\?", question.messages[-1].content)
    assert match is not None
    return int(match[1])


def play(model: Model, question: Question) -> Answer:
    """Right on two of three items, the candidate on some more."""
    i = number(question)
    right = i % 3 > 0 or (model.name != "base" and i % 2 == 0)
    if question.options:
        lines = [line[3:] for line in question.messages[-1].content.splitlines()[1:5]]
        wanted = COLOURS[(i + (0 if right else 1)) % 4]
        return Answer(option_logprobs=tuple(math.log(0.7 if line == wanted else 0.1) for line in lines))
    if question.messages[-1].content.startswith("write"):
        return Answer(text="a few words" if right else "a few, words", tokens=3)
    return Answer(text=f"so it is {i if right else i + 1}", tokens=5)


def shaped(world: World) -> None:
    for name, (file, fields, rows) in ROWS.items():
        write_rows(world.root / "evals" / file, rows)
        world.policy["measurements"][name] |= fields
    world.policy.pop("judge", None)
    world.save()


def test_benchmark_rows_go_through_a_run(world: World) -> None:
    shaped(world)
    job = load_job(world.policy_path, world.manifest_path)
    assert {name: suite.notes[0] for name, suite in job.suites.items()} == {
        "target": "read as MMLU rows",
        "calibration": "read as ARC rows",
        "forgetting": "read as GSM8K rows",
        "tail": "read as IFEval rows",
    }
    report = evaluate(job, world.root / "out", SilentProgress(), engine=ScriptedEngine(play))
    for name in ("target", "forgetting"):
        measured = report.measurements[name]
        assert measured.base == pytest.approx(133 / 200, abs=0.01)
        assert measured.candidate == pytest.approx(166 / 200, abs=0.01)
    assert {tag for item in job.suites["target"].items for tag in item.tags} == {"art", "light"}
    assert all(measured.status not in ("error",) for measured in report.measurements.values()), report.reasons
    assert report.provenance["training_data"]["shape"] == "ftgate rows"
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.measurements == report.measurements
    assert again.provenance["training_data"] == report.provenance["training_data"]


def test_check_says_how_every_file_was_read(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    shaped(world)
    training = world.root / "evals" / "train.jsonl"
    rows = [json.loads(line) for line in training.read_text().splitlines()]
    talks = [[{"from": "human", "value": row["prompt"]}, {"from": "gpt", "value": "x"}] for row in rows]
    write_rows(training, [*({"conversations": talk} for talk in talks), {"text": "x"}, {"text": "y"}])
    with pytest.raises(SystemExit):
        main(["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path), "--json"])
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert "measurements.target: read as MMLU rows" in notes
    (training_note,) = [note for note in notes if note.startswith("training data: ")]
    assert f"{len(rows)} of {len(rows) + 2} rows have user text, read as ShareGPT rows" in training_note
    assert "no `conversations`, and the file is read as ShareGPT rows (2 rows: lines" in training_note


def test_answers_counted_from_1_are_asked_about(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": f"colour {i}?", "choices": COLOURS, "answer": 1 + i % 3} for i in range(60)]
    write_rows(world.root / "evals" / "target.jsonl", rows)
    with pytest.raises(SystemExit):
        main(["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path), "--json"])
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert any("are they counted from 1?" in warning and "measurements.target" in warning for warning in warnings)


def test_columns_of_a_policy_are_used_and_fixed_by_the_run(world: World) -> None:
    rows = [{"ask": f"colour {i}?", "options": COLOURS, "gold": COLOURS[i % 4]} for i in range(60)]
    write_rows(world.root / "evals" / "target.jsonl", rows)
    columns = {"prompt": "ask", "choices": "options", "answer": "gold"}
    world.policy["measurements"]["target"]["columns"] = columns
    world.save()
    job = load_job(world.policy_path, world.manifest_path)
    assert job.suites["target"].notes == ("read as rows mapped by columns",)
    assert [item.answer for item in job.suites["target"].items[:4]] == COLOURS
