"""The example workflow, run by act on this machine against the fake platform: real jobs, steps and evaluations.

What act cannot do here: it ignores `permissions`, `environment` and `concurrency`, so approval by a person and the
limits of a job's token are not shown (the linters look at them); there is no Docker, so `docker` is a stand-in that
starts the entrypoint with exactly the environment and the mounts that the action asks for (`make container` runs the
real image); and the three actions for checkout and artifacts are replaced by a few lines of shell.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.github import bodies, events
from support.github.description import interface
from support.github.limits import APPS, BOT
from support.github.machine import MANIFEST, POLICY, ROOT, RUNNER_PATHS, Machine, model, weights
from support.github.scene import Scene
from support.github.server import FakeGitHub
from support.github.state import Caller

from ftgate.report.reading import read_report

NOT_A_NUMBER = b"\xff" * 4
"""A number of 32 bits that is none."""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    act = shutil.which("act", path=str(Path(sys.executable).parent)) or shutil.which("act")
    if act is None:
        pytest.skip("act is not installed: make install-dev")
    with FakeGitHub(tmp_path / "platform") as hub:
        found = Machine(hub, tmp_path, act)
        yield found
        assert not hub.invalid
        assert not re.search(RUNNER_PATHS, found.published())


def verdicts(machine: Machine) -> list[tuple[str, str]]:
    """Each model with its verdict, from the table at the head of the only comment."""
    (comment,) = machine.hub.comments
    return re.findall(r"^\| (\S+) \| \*\*(.+)\*\* \|$", comment.body, re.MULTILINE)


def judged(machine: Machine) -> dict[str, tuple[str, str, int]]:
    """Verdict, engine and starts of each report that the evaluation left."""
    reports = {path.parent.name: read_report(path) for path in machine.artifacts.glob("ftgate-out/*/report.json")}
    return {
        name: (report.verdict, report.provenance["engine"]["kind"], report.engine_starts)
        for name, report in sorted(reports.items())
    }


@pytest.mark.engine
def test_models_of_one_change_are_judged_together_by_vllm_and_one_that_is_broken_costs_only_its_own_verdict(
    machine: Machine,
) -> None:
    """Then the broken one is taken back and the useless one retrained, and the same comment says so."""
    policy = POLICY.replace("kind: transformers", "kind: vllm")
    machine.base = machine.head = machine.hub.git.commit({".github/ftgate.yml": policy}, machine.base, branch="main")
    diverged = model("diverged", "useless")
    numbers = "weights/diverged/adapter_model.safetensors"
    diverged[numbers] = diverged[numbers][:-4] + NOT_A_NUMBER
    first = machine.commit_models({**model("bot", "useless"), **model("helper", "careful"), **diverged})
    log = machine.run("pull_request", events.pull_request(machine.hub.pulls[7]))
    states = [(s.state, s.sha) for s in machine.hub.statuses]
    assert states == [("pending", first), ("error", first)], log
    assert log.count("| ftgate run\n") == 2, "all together, and once more what had no report"
    assert verdicts(machine) == [
        ("diverged", "❗ Do not merge yet, not tested"),
        ("bot", "❌ Do not merge"),
        ("helper", "✅ May merge"),
    ]
    assert "contains NaN or infinity" in machine.hub.comments[0].body
    # One start, which both report.
    assert judged(machine) == {"001-bot": ("block", "vllm", 1), "003-helper": ("allow", "vllm", 1)}

    second = machine.commit_models({**model("bot", "halfway"), **dict.fromkeys(diverged)})
    log = machine.run("pull_request", events.pull_request(machine.hub.pulls[7]), again=True)
    status = machine.hub.status_of(second)
    assert (status.state, status.description.partition(" [")[0]) == ("success", "allow: bot, helper (of 2 models)"), log
    assert log.count("| ftgate run\n") == 1
    assert verdicts(machine) == [("bot", "✅ May merge"), ("helper", "✅ May merge")]
    (comment,) = machine.hub.comments
    assert comment.number == 7
    assert "2 records" in comment.body

    bases = [[a for a in command if a.startswith("BASE_IMAGE=")] for command in machine.docker("build")]
    cpu = re.search(r"^ARG CPU_(BASE_IMAGE=.+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert cpu is not None
    assert bases[:3] == [[cpu[1]], [], [cpu[1]]]
    plan, evaluate, report = machine.docker()[:3]
    assert "INPUT_TOKEN" in plan
    assert "INPUT_TOKEN" in report
    assert not [a for a in evaluate if "TOKEN" in a or "GITHUB" in a]
    assert evaluate[evaluate.index("--gpus") + 1] == "all"
    mounts = [evaluate[i + 1] for i, a in enumerate(evaluate) if a == "--volume"]
    assert [m.split(":", 1)[1] for m in mounts] == [
        "/github/workspace/ftgate-job:ro",
        "/github/workspace/ftgate-out",
    ]


def test_a_change_that_touches_no_model_starts_no_evaluation(machine: Machine) -> None:
    head = machine.push(None)
    log = machine.run("pull_request", events.pull_request(machine.hub.pulls[7]))
    found = [(s.state, s.description, s.sha) for s in machine.hub.statuses]
    assert found == [("success", "no model change", head)], log
    assert len(machine.docker()) == 1
    assert not machine.hub.comments


def test_an_evaluation_that_breaks_is_an_error_and_no_opinion(machine: Machine) -> None:
    head = machine.push("careful")
    machine.hub.git.commit({"evals/target.jsonl": '{"id": 1}\n'}, machine.base, branch="main")
    log = machine.run("pull_request", events.pull_request(machine.hub.pulls[7]))
    status = machine.hub.status_of(head)
    assert status.state == "error", log
    assert "suite target: 1 bad row evals/target.jsonl:1: neither prompt nor messages" in status.description
    assert [s.state for s in machine.hub.statuses] == ["pending", "error"]
    assert len(machine.docker()) == 2, "a suite that cannot be read costs no time on a GPU"


def test_what_could_not_be_collected_is_told_by_the_report(machine: Machine) -> None:
    machine.head = machine.hub.git.commit(
        {"models/bot.yaml": MANIFEST.replace("../weights/bot", "../../bot")}, machine.head
    )
    head = machine.push(None)
    log = machine.run("pull_request", events.pull_request(machine.hub.pulls[7]))
    status = machine.hub.status_of(head)
    assert status.state == "error", log
    assert "the evaluation failed: models/bot.yaml: '../../bot' is not in the repository" in status.description
    assert len(machine.docker()) == 2


@pytest.mark.engine
def test_a_fork_is_judged_from_the_base_repository_and_what_is_queued_on_its_own_commit(machine: Machine) -> None:
    head = machine.push("careful", source=events.FORK)
    log = machine.run("pull_request_target", events.pull_request(machine.hub.pulls[7]))
    assert [(s.state, s.sha) for s in machine.hub.statuses] == [("pending", head), ("success", head)], log
    (comment,) = machine.hub.comments
    assert "INPUT_TOKEN" not in machine.docker()[1]
    # The queue puts the change on top of whatever is merged before it.
    queued = machine.hub.git.commit({"models/bot.yaml": MANIFEST} | weights("bot", "careful"), machine.base, "queued")
    machine.hub.statuses.clear()
    log = machine.run("merge_group", events.merge_group(queued, machine.base))
    assert [(s.state, s.sha) for s in machine.hub.statuses] == [("pending", queued), ("success", queued)], log
    assert machine.hub.comments == [comment]
    assert not comment.edits


@pytest.mark.parametrize(
    ("event", "source"), [("pull_request", events.FORK), ("pull_request_target", events.REPOSITORY)]
)
def test_each_pull_request_is_judged_by_one_of_its_two_events(machine: Machine, event: str, source: str) -> None:
    machine.push("careful", source=source)
    machine.run(event, events.pull_request(machine.hub.pulls[7]))
    assert not machine.docker()
    assert not machine.hub.statuses


def test_a_maintainer_waives_in_the_workflow_and_the_rule_lets_the_merge_through(
    machine: Machine, tmp_path: Path
) -> None:
    hub, scene = machine.hub, Scene(machine.hub, tmp_path)
    hub.rules["main"] = [bodies.rule("required_status_checks", **{"ftgate/verdict": APPS[BOT]})]
    head = scene.push()
    assert scene.publish(scene.report("block")) == 1
    text = (ROOT / ".github/workflows/ftgate-waive.yml").read_text(encoding="utf-8")
    granted = yaml.safe_load(text)["jobs"]["waive"]["permissions"]
    hub.callers["token"] = Caller(BOT, {scope.replace("-", "_"): level for scope, level in granted.items()})
    asked = {"pull-request": "7", "commit": head, "reason": "rollback of an outage", "days": "7"}
    payload = {**events.workflow_dispatch(**asked), **events.common("boss")}
    hub.invalid += interface().event_problems("workflow_dispatch", payload)
    log = machine.run("workflow_dispatch", payload, name="ftgate-waive.yml")
    assert "boss may not waive: their role on this repository is read" in log
    assert hub.status_of(head).state == "failure"
    hub.collaborators["boss"] = "maintain"
    log = machine.run("workflow_dispatch", payload, name="ftgate-waive.yml")
    assert "waived until" in log
    found = hub.status_of(head)
    assert (found.state, found.creator) == ("success", BOT), log
    assert "rollback of an outage" in found.description
    scene.client().call("PUT", "/pulls/7/merge", {"sha": head})
    assert hub.pulls[7].merged
