"""Records signed with the workflow's identity: the real library, on an authority and a log of the test's own."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError
from support import reports
from support.github.scene import Scene
from support.github.server import BOT, FakeGitHub
from support.github.state import Caller
from support.signing_service import WORKFLOW, SigningService

from ftgate.cli.main import cli
from ftgate.config.policy import PublishSettings
from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.audit.history import add_waiver, ledger_history
from ftgate.github.audit.ledger_branch import append
from ftgate.github.audit.record import Record, status_suffix
from ftgate.github.audit.signature import TRUST_CONFIG, bundle_path, record_statement, sign_record
from ftgate.github.client import CommitStatus
from ftgate.github.publish import publish_results

BRANCH, CONTEXT = "ftgate-ledger", "ftgate/verdict"
NOW = "2025-03-05T09:00:00+00:00"
SETTINGS = {"ledger": "branch", "sign": "sigstore", "certificate_identity": WORKFLOW}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SigningService]:
    """A sigstore of one's own, and a job that may ask it for certificates."""
    with SigningService() as running:
        trust_config = tmp_path / "trust.json"
        trust_config.write_text(running.trust_config(), encoding="utf-8")
        for name, value in (running.environment() | {TRUST_CONFIG: str(trust_config)}).items():
            monkeypatch.setenv(name, value)
        # Whatever the library keeps is kept here.
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            monkeypatch.setenv(name, str(tmp_path / "kept"))
        yield running


@pytest.fixture
def scene(hub: FakeGitHub, tmp_path: Path, service: SigningService) -> Scene:
    hub.callers["mallory"] = Caller("mallory", dict.fromkeys(("statuses", "contents", "pull_requests"), "write"))
    return Scene(hub, tmp_path, publish=SETTINGS)


def problems(scene: Scene) -> str:
    return "\n".join(ledger_history(scene.client(), BRANCH, None, scene.quoted()).problems)


def bundle(scene: Scene, record: Record) -> str:
    tree = scene.client().tree(scene.hub.git.resolve(BRANCH))
    return scene.client().blob(tree[bundle_path(record)].sha).decode()


def put(scene: Scene, record: Record, content: str | None) -> None:
    """Write (None: remove) the signature of a record, as whoever may push can."""
    scene.hub.git.commit({bundle_path(record): content}, scene.hub.git.resolve(BRANCH), branch=BRANCH)


def forged(scene: Scene, kind: str = "run") -> Record:
    """An allow or a waiver of the blocked model on the ledger, quoted by a workflow that a pusher added."""
    scene.push()
    assert scene.publish(scene.report("block")) == 1
    (blocked,) = scene.records()
    models = tuple(e.model_copy(update={"verdict": "allow"}) for e in blocked.models)
    changes = {"time": "2025-03-04T12:00:00+00:00", "verdict": "allow", "models": models, "run": "666"}
    if kind == "waiver":
        expires = "2025-03-20T00:00:00+00:00"
        changes = {"kind": "waiver", "verdict": "waived", "by": "boss", "expires": expires, "reason": "urgent"}
    record = append(scene.client("mallory"), BRANCH, blocked.model_copy(update=changes)).record
    quoting = CommitStatus("success", "allow: bot" + status_suffix(record), "")
    scene.client().set_status(record.head, CONTEXT, quoting)
    return record


def test_an_allow_is_signed_beside_the_ledger_and_verified_offline(scene: Scene, service: SigningService) -> None:
    scene.push()
    assert scene.publish(scene.report("pass")) == 0
    (record,) = scene.records()
    envelope = json.loads(bundle(scene, record))["dsseEnvelope"]
    assert base64.b64decode(envelope["payload"]) == record_statement(record)
    service.__exit__()  # nobody is asked any more
    assert scene.verified(NOW).allowed
    assert problems(scene) == ""
    assert scene.publish(scene.report("pass")) == 0, "the job can be run again"
    assert len(service.entries) == 1


def test_verify_takes_the_identity_from_its_options_too(scene: Scene) -> None:
    scene.push()
    scene.publish(scene.report("pass"))
    policy = scene.folder / "policy.yml"
    policy.write_text(reports.policy(publish={"ledger": "branch"})[0], encoding="utf-8")
    asked = ["verify", "--repo", "acme/models", "--candidate", reports.digest("bot v1"), "--policy", str(policy)]
    runner = CliRunner(env={"GITHUB_TOKEN": "token", "GITHUB_API_URL": scene.hub.url})
    for options, code, said in (
        ([], 0, "allowed"),
        (["--certificate-identity", WORKFLOW], 0, "allowed"),
        (["--certificate-identity", WORKFLOW.replace("main", "dev")], 1, "its signature does not hold"),
        (["--certificate-identity", WORKFLOW, "--certificate-identity", "https://x.test"], 0, "allowed"),
        (["--certificate-identity", WORKFLOW, "--certificate-oidc-issuer", "https://x.test"], 1, "does not hold"),
    ):
        done = runner.invoke(cli, [*asked, *options])
        assert (done.exit_code, said in done.output) == (code, True), done.output


@pytest.mark.parametrize("kind", ["run", "waiver"])
def test_an_unsigned_record_that_a_pushed_workflow_quotes_counts_for_nothing(scene: Scene, kind: str) -> None:
    record = forged(scene, kind)
    assert scene.verified(NOW, certificate_identity=None).allowed, "not held without signatures"
    assert (
        "it has no signature" in scene.verified(NOW).reason
        or scene.verified(NOW).reason == "its latest verdict is block"
    )
    assert not scene.verified(NOW).allowed
    assert f"record 2 ({record.time}): it has no signature ({bundle_path(record)} on {BRANCH})" in problems(scene)
    assert scene.publish(scene.report("block")) == 1


def test_a_bundle_of_another_record_counts_for_nothing(scene: Scene) -> None:
    record = forged(scene)
    put(scene, record, bundle(scene, scene.records()[0]))
    assert not scene.verified(NOW).allowed
    assert "its signature is of another record" in problems(scene)


@pytest.mark.parametrize(
    ("identity", "repository"),
    [
        (WORKFLOW.replace("refs/heads/main", "refs/pull/7/merge"), "acme/models"),
        (WORKFLOW.replace("refs/heads/main", "refs/heads/evil"), "acme/models"),
        (WORKFLOW.replace("ftgate.yml", "evil.yml"), "acme/models"),
        (WORKFLOW.replace("acme/models", "mallory/models"), "mallory/models"),
        (WORKFLOW, "mallory/models"),
    ],
)
def test_the_signature_of_another_workflow_branch_or_repository_counts_for_nothing(
    scene: Scene, service: SigningService, identity: str, repository: str
) -> None:
    record = forged(scene)
    service.identity, service.repository = identity, repository
    put(scene, record, sign_record(record))
    assert not scene.verified(NOW).allowed
    assert "its signature does not hold" in problems(scene)
    service.identity, service.repository = WORKFLOW, "acme/models"
    put(scene, record, sign_record(record))
    assert scene.verified(NOW).allowed, "the right identity is all that was missing"


def _other_result(content: str) -> str:
    value = json.loads(content)
    payload = base64.b64decode(value["dsseEnvelope"]["payload"]).replace(b"FAILED", b"PASSED").replace(b"run", b"ran")
    value["dsseEnvelope"]["payload"] = base64.b64encode(payload + b" ").decode()
    return json.dumps(value)


def _no_log(content: str) -> str:
    value = json.loads(content)
    value["verificationMaterial"]["tlogEntries"] = []
    return json.dumps(value)


def _other_time(content: str) -> str:
    value = json.loads(content)
    value["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = "1900000000"
    return json.dumps(value)


@pytest.mark.parametrize(
    "tamper", [_other_result, _no_log, _other_time, lambda _: "{}", lambda _: "\0", lambda c: c[:-9]]
)
def test_an_altered_bundle_counts_for_nothing(scene: Scene, tamper) -> None:
    scene.push()
    scene.publish(scene.report("pass"))
    (record,) = scene.records()
    put(scene, record, tamper(bundle(scene, record)))
    result = scene.verified(NOW)
    assert not result.allowed
    assert "its signature does not hold: " in result.reason


def test_the_word_of_another_authority_counts_for_nothing_nor_does_ours_for_the_public_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.push()
    scene.publish(scene.report("pass"))
    assert scene.verified(NOW).allowed
    monkeypatch.delenv(TRUST_CONFIG)
    assert "its signature does not hold" in scene.verified(NOW).reason
    with SigningService() as other:
        (scene.folder / "other.json").write_text(other.trust_config(), encoding="utf-8")
    monkeypatch.setenv(TRUST_CONFIG, str(scene.folder / "other.json"))
    assert "its signature does not hold" in scene.verified(NOW).reason
    monkeypatch.setenv(TRUST_CONFIG, str(scene.folder / "none.json"))
    with pytest.raises(ConfigurationError, match="FTGATE_TRUST_CONFIG: cannot read"):
        scene.verified(NOW)


def test_without_an_identity_or_an_authority_the_status_is_an_error_and_nothing_is_written(
    scene: Scene, service: SigningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = scene.push()
    service.down = True
    with pytest.raises(PublishError, match="could not sign the record"):
        scene.publish(scene.report("pass"))
    assert scene.hub.status_of(head).state == "error"
    service.down = False
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    with pytest.raises(PublishError, match="could not sign the record") as caught:
        scene.publish(scene.report("pass"))
    assert "id-token: write" in caught.value.hint
    monkeypatch.delenv("GITHUB_ACTIONS")
    with pytest.raises(PublishError, match="there is no workflow"):
        scene.publish(scene.report("pass"))
    assert scene.records() == ()


def test_a_job_that_is_run_again_signs_the_record_that_has_no_signature(scene: Scene) -> None:
    scene.push()
    scene.publish(scene.report("pass"))
    (record,) = scene.records()
    put(scene, record, None)
    assert not scene.verified(NOW).allowed
    assert scene.publish(scene.report("pass")) == 0
    assert scene.records() == (record,)
    assert scene.verified(NOW).allowed


def test_a_waiver_is_signed_in_a_workflow(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.push()
    scene.publish(scene.report("block"))
    given = {"days": 7, "settings": scene.policy.publish, "now": NOW, "author": BOT}
    digest = reports.digest("bot v1")
    add_waiver(scene.client(), 7, "boss", digest, "urgent", **given)
    assert scene.verified(NOW).allowed
    assert scene.publish(scene.report("block")) == 0
    monkeypatch.delenv("GITHUB_ACTIONS")
    scene.push({"models/bot.yaml": reports.manifest() + "# again\n"})
    before = scene.hub.git.resolve(BRANCH)
    with pytest.raises((PublishError, ConfigurationError)):
        add_waiver(scene.client(), 7, "boss", digest, "urgent", **given)
    assert scene.hub.git.resolve(BRANCH) == before


WAIVING = WORKFLOW.replace("ftgate.yml", "ftgate-waive.yml")


def test_a_waiver_counts_with_the_signature_of_the_workflow_that_waives(
    hub: FakeGitHub, tmp_path: Path, service: SigningService
) -> None:
    """The generated workflow that waives is another one than the gate's, so the policy names both."""
    scene = Scene(hub, tmp_path, publish={**SETTINGS, "certificate_identity": [WORKFLOW, WAIVING]})
    assert scene.policy.publish.signers == (WORKFLOW, WAIVING)
    scene.push()
    scene.publish(scene.report("block"))
    service.identity = WAIVING
    given = {"days": 7, "settings": scene.policy.publish, "now": NOW, "author": BOT}
    waiver = add_waiver(scene.client(), 7, "boss", "", "urgent", **given)
    assert scene.verified(NOW).allowed
    assert not scene.verified(NOW, certificate_identity=WORKFLOW).allowed, "one name is not enough for both"
    assert problems(scene) == ""
    assert scene.publish(scene.report("block")) == 0
    service.identity = WAIVING.replace("refs/heads/main", "refs/heads/evil")
    put(scene, waiver, sign_record(waiver))
    assert not scene.verified(NOW).allowed
    assert "actual SANs: {'https://github.com/acme/models/.github/workflows/ftgate-waive.yml@" in problems(scene)


def test_errors_are_recorded_late_or_not_without_a_signature(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.push()
    scene.hub.faults.plan("422", "POST", r"/git/trees$", times=50)
    with pytest.raises(PublishError):
        scene.publish(scene.report("pass"))
    scene.hub.faults.planned.clear()
    with monkeypatch.context() as without:
        without.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        assert scene.publish(folders=[]) == 3, "an error is recorded by a job without an identity, too"
    scene.push({"models/bot.yaml": reports.manifest(version="v3")})
    publish_results(scene.with_run(scene.effects(), "78"), scene.deliver(scene.report("pass", version="v3")))
    assert [r.verdict for r in scene.records()] == ["error", "error", "allow"]
    assert problems(scene) == ""


def test_records_from_before_signatures_are_not_named_for_ever(hub: FakeGitHub, tmp_path: Path, service) -> None:
    scene = Scene(hub, tmp_path, publish={"ledger": "branch"})
    scene.push()
    scene.publish(scene.report("pass"))
    scene.text, scene.policy = reports.policy(publish=SETTINGS)
    scene.base = hub.git.commit({".github/ftgate.yml": scene.text}, scene.base, branch="main")
    assert problems(scene) == ""
    assert not scene.verified(NOW).allowed
    scene.push({"models/bot.yaml": reports.manifest(version="v3")})
    publish_results(scene.with_run(scene.effects(), "78"), scene.deliver(scene.report("pass", version="v3")))
    assert len(scene.records()) == 2
    assert problems(scene) == ""
    put(scene, scene.records()[1], "{}")
    assert "record 2 (" in problems(scene)
    assert "record 1 (" not in problems(scene)


def test_signatures_need_a_ledger_branch() -> None:
    for settings in ({"sign": "sigstore"}, {"certificate_identity": WORKFLOW}):
        with pytest.raises(ValidationError, match="need ledger: branch"):
            PublishSettings.model_validate(settings)
