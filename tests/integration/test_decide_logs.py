"""`ftgate decide --from`: logs that inspect_ai 0.3.285 and lm-eval 0.4.13 wrote, and rows of Every Eval Ever."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.cli.main import main
from ftgate.datasets.eval_logs import read_log
from ftgate.errors import ConfigurationError
from ftgate.gate.decide_logs import FROM_LOGS
from ftgate.report.reading import read_report

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
    assert FROM_LOGS in comment
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
    assert FROM_LOGS in report["reasons"]
    assert FROM_LOGS in comment
    assert report["name"] == "org/b"
    assert read_report(tmp_path / "out").verdict == report["verdict"], "it shows no controls, as none ran"


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


def test_the_report_of_a_run_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("out", "decided"):
        (tmp_path / name).mkdir()
    (tmp_path / "out" / "report.json").write_text("of a run")
    (tmp_path / "out" / "job.json").write_text("{}")
    (tmp_path / "policy.yml").write_text(json.dumps({"version": 1, "measurements": TARGET}))
    arguments = ["decide", "--from", *map(str, HARNESS), "--policy", "policy.yml"]
    for options, code in (([], 4), ([], 4), (["--out", "out"], 2)):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, *options])
        assert ended.value.code == code
    printed = capsys.readouterr()
    assert "report: decided/report.json" in printed.out
    assert "--out out: a run is in it" in printed.err
    assert (tmp_path / "out" / "report.json").read_text() == "of a run"
    assert FROM_LOGS in (tmp_path / "decided" / "comment.md").read_text()


def archive(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return path


WHOLE = {
    "header.json": b'{"status": "success", "eval": {"task": "t", "model": "m"}}',
    "samples/1_epoch_1.json": b'{"id": 1, "input": "x", "target": "", "scores": {"match": {"value": "C"}}}',
}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"header.json": b"[1]"}, "header.json: not an object, but a list"),
        ({"samples/1_epoch_1.json": b'"text"'}, "samples/1_epoch_1.json: not an object, but text"),
        ({"samples/1_epoch_1.json": b"{"}, "samples/1_epoch_1.json: not JSON"),
        ({"samples/1_epoch_1.json": b'{"id": 1, "scores": [1]}'}, "no scores in it"),
        ({"header.json": b'{"status": "success", "eval": 3}'}, ""),
    ],
)
def test_an_archive_of_other_json_is_refused_by_name(tmp_path: Path, change: dict[str, bytes], text: str) -> None:
    path = archive(tmp_path / "log.eval", {**WHOLE, **change})
    if not text:
        assert len(read_log(path).samples) == 1
        return
    with pytest.raises(ConfigurationError, match=re.escape(text)) as refused:
        read_log(path)
    assert refused.value.hint


@pytest.mark.parametrize(("method", "number"), [(zipfile.ZIP_BZIP2, 12), (zipfile.ZIP_LZMA, 14)])
def test_other_compression_is_named(tmp_path: Path, method: int, number: int) -> None:
    with pytest.raises(ConfigurationError, match=rf"header\.json is compressed by method {number}"):
        read_log(archive(tmp_path / "log.eval", WHOLE, method))
    assert len(read_log(archive(tmp_path / "stored.eval", WHOLE, zipfile.ZIP_STORED)).samples) == 1


@pytest.mark.parametrize(
    ("bits", "text"),
    [(0x01, "header.json is encrypted"), (0x41, "is encrypted"), (0x20, "damaged: compressed patched")],
)
def test_an_encrypted_entry_is_named(tmp_path: Path, bits: int, text: str) -> None:
    path = archive(tmp_path / "log.eval", WHOLE)
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags in a local and a central header
        place = content.find(mark)
        while place >= 0:
            content[place + offset] |= bits
            place = content.find(mark, place + 1)
    path.write_bytes(bytes(content))
    with pytest.raises(ConfigurationError, match=text) as refused:
        read_log(path)
    assert refused.value.hint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(data=st.data())
def test_a_row_with_anything_in_a_field_is_a_sample_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    sample = json.loads(WHOLE["samples/1_epoch_1.json"])
    row = data.draw(
        st.sampled_from([json.loads(HARNESS[0].read_text().splitlines()[0]), every_row(folder), sample, {}])
    )
    for name in data.draw(st.lists(st.sampled_from(sorted(row) or ["doc"]), max_size=2)):
        row[name] = data.draw(JSON)
    text = json.dumps(row)
    path = folder / "log.jsonl"
    path.write_text(text + "\n")
    if "scores" in row:
        path = archive(folder / "log.eval", {**WHOLE, "samples/1_epoch_1.json": text.encode()})
    try:
        log = read_log(path)
    except ConfigurationError as refused:
        assert refused.hint  # noqa: PT017 - either is right
    else:
        assert len(log.samples) == 1
        assert log.samples[0].score is None or 0 <= log.samples[0].score <= 1


def every_row(folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(every_eval_ever(folder / "every.jsonl", set(), n=1).read_text())
    return row


def harness_log(path: Path, scores: dict[str, float], filters: tuple[str, ...] = ("none",)) -> Path:
    rows = [
        {
            "doc_id": i,
            "doc": {"q": i},
            "target": "x",
            "arguments": [[f"{i}?", ""]],
            "resps": [["a"]],
            "filtered_resps": ["a"],
            "filter": name,
            "metrics": list(scores),
            **scores,
        }
        for name in filters
        for i in range(100)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("metric", ["wer", "brier_score", "word_perplexity", "pct_stereotype", "Character_Error_Rate"])
def test_a_metric_of_which_lower_is_better_is_refused(
    metric: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = [harness_log(tmp_path / f"samples_{x}.jsonl", {metric: y, "acc": y}) for x, y in (("a", 0.1), ("b", 0.9))]
    code, _, _ = decided(tmp_path, (logs[0], logs[1]), TARGET)
    assert code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"of its metric {metric} lower is better" in said
    assert "use another (--metric): it has acc" in said
    code, report, _ = decided(tmp_path, (logs[0], logs[1]), TARGET, "--metric", "acc")
    assert report["measurements"]["target"]["change"] == pytest.approx(0.8)


@pytest.mark.parametrize("metric", ["acc", "exact_match", "answer", "f1", "player", "closeness"])
def test_of_any_other_metric_higher_is_better(metric: str, tmp_path: Path) -> None:
    assert read_log(harness_log(tmp_path / "samples_a.jsonl", {metric: 1.0})).metric == metric


def test_an_evaluation_of_which_lower_is_better_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="of its metric wer lower is better"):
        read_log(every_eval_ever(tmp_path / "a.jsonl", set(), n=3, evaluation_name="wer"))


def test_the_filter_that_decides_is_named_beside_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filters = ("strict-match", "flexible-extract")
    logs = [harness_log(tmp_path / f"samples_{x}.jsonl", {"exact_match": 0.5}, filters) for x in "ab"]
    _, report, _ = decided(tmp_path, (logs[0], logs[1]), TARGET)
    said = "metric exact_match of filter strict-match (not flexible-extract); 100 samples in both"
    assert said in " ".join(capsys.readouterr().out.split())
    assert said in report["checklist"][1]["evidence"]
    other = harness_log(tmp_path / "samples_c.jsonl", {"exact_match": 0.5}, filters[1:])
    code, _, _ = decided(tmp_path, (logs[0], other), TARGET)
    assert code == 2
    assert "differ in filter: 'strict-match' and 'flexible-extract'" in " ".join(capsys.readouterr().err.split())


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
