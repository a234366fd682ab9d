"""The deployed model on GitHub: read from the ledger, checked against the report, and named by the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import reports
from support.github import events
from support.github.scene import POLICY_PATH, Scene

from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.audit.history import verify_candidate
from ftgate.github.audit.ledger_branch import LEDGER_FILE, read_ledger
from ftgate.github.bundle import LISTING, write_bundle
from ftgate.github.match_reports import digest_in_commit
from ftgate.jobs.incumbent import read_last_allowed
from ftgate.report.schema import IncumbentReport, Report

BRANCH = "ftgate-ledger"
LAST = {"incumbent": "last-allowed"}


def compared(status: str = "pass", limit: float = 0.05) -> IncumbentReport:
    """A comparison with numbers that come to ``status``."""
    change = {"pass": 0.0, "block": 0.2, "inconclusive": 0.04}[status]
    return IncumbentReport(
        status=status, score=0.8, candidate=0.8 - change, change=change, unit="relative drop", worse="up",
        interval=(change - 0.02, change + 0.02), level=0.9, n=400, limit=limit, reason=f"it is {status}",
    )  # fmt: skip


def report(scene: Scene, version: str, deployed: str = "", status: str = "pass", **more: Any) -> Report:
    """A report on the manifest of that version, compared with the ``deployed`` version."""
    found = reports.report(scene.policy, version=version, text=reports.manifest(version=version, **LAST), **more)
    if deployed:
        reference, digest = f"s3://acme/bot/{deployed}", reports.digest(f"bot {deployed}")
        found.provenance["incumbent"] = {"name": "incumbent", "reference": reference, "digest": digest}
        for name, m in found.measurements.items():
            m.incumbent = compared(status if name == "forgetting" else "pass", 0.10 if name == "form" else 0.05)
        found.verdict = {"pass": "allow", "block": "block", "inconclusive": "hold"}[status]
    return found


def push(scene: Scene, version: str, number: int, **more: Any) -> None:
    scene.push({"models/bot.yaml": reports.manifest(version=version, **(more or LAST))}, number=number)


def publish(scene: Scene, number: int, found: Report) -> int:
    return scene.publish(found, payload=events.pull_request(scene.hub.pulls[number]))


def merge(scene: Scene, version: str) -> None:
    """The base branch gets the manifest of that version, as by a squash: the commits of the change are not in it."""
    files = {"models/bot.yaml": reports.manifest(version=version, **LAST)}
    scene.base = scene.hub.git.commit(files, scene.base, branch="main")


def listing(scene: Scene, number: int) -> dict[str, Any]:
    target = scene.effects(payload=events.pull_request(scene.hub.pulls[number])).target
    write_bundle(scene.client(), target, POLICY_PATH, scene.folder / "job")
    found: dict[str, Any] = json.loads((scene.folder / "job" / LISTING).read_text())
    return found


@pytest.fixture
def released(scene: Scene) -> Scene:
    """The first release, v1, allowed in pull request 7 and merged."""
    push(scene, "v1", 7)
    assert publish(scene, 7, report(scene, "v1")) == 0
    merge(scene, "v1")
    return scene


def test_the_first_release_has_nothing_to_be_compared_with(scene: Scene) -> None:
    push(scene, "v1", 7)
    entry = listing(scene, 7)["incumbents"]["models/bot.yaml"]
    assert entry["source"] is None
    assert "the ledger has no allowed candidate of this manifest" in entry["note"]


def test_the_next_release_is_compared_with_the_last_allowed_one(released: Scene) -> None:
    push(released, "v2", 8)
    entry = listing(released, 8)["incumbents"]["models/bot.yaml"]
    assert entry["source"] == {"source": "s3://acme/bot/v1", "revision": None, "digest": reports.digest("bot v1")}
    last = read_last_allowed(released.folder / "job" / LISTING, released.folder / "job" / "models" / "bot.yaml")
    assert last is not None
    assert last.source is not None
    assert last.source.source == "s3://acme/bot/v1"


def test_the_change_s_own_earlier_pushes_are_not_what_it_replaces(released: Scene) -> None:
    push(released, "v2", 8)
    assert publish(released, 8, report(released, "v2", "v1")) == 0
    push(released, "v3", 8)
    assert listing(released, 8)["incumbents"]["models/bot.yaml"]["source"]["source"] == "s3://acme/bot/v1"


def test_what_was_allowed_and_never_merged_does_not_take_the_place_of_what_was(released: Scene) -> None:
    push(released, "v2", 8)
    assert publish(released, 8, report(released, "v2", "v1")) == 0
    push(released, "v3", 9)
    assert listing(released, 9)["incumbents"]["models/bot.yaml"]["source"]["source"] == "s3://acme/bot/v1"


def test_what_was_blocked_is_no_incumbent(released: Scene) -> None:
    push(released, "v2", 8)
    assert publish(released, 8, report(released, "v2", "v1", "block")) != 0
    merge(released, "v2")
    push(released, "v3", 9)
    assert listing(released, 9)["incumbents"]["models/bot.yaml"]["source"]["source"] == "s3://acme/bot/v1"


def test_the_record_names_the_candidate_s_place_and_what_it_was_compared_with(released: Scene) -> None:
    push(released, "v2", 8)
    publish(released, 8, report(released, "v2", "v1"))
    ledger = read_ledger(released.client(), BRANCH)
    assert ledger is not None
    assert ledger.problems == ()
    first, second = (r.models[0] for r in ledger.records)
    assert (first.source, first.incumbent) == ("s3://acme/bot/v1", "")
    assert (second.source, second.incumbent) == ("s3://acme/bot/v2", reports.digest("bot v1"))
    now, quoted = "2025-03-05T09:00:00+00:00", released.quoted()
    verified = verify_candidate(ledger, second.candidate, released.policy.sha256(), now, quoted)
    assert verified.allowed
    assert f"and as good as the deployed {reports.digest('bot v1')}" in verified.reason


@pytest.mark.parametrize(
    ("deployed", "problem"),
    [("", "it was made without the deployed model"), ("v0", "it compared with the deployed model")],
)
def test_a_report_that_compares_with_nothing_or_with_another_model_is_an_error(
    released: Scene, deployed: str, problem: str
) -> None:
    push(released, "v2", 8)
    assert publish(released, 8, report(released, "v2", deployed)) != 0
    ledger = read_ledger(released.client(), BRANCH)
    assert ledger is not None
    assert ledger.records[-1].verdict == "error"
    assert problem in released.thread()[-1]


def test_a_manifest_that_names_a_weak_model_does_not_get_round_a_policy_that_asks_the_ledger(
    hub: Any, tmp_path: Path
) -> None:
    scene = Scene(hub, tmp_path, incumbent={"source": "last-allowed"})
    push(scene, "v1", 7)
    assert publish(scene, 7, report(scene, "v1")) == 0
    merge(scene, "v1")
    weak = {"incumbent": {"source": "s3://acme/bot/v0"}}
    push(scene, "v2", 8, **weak)
    assert listing(scene, 8)["incumbents"]["models/bot.yaml"]["source"]["source"] == "s3://acme/bot/v1"
    text = reports.manifest(version="v2", **weak)
    found = reports.report(scene.policy, version="v2", text=text)
    found.provenance["incumbent"] = {"reference": "s3://acme/bot/v0", "digest": reports.digest("bot v0")}
    for m in found.measurements.values():
        m.incumbent = compared()
    assert publish(scene, 8, found) != 0
    assert "but the ledger names" in scene.thread()[-1]


def test_a_model_behind_an_endpoint_that_was_allowed_is_named_and_not_compared_with(hub: Any, tmp_path: Path) -> None:
    scene = Scene(hub, tmp_path, evidence={"allow_unproven_weights": True})
    served = {"base": {"source": "endpoint://base"}, "candidate": {"source": "endpoint://bot-v1"}, **LAST}
    scene.push({"models/bot.yaml": reports.manifest(**served)}, number=7)
    found = reports.report(scene.policy, text=reports.manifest(**served))
    for role in ("base", "candidate"):
        found.provenance[role] = {"reference": served[role]["source"], "kind": "endpoint", "digest": ""}
    assert publish(scene, 7, found) == 0
    push(scene, "v2", 8)
    entry = listing(scene, 8)["incumbents"]["models/bot.yaml"]
    assert entry["source"] is None
    assert "the last allowed candidate, endpoint://bot-v1, is behind an endpoint" in entry["note"]


def test_a_required_incumbent_that_is_the_candidate_is_refused_unless_the_ledger_names_it(
    hub: Any, tmp_path: Path
) -> None:
    scene = Scene(hub, tmp_path, incumbent={"required": True})
    itself = {"source": "s3://acme/bot/v1"}
    for incumbent, refused in ((itself, True), ("last-allowed", False)):
        push(scene, "v1", 7, incumbent=incumbent)
        found = reports.report(scene.policy, text=reports.manifest(version="v1", incumbent=incumbent))
        found.provenance["incumbent"] = {"reference": itself["source"], "digest": reports.digest("bot v1")}
        assert (publish(scene, 7, found) != 0) is refused
        assert ("is the candidate itself, which leaves nothing to compare" in scene.thread()[-1]) is refused


def test_an_altered_ledger_says_nothing(released: Scene) -> None:
    push(released, "v2", 8)
    publish(released, 8, report(released, "v2", "v1"))
    tip = released.hub.git.resolve(BRANCH)
    text = released.hub.git.git("show", f"{tip}:{LEDGER_FILE}").replace("bot/v1", "bot/v0")
    released.hub.git.commit({LEDGER_FILE: text}, tip, branch=BRANCH)
    push(released, "v3", 9)
    with pytest.raises(PublishError, match="the ledger is not intact"):
        listing(released, 9)


def test_without_a_ledger_branch_the_policy_is_told_so(hub: Any, tmp_path: Path) -> None:
    scene = Scene(hub, tmp_path, publish={"ledger": "comment"})
    push(scene, "v1", 7)
    with pytest.raises(ConfigurationError, match="there is no ledger to read"):
        listing(scene, 7)


def test_other_files_in_the_deployed_model_s_folder_are_refused(scene: Scene) -> None:
    """A release in place: the files that are deployed are not in the change any more."""
    local = {"candidate": {"source": "../weights"}, **LAST}
    first = {"models/bot.yaml": reports.manifest(**local), "weights/adapter_config.json": "{}"}
    scene.push(first, number=7)
    found = reports.report(scene.policy, text=first["models/bot.yaml"])
    target = scene.effects(payload=events.pull_request(scene.hub.pulls[7])).target
    client = scene.client()
    digest = digest_in_commit(client, client.tree(target.sha), (), "models/bot.yaml", "../weights")
    found.provenance["candidate"] |= {"reference": "../weights", "digest": digest}
    assert publish(scene, 7, found) == 0
    scene.push(first, number=8)
    assert listing(scene, 8)["incumbents"]["models/bot.yaml"]["source"]["digest"] == digest
    assert (scene.folder / "job" / "weights" / "adapter_config.json").is_file()
    scene.push({**first, "weights/adapter_config.json": '{"r": 2}'}, number=9)
    with pytest.raises(ConfigurationError, match="has other files here"):
        listing(scene, 9)


def test_an_incumbent_that_the_manifest_names_is_compared_and_checked(scene: Scene) -> None:
    named = {"incumbent": {"source": "s3://acme/bot/v0", "digest": reports.digest("bot v0")}}
    push(scene, "v1", 7, **named)
    text = reports.manifest(version="v1", **named)
    found = report(scene, "v1", "v0")
    found.provenance["manifest_sha256"] = reports.report(scene.policy, text=text).provenance["manifest_sha256"]
    missing = found.model_copy(deep=True)
    assert publish(scene, 7, found) == 0
    del missing.provenance["incumbent"]
    assert publish(scene, 7, missing) != 0
    uncompared = found.model_copy(deep=True)
    uncompared.measurements["forgetting"].incumbent = None
    assert publish(scene, 7, uncompared) != 0
    assert "it has no comparison with the deployed model" in scene.thread()[-1]
    softened = report(scene, "v1", "v0", "block")
    softened.provenance["manifest_sha256"] = found.provenance["manifest_sha256"]
    softened.verdict = "allow"
    assert publish(scene, 7, softened) != 0
    assert "it says allow, but its measurements give block" in scene.thread()[-1]
