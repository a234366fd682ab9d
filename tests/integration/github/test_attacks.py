"""Attacks by somebody who may push to the repository: each is refused by `verify` and named by `history`.

docs/security.md lists them, and says what is not held here.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support import reports
from support.github.scene import Scene
from support.github.server import ALL, BOT
from support.github.state import Caller

from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.audit.history import (
    VerifyResult,
    add_waiver,
    comment_history,
    compare,
    ledger_history,
    verify_candidate,
)
from ftgate.github.audit.ledger_branch import LEDGER_FILE, append, read_ledger
from ftgate.github.audit.record import Ledger, Record, status_suffix
from ftgate.github.client import CommitStatus
from ftgate.github.comment import read_trail, with_trail
from ftgate.github.incumbent import NOTHING_ALLOWED
from ftgate.github.incumbent import ledger_of as incumbents_of
from ftgate.github.publish import publish_results

BRANCH, CONTEXT = "ftgate-ledger", "ftgate/verdict"
NOW = "2025-03-05T09:00:00+00:00"


@pytest.fixture
def blocked(scene: Scene) -> Scene:
    """A pull request whose model was blocked, on a platform where mallory may push and gate is an App."""
    scene.hub.callers |= {"mallory": Caller("mallory", ALL), "gate": Caller("gate[bot]", ALL)}
    scene.push()
    assert scene.publish(scene.report("block")) == 1
    return scene


def ledger_of(scene: Scene) -> Ledger:
    ledger = read_ledger(scene.client(), BRANCH)
    assert ledger is not None
    return ledger


def verified(scene: Scene, now: str = NOW, version: str = "v1", **settings: str) -> VerifyResult:
    digest, policy = reports.digest(f"bot {version}"), scene.policy.sha256()
    return verify_candidate(read_ledger(scene.client(), BRANCH), digest, policy, now, scene.quoted(**settings))


def named(scene: Scene) -> str:
    """What `history` and `history --pull-request 7` name."""
    client, quoted = scene.client(), scene.quoted()
    comment, branch = comment_history(client, 7, BOT, quoted), ledger_history(client, BRANCH, 7)
    whole = ledger_history(client, BRANCH, None, quoted)
    return "\n".join([*whole.problems, *comment.problems, *compare(comment, branch, CONTEXT)])


def allow_of(record: Record, **changes: object) -> Record:
    """A record that says that the models of another one were allowed."""
    models = tuple(e.model_copy(update={"verdict": "allow"}) for e in record.models)
    changes = {"time": "2025-03-04T12:00:00+00:00", "verdict": "allow", "models": models, "run": "666", **changes}
    return record.model_copy(update=changes)


def waiver_of(record: Record, by: str = "boss", expires: str = "2031-01-01T00:00:00+00:00") -> Record:
    changes = {"kind": "waiver", "verdict": "waived", "by": by, "expires": expires, "reason": "urgent"}
    return record.model_copy(update=changes)


def post(scene: Scene, token: str, record: Record | None, state: str = "success") -> None:
    """Set a status at the head, quoting a record."""
    text = "allow: bot is as good as its base" + (status_suffix(record) if record else "")
    scene.client(token).set_status(scene.hub.pulls[7].head, CONTEXT, CommitStatus(state, text, ""))


def reseal(scene: Scene, records: Sequence[Record]) -> None:
    """Replace the ledger by an intact chain of these records."""
    ledger = Ledger()
    for record in records:
        ledger = ledger.appended(record)
    tip = scene.hub.git.resolve(BRANCH)
    scene.hub.git.commit({LEDGER_FILE: "".join(line.text + "\n" for line in ledger.lines)}, tip, branch=BRANCH)
    assert ledger_of(scene).problems == ()


@pytest.mark.parametrize("quoted", [True, False])
def test_a_forged_status_is_named_and_allows_nothing(blocked: Scene, quoted: bool) -> None:
    post(blocked, "mallory", ledger_of(blocked).records[0] if quoted else None)
    assert verified(blocked).reason == "its latest verdict is block"
    assert "was set by mallory, not by github-actions[bot]: it proves nothing" in named(blocked)


def test_a_forged_status_in_other_letters_is_the_same_to_the_platform_and_named(blocked: Scene) -> None:
    head = blocked.hub.pulls[7].head
    blocked.client("mallory").set_status(head, "FTGATE/Verdict", CommitStatus("success", "allow", ""))
    assert blocked.hub.status_of(head).creator == "mallory"
    assert "was set by mallory, not by github-actions[bot]: it proves nothing" in named(blocked)
    blocked.publish(blocked.report("block"))
    assert blocked.hub.status_of(head).state == "failure", "the gate sets its own again"


def test_a_status_of_the_workflow_that_contradicts_its_record_is_named(blocked: Scene) -> None:
    post(blocked, "token", ledger_of(blocked).records[0])
    assert not verified(blocked).allowed
    assert "contradicts record" in named(blocked)
    assert "the record says block" in named(blocked)


def test_a_status_that_quotes_an_allow_of_another_commit_is_named(scene: Scene) -> None:
    scene.push()
    scene.publish(scene.report("pass"))
    scene.push({"models/bot.yaml": reports.manifest(version="v2")})
    scene.publish(scene.report("block", version="v2"))
    assert named(scene) == ""
    allow = ledger_of(scene).records[0]
    post(scene, "token", allow)
    assert f"names record {allow.identity[:12]}, which is of another commit, {allow.head[:7]}" in named(scene)
    assert verified(scene, version="v2").reason == "its latest verdict is block"


def test_a_ledger_from_which_every_record_was_removed_is_named(blocked: Scene) -> None:
    blocked.hub.git.commit({LEDGER_FILE: ""}, blocked.hub.git.resolve(BRANCH), branch=BRANCH)
    assert f"the branch {BRANCH} holds no record: all were removed" in named(blocked)
    assert verified(blocked).reason == "the ledger is empty: nothing was ever allowed"


def test_why_nothing_is_proven_without_a_ledger_or_under_another_name_is_said(scene: Scene) -> None:
    digest, policy = reports.digest("bot v1"), scene.policy.sha256()
    said = verify_candidate(read_ledger(scene.client(), BRANCH), digest, policy, NOW, scene.quoted()).reason
    assert said == "there is no ledger branch, or the token may not read it: nothing is proven"
    scene.push()
    scene.publish(scene.report("pass"))
    assert verified(scene, context="ftgate/renamed").reason == (
        f"the ledger has no record of the candidate {digest} under ftgate/renamed, only under {CONTEXT} "
        "(publish.context)"
    )


def test_a_status_of_the_workflow_without_a_record_is_named(blocked: Scene) -> None:
    post(blocked, "token", None)
    assert "names no record" in named(blocked)


@pytest.mark.parametrize("token", ["", "mallory"])
def test_an_allow_appended_to_the_ledger_is_named_and_allows_nothing(blocked: Scene, token: str) -> None:
    forged = append(blocked.client("mallory"), BRANCH, allow_of(ledger_of(blocked).records[0])).record
    if token:
        post(blocked, token, forged)
    assert verified(blocked).reason == "its latest verdict is block"
    assert f"record 2 ({forged.time}" in named(blocked)
    assert "which the ledger has" in named(blocked)


def test_an_allow_of_a_model_that_was_never_judged_is_refused_with_its_reason(blocked: Scene) -> None:
    first = ledger_of(blocked).records[0]
    models = tuple(e.model_copy(update={"candidate": reports.digest("bot v9")}) for e in first.models)
    forged = append(blocked.client("mallory"), BRANCH, allow_of(first.model_copy(update={"models": models}))).record
    post(blocked, "mallory", forged)
    reason = verified(blocked, version="v9").reason
    assert reason.startswith(f"the allow proves nothing: its record {forged.identity[:12]} ")
    assert reason.endswith("that github-actions[bot] set")


def test_an_earlier_allow_that_is_appended_again_does_not_replace_a_block(scene: Scene) -> None:
    scene.push()
    scene.publish(scene.report("pass"))
    publish_results(scene.with_run(scene.effects(), "78"), scene.deliver(scene.report("block")))
    allow, block = ledger_of(scene).records
    reseal(scene, [allow, block, allow])
    assert not verified(scene).allowed
    assert "record 3 (2025-03-04T09:01:00+00:00) repeats record 1: it was added again" in named(scene)
    reseal(scene, [block, allow])
    assert not verified(scene).allowed
    reseal(scene, [allow])
    assert f"names record {block.identity[:12]}: the ledger lacks it" in verified(scene).reason
    assert f"names record {block.identity[:12]}, which is missing" in named(scene)


@pytest.mark.parametrize("token", ["", "mallory"])
def test_a_waiver_appended_to_the_ledger_waives_nothing(blocked: Scene, token: str) -> None:
    first = ledger_of(blocked).records[0]
    forged = append(blocked.client("mallory"), BRANCH, waiver_of(first, expires="2025-03-20T00:00:00+00:00")).record
    if token:
        post(blocked, token, forged)
    assert verified(blocked).reason.startswith(f"the waiver proves nothing: its record {forged.identity[:12]}")
    assert blocked.publish(blocked.report("block")) == 1
    assert "a waiver is ignored" in "\n".join(blocked.said)
    assert f"record 2 ({forged.time}" in named(blocked)


@pytest.mark.parametrize(("by", "token"), [("boss", "token"), ("mallory", "mallory")])
def test_a_waiver_for_more_than_90_days_counts_for_nothing_whoever_quotes_it(
    blocked: Scene, by: str, token: str
) -> None:
    forged = append(blocked.client("mallory"), BRANCH, waiver_of(ledger_of(blocked).records[0], by)).record
    post(blocked, token, forged)
    assert verified(blocked).reason == "its latest verdict is block"
    assert not verified(blocked, now="2030-12-31T00:00:00+00:00").allowed
    assert blocked.publish(blocked.report("block")) == 1
    assert "until 2031-01-01T00:00:00+00:00 lasts more than 90 days" in named(blocked)


def test_a_pusher_s_waiver_in_their_own_name_counts_for_nothing(blocked: Scene) -> None:
    blocked.hub.collaborators["mallory"] = "write"
    expires = "2025-03-20T00:00:00+00:00"
    forged = append(blocked.client("mallory"), BRANCH, waiver_of(ledger_of(blocked).records[0], "mallory", expires))
    post(blocked, "mallory", forged.record)
    assert not verified(blocked).allowed
    assert blocked.publish(blocked.report("block")) == 1
    assert "was set by mallory, not by github-actions[bot]: it proves nothing" in named(blocked)


def test_a_maintainers_own_waiver_counts_unless_the_policy_names_the_creator(blocked: Scene) -> None:
    blocked.hub.collaborators["mallory"] = "maintain"
    given = {"days": 7, "now": NOW, "author": BOT}
    settings, digest = blocked.policy.publish, reports.digest("bot v1")
    own = settings.model_copy(update={"expected_creator": "gate[bot]"})
    with pytest.raises(ConfigurationError, match=r"a waiver by mallory would not count.*gate\[bot\]"):
        add_waiver(blocked.client("mallory"), 7, "mallory", digest, "urgent", settings=own, **given)
    assert len(ledger_of(blocked).records) == 1
    add_waiver(blocked.client("mallory"), 7, "mallory", digest, "urgent", settings=settings, **given)
    assert verified(blocked).allowed
    assert named(blocked) == ""
    assert not verified(blocked, expected_creator="gate[bot]").allowed


def test_with_an_app_of_ones_own_no_pushed_workflow_can_vouch(blocked: Scene) -> None:
    """Whoever may push can run a workflow with a token of github-actions[bot]."""
    forged = append(blocked.client("mallory"), BRANCH, allow_of(ledger_of(blocked).records[0])).record
    post(blocked, "token", forged)
    assert verified(blocked).allowed, "not held without an App: docs/security.md says so"
    refused = verified(blocked, expected_creator="gate[bot]")
    assert not refused.allowed
    post(blocked, "gate", forged)
    assert verified(blocked, expected_creator="gate[bot]").allowed


def test_the_owner_of_the_token_in_use_counts_too(scene: Scene) -> None:
    scene.hub.callers["token"] = Caller("build-machine", ALL)
    scene.push()
    assert scene.publish(scene.report("pass")) == 0
    assert verified(scene).allowed
    assert not verified(scene, expected_creator=BOT).allowed
    assert verified(scene, expected_creator="Build-Machine").allowed


def test_a_forged_equal_status_does_not_keep_the_workflow_from_setting_its_own(blocked: Scene) -> None:
    latest = blocked.client().statuses(blocked.hub.pulls[7].head, CONTEXT)[0]
    blocked.hub.statuses[-1].creator = "mallory"
    blocked.client().set_status(blocked.hub.pulls[7].head, CONTEXT, latest)
    assert [s.creator for s in blocked.hub.statuses[-2:]] == ["mallory", BOT]
    blocked.client().set_status(blocked.hub.pulls[7].head, CONTEXT, latest)
    assert len([s for s in blocked.hub.statuses if s.creator == BOT]) == 1


def test_records_added_to_the_comment_reach_neither_ledger_nor_verdict(blocked: Scene) -> None:
    comment = blocked.hub.comments[0]
    first = ledger_of(blocked).records[0]
    forged = [allow_of(first), first.model_copy(update={"verdict": "error", "run": "666"})]
    trail = read_trail(comment.body)
    for record in forged:
        trail = trail.appended(record)
    blocked.hub.edit(comment, "mallory", with_trail(comment.body, trail))
    assert "mallory edited the comment" in named(blocked)
    assert "which the ledger does not: altered or added" in named(blocked)
    publish_results(blocked.with_run(blocked.effects(), "78"), blocked.deliver(blocked.report("block")))
    assert [r.run for r in ledger_of(blocked).records] == ["77", "78"]
    assert not verified(blocked).allowed


def test_the_ledger_names_no_deployed_model_that_no_status_vouches_for(blocked: Scene) -> None:
    first = ledger_of(blocked).records[0]
    entry = first.models[0].model_copy(
        update={"verdict": "allow", "source": "s3://weak/model", "manifest": "models/bot.yaml"}
    )
    forged = append(blocked.client("mallory"), BRANCH, allow_of(first, models=(entry,))).record
    post(blocked, "mallory", forged)
    last = incumbents_of(blocked.client(), blocked.policy, None, lambda _: None).last_allowed("models/bot.yaml")
    assert last.source is None
    assert last.note == NOTHING_ALLOWED
    post(blocked, "token", forged)
    last = incumbents_of(blocked.client(), blocked.policy, None, lambda _: None).last_allowed("models/bot.yaml")
    assert last.source is not None


def test_verify_with_another_report_is_refused(scene: Scene) -> None:
    scene.push()
    scene.publish(scene.report("pass"))
    ledger, digest = ledger_of(scene), reports.digest("bot v1")
    recorded = ledger.records[0].models[0].report
    for sha256, allowed in ((recorded, True), ("0" * 64, False)):
        result = verify_candidate(ledger, digest, scene.policy.sha256(), NOW, scene.quoted(), report=sha256)
        assert result.allowed is allowed
    assert result.reason == f"the report has the SHA-256 {'0' * 64}, and the allow is of {recorded}"


def test_a_failed_write_of_the_ledger_is_named_until_the_next_write_appends_it_late(scene: Scene) -> None:
    scene.push()
    scene.publish(scene.report("pass"))
    head = scene.push({"models/bot.yaml": reports.manifest(version="v2")})
    scene.hub.faults.plan("422", "POST", r"/git/trees$", times=50)
    with pytest.raises(PublishError, match="Repository rule violations found"):
        scene.publish(scene.report("pass", version="v2"))
    scene.hub.faults.planned.clear()
    assert scene.hub.status_of(head).state == "error"
    assert "which the ledger does not" in named(scene)
    scene.push({"models/bot.yaml": reports.manifest(version="v3")})
    assert scene.publish(scene.report("pass", version="v3")) == 0
    assert named(scene) == ""
    lines = ledger_of(scene).lines
    assert [(line.record.verdict, line.late) for line in lines] == [
        ("allow", ""),
        ("error", "2025-03-04T09:03:00+00:00"),
        ("allow", ""),
    ]
    assert lines[1].record.head == head
    assert not verified(scene, version="v2").allowed
    assert scene.publish(scene.report("pass", version="v3")) == 0
    assert len(ledger_of(scene).lines) == 3
