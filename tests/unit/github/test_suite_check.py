"""A pull request brings no questions of its own: which suites of the base branch a report is compared with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import reports

from ftgate.config.policy import JudgeSettings, Policy
from ftgate.domain import Item, Message
from ftgate.errors import ConfigurationError, DatasetError, PublishError
from ftgate.github.changed_manifests import LINK
from ftgate.github.client import File
from ftgate.github.suite_check import base_labels, base_suites, label_mismatches
from ftgate.jobs.prepare import local_resolver, sampled_suite
from ftgate.judge.labels import Label, read_labels, write_labels
from ftgate.measurements.registry import read_measurements

_, POLICY = reports.policy()
PATH = "evals/target.jsonl"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def rows(n: int = 30) -> bytes:
    asked = [{"id": f"r{i}", "prompt": f"ask {i}", "choices": ["a", "b"], "answer": "ab"[i % 2]} for i in range(n)]
    return "".join(json.dumps(row) + "\n" for row in asked).encode()


class Repo:
    """A repository in which every file has this content."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def prefetch(self, _hashes: list[str]) -> None:
        """Nothing to gain: the content is here."""

    def blob(self, _sha: str) -> bytes:
        return self.content


def found(
    content: bytes, mode: str = "100644", touched: tuple[str, ...] = (), path: str = PATH, policy: Policy = POLICY
) -> dict[str, str]:
    repo: Any = Repo(content)
    return base_suites(repo, {path: File(mode, "1")}, policy, "ftgate.yml", touched)


def test_a_suite_has_the_fingerprint_that_a_run_gives_it(tmp_path: Path) -> None:
    (tmp_path / "evals").mkdir()
    (tmp_path / PATH).write_bytes(rows())
    measurement = read_measurements(POLICY.measurements, "the policy")[0]
    run = sampled_suite(measurement, local_resolver(POLICY, tmp_path), POLICY.evidence.seed)
    assert found(rows()) == {"target": run.sha256}
    assert found(rows(), touched=(PATH,)) == {"target": run.sha256}, "its change counts once it is merged"
    assert found(rows(31)) != found(rows())


def test_suites_stored_elsewhere_are_not_compared() -> None:
    assert found(rows(), path="evals/other.jsonl") == {}


def test_a_path_is_relative_to_the_policy() -> None:
    repo: Any = Repo(rows())
    tree = {f"gate/{PATH}": File("100644", "1")}
    assert set(base_suites(repo, tree, POLICY, "gate/ftgate.yml", ())) == {"target"}
    assert base_suites(repo, tree, POLICY, "ftgate.yml", ()) == {}


@pytest.mark.parametrize("content", [POINTER, b""])
def test_what_is_only_a_pointer_may_stay_but_not_change(content: bytes) -> None:
    assert found(content) == {}
    with pytest.raises(PublishError, match=f"the suite {PATH} cannot be compared"):
        found(content, touched=(PATH,))


def test_a_link_could_lead_to_what_the_change_brings() -> None:
    with pytest.raises(PublishError, match=f"the suite {PATH} cannot be compared"):
        found(rows(), mode=LINK)


def test_a_suite_of_the_base_branch_that_is_broken_is_named_by_its_path() -> None:
    with pytest.raises(ConfigurationError, match=PATH) as caught:
        found(b"{broken\n")
    assert "/tmp" not in caught.value.message


def test_a_task_file_is_refused_and_a_task_of_the_harness_is_not_read() -> None:
    def policy(dataset: str) -> Policy:
        return Policy.model_validate({"version": 1, "measurements": {"forgetting": {"dataset": dataset}}})

    with pytest.raises(ConfigurationError, match=r"tasks/mine\.yaml is a program"):
        found(b"task: mine", path="tasks/mine.yaml", policy=policy("tasks/mine.yaml"))
    assert found(rows(), path="lm-eval:arc_easy", policy=policy("lm-eval:arc_easy")) == {}


LABELS = "evals/labels.csv"
WITH_LABELS = POLICY.model_copy(
    update={"judge": JudgeSettings(endpoint="https://judge.example/v1", model="judge", labels=LABELS)}
)


def labels(folder: Path, grade: float = 1.0) -> bytes:
    write_labels(
        [Label(Item(f"{i}", (Message("user", f"say {i}"),)), "text", grade) for i in range(50)], folder / "a.csv"
    )
    return (folder / "a.csv").read_bytes()


def found_labels(content: bytes, mode: str = "100644", touched: tuple[str, ...] = (), path: str = LABELS) -> str:
    repo: Any = Repo(content)
    return base_labels(repo, {path: File(mode, "1")}, WITH_LABELS, "ftgate.yml", touched)


def test_peoples_grades_have_the_fingerprint_that_a_run_gives_them(tmp_path: Path) -> None:
    content = labels(tmp_path)
    sha256 = read_labels(tmp_path / "a.csv", "x").sha256
    assert found_labels(content) == sha256
    assert found_labels(content, touched=(LABELS,)) == sha256, "its change counts once it is merged"
    assert found_labels(labels(tmp_path, 0.0)) != sha256
    assert found_labels(content, path="other.csv") == ""
    repo: Any = Repo(content)
    assert base_labels(repo, {LABELS: File("100644", "1")}, POLICY, "ftgate.yml", ()) == ""


def test_grades_that_cannot_be_read_on_the_base_branch_may_stay_but_not_change() -> None:
    assert found_labels(POINTER) == ""
    with pytest.raises(PublishError, match=f"the labels {LABELS} cannot be compared"):
        found_labels(POINTER, touched=(LABELS,))
    with pytest.raises(PublishError, match=f"the labels {LABELS} cannot be compared"):
        found_labels(b"x", mode=LINK)
    with pytest.raises(DatasetError, match=rf"judge\.labels {LABELS}: no column key"):
        found_labels(b"broken")


def test_a_report_must_have_used_the_base_branchs_grades() -> None:
    report = reports.report(POLICY)
    assert list(label_mismatches(report, "")) == []
    assert list(label_mismatches(report, "abc")) == [
        "people's grades of the judge (judge.labels) are not the base branch's"
    ]
    report.provenance["judge_labels"] = {"sha256": "abc"}
    assert list(label_mismatches(report, "abc")) == []
