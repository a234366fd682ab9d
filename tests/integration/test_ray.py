"""Replicas on a real Ray cluster of two nodes on this machine. Run by `make ray`, which has Ray."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.scripted_replica import ScriptedReplica

from ftgate.config.engine import EngineSettings
from ftgate.domain import Message, Model, Question
from ftgate.engines import ray_cluster
from ftgate.engines.base import Ask
from ftgate.engines.ray_cluster import MOST_DEATHS, RayEngine
from ftgate.engines.vllm.engine import VllmEngine
from ftgate.errors import EngineError
from ftgate.jobs.prepare import Job, load_job

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402 - only where Ray is

ROOT = Path(__file__).resolve().parents[2]
WORLD = ROOT / "examples" / "tinyworld"
BOT = Model("bot", Path("/nowhere"), "sha256:1")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes with a processor each for replicas; the head node has none."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("FTGATE_TEST_LOG", str(tmp_path / "asked"))
    monkeypatch.setenv("FTGATE_TEST_SECONDS", "0.02")
    monkeypatch.setattr(ray_cluster, "START_SECONDS", 120)
    memory = {"object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **memory})
    cluster.workers = [cluster.add_node(num_cpus=1, **memory) for _ in range(2)]
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def engine_on(cluster: Any, tmp_path: Path, **settings: Any) -> RayEngine:
    engine = EngineSettings(kind="ray", address=cluster.address, **{"replicas": 2, **settings})
    return RayEngine(engine, log_path=tmp_path / "ray.log")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "ReplicaEngine", ScriptedReplica)


def asks(count: int, *more: str) -> list[Ask]:
    names = [*(f"i{number}" for number in range(count)), *more]
    return [Ask(BOT, Question("m", name, (Message("user", name),))) for name in names]


def asked(tmp_path: Path) -> list[list[str]]:
    """Process and item of every answer that any replica gave."""
    return [line.split() for line in (tmp_path / "asked").read_text().splitlines()]


@pytest.mark.usefixtures("scripted")
def test_both_nodes_answer_and_every_question_once(cluster: Any, tmp_path: Path) -> None:
    engine = engine_on(cluster, tmp_path, replicas="auto")
    engine.require([BOT])
    questions = asks(300)
    answers = list(engine.ask(questions))
    assert sorted(index for index, _ in answers) == list(range(300))
    assert all(answer.text == f"bot i{index}" for index, answer in answers)
    by_process: dict[str, int] = {}
    for process, _ in asked(tmp_path):
        by_process[process] = by_process.get(process, 0) + 1
    assert len(by_process) == 2
    assert min(by_process.values()) > 75, "each takes what it has room for"
    assert engine.starts == 2
    assert engine.needs_swap([BOT] * 3)
    assert not engine.needs_swap([BOT])
    assert "replicas" not in engine.info().settings, "answers do not depend on how many answer"
    assert list(engine.ask([])) == []
    engine.close()
    engine.close()


@pytest.mark.usefixtures("scripted")
def test_candidates_that_follow_one_another_leave_room_in_every_replica(cluster: Any, tmp_path: Path) -> None:
    engine = engine_on(cluster, tmp_path)
    first, second = (Model(n, Path("/nowhere", n), f"sha256:{n}", "adapter", BOT) for n in ("first", "second"))
    for adapter in (first, second):
        engine.reserve([BOT, adapter])
    engine.require([BOT, first])
    assert engine.probe(BOT, []) == [{"bot": 2.0, "first": 2.0}], "each replica knows both groups before it starts"
    engine.release([first])
    engine.require([BOT, second])
    assert engine.probe(BOT, []) == [{"bot": 2.0, "second": 2.0}]
    ray.kill(engine._replicas[0].actor)
    assert len(list(engine.ask(asks(40)))) == 40
    assert engine.probe(BOT, []) == [{"bot": 2.0, "second": 2.0}], "nor has one that takes another's place the first"
    engine.close()


@pytest.mark.usefixtures("scripted")
def test_a_replica_that_is_killed_is_replaced_and_nothing_is_lost(cluster: Any, tmp_path: Path) -> None:
    engine = engine_on(cluster, tmp_path)
    engine.require([BOT])
    answers = []
    for index, answer in engine.ask(asks(300)):
        answers.append((index, answer.text))
        if len(answers) in (40, 150):
            ray.kill(engine._replicas[0].actor)
    assert sorted(answers) == [(index, f"bot i{index}") for index in sorted(range(300))]
    assert engine.starts == 4
    engine.close()


@pytest.mark.usefixtures("scripted")
def test_a_replica_that_is_killed_before_it_is_asked_anything_is_replaced(cluster: Any, tmp_path: Path) -> None:
    engine = engine_on(cluster, tmp_path)
    engine.needs_swap([BOT])
    ray.kill(engine._replicas[0].actor)
    info = engine.info()
    ray.kill(engine._replicas[0].actor)
    assert engine.needs_swap([BOT]) is False
    engine.require([BOT])
    ray.kill(engine._replicas[0].actor)
    assert len(engine.probe(BOT, [])) == 1
    assert engine.info() == info
    assert sorted(index for index, _ in engine.ask(asks(50))) == sorted(range(50))
    engine.close()


@pytest.mark.usefixtures("scripted")
def test_a_machine_without_room_for_the_judges_replicas_says_so_at_once(cluster: Any, tmp_path: Path) -> None:
    ray.init(address=cluster.address, log_to_driver=False)  # in place of this machine's own, which has many processors
    judge, models = (RayEngine(EngineSettings(replicas=2), log_path=tmp_path / "ray.log") for _ in range(2))
    judge.info()
    with pytest.raises(EngineError, match="2 need 2 processors, and 0 are free"):
        models.info()
    judge.close()


@pytest.mark.usefixtures("scripted")
def test_a_node_that_goes_takes_nothing_with_it(cluster: Any, tmp_path: Path) -> None:
    engine = engine_on(cluster, tmp_path)
    engine.require([BOT])
    answers = []
    for index, answer in engine.ask(asks(300)):
        answers.append((index, answer.text))
        if len(answers) == 60:
            cluster.remove_node(cluster.workers[1], allow_graceful=False)
    assert sorted(answers) == [(index, f"bot i{index}") for index in sorted(range(300))]
    engine.close()


@pytest.mark.usefixtures("scripted")
def test_what_is_settled_is_not_answered_to_the_end(cluster: Any, tmp_path: Path) -> None:
    engine = engine_on(cluster, tmp_path)
    engine.require([BOT])
    stream = iter(engine.ask(asks(2000)))
    for _ in range(50):
        next(stream)
    stream.close()
    before = len(asked(tmp_path))
    assert len(list(engine.ask(asks(20)))) == 20
    # Ray looks every two seconds whether a portion that waits was taken back: 100 answers of each replica.
    assert len(asked(tmp_path)) - before < 300, "of about 800 that were handed out"
    engine.close()


@pytest.mark.usefixtures("scripted")
def test_a_question_that_kills_every_replica_ends_the_run(cluster: Any, tmp_path: Path) -> None:
    engine = engine_on(cluster, tmp_path)
    engine.require([BOT])
    with pytest.raises(EngineError, match=f"{MOST_DEATHS + 1} replicas died one after another") as failure:
        list(engine.ask(asks(0, "death")))
    assert "logs of Ray" in failure.value.hint
    engine.close()


@pytest.mark.usefixtures("scripted")
def test_why_a_model_does_not_load_is_said(cluster: Any, tmp_path: Path) -> None:
    engine = engine_on(cluster, tmp_path)
    with pytest.raises(EngineError, match="could not start broken") as failure:
        engine.require([Model("broken", Path("/nowhere"), "sha256:2")])
    assert failure.value.hint == "see the log"
    engine.close()


def test_without_a_cluster_the_address_is_named(tmp_path: Path) -> None:
    engine = RayEngine(EngineSettings(kind="ray", address="127.0.0.1:9"), log_path=tmp_path / "ray.log")
    with pytest.raises(EngineError, match=r"engine\.address 127\.0\.0\.1:9: no Ray cluster"):
        engine.require([BOT])


@pytest.mark.usefixtures("scripted")
def test_more_than_there_is_room_for_is_said(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "START_SECONDS", 3)
    engine = engine_on(cluster, tmp_path, replicas=3, resources={"nowhere": 1})
    with pytest.raises(EngineError, match="no replica was ready after 3 s: each needs a processor and"):
        engine.require([BOT])
    engine.close()


def test_vllm_on_two_nodes_answers_as_one_process_does(cluster: Any, tmp_path: Path) -> None:
    job: Job = load_job(WORLD / "policy.yaml", WORLD / "manifests" / "forgetful.yaml")
    models = [job.base, job.candidate]
    items = job.suites["forgetting"].items[:60]
    texts = [Question("forgetting", item.id, item.messages, max_tokens=16) for item in items]
    calibration = next(m for m in job.measurements if m.name == "calibration")
    letters = [q for item in job.suites["calibration"].items[:60] for q in calibration.plan(item)[:1]]
    questions = [Ask(model, q) for q in (*texts, *letters) for model in models]
    alone = VllmEngine(job.policy.engine, log_path=tmp_path / "vllm.log")
    alone.require(models)
    expected = dict(alone.ask(questions))
    info = alone.info()
    alone.close()
    engine = engine_on(cluster, tmp_path, **job.policy.engine.model_dump(exclude_unset=True, exclude={"kind"}))
    assert engine.info() == info, "answers have the same address"
    engine.require(models)
    answers = {}
    for index, answer in engine.ask(questions):
        answers[index] = answer
        if len(answers) == 30:
            ray.kill(engine._replicas[1].actor)
    assert {index: answer.text for index, answer in answers.items()} == {i: a.text for i, a in expected.items()}
    for index, answer in answers.items():
        assert answer.option_logprobs == pytest.approx(expected[index].option_logprobs, abs=1e-4)
    assert engine.starts in (2, 3), "the other replica may be done before the new one has started"
    engine.close()


def test_a_run_with_two_replicas_comes_to_the_same_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    world = shutil.copytree(WORLD, tmp_path / "world")
    policy = yaml.safe_load((world / "policy.yaml").read_text())
    policy["measurements"] = {name: policy["measurements"][name] for name in ("target", "calibration")}
    del policy["judge"]
    reports = []
    for replicas in (1, 2):
        policy["engine"]["replicas"] = replicas
        (world / "policy.yaml").write_text(yaml.safe_dump(policy))
        out = tmp_path / f"out{replicas}"
        paths = {"policy": world / "policy.yaml", "manifest": world / "manifests" / "careful.yaml", "out": out}
        options = [text for name, path in paths.items() for text in (f"--{name}", str(path))]
        command = [sys.executable, "-m", "ftgate", "run", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1, 4), done.stderr
        reports.append(json.loads((out / "report.json").read_text()))
    one, two = reports
    assert one["verdict"] == two["verdict"]
    assert one["engine_starts"] < two["engine_starts"]
    for name, measurement in one["measurements"].items():
        assert measurement["status"] == two["measurements"][name]["status"]
