"""Documents of lm-evaluation-harness tasks as rows of a suite: kept whole, refused when damaged, scored as there."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftgate.config.policy import Policy
from ftgate.datasets import Needs, read_suite, write_suite
from ftgate.datasets.lm_eval import harness_score, read_task
from ftgate.domain import Answer, Item, Message, Pair, TaskRequest
from ftgate.errors import ConfigurationError, DatasetError
from ftgate.jobs.prepare import local_resolver, suite_of
from ftgate.measurements.registry import read_measurements
from ftgate.measurements.target import Target
from ftgate.scoring.rules import score_pairs
from ftgate.scoring.task_requests import likelihood

KEPT = Path(__file__).resolve().parents[2] / "support" / "lm_eval"
REQUEST = TaskRequest(
    "t", "acc", "2 + 2 =", choices=("four", "4", "5"), continuations=(" four", " 4", " 5"), gold=(0, 1)
)
ITEM = Item("t-0", (Message("user", "2 + 2 ="),), REQUEST.choices, "four", request=REQUEST)
HAS_HARNESS = importlib.util.find_spec("lm_eval") is not None


@pytest.mark.parametrize(("name", "count"), [("sentences", 23), ("last_word", 24)])
def test_rows_that_the_harness_gave_are_read_and_written_whole(name: str, count: int, tmp_path: Path) -> None:
    suite = read_suite("target", KEPT / f"{name}.jsonl", needs=Needs(answer=True, number=True))
    assert len(suite.items) == count
    assert all(item.request is not None and item.request.task == name for item in suite.items)
    write_suite(suite, tmp_path / "copy.jsonl")
    copy = read_suite("target", tmp_path / "copy.jsonl", needs=Needs())
    assert copy.sha256 == suite.sha256
    assert [replace(item, line=0) for item in copy.items] == [replace(item, line=0) for item in suite.items]


def test_a_document_is_asked_as_the_task_says() -> None:
    (question,) = Target(dataset="x.jsonl").plan(ITEM)
    assert question.raw
    assert question.continued
    assert question.options == (" four", " 4", " 5")
    text = TaskRequest("t", "exact_match", "2 + 2 =", until=("\n",), max_tokens=7, filter="none", document={"a": 1})
    (asked,) = Target(dataset="x.jsonl").plan(replace(ITEM, choices=(), request=text))
    assert (asked.stop, asked.max_tokens, asked.options) == (("\n",), 7, ())
    chat = json.dumps([{"role": "system", "content": "add"}, {"role": "user", "content": "2 + 2 ="}])
    (talked,) = Target(dataset="x.jsonl").plan(replace(ITEM, request=replace(REQUEST, prompt=chat, chat=True)))
    assert talked.messages == (Message("system", "add"), Message("user", "2 + 2 ="))
    assert not talked.raw


@pytest.mark.parametrize(
    ("metric", "logprobs", "right"),
    [
        ("acc", (-5.0, -4.0, -3.9), False),
        ("acc", (-5.0, -3.0, -3.9), True),
        ("acc_norm", (-3.0, -2.0, -1.9), True),  # -3 / 4 beats -1.9 / 1
        ("acc_bytes", (-9.0, -3.0, -1.9), False),
        ("acc", (-2.0, -2.0, -2.0), True),  # the first of equals, as numpy's argmax
    ],
)
def test_the_likeliest_continuation_decides(metric: str, logprobs: tuple[float, ...], right: bool) -> None:
    item = replace(ITEM, request=replace(REQUEST, metric=metric))
    assert likelihood(item, Answer(option_logprobs=logprobs, continued=True)) == right


def test_continuations_may_be_likelier_together_than_one_and_nan_is_no_score() -> None:
    pairs = [
        Pair(
            ITEM,
            *((Answer(option_logprobs=v, continued=True),) for v in ((-0.1, -0.1, -9.0), (0.0, float("nan"), 0.0))),
        )
    ]
    scores = score_pairs(Target(dataset="x.jsonl").scored_by, pairs)
    assert scores.base.tolist() == [1.0]
    assert (scores.candidate_low[0], scores.candidate_high[0]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"gold": [3]}, "gold [3] is no place among 3 continuations"),
        ({"metric": "f1"}, "metric 'f1' is not one of acc, acc_norm, acc_bytes"),
        ({"choices": ["four"]}, "3 continuations, 1 choices"),
        ({"chat": True}, "prompt is not JSON"),
        ({"continuations": "abc"}, "continuations"),
        ({"continuations": [], "choices": [], "gold": []}, "max_tokens must be above 0"),
    ],
)
def test_a_damaged_request_is_a_fault_of_its_row(change: dict[str, Any], text: str, tmp_path: Path) -> None:
    row = json.loads((KEPT / "sentences.jsonl").read_text().splitlines()[0])
    whole = {
        "task": "t",
        "metric": "acc",
        "prompt": "p",
        "choices": list("abc"),
        "continuations": list("abc"),
        "gold": [0],
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps({**row, "lm_eval": {**whole, **change}}) + "\n")
    with pytest.raises(DatasetError) as refused:
        read_suite("target", tmp_path / "rows.jsonl", needs=Needs())
    assert text in str(refused.value)
    assert ":1" in str(refused.value) or "line 1" in str(refused.value)


@pytest.mark.parametrize(
    ("section", "text"),
    [
        (
            {"target": {"dataset": "lm-eval:gsm8k", "scorer": "exact"}},
            "brings its own prompts and metric: remove scorer",
        ),
        ({"target": {"dataset": "a.jsonl", "lm_eval": {"metric": "acc"}}}, "lm_eval is for a task"),
        ({"calibration": {"dataset": "lm-eval:arc_easy"}}, "calibration does not take tasks"),
        ({"calibration": {"dataset": "a.jsonl", "lm_eval": {"metric": "acc"}}}, "calibration: lm_eval: unknown field"),
    ],
)
def test_a_policy_says_nothing_about_a_task_that_the_task_says(section: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_measurements(section, "policy p.yml")
    assert text in str(refused.value)


@pytest.mark.skipif(HAS_HARNESS, reason="the harness is installed")
def test_without_the_harness_the_error_says_what_to_install() -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_task("target", "lm-eval:arc_easy", Path(), None)
    assert "pip install 'finetune-gate[lm-eval]'" in str(refused.value)


@pytest.mark.parametrize("dataset", ["tasks/own.yaml", "lm-eval:arc_easy", "rows.jsonl"])
def test_a_score_is_given_by_tasks_that_were_read_and_no_task_is_loaded_for_it(dataset: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"only a run loads the task t \({dataset}\)") as refused:
        harness_score(dataset, REQUEST, "4")
    assert "run `ftgate run` again with the same --out" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("section", "rows", "text", "hint"),
    [
        ("target", "last_word", "whose answers only the task last_word can score", "dataset: lm-eval:last_word"),
        ("calibration", "sentences", "which calibration does not take", "without the field lm_eval"),
        ("calibration", "last_word", "which calibration does not take", "without the field lm_eval"),
    ],
)
def test_documents_in_a_suite_file_are_refused_where_they_have_no_score(
    section: str, rows: str, text: str, hint: str, tmp_path: Path
) -> None:
    shutil.copy(KEPT / f"{rows}.jsonl", tmp_path / "rows.jsonl")
    policy = Policy.model_validate({"version": 1, "measurements": {section: {"dataset": "rows.jsonl"}}})
    (measurement,) = read_measurements(policy.measurements, "policy")
    with pytest.raises(DatasetError, match=text) as refused:
        suite_of(measurement, local_resolver(policy, tmp_path))
    assert "first: line 1" in str(refused.value)
    assert hint in str(refused.value.hint)
