"""Rows in the shapes of MMLU, ARC, GSM8K and IFEval, and an lm-eval task, through a run on real tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.world import write_rows

from ftgate.cli.demo import find_world
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.engine
SUPPORT = Path(__file__).resolve().parents[1] / "support"


def rows_of(name: str, count: int) -> list[dict[str, Any]]:
    lines = (find_world() / "evals" / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:count]]


def judged(folder: Path, measurements: dict[str, Any]) -> Report:
    models = find_world() / "models"
    policy = {
        "version": 1,
        "measurements": measurements,
        "evidence": {"early_stopping": "none", "draws": 200},
        "engine": {"kind": "transformers", "dtype": "float32", "max_model_len": 384},
        "artifacts": {"allow": [f"{models}/*"]},
    }
    manifest = {"name": "x", "base": {"source": f"{models}/base"}, "candidate": {"source": f"{models}/overconfident"}}
    for name, content in (("policy.yaml", policy), ("manifest.yaml", manifest)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return evaluate(load_job(folder / "policy.yaml", folder / "manifest.yaml"), folder / "out", SilentProgress())


def test_four_benchmark_shapes_are_asked_and_scored(tmp_path: Path) -> None:
    choices = [row for row in rows_of("choices.jsonl", 120) if len(row["choices"]) == 4]
    sums = [row for row in rows_of("general.jsonl", 240) if row["tags"] == ["add"]]
    shapes: dict[str, list[dict[str, Any]]] = {
        "target": [
            {
                "question": r["prompt"],
                "choices": r["choices"],
                "answer": r["choices"].index(r["answer"]),
                "subject": "x",
            }
            for r in choices[:50]
        ],
        "calibration": [
            {
                "id": r["id"],
                "question": r["prompt"],
                "choices": {"text": r["choices"], "label": list("ABCD")},
                "answerKey": "ABCD"[r["choices"].index(r["answer"])],
            }
            for r in choices[50:]
        ],
        "forgetting": [
            {"question": r["prompt"], "answer": f"So {r['answer']}.\n#### {r['answer'].split()[-1]}"} for r in sums
        ],
        "tail": [
            {
                "key": i,
                "prompt": r["prompt"],
                "instruction_id_list": ["punctuation:no_comma"],
                "kwargs": [{}],
                "tags": ["ambiguous"],
            }
            for i, r in enumerate(rows_of("general.jsonl", 40))
        ],
    }
    for name, rows in shapes.items():
        write_rows(tmp_path / f"{name}.jsonl", rows)
    report = judged(
        tmp_path,
        {
            "target": {"dataset": "target.jsonl", "scorer": "choice", "min_gain": -0.5},
            "calibration": {"dataset": "calibration.jsonl", "rotations": 1},
            "forgetting": {"dataset": "forgetting.jsonl", "scorer": "numeric", "max_tokens": 16},
            "tail": {"dataset": "tail.jsonl", "scorer": "check", "max_tokens": 16},
        },
    )
    scores = {name: report.measurements[name].base for name in shapes}
    assert scores["target"] == pytest.approx(0.9, abs=0.1)  # the tiny base was trained on such questions
    assert scores["forgetting"] is not None
    assert scores["forgetting"] > 0.5
    assert {name: part.n for name, part in report.measurements.items() if name in ("target", "forgetting")} == {
        "target": 50,
        "forgetting": len({r["prompt"] for r in sums}),
    }


def test_an_lm_eval_task_scores_as_lm_eval_itself(tmp_path: Path) -> None:
    """The rows and the harness's own samples were written by lm-eval 0.4.13 (benchmarks/lm_eval_equality.py)."""
    (tmp_path / "task.jsonl").write_bytes((SUPPORT / "lm_eval" / "sentences.jsonl").read_bytes())
    report = judged(tmp_path, {"target": {"dataset": "task.jsonl", "min_gain": -0.5}})
    answers = {}
    for line in (tmp_path / "out" / "answers.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["type"] == "answer" and not record["repeat"]:
            answers[record["model"], record["item"]] = record["answer"]["option_logprobs"]
    for model, name, score in (
        ("base", "base", report.measurements["target"].base),
        ("x", "overconfident", report.measurements["target"].candidate),
    ):
        log = SUPPORT / "logs" / f"samples_sentences_{name}.jsonl"
        samples = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        assert score == pytest.approx(sum(sample["acc"] for sample in samples) / len(samples))
        for sample in samples:
            theirs = [reply[0][0] for reply in sample["resps"]]
            assert answers[model, f"sentences-{sample['doc_id']}"] == pytest.approx(theirs, abs=1e-3)
    again = decide_again(tmp_path / "out", None, tmp_path / "again", SilentProgress())
    assert again.measurements["target"].change == report.measurements["target"].change
