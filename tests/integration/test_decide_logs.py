"""`ftgate decide --from`: logs that inspect_ai 0.3.285 and lm-eval 0.4.13 wrote, and rows of Every Eval Ever."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ftgate.cli.main import main
from ftgate.datasets.eval_logs import read_log
from ftgate.errors import ConfigurationError
from ftgate.gate.decide_logs import UNPROVEN

LOGS = Path(__file__).resolve().parents[1] / "support" / "logs"
INSPECT = (LOGS / "base.eval", LOGS / "candidate.eval")
HARNESS = (LOGS / "samples_sentences_base.jsonl", LOGS / "samples_sentences_overconfident.jsonl")
TARGET = {"target": {"dataset": "x.jsonl", "min_gain": -0.5}}


def every_eval_ever(path: Path, wrong: set[int], n: int = 200, **fields: Any) -> Path:
    rows = [
        {
            "schema_version": "instance_level_eval_0.2.1",
            "evaluation_id": "e",
            "model_id": f"org/{path.stem}",
            "evaluation_name": "sums",
            "sample_id": f"s{i}",
            "interaction_type": "single_turn",
            "input": {"raw": f"{i} + 1?", "reference": [str(i + 1)]},
            "output": {"raw": ["no idea" if i in wrong else str(i + 1)]},
            "answer_attribution": [],
            "evaluation": {"score": float(i not in wrong), "is_correct": i not in wrong},
            "metadata": {"subject": ("odd", "even")[i % 2]},
            **fields,
        }
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def decided(
    folder: Path, logs: tuple[Path, Path], measurements: dict[str, Any], *options: str, **evidence: Any
) -> tuple[int, dict[str, Any], str]:
    """The exit code, the report and the comment."""
    policy = {"version": 1, "measurements": measurements, "evidence": {"draws": 200, **evidence}}
    (folder / "policy.yml").write_text(json.dumps(policy))
    arguments = ["decide", "--from", *map(str, logs), "--policy", str(folder / "policy.yml"), *options]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--out", str(folder / "out")])
    report = json.loads((folder / "out" / "report.json").read_text()) if (folder / "out").exists() else {}
    comment = (folder / "out" / "comment.md").read_text() if report else ""
    return int(str(ended.value.code)), report, comment


def test_a_log_of_inspect_ai_is_paired_with_its_scores_clusters_and_subjects(tmp_path: Path) -> None:
    code, report, comment = decided(tmp_path, INSPECT, {"forgetting": {"dataset": "x.jsonl"}})
    forgetting = report["measurements"]["forgetting"]
    assert (forgetting["base"], forgetting["candidate"], forgetting["n"]) == (0.9, 0.75, 20)
    assert code == 4
    assert "clusters" in forgetting["reason"]
    assert {part["name"] for part in forgetting["slices"]} == {"a", "b"}
    assert [example["item"] for example in forgetting["regressions"]] == ["s9", "s12", "s17"]
    assert UNPROVEN in comment
    assert "digest" not in report["provenance"]["candidate"]
    assert not (tmp_path / "out" / "statement.json").exists(), "it would be about weights that nobody saw"


def test_a_sample_log_of_the_harness_has_its_own_accuracy(tmp_path: Path) -> None:
    _, report, _ = decided(tmp_path, HARNESS, TARGET, "--metric", "acc_norm")
    samples = [json.loads(line) for line in HARNESS[0].read_text().splitlines()]
    assert report["measurements"]["target"]["base"] == sum(s["acc_norm"] for s in samples) / len(samples)
    assert "lm-eval logs" in report["checklist"][1]["evidence"]
    assert "acc_norm" in report["checklist"][1]["evidence"]


@pytest.mark.parametrize(("wrong", "allow", "code"), [(set(), False, 4), (set(), True, 0), (set(range(150)), True, 1)])
def test_logs_never_allow_unless_the_policy_says_so(tmp_path: Path, wrong: set[int], allow: bool, code: int) -> None:
    logs = (every_eval_ever(tmp_path / "a.jsonl", {1}), every_eval_ever(tmp_path / "b.jsonl", wrong))
    ended, report, comment = decided(tmp_path, logs, TARGET, allow_unproven_weights=allow)
    assert ended == code, report["reasons"]
    assert UNPROVEN in report["reasons"]
    assert UNPROVEN in comment
    assert report["name"] == "org/b"


def test_what_logs_cannot_decide_holds(tmp_path: Path) -> None:
    logs = (every_eval_ever(tmp_path / "a.jsonl", {1}), every_eval_ever(tmp_path / "b.jsonl", set()))
    both = {**TARGET, "calibration": {"dataset": "x.jsonl"}}
    code, report, _ = decided(tmp_path, logs, both, allow_unproven_weights=True)
    assert code == 4
    assert "calibration cannot be decided on logs: run `ftgate run`" in report["reasons"]


def test_a_failed_sample_has_no_score(tmp_path: Path) -> None:
    failed = every_eval_ever(tmp_path / "b.jsonl", set(), n=40, error="timeout")
    assert {sample.score for sample in read_log(failed).samples} == {None}
    code, report, _ = decided(tmp_path, (every_eval_ever(tmp_path / "a.jsonl", set(), n=40), failed), TARGET)
    assert code == 4
    assert "40 of 40 items failed" in report["measurements"]["target"]["reason"]


def damaged(path: Path, source: Path, **header: Any) -> Path:
    """A log of inspect_ai, packed by deflate as earlier versions did, with another header."""
    read = read_log(source)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "header.json", json.dumps({"status": "success", "eval": {"task": "sums", "model": "m"}, **header})
        )
        for sample in read.samples:
            row = {"id": sample.id, "input": sample.prompt, "target": "", "scores": {"match": {"value": "P"}}}
            archive.writestr(f"samples/{sample.id}_epoch_1.json", json.dumps(row))
    return path


def test_earlier_logs_of_inspect_ai_are_read_too(tmp_path: Path) -> None:
    log = read_log(damaged(tmp_path / "old.eval", INSPECT[0]))
    assert (log.kind, log.task, log.model, log.metric, len(log.samples)) == ("inspect_ai", "sums", "m", "match", 20)
    assert {sample.score for sample in log.samples} == {0.5}


def test_logs_that_cannot_be_used_are_refused_with_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = every_eval_ever(tmp_path / "a.jsonl", set()), every_eval_ever(tmp_path / "b.jsonl", set(), n=100)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "x"}\n')
    (tmp_path / "not.jsonl").write_text("x\n")
    cases: list[tuple[tuple[Path, Path], str]] = [
        ((a, b), "only 100 of its 200 samples are in the other log"),
        ((a, INSPECT[0]), "differ in kind"),
        ((tmp_path / "rows.jsonl", a), "no log that ftgate knows"),
        ((tmp_path / "not.jsonl", a), "not JSON"),
        ((tmp_path / "none.jsonl", a), "cannot read it"),
        ((damaged(tmp_path / "e.eval", INSPECT[0], status="cancelled"), INSPECT[1]), "status 'cancelled'"),
        ((every_eval_ever(tmp_path / "c.jsonl", set(), input={"raw": "other", "reference": []}), a), "another prompt"),
    ]
    for logs, text in cases:
        code, _, _ = decided(tmp_path, logs, TARGET)
        assert code == 2
        assert text in " ".join(capsys.readouterr().err.split())
    code, _, _ = decided(tmp_path, HARNESS, TARGET, "--metric", "f1")
    assert code == 2
    assert "it has acc, acc_norm (--metric)" in capsys.readouterr().err
    with pytest.raises(ConfigurationError):
        read_log(damaged(tmp_path / "m.eval", INSPECT[0]), "other")


def test_decide_needs_a_folder_or_two_logs(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, text in (
        (["decide"], "no DIRECTORY of a run"),
        (["decide", "out", "--metric", "acc"], "are for --from"),
        (["decide", "--from", "a", "b"], "needs --policy"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert text in capsys.readouterr().err
