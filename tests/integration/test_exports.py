"""`ftgate export`: each format is read back by the library that it is for.

MLflow, wandb and inspect_ai are only in the environment of `make exports`; their tests are skipped elsewhere.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from huggingface_hub import ModelCard, parse_eval_result_entries
from support.players import FORGETFUL, script
from support.world import World

from ftgate.cli.export import TARGETS
from ftgate.cli.main import cli
from ftgate.config.policy import read_policy
from ftgate.engines import registry
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError
from ftgate.exports import EXPORTS, Export, export, export_all
from ftgate.exports.inspect_logs import file_stems
from ftgate.exports.results import library
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.gate.output import RESULTS, remove_results
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report import render
from ftgate.report.items import read_items
from ftgate.report.reading import read_report
from ftgate.report.schema import MeasurementReport, Report, write_report

START_SECONDS = 300


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that blocks a forgetful candidate."""
    world = World(tmp_path_factory.mktemp("run"))
    engine = ScriptedEngine(script(FORGETFUL))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "pictures", lambda report: {})
        job = load_job(world.policy_path, world.manifest_path)
        evaluate(job, world.root / "out", SilentProgress(), engine=engine, judge_engine=engine)
    return world.root / "out"


def changed(run: Path, folder: Path, change: Callable[[Report], None]) -> Path:
    """A folder with the run's report, changed as another policy might have it: its own is not at hand."""
    report = read_report(run / "report.json")
    report.provenance["policy"] = ""
    change(report)
    write_report(report, folder / "report.json")
    return folder


def with_status(part: MeasurementReport, status: str) -> MeasurementReport:
    """The measurement with another status, and numbers that give it."""
    numbers: dict[str, Any] = {}
    if status in ("pass", "warn") and part.worse == "up":
        numbers = {"change": 0.02, "interval": (0.01, 0.03), "candidate": None}
        numbers["limits"] = {"block": part.limits["block"], **({"warn": 0.02} if status == "warn" else {})}
    elif status == "block":
        numbers = {"change": 0.5, "interval": (0.4, 0.6), "candidate": None}
    elif status == "not_applicable":
        numbers = {"change": None, "interval": (None, None), "candidate": None}
    return part.model_copy(update={"status": status, **numbers})


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def junit(folder: Path) -> tuple[ET.Element, dict[str, ET.Element]]:
    export(folder, "junit")
    (suite,) = ET.parse(folder / "junit.xml").getroot()
    return suite, {case.get("name", ""): case for case in suite}


def test_junit_is_as_red_as_the_gate(run: Path) -> None:
    suite, cases = junit(run)
    report = read_report(run / "report.json")
    assert report.verdict == "block"
    assert list(cases) == [*report.measurements, "verdict"]
    red = {name for name, case in cases.items() if case.find("failure") is not None}
    assert red == {name for name, part in report.measurements.items() if part.status == "block"} | {"verdict"}
    assert (suite.get("failures"), suite.get("tests")) == (str(len(red)), str(len(cases)))
    failure = cases["forgetting"].find("failure")
    assert failure is not None
    assert failure.get("message") == report.measurements["forgetting"].reason


@pytest.mark.parametrize(
    ("status", "tier", "tag"),
    [
        ("pass", "blocking", "system-out"),
        ("warn", "blocking", "system-out"),
        ("inconclusive", "blocking", "failure"),
        ("block", "supporting", "failure"),
        ("block", "advisory", "system-out"),
        ("error", "blocking", "error"),
        ("not_applicable", "advisory", "skipped"),
    ],
)
def test_junit_says_of_each_status_what_it_does_to_the_verdict(
    run: Path, tmp_path: Path, status: str, tier: str, tag: str
) -> None:
    def change(report: Report) -> None:
        part = report.measurements["tail"]
        report.measurements["tail"] = with_status(part, status).model_copy(update={"tier": tier})

    _, cases = junit(changed(run, tmp_path, change))
    assert [part.tag for part in cases["tail"]] == [tag]


def test_junit_holds_any_text(run: Path, tmp_path: Path) -> None:
    def change(report: Report) -> None:
        report.name = "a\x00\x1b[31m<b>&]]>\ufffe"

    suite, _ = junit(changed(run, tmp_path, change))
    assert "<b>&" in suite.get("name", "")


def test_a_held_run_is_red_in_junit_though_every_measurement_passed(run: Path, tmp_path: Path) -> None:
    def change(report: Report) -> None:
        report.verdict, report.reasons = "hold", ["the judge is unfit"]
        for name, part in report.measurements.items():
            report.measurements[name] = with_status(part, "pass")

    suite, cases = junit(changed(run, tmp_path, change))
    assert suite.get("failures") == "1"
    failure = cases["verdict"].find("failure")
    assert failure is not None
    assert failure.get("message") == "hold: the judge is unfit"


def test_a_model_card_keeps_what_it_says_and_takes_the_newest_results(run: Path, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    theirs = {"task": {"type": "text-generation"}, "dataset": {"type": "gsm8k", "name": "GSM8K"}}
    theirs["metrics"] = [{"type": "accuracy", "value": 0.5}]  # type: ignore[assignment]
    metadata = {"license": "mit", "model-index": [{"name": "bot", "results": [theirs]}]}
    card.write_text(f"---\n{yaml.safe_dump(metadata)}---\n# Our bot\n\nText.\n")
    for _ in range(2):
        export(run, "model-card", card)
    read = ModelCard.load(card)
    assert read.data.license == "mit"
    assert "# Our bot\n\nText." in read.text
    assert read.data.model_name == "bot"
    report = read_report(run / "report.json")
    results = {(result.task_name, result.metric_type): result for result in read.data.eval_results or []}
    assert results.pop((None, "accuracy")).metric_value == 0.5
    assert set(results) == {(name, kind) for name in report.measurements for kind in ("score", "change")}
    forgetting = report.measurements["forgetting"]
    assert results["forgetting", "score"].metric_value == pytest.approx(forgetting.candidate)
    change = results["forgetting", "change"]
    assert change.metric_value == pytest.approx(forgetting.change)
    assert change.metric_args["interval"] == pytest.approx(list(forgetting.interval))


def test_a_model_card_is_made_where_there_is_none(run: Path) -> None:
    export(run, "model-card")
    assert ModelCard.load(run / "model-card.md").data.eval_results


def test_what_is_no_model_card_is_named_and_kept(run: Path, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: [\n---\ntext\n")
    done = invoke("export", run, "--to", "model-card", "--out", card)
    assert isinstance(done.exception, ConfigurationError)
    assert f"{card}: not a model card" in str(done.exception)
    assert card.read_text() == "---\nlicense: [\n---\ntext\n"


def test_scores_on_datasets_of_the_hub_are_written_for_a_model_repository(run: Path, tmp_path: Path) -> None:
    def change(report: Report) -> None:
        source = f"hf://datasets/acme/tickets@{'a' * 40}/data/test.jsonl"
        report.provenance["suites"]["target"]["source"] = source

    where = export(changed(run, tmp_path, change), "eval-results")
    assert re.search(r"eval-results\.yaml \(\d measurements on other suites left out\)$", where)
    (entry,) = parse_eval_result_entries(yaml.safe_load((tmp_path / "eval-results.yaml").read_text()))
    assert (entry.dataset_id, entry.task_id, entry.dataset_revision) == ("acme/tickets", "test", "a" * 40)
    assert entry.value == read_report(run / "report.json").measurements["target"].candidate


def test_without_a_dataset_of_the_hub_the_other_format_is_named(run: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no suite of this run is a dataset of the Hugging Face Hub"):
        export(run, "eval-results")
    assert not (run / "eval-results.yaml").exists()


def test_a_folder_without_a_report_and_a_file_for_a_server_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no report at"):
        export(tmp_path, "junit")
    with pytest.raises(ConfigurationError, match=r"--out x: mlflow keeps results on its server"):
        export(run, "mlflow", Path("x"))
    several = invoke("export", run, "--to", "junit", "--to", "model-card", "--out", tmp_path / "x")
    assert several.exit_code == 2
    assert "--out names one file" in several.output


def test_several_formats_are_written_at_once(run: Path) -> None:
    done = invoke("export", run, "--to", "junit", "--to", "model-card")
    assert done.exit_code == 0, done.output
    assert done.output == f"junit: {run / 'junit.xml'}\nmodel-card: {run / 'model-card.md'}\n"


def test_a_library_that_is_missing_is_named_with_what_to_install() -> None:
    with pytest.raises(ConfigurationError, match="no_such_library is not installed") as raised:
        library("no_such_library", "mlflow")
    assert raised.value.hint == 'pip install "finetune-gate[mlflow]"'


def test_every_format_is_an_option_and_documented() -> None:
    assert tuple(EXPORTS) == TARGETS
    page = (Path(__file__).parents[2] / "docs" / "exports.md").read_text()
    assert all(f"`{name}`" in page for name in EXPORTS)


def test_a_run_writes_what_its_policy_asks_for_and_keeps_its_verdict_where_that_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, no_pictures: None, capfd: pytest.CaptureFixture[str]
) -> None:
    scripted = {kind: lambda settings, log: ScriptedEngine(script(FORGETFUL)) for kind in ("vllm", "scripted")}
    monkeypatch.setattr(registry, "_ENGINES", scripted)
    out = world.root / "out"
    world.policy["exports"] = ["eval-results", "junit"]
    world.save()
    done = invoke("run", "--policy", world.policy_path, "--manifest", world.manifest_path, "--out", out)
    assert done.exit_code == 1, done.output
    said = capfd.readouterr().err.splitlines()
    assert f"junit: {out / 'junit.xml'}" in said
    assert any(line.startswith("warning: eval-results: no suite of this run is a dataset") for line in said)
    assert f"the verdict stands; ftgate export {out} --to eval-results" in said


def test_what_a_library_raises_is_named_and_the_other_formats_are_written(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("the server hung up")

    monkeypatch.setitem(EXPORTS, "mlflow", Export(fail))
    said = list(export_all(run, ("mlflow", "junit")))
    assert said[0].startswith("warning: mlflow: RuntimeError: the server hung up")
    assert said[2] == f"junit: {run / 'junit.xml'}"


def test_no_export_outlives_the_verdict_that_it_states(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(run, out)
    card = export(out, "model-card")
    export(out, "junit")
    (out / "eval-results.yaml").write_text("[]")
    decide_again(out, None, out, SilentProgress())
    assert not [name for name in ("junit.xml", "eval-results.yaml") if (out / name).exists()]
    assert Path(card).is_file()
    kept = {form.default for form in EXPORTS.values()} - {*RESULTS, ""}
    assert kept == {"model-card.md", "inspect"}


def test_asking_for_exports_leaves_the_policy_what_it_is(world: World) -> None:
    before = read_policy(world.policy_path).sha256()
    world.policy["exports"] = ["junit"]
    world.save()
    assert read_policy(world.policy_path).sha256() == before


def test_inspect_reads_every_answer_and_score(run: Path) -> None:
    pytest.importorskip("inspect_ai")
    from inspect_ai.log import list_eval_logs, read_eval_log

    export(run, "inspect")
    report, items = read_report(run / "report.json"), read_items(run)
    names = {Path(log.name).name for log in list_eval_logs(str(run / "inspect"))}
    assert names == {f"{name}-{side}.eval" for name in report.measurements for side in ("base", "candidate")}
    for side in ("base", "candidate"):
        log: Any = read_eval_log(str(run / "inspect" / f"forgetting-{side}.eval"))
        assert (log.status, log.eval.task) == ("success", "forgetting")
        rows = {row.item: getattr(row, side) for row in items if row.measurement == "forgetting"}
        assert {s.id: s.output.completion for s in log.samples} == {k: row.answers[0].text for k, row in rows.items()}
        scores = {s.id: s.scores["ftgate"].value for s in log.samples if s.scores}
        assert scores == {key: row.score for key, row in rows.items() if row.score is not None}
        mean = log.results.scores[0].metrics["mean"].value
        assert mean == pytest.approx(getattr(report.measurements["forgetting"], side), abs=1e-6)


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """MLflow's own server on loopback."""
    pytest.importorskip("mlflow")
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path / 'mlflow.db'}"]
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--artifacts-destination", str(tmp_path / "artifacts")],
            stdout=log,
            stderr=log,
            cwd=tmp_path,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not healthy(address):
            assert server.poll() is None, (tmp_path / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()[-2000:]
            time.sleep(0.2)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(20)


def healthy(address: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=2) as reply:
        return bool(reply.status == 200)
    return False


def test_mlflow_gets_numbers_facts_and_files(run: Path, tracking: str) -> None:
    from mlflow.tracking import MlflowClient

    where = export(run, "mlflow")
    client: Any = MlflowClient(tracking)
    experiment = client.get_experiment_by_name("ftgate")
    (logged,) = client.search_runs([experiment.experiment_id])
    assert where == f"{tracking}, run {logged.info.run_id}"
    report = read_report(run / "report.json")
    assert logged.info.run_name == report.name
    assert logged.info.status == "FINISHED"
    assert logged.data.tags["ftgate.verdict"] == "block"
    assert logged.data.metrics["forgetting/change"] == pytest.approx(report.measurements["forgetting"].change)
    assert logged.data.params["candidate_digest"] == report.provenance["candidate"]["digest"]
    assert {file.path for file in client.list_artifacts(logged.info.run_id)} >= {"report.json", "report.html"}


def test_a_tracking_server_that_is_not_there_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ConfigurationError, match="MLflow refused"):
        export(run, "mlflow")


def logged_records(data: bytes, block: int = 1 << 15, header: int = 7) -> Iterator[bytes]:
    """The records of a file of wandb: blocks of parts, each with a checksum, a length and a place in its record."""
    at, record = header, b""
    while at + header <= len(data):
        if block - at % block < header:
            at += block - at % block
            continue
        length, place = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        record += data[at + header : at + header + length]
        at += header + length
        if place in (1, 4):  # whole, or its last part
            yield record
            record = b""


def test_wandb_gets_numbers_facts_and_files(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    for name, value in (("WANDB_MODE", "offline"), ("WANDB_DIR", tmp_path), ("WANDB_SILENT", "true")):
        monkeypatch.setenv(name, str(value))
    export(run, "wandb")
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    deadline, kinds = time.monotonic() + 60, set[str]()
    while not {"run", "summary"} <= kinds and time.monotonic() < deadline:  # wandb writes in a process of its own
        records = [wandb_internal_pb2.Record.FromString(data) for data in logged_records(file.read_bytes())]
        kinds = {record.WhichOneof("record_type") for record in records}
        time.sleep(0.1)
    started = next(record.run for record in records if record.WhichOneof("record_type") == "run")
    assert started.project == "ftgate"
    assert started.display_name == read_report(run / "report.json").name
    summary = {
        ".".join(update.nested_key) or update.key: update.value_json
        for record in records
        if record.WhichOneof("record_type") == "summary"
        for update in record.summary.update
    }
    assert summary["verdict"] == '"block"'
    change = read_report(run / "report.json").measurements["forgetting"].change
    assert float(summary["forgetting/change"]) == pytest.approx(change)


def test_names_that_differ_only_in_unsafe_characters_have_files_of_their_own() -> None:
    assert file_stems(["a b", "a/b", "A-b", "c"]) == {"a b": "a-b", "a/b": "a-b-2", "A-b": "A-b-3", "c": "c"}


def test_an_earlier_export_goes_with_the_verdict_that_it_states(tmp_path: Path) -> None:
    (tmp_path / "inspect").mkdir()
    for name in ("report.json", "inspect/target-base.eval", "inspect/notes.txt", "answers.jsonl"):
        (tmp_path / name).touch()
    remove_results(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["answers.jsonl", "notes.txt"]


def test_a_report_is_read_from_its_folder_too(run: Path) -> None:
    assert read_report(run) == read_report(str(run / "report.json"))
    with pytest.raises(ConfigurationError, match="no report at"):
        read_report(run / "nothing")
    with pytest.raises(ConfigurationError, match="no report at"):
        read_report(run / "report.json" / "more")
