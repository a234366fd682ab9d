"""Tasks through the real lm-evaluation-harness, where it is installed (docs/lm-eval.md)."""

from __future__ import annotations

import json
import math
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.world import World

from ftgate.cli.main import main
from ftgate.datasets import Needs, read_suite
from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress

if find_spec("lm_eval") is None:
    pytest.skip("lm_eval is not installed", allow_module_level=True)
# Only here: these would be set for every other test of this process, too.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

from lm_eval.tasks import TaskManager

from ftgate.datasets import lm_eval

CHOICE: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{q}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "gold",
    "num_fewshot": 1,
    "fewshot_split": "test",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
TEXT: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{q}}",
    "doc_to_target": "{{choices[gold]}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 9},
    "filter_list": [
        {"name": "last", "filter": [{"function": "regex", "regex_pattern": r"(\w+)$"}, {"function": "take_first"}]}
    ],
    "metric_list": [{"metric": "exact_match", "ignore_case": True}],
}
ROWS = [
    {"q": f"colour {i}?", "choices": ["red", "light blue"], "gold": i % 2, "subject": ("art", "light")[i % 2]}
    for i in range(200)
]


def write_task(folder: Path, name: str, task: dict[str, Any], rows: list[dict[str, Any]] = ROWS) -> str:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}}, "test_split": "test"}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **data, **task}))
    return f"{name}.yaml"


def script(model: Model, question: Question) -> Answer:
    """The base knows nine colours in ten, the candidate all of them."""
    number = int(question.item_id.rpartition("-")[2])
    right = number % 2 if model.name != "base" or number % 10 else 1 - number % 2
    if question.options:
        assert question.options == (" red", " light blue")
        logs = [math.log(0.1), math.log(0.1)]
        logs[right] = math.log(0.8)
        return Answer(option_logprobs=tuple(logs), continued=True)
    return Answer(f"It is {('red', 'BLUE')[right]}")


def test_two_tasks_go_through_run_and_decide(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{**row, "choices": ["red", "blue"]} for row in ROWS]
    tasks = {
        "target": write_task(world.root, "colours", CHOICE),
        "forgetting": write_task(world.root, "named", TEXT, rows),
    }
    world.policy["measurements"] = {name: {"dataset": task} for name, task in tasks.items()}
    world.save()
    job = load_job(world.policy_path, world.manifest_path)
    first = job.suites["target"].items[0]
    assert first.request is not None
    assert first.request.prompt.endswith("colour 0?")
    assert first.request.prompt.count("?") == 2, "one worked example"
    assert first.tags == ("art",)
    assert any("1 worked examples" in note for note in job.suites["target"].notes)
    report = evaluate(job, world.root / "out", SilentProgress(), engine=ScriptedEngine(script))
    for name in tasks:
        assert (report.measurements[name].base, report.measurements[name].candidate) == (0.9, 1.0)
    monkeypatch.setattr(lm_eval, "harness_score", lambda *_: pytest.fail("the journal has every score"))
    monkeypatch.setattr(lm_eval, "_LOADED", {})
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.verdict == report.verdict


@pytest.mark.parametrize(
    ("task", "rows", "text"),
    [
        ({**CHOICE, "output_type": "loglikelihood", "doc_to_target": "x"}, ROWS, "its output type is loglikelihood"),
        ({**CHOICE, "metric_list": [{"metric": "f1"}]}, ROWS, "metric 'of each document' is not to be had; it has f1"),
        ({**TEXT, "metric_list": [{"metric": "bleu"}]}, ROWS, "no number from 0 to 1 for one document"),
        ({**TEXT, "generation_kwargs": {"do_sample": True, "temperature": 1.0}}, ROWS, "it samples its answers"),
        ({**TEXT, "repeats": 3}, ROWS, "it asks 3 times"),
        ({**CHOICE, "num_fewshot": 0}, [*ROWS[:3], {**ROWS[3], "gold": 5}], "document 3 has no right choice: 5 of 2"),
        ({**CHOICE, "num_fewshot": 0}, [{**ROWS[0], "choices": ["red"]}, *ROWS[1:]], "document 0: 1 continuations"),
        ({**CHOICE, "doc_to_text": "{{nothing.at.all}}"}, ROWS, "UndefinedError"),
    ],
)
def test_what_has_no_score_for_each_document_is_refused(
    task: dict[str, Any], rows: list[dict[str, Any]], text: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        lm_eval.read_task("target", write_task(tmp_path, "t", task, rows), tmp_path, None)
    assert text in str(refused.value)
    assert refused.value.hint


def test_a_document_whose_choices_are_within_its_text_is_shown_without_worked_examples(tmp_path: Path) -> None:
    rows = [
        {"before": [f"{name} {i} thanked Ann since Ann", f"{name} {i} thanked Ann since {name}"], "gold": i % 2}
        for i, name in enumerate(["Bea", "Cem", "Dan", "Eve"] * 5)
    ]
    task = {**CHOICE, "doc_to_text": "gold", "doc_to_choice": "{{before}}", "doc_to_target": "had helped."}
    suite = lm_eval.read_task("target", write_task(tmp_path, "w", task, rows), tmp_path, None)
    first = suite.items[0]
    assert first.request is not None
    assert "had helped.\n\n" in first.request.prompts[0], "one worked example"
    assert first.user_text == "Bea 0 thanked Ann since Ann had helped."


def test_repeats_in_a_group_of_tasks_are_counted_over_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rows in (("first", [*ROWS[:3], ROWS[0]]), ("second", [*ROWS[3:7], ROWS[4]])):
        write_task(tmp_path, name, {**CHOICE, "num_fewshot": 0}, rows)
    (tmp_path / "group.yaml").write_text(yaml.safe_dump({"group": "both", "task": ["first", "second"]}))
    monkeypatch.setattr(lm_eval, "_manager", lambda: TaskManager(include_path=str(tmp_path), include_defaults=False))
    monkeypatch.chdir(tmp_path)
    suite = lm_eval.read_task("target", "lm-eval:both", tmp_path, None)
    assert [item.line for item in suite.items] == [1, 2, 3, 5, 6, 7, 8]
    assert suite.repeats == (4, 9)
    assert {item.tags[0] for item in suite.items} == {"first", "second"}


def test_an_unknown_task_or_file_is_named() -> None:
    for dataset, text in (("lm-eval:no_such_task_here", "cannot load it"), ("none.yaml", "no such task file")):
        with pytest.raises(ConfigurationError) as refused:
            lm_eval.read_task("target", dataset, Path(), None)
        assert text in str(refused.value)


def cli(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["suite", *arguments])
    return int(str(ended.value.code or 0))


def test_a_task_is_shown_and_imported_like_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tmp_path / write_task(tmp_path, "colours", {**CHOICE, "num_fewshot": 0}, [*ROWS[:20], ROWS[3]])
    assert cli("show", str(task)) == 0
    text = capsys.readouterr().out
    for part in (
        f"{task}: 21 rows, 20 distinct",
        "task colours: 21 documents, 0 worked examples in each prompt, metric acc",
        "1 row repeats another one and is left out (line 21 of",
        "tags: art 10, light 10",
        "document 1, id colours-0",
        "colour 0?\n  right continuation: ' red'\n  wrong continuation: ' light blue'\n  scored by acc",
    ):
        assert part in text
    rows = tmp_path / "rows.jsonl"
    assert cli("import", str(task), "--out", str(rows)) == 0
    assert read_suite("s", rows, needs=Needs()).sha256 == lm_eval.read_task("s", str(task), Path(), None).sha256
    texts = tmp_path / write_task(tmp_path, "named", TEXT, ROWS[:20])
    assert cli("import", str(texts), "--out", str(tmp_path / "no.jsonl")) == 2
    assert "only the task named can score (metric exact_match, filter last)" in capsys.readouterr().err
    assert cli("show", str(texts)) == 0
    assert "generated up to '\\n', at most 9 tokens\n  reference: red" in capsys.readouterr().out
