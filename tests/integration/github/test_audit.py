"""The audit trail: what was altered or removed is named, and only what was allowed is released."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from support import reports
from support.github import events
from support.github.scene import Scene
from support.github.server import ALL, BOT, READ
from support.github.state import Caller

from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.audit.comment_log import comment_author
from ftgate.github.audit.history import (
    add_waiver,
    comment_history,
    compare,
    ledger_history,
    require_maintainer,
    verify_candidate,
)
from ftgate.github.audit.ledger_branch import LEDGER_FILE, read_ledger
from ftgate.github.comment import read_trail

BRANCH, CONTEXT = "ftgate-ledger", "ftgate/verdict"
NOW, LATER = "2025-03-05T09:00:00+00:00", "2025-06-05T09:00:00+00:00"


@pytest.fixture
def played(scene: Scene) -> Scene:
    """Three pushes: blocked, held, allowed."""
    for version, found in (("v1", "block"), ("v2", "inconclusive"), ("v3", "pass")):
        scene.push({"models/bot.yaml": reports.manifest(version=version)})
        scene.publish(scene.report(found, version=version))
    return scene


def thread_problems(scene: Scene) -> tuple[str, ...]:
    return comment_history(scene.client(), 7, BOT, scene.quoted()).problems


def answer(scene: Scene, version: str, now: str = NOW, policy: str = "", **more):
    ledger = read_ledger(scene.client(), BRANCH)
    return verify_candidate(
        ledger, reports.digest(f"bot {version}"), policy or scene.policy.sha256(), now, scene.quoted(), **more
    )


def test_verify_names_the_base_and_takes_a_verdict_against_another_for_none(played):
    base = next(e.base for r in read_ledger(played.client(), BRANCH).records for e in r.models)
    found = answer(played, "v3")
    assert found.allowed
    assert f"against base {base} " in found.reason
    assert answer(played, "v3", base=base).allowed
    other = answer(played, "v3", base=f"sha256:{'0' * 64}")
    assert not other.allowed
    assert other.reason == f"it was compared with base {base}, not with sha256:{'0' * 64}"


def alter(scene: Scene, old: str, new: str) -> None:
    comment = scene.hub.comments[0]
    assert old in comment.body
    scene.hub.edit(comment, BOT, comment.body.replace(old, new))


def rewrite_ledger(scene: Scene, change) -> None:
    tip = scene.hub.git.resolve(BRANCH)
    lines = scene.hub.git.git("show", f"{tip}:{LEDGER_FILE}").splitlines()
    scene.hub.git.commit({LEDGER_FILE: "\n".join(change(lines)) + "\n"}, tip, branch=BRANCH)


def test_an_untouched_trail_is_whole(played):
    assert thread_problems(played) == ()
    found = ledger_history(played.client(), BRANCH, 7)
    assert found.problems == ()
    assert [r.verdict for r in found.ledger.records] == ["block", "hold", "allow"]
    assert compare(comment_history(played.client(), 7, BOT, played.quoted()), found, CONTEXT) == []


def test_an_altered_record_in_the_comment_is_named(played):
    alter(played, '"verdict":"hold"}}', '"verdict":"allow"}}')
    said = "\n".join(thread_problems(played))
    assert "record 2" in said
    assert "altered" in said


def test_an_altered_last_record_is_named_by_its_status(played):
    alter(played, '"verdict":"allow"}}', '"verdict":"block"}}')
    said = "\n".join(thread_problems(played))
    assert "record 3" in said
    assert "not named by any status of its commit" in said


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_removed_record_is_named(played, n):
    lines = [line.text for line in read_trail(played.hub.comments[0].body).lines]
    alter(played, lines[n - 1] + "\n", "")
    said = "\n".join(thread_problems(played))
    assert "removed" in said
    if n == 2:
        assert "record 2 before record 3" in said


def test_an_edit_by_a_person_is_named(played):
    comment = played.hub.comments[0]
    played.hub.edit(comment, "maintainer", comment.body)
    assert any("maintainer edited the comment" in p for p in thread_problems(played))


def test_a_comment_that_was_deleted_is_missed_by_the_statuses(played):
    played.hub.comments.clear()
    assert len([p for p in thread_problems(played) if "altered or removed" in p]) == 3


def test_a_pull_request_without_models_has_an_empty_and_whole_history(scene):
    scene.push({"README.md": "words\n"})
    scene.publish()
    assert thread_problems(scene) == ()


def test_a_person_finds_the_bots_comment(played):
    played.hub.callers["own"] = Caller("maintainer", READ)
    settings = played.policy.publish
    assert comment_author(played.client("own"), 7, settings) == BOT
    assert comment_author(played.client(), 7, settings) == BOT
    of_app = settings.model_copy(update={"expected_creator": "gate[bot]"})
    assert comment_author(played.client("own"), 7, of_app) == "gate[bot]"


def test_a_ledger_that_was_rewritten_is_named_and_proves_nothing(played):
    assert answer(played, "v3").allowed
    rewrite_ledger(played, lambda lines: [lines[0].replace('"block"', '"allow"'), *lines[1:]])
    assert "record 1" in ledger_history(played.client(), BRANCH).problems[0]
    found = answer(played, "v3")
    assert not found.allowed
    assert "not intact" in found.reason


def test_a_record_taken_out_of_the_ledger_is_named_by_the_comment(played):
    rewrite_ledger(played, lambda lines: lines[:2])
    thread, ledger = (
        comment_history(played.client(), 7, BOT, played.quoted()),
        ledger_history(played.client(), BRANCH, 7),
    )
    assert ledger.problems == ()
    assert "which the ledger does not" in compare(thread, ledger, CONTEXT)[0]


def test_verify_knows_exactly_what_was_allowed(played):
    assert answer(played, "v3").allowed
    assert answer(played, "v1").reason == "its latest verdict is block"
    assert answer(played, "v2").reason == "its latest verdict is hold"
    assert "has no record of" in answer(played, "v9").reason
    assert "not under" in answer(played, "v3", policy="0" * 64).reason


def test_a_later_block_of_the_same_candidate_counts(scene):
    scene.push()
    scene.publish(scene.report("pass"))
    assert answer(scene, "v1").allowed
    from ftgate.github.publish import publish_results

    publish_results(scene.with_run(scene.effects(), "78"), scene.deliver(scene.report("block")))
    assert not answer(scene, "v1").allowed


@pytest.mark.parametrize(("words", "allowed"), [(("pass", "block", "pass"), True), (("block", "pass", "block"), False)])
def test_of_one_run_that_is_repeated_the_last_verdict_counts(scene, words, allowed):
    scene.push()
    for word in (*words, words[-1]):
        scene.publish(scene.report(word))
    assert answer(scene, "v1").allowed is allowed
    assert len(read_ledger(scene.client(), BRANCH).records) == 3
    assert len(read_trail(scene.hub.comments[0].body).records) == 3
    assert thread_problems(scene) == ()


def test_an_empty_ledger_allows_nothing(scene):
    assert not answer(scene, "v1").allowed


def maintainer(scene: Scene, login: str = "maintainer", event: str = "workflow_dispatch", **settings: Any) -> str:
    scene.hub.collaborators.setdefault("maintainer", "maintain")
    return require_maintainer(
        scene.client(),
        events.environment(event, scene.base, login),
        {"sender": {"login": login}},
        scene.policy.publish.model_copy(update=settings),
    )


def give(scene: Scene, version: str = "v1", now: str = NOW, **more):
    settings = {"days": 14, "settings": scene.policy.publish, "now": now, "author": BOT, "reason": "urgent fix"}
    by = more.pop("by", None) or maintainer(scene)
    return add_waiver(scene.client(), 7, by, reports.digest(f"bot {version}"), **{**settings, **more})


def test_a_waiver_is_shown_everywhere_and_covers_the_candidate(hub, scene):
    head = scene.push()
    scene.publish(scene.report("block"))
    record = give(scene)
    found = hub.status_of(head)
    assert found.state == "success"
    assert found.description.startswith("waived by maintainer until 2025-03-19: urgent fix")
    body = hub.comments[0].body
    assert "### Waived" in body
    assert [r.kind for r in read_trail(body).records] == ["run", "waiver"]
    assert thread_problems(scene) == ()
    assert f"waiver {record.identity[:12]} by maintainer" in answer(scene, "v1").reason
    assert not answer(scene, "v1", waivers=False).allowed
    assert not answer(scene, "v1", now=LATER).allowed


def test_a_waiver_holds_when_the_job_runs_again_and_is_written_once(hub, scene):
    head = scene.push()
    scene.publish(scene.report("block"))
    give(scene)
    before = len(hub.comments[0].edits), len(read_ledger(scene.client(), BRANCH).records)
    give(scene)
    assert (len(hub.comments[0].edits), len(read_ledger(scene.client(), BRANCH).records)) == before
    assert scene.publish(scene.report("block")) == 0
    assert hub.status_of(head).state == "success"
    assert "### Waived" in hub.comments[0].body
    assert scene.outputs()["verdict"] == "waived"


def test_a_waiver_ends_with_the_next_push(hub, scene):
    scene.push()
    scene.publish(scene.report("block"))
    give(scene)
    head = scene.push({"README.md": "more\n"})
    assert scene.publish(scene.report("block")) == 1
    assert hub.status_of(head).state == "failure"


def test_a_waiver_is_for_one_of_two_candidates_only(hub, scene):
    head = scene.push({f"models/{n}.yaml": reports.manifest(n) for n in ("bot", "mail")})
    scene.publish(scene.report("block"), scene.report("block", name="mail"))
    give(scene)
    assert hub.status_of(head).state == "failure"
    assert scene.publish(scene.report("block"), scene.report("block", name="mail")) == 1


def test_a_waiver_after_a_run_that_judged_nothing_clears_nothing(hub, scene):
    head = scene.push({f"models/{n}.yaml": reports.manifest(n) for n in ("bot", "mail")})
    scene.publish(scene.report("block"), scene.report("block", name="mail"))

    def fail(_: str):
        raise PublishError("the suites cannot be read", hint="")

    from ftgate.github.publish import publish_results

    assert int(publish_results(replace(scene.effects(), decide_again=fail), scene.deliver(scene.report("pass")))) == 3
    assert read_ledger(scene.client(), BRANCH).records[-1].models == ()
    give(scene)
    assert hub.status_of(head).state == "error"


def test_a_waived_head_passes_the_merge_queue_while_it_stands(hub, scene):
    scene.push()
    scene.publish(scene.report("block"))
    give(scene)
    queued = hub.git.commit({"models/bot.yaml": reports.manifest()}, scene.base)
    payload = events.merge_group(queued, scene.base)
    assert scene.publish(scene.report("block"), event="merge_group", payload=payload) == 0
    scene.push({"README.md": "more\n"})
    effects = scene.with_run(scene.effects(event="merge_group", payload=payload), "79")
    from ftgate.github.publish import publish_results

    assert int(publish_results(effects, scene.deliver(scene.report("block")))) == 1


def test_a_waiver_from_a_maintainers_own_machine_is_no_tampering(hub, scene):
    hub.callers["own"] = Caller("maintainer", ALL)
    hub.collaborators["maintainer"] = "maintain"
    scene.push()
    scene.publish(scene.report("block"))
    settings = {"days": 7, "settings": scene.policy.publish, "now": NOW, "author": BOT}
    add_waiver(scene.client("own"), 7, "maintainer", reports.digest("bot v1"), "urgent", **settings)
    assert hub.comments[0].edits[-1][0] == "maintainer"
    assert thread_problems(scene) == ()


def test_no_waiver_rests_on_a_ledger_that_was_altered(scene):
    scene.push()
    scene.publish(scene.report("block"))
    give(scene)
    scene.publish(scene.report("block"))
    rewrite_ledger(scene, lambda lines: [lines[0].replace("block", "hold"), *lines[1:]])
    with pytest.raises(PublishError, match="not intact"):
        give(scene)
    assert scene.publish(scene.report("block")) == 1


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"version": "v9"}, "no verdict"),
        ({"reason": "  "}, "--reason"),
        ({"days": 0}, "--days 0"),
        ({"days": 400}, "--days 400"),
    ],
)
def test_what_cannot_be_waived(scene, more, named):
    scene.push()
    scene.publish(scene.report("block"))
    with pytest.raises(ConfigurationError, match=named):
        give(scene, **more)


def test_an_allowed_candidate_needs_no_waiver(scene):
    scene.push()
    scene.publish(scene.report("pass"))
    with pytest.raises(ConfigurationError, match="nothing to waive"):
        give(scene)


@pytest.mark.parametrize("event", ["pull_request", "pull_request_target", "issue_comment", "push"])
def test_no_event_that_a_stranger_can_cause_gives_a_waiver(scene, event):
    with pytest.raises(ConfigurationError, match=event):
        maintainer(scene, event=event)


@pytest.mark.parametrize("login", ["stranger", "reader", "writer", "dependabot[bot]"])
def test_only_maintainers_waive(scene, login):
    scene.hub.collaborators |= {"reader": "read", "writer": "write", "dependabot[bot]": "admin"}
    with pytest.raises(ConfigurationError, match="may not waive"):
        maintainer(scene, login)


def test_the_policy_can_name_who_waives(scene):
    scene.hub.collaborators |= {"writer": "write", "boss": "admin"}
    assert maintainer(scene, "writer", may_waive=("Writer",)) == "writer"
    with pytest.raises(ConfigurationError, match=r"boss may not waive: publish\.may_waive names Writer"):
        maintainer(scene, "boss", may_waive=("Writer",))


def test_a_waiver_finds_the_one_candidate_that_failed(hub, scene):
    head = scene.push()
    scene.publish(scene.report("block"))
    asked = {"days": 14, "settings": scene.policy.publish, "now": NOW, "author": BOT}
    record = add_waiver(scene.client(), 7, "boss", "", "urgent", commit=head[:9], **asked)
    assert record.models[0].candidate == reports.digest("bot v1")
    newer = scene.push({f"models/{n}.yaml": reports.manifest(n) for n in ("bot", "mail")})
    with pytest.raises(ConfigurationError, match=f"pull request 7 is at {newer[:12]}, not at {head[:12]}"):
        add_waiver(scene.client(), 7, "boss", "", "urgent", commit=head, **asked)
    with pytest.raises(ConfigurationError, match=f"held at {newer[:7]}: none"):
        add_waiver(scene.client(), 7, "boss", "", "urgent", **asked)
    scene.publish(scene.report("block"), scene.report("block", name="mail"))
    with pytest.raises(ConfigurationError, match=r"bot sha256:.*, mail sha256:") as error:
        add_waiver(scene.client(), 7, "boss", "", "urgent", **asked)
    assert error.value.hint == "name one by its digest"


def test_whoever_started_a_run_again_must_be_a_maintainer_too(scene):
    scene.hub.collaborators["maintainer"] = "admin"
    env = events.environment("workflow_dispatch", scene.base, "maintainer") | {"GITHUB_TRIGGERING_ACTOR": "stranger"}
    with pytest.raises(ConfigurationError, match="stranger may not waive"):
        require_maintainer(scene.client(), env, {"sender": {"login": "maintainer"}}, scene.policy.publish)


def test_outside_a_workflow_the_token_says_who_asks(scene):
    scene.hub.callers["own"] = Caller("maintainer", ALL)
    scene.hub.collaborators["maintainer"] = "admin"
    assert require_maintainer(scene.client("own"), {}, {}, scene.policy.publish) == "maintainer"
    scene.hub.callers["other"] = Caller("stranger", READ)
    with pytest.raises(ConfigurationError, match="stranger may not waive"):
        require_maintainer(scene.client("other"), {}, {}, scene.policy.publish)


def test_a_waiver_in_the_pull_requests_text_is_only_text(hub, scene):
    line = json.dumps({"kind": "waiver", "candidate": reports.digest("bot v1")})
    head = scene.push({"models/bot.yaml": reports.manifest(), "WAIVER": line})
    hub.pulls[7].body = f"/waive\n{line}"
    assert scene.publish(scene.report("block")) == 1
    assert hub.status_of(head).state == "failure"
