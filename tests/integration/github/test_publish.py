"""What a pull request sees: pending, one comment, a final status, whatever happens in between."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support import reports
from support.github import bodies, events
from support.github.scene import POLICY_PATH, Scene
from support.github.server import ALL, BOT, FakeGitHub
from support.github.state import Caller, IssueComment

from ftgate.artifacts.resolve import Resolver
from ftgate.artifacts.snapshot import take_snapshot
from ftgate.config.policy import ArtifactSettings
from ftgate.errors import PublishError
from ftgate.github.bundle import write_bundle
from ftgate.github.comment import mark, read_trail
from ftgate.github.event import read_target
from ftgate.github.failure_file import FAILURE
from ftgate.github.publish import publish_pending, publish_results, settle_results
from ftgate.jobs.prepare import sampled_suite
from ftgate.measurements.registry import read_measurements
from ftgate.report import numbers
from ftgate.report.render import MARKER
from ftgate.report.statement import statement


def state(hub: FakeGitHub, sha: str) -> tuple[str, str]:
    found = hub.status_of(sha)
    assert found is not None
    return found.state, found.description or ""


def test_pending_at_once_and_the_manifests_for_the_jobs_that_follow(hub, scene):
    head = scene.push({"models/bot.yaml": reports.manifest(), "models/new.yaml": reports.manifest("new")})
    assert scene.pending() == 0
    assert state(hub, head) == ("pending", "judging 2 models")
    assert scene.outputs() == {"manifests": '["models/bot.yaml", "models/new.yaml"]', "model-change": "true"}


@pytest.mark.parametrize(
    ("forgetting", "code", "wanted", "word"),
    [("pass", 0, "success", "allow"), ("block", 1, "failure", "block"), ("inconclusive", 4, "failure", "hold")],
)
def test_each_verdict_has_its_status_comment_and_outputs(hub, scene, forgetting, code, wanted, word):
    head = scene.push()
    assert scene.publish(scene.report(forgetting)) == code
    found, text = state(hub, head)
    assert found == wanted
    assert text.startswith(f"{word}: ")
    assert " bot" in text, "the status says which candidate"
    assert len(text) <= 140
    body = scene.thread()[0]
    assert body.startswith(f"{mark('ftgate/verdict')}\n## {numbers.headline(word)}: `bot`")
    assert f"[This run]({scene.effects().target.run_url})" in body
    out = scene.outputs()
    assert (out["verdict"], out["state"], out["sha"]) == (word, wanted, head)
    assert out["comment-url"].startswith("https://github.test/acme/models/pull/7#issuecomment-")
    assert out["needed-n"] == ("900" if word == "hold" else "")
    assert out["report"] == str(scene.folder / "out-0" / "report.json")
    assert "General skills" in (scene.folder / "summary").read_text(encoding="utf-8")


def test_the_statement_is_of_the_report_that_was_checked_whatever_came_beside_it(hub, scene):
    scene.push()
    (folder,) = scene.deliver(scene.report("block"))
    forged = statement(scene.report("pass"))
    (folder / "statement.json").write_text(json.dumps(forged))
    assert scene.publish(folders=[folder]) == 1
    assert scene.outputs()["statement"] == str(folder / "statement.json")
    written = json.loads((folder / "statement.json").read_text(encoding="utf-8"))
    assert written == statement(scene.report("block"))
    assert written["predicate"]["result"] == "FAILED"


def test_a_report_that_was_not_found_true_has_no_statement(hub, scene):
    scene.push({f"models/{n}.yaml": reports.manifest(n) for n in ("bot", "mail")})
    found = scene.report("block").model_copy(update={"verdict": "allow"})
    folders = scene.deliver(found, scene.report("pass", name="mail"))
    assert scene.publish(folders=folders) == 3
    assert scene.outputs()["statement"] == str(folders[1] / "statement.json")
    assert not (folders[0] / "statement.json").exists()


def test_a_statement_that_cannot_be_written_loses_no_status(hub, scene):
    head = scene.push()
    (folder,) = scene.deliver(scene.report("pass"))
    (folder / "statement.json.partial").mkdir()
    assert scene.publish(folders=[folder]) == 0
    assert state(hub, head)[0] == "success"
    assert scene.outputs()["statement"] == ""
    assert "no statement for bot" in "\n".join(scene.said)


def test_what_is_clear_before_the_evaluation_needs_no_ledger(hub, scene):
    """The job that plans may read the contents and no more."""
    hub.callers["token"] = Caller(BOT, {**ALL, "contents": "read"})
    hub.truncate_trees = True
    head = scene.push()
    assert scene.pending() == 3
    assert state(hub, head)[0] == "error"
    assert "has more files than GitHub lists at once" in state(hub, head)[1]
    assert "more files than GitHub lists" in scene.thread()[0]
    assert read_trail(scene.thread()[0]).records == ()
    hub.callers["token"] = Caller(BOT, ALL)
    assert scene.publish() == 3
    assert [r.verdict for r in read_trail(scene.thread()[0]).records] == ["error"]
    assert "[record " in state(hub, head)[1]


def test_a_second_run_of_the_same_job_changes_nothing(hub, scene):
    scene.push()
    scene.publish(scene.report("block"))
    before = hub.writes()
    assert scene.publish(scene.report("block")) == 1
    assert hub.writes() == before


def test_a_better_candidate_edits_the_same_comment_and_the_history_has_both(hub, scene):
    first = scene.push()
    scene.publish(scene.report("block"))
    second = scene.push({"models/bot.yaml": reports.manifest(version="v2")})
    scene.publish(scene.report("pass", version="v2"))
    assert (state(hub, first)[0], state(hub, second)[0]) == ("failure", "success")
    assert len(hub.comments) == 1
    ledger = read_trail(hub.comments[0].body)
    assert [(r.head, r.verdict) for r in ledger.records] == [(first, "block"), (second, "allow")]
    assert ledger.problems == ()


@pytest.mark.parametrize("author", ["github-actions", "GitHub-Actions[bot]", "someone"])
def test_an_author_who_is_not_the_tokens_owner_makes_no_second_comment(hub, scene, author):
    scene.push()
    for word in ("block", "pass"):
        folders = scene.deliver(scene.report(word))
        publish_results(replace(scene.effects(), author=author), folders)
        (body,) = scene.thread()
    assert [r.verdict for r in read_trail(body).records] == ["block", "allow"]
    assert "May merge" in body


def test_two_manifests_of_one_candidate_on_two_bases_have_a_report_each_in_any_order(hub, scene):
    other = reports.manifest(base={"source": "hf://acme/other"})
    head = scene.push({"models/bot.yaml": reports.manifest(), "models/bot-other.yaml": other})
    found = scene.report("pass", text=other)
    found.provenance["base"]["reference"] = "hf://acme/other"
    for both in ((scene.report("pass"), found), (found, scene.report("pass"))):
        assert scene.publish(*both) == 0
        assert state(hub, head)[0] == "success"


def test_another_base_than_the_base_branch_s_is_told_in_the_comment(hub, scene):
    scene.push()
    scene.publish(scene.report("pass"))
    assert "changes the base model" not in scene.thread()[0]
    hostile = "hf://acme/weak` <img src=x> @boss"
    text = reports.manifest(base={"source": hostile})
    scene.push({"models/bot.yaml": text})
    found = scene.report("pass", text=text)
    found.provenance["base"]["reference"] = hostile
    assert scene.publish(found) == 0
    body = scene.thread()[0]
    assert "### This pull request changes the base model\n- `models/bot.yaml`: ``hf://acme/weak` <img" in body
    assert "instead of `hf://acme/base`" in body


def test_nothing_that_names_a_model_changed(hub, scene):
    head = scene.push({"README.md": "other words\n"})
    assert scene.pending() == 0
    assert state(hub, head) == ("success", "no model change")
    assert scene.publish() == 0
    assert state(hub, head) == ("success", "no model change")
    assert hub.comments == []


@pytest.mark.parametrize("renamed", [{}, {"attic/bot.yaml": reports.manifest(version="v0")}])
def test_a_manifest_that_is_taken_away_is_named(hub, scene, renamed):
    head = scene.push({"models/bot.yaml": None, **renamed})
    assert scene.pending() == 0
    assert scene.publish() == 0
    assert state(hub, head) == ("success", "no model change (removed: models/bot.yaml)")


def test_a_manifest_that_is_taken_away_is_named_beside_a_verdict(hub, scene):
    head = scene.push({"models/bot.yaml": None, "models/mail.yaml": reports.manifest("mail")})
    assert scene.publish(scene.report("pass", name="mail")) == 0
    found, text = state(hub, head)
    assert found == "success"
    assert text.startswith("allow: mail ")
    assert " (removed: models/bot.yaml) [record " in text
    assert len(text) <= 140


def test_a_change_of_model_that_was_taken_back_is_said_in_the_comment_that_is_there(hub, scene):
    scene.push()
    scene.publish(scene.report("block"))
    head = scene.push({"models/bot.yaml": reports.manifest(version="v0")})
    assert scene.publish() == 0
    assert state(hub, head)[0] == "success"
    assert "No model change" in hub.comments[0].body
    assert len(read_trail(hub.comments[0].body).records) == 2


def test_several_manifests_have_one_status_and_a_section_each(hub, scene):
    head = scene.push({f"models/{n}.yaml": reports.manifest(n) for n in ("bot", "mail", "code")})
    found = [scene.report("pass"), scene.report("block", name="mail"), scene.report("pass", name="code")]
    assert scene.publish(*found) == 1
    assert state(hub, head)[1].startswith("block: mail (of 3 models)")
    body = scene.thread()[0]
    assert [body.count(f": `{n}`\n") for n in ("bot", "mail", "code")] == [1, 1, 1]
    assert len({s.context for s in hub.statuses}) == 1


def test_a_changed_manifest_without_a_report_is_an_error_not_a_pass(hub, scene):
    head = scene.push({f"models/{n}.yaml": reports.manifest(n) for n in ("bot", "mail")})
    assert scene.publish(scene.report("pass")) == 3
    assert state(hub, head)[0] == "error"
    assert "the evaluation left no report for it" in scene.thread()[0]


def failed(scene, reason: object, manifest: object = "models/bot.yaml", name: str = "001-bot") -> Path:
    folder = scene.folder / name
    folder.mkdir()
    (folder / FAILURE).write_text(json.dumps({"manifest": manifest, "reason": reason}))
    return folder


@pytest.mark.parametrize("manifest", ["models/bot.yaml", ""])
def test_why_an_evaluation_failed_is_in_status_and_comment(hub, scene, manifest):
    head = scene.push()
    assert scene.publish(folders=[failed(scene, "no GPU: the driver sees no device", manifest)]) == 3
    found, text = state(hub, head)
    assert (found, text.partition(" [")[0]) == (
        "error",
        "the gate could not judge: bot: the evaluation failed: no GPU: the driver sees no device",
    )
    why = "because the gate itself failed: no GPU: the driver sees no device."
    assert f"**Why:** The model was not tested, {why}" in scene.thread()[0]


def test_a_reason_is_text_and_bounded_whoever_wrote_it(hub, scene):
    head = scene.push()
    reason = "@boss see #1 </details><script> ![x](https://e.example/y) `::error::` " + "x" * 5000
    assert scene.publish(folders=[failed(scene, reason)]) == 3
    body = scene.thread()[0]
    assert not [word for word in ("@boss", "#1 ", "</details><s", "<script", "![x](") if word in body]
    assert len(body) < 6000
    assert len(state(hub, head)[1]) <= 140
    assert "::error" not in state(hub, head)[1]


def test_a_reason_beside_a_report_changes_nothing_and_excuses_nothing(hub, scene):
    head = scene.push({f"models/{n}.yaml": reports.manifest(n) for n in ("bot", "mail")})
    (folder,) = scene.deliver(scene.report("pass"))
    (folder / FAILURE).write_text(json.dumps({"manifest": "", "reason": "verdict: allow"}))
    assert scene.publish(folders=[folder, failed(scene, "allow", "models/mail.yaml", "002-mail")]) == 3
    assert state(hub, head)[0] == "error"
    assert [e.verdict for e in read_trail(scene.thread()[0]).records[0].models] == ["allow", "error"]


@pytest.mark.parametrize(
    ("reason", "manifest"), [(1, "models/bot.yaml"), ("x", None), ("x" * 20_000, ""), ("x", "models/other.yaml")]
)
def test_what_is_no_reason_is_a_folder_without_a_report(hub, scene, reason, manifest):
    head = scene.push()
    assert scene.publish(folders=[failed(scene, reason, manifest)]) == 3
    assert "the evaluation left no report for it" in scene.thread()[0]
    assert state(hub, head)[0] == "error"


def test_a_manifest_without_the_training_data_that_the_policy_requires_is_an_error(hub, tmp_path):
    scene = Scene(hub, tmp_path, artifacts={"require_training_data": True})
    head = scene.push()
    assert scene.publish(scene.report("pass")) == 3
    assert "training_data is missing, and the policy requires it" in state(hub, head)[1]
    text = reports.manifest(training_data={"source": "s3://acme/train.jsonl"})
    found = scene.report("pass", text=text)
    found.provenance["training_data"] = {"sha256": "1" * 64, "rows": 9, "source": "train.jsonl"}
    head = scene.push({"models/bot.yaml": text})
    assert scene.publish(found) == 0
    assert state(hub, head)[0] == "success"


def test_a_run_that_left_nothing_is_an_error(hub, scene):
    head = scene.push()
    assert scene.publish(folders=[scene.folder / "nowhere"]) == 3
    assert state(hub, head)[0] == "error"


def test_a_report_for_another_model_is_an_error(hub, scene):
    head = scene.push()
    assert scene.publish(scene.report("pass", name="somebody")) == 3
    assert "belongs to no manifest" in scene.thread()[0]
    assert state(hub, head)[0] == "error"


def test_a_report_of_another_pull_request_is_no_report_for_this_one(hub, scene):
    """The same candidate by name, place and digest, but trained from another base's commit, as the other one said."""
    other = reports.manifest(base={"source": "hf://acme/base", "revision": "1" * 40})
    head = scene.push()
    assert scene.publish(scene.report("pass", text=other)) == 3
    found, text = state(hub, head)
    assert (found, "it is for another manifest" in text) == ("error", True)
    unnamed = scene.report("pass")
    del unnamed.provenance["manifest_sha256"]
    assert scene.publish(unnamed) == 3
    nowhere = scene.report("pass")
    nowhere.provenance["candidate"]["reference"] = ""
    assert scene.publish(nowhere) == 3


@pytest.mark.parametrize("place", ["digest", "reference"])
def test_a_report_about_other_files_than_the_manifest_names_is_an_error(hub, scene, place):
    head = scene.push()
    found = scene.report("pass")
    found.provenance["candidate"][place] = {"digest": reports.digest("x"), "reference": "s3://acme/bot/v9"}[place]
    assert scene.publish(found) == 3
    assert state(hub, head)[0] == "error"


def test_weights_that_lie_beside_the_manifest_are_a_change_of_the_model(hub, scene):
    text = reports.manifest(candidate={"source": "../weights/bot"})
    scene.base = hub.git.commit({"models/bot.yaml": text, "weights/bot/a.bin": "1"}, scene.base, branch="main")
    scene.push({"weights/bot/a.bin": "2"})
    scene.pending()
    assert scene.outputs()["manifests"] == '["models/bot.yaml"]'


def test_weights_that_lie_beside_the_manifest_are_those_that_were_judged(hub, scene, tmp_path):
    """Else a report on what lay there before would do for whatever lies there now."""
    text = reports.manifest(candidate={"source": "../weights/bot"})
    scene.base = hub.git.commit({"models/bot.yaml": text, "weights/bot/a.bin": "1"}, scene.base, branch="main")
    (tmp_path / "bot").mkdir()
    (tmp_path / "bot" / "a.bin").write_text("2")
    (tmp_path / "bot" / ".git").write_text("left aside")
    found = scene.report("pass", text=text)
    found.provenance["candidate"] |= {
        "reference": "../weights/bot",
        "digest": take_snapshot(tmp_path / "bot", "").digest,
    }
    left = dict.fromkeys(("weights/bot/.git/x", "weights/bot/training_args.bin"), "left aside")
    head = scene.push({"weights/bot/a.bin": "2", **left})
    assert scene.publish(found) == 0
    assert state(hub, head)[0] == "success"
    head = scene.push({"weights/bot/a.bin": "3"})
    assert scene.publish(found) == 3
    assert "but here its files have sha256:" in scene.thread()[0].replace("\u200b", "")
    assert state(hub, head)[0] == "error"


def test_a_manifest_that_is_a_link_is_refused(hub, scene):
    head = scene.push({}, **{"models/evil.yaml": "../../../proc/self/environ"})
    assert scene.publish(folders=[]) == 3
    assert state(hub, head)[0] == "error"
    assert "it is a link" in scene.thread()[0]


def test_a_newer_head_keeps_its_comment_and_the_older_result_its_status(hub, scene):
    old = scene.push()
    late = scene.effects()
    new = scene.push({"models/bot.yaml": reports.manifest(version="v2")})
    scene.publish(scene.report("pass", version="v2"))
    body = hub.comments[0].body.split("<details><summary>History")[0]
    from ftgate.github.publish import publish_results

    assert int(publish_results(late, scene.deliver(scene.report("block")))) == 1
    assert state(hub, old)[1].startswith(f"superseded by {new[:7]}: block: bot ")
    assert hub.comments[0].body.split("<details><summary>History")[0] == body
    assert [r.head for r in read_trail(hub.comments[0].body).records] == [new, old]


def test_a_policy_edited_in_the_pull_request_is_shown_and_not_obeyed(hub, scene):
    loose, _ = reports.policy(measurements={"target": reports.POLICY["measurements"]["target"]})
    head = scene.push({"models/bot.yaml": reports.manifest(), POLICY_PATH: loose + "# ``` <!-- ftgate:history -->\n"})
    assert scene.publish(scene.report("block")) == 1
    body = scene.thread()[0]
    assert "### This pull request edits the policy" in body
    assert "-  forgetting:" in body
    assert state(hub, head)[0] == "failure"
    assert len(read_trail(body).records) == 1


def test_a_report_under_the_pull_requests_own_policy_is_an_error(hub, scene):
    _, loose = reports.policy(measurements={"target": reports.POLICY["measurements"]["target"]})
    head = scene.push()
    found = reports.report(loose, "pass")
    del found.measurements["forgetting"]
    assert scene.publish(found) == 3
    assert state(hub, head)[0] == "error"


def test_without_a_policy_on_the_base_branch_nothing_can_be_judged(hub, scene):
    hub.git.commit({POLICY_PATH: None}, scene.base, branch="main")
    head = scene.push()
    assert scene.publish(scene.report("pass")) == 3
    assert state(hub, head)[0] == "error"
    assert "no policy" in state(hub, head)[1]


def test_a_strangers_comment_with_our_marker_stays_a_strangers(hub, scene):
    hub.comments.append(IssueComment(1, 7, "stranger", f"{mark('ftgate/verdict')}\n## ✓ allow"))
    hub.comments.append(IssueComment(2, 7, BOT, f"Quoting:\n{MARKER}"))
    scene.push()
    scene.publish(scene.report("block"))
    assert [c.body for c in hub.comments[:2]] == [f"{mark('ftgate/verdict')}\n## ✓ allow", f"Quoting:\n{MARKER}"]
    assert len(hub.comments) == 3


def test_our_comment_is_found_on_a_later_page(hub, scene):
    scene.push()
    hub.comments += [IssueComment(i, 7, "stranger", "hello") for i in range(1, 151)]
    scene.publish(scene.report("block"))
    hub.comments += [IssueComment(i, 7, "stranger", "hello") for i in range(5000, 5150)]
    scene.push({"models/bot.yaml": reports.manifest(version="v2")})
    scene.publish(scene.report("pass", version="v2"))
    assert len([c for c in hub.comments if c.author == BOT]) == 1


def test_of_two_comments_the_oldest_stays_and_takes_over_the_records(hub, scene):
    scene.push()
    scene.publish(scene.report("block"))
    hub.comments.append(IssueComment(hub.next_id(), 7, BOT, hub.comments[0].body))
    scene.push({"models/bot.yaml": reports.manifest(version="v2")})
    scene.publish(scene.report("pass", version="v2"))
    assert [c.minimised for c in hub.comments] == ["", "DUPLICATE"]
    assert [r.verdict for r in read_trail(hub.comments[0].body).records] == ["block", "allow"]


def test_notes_stand_on_the_manifests_line(hub, scene):
    head = scene.push()
    scene.publish(scene.report("block"))
    note = hub.checks[0].annotations[0]
    assert hub.checks[0].head_sha == head
    assert (note["path"], note["annotation_level"]) == ("models/bot.yaml", "failure")
    assert reports.manifest().splitlines()[note["start_line"] - 1].startswith("candidate:")


def test_more_notes_than_one_call_takes(hub, scene):
    names = [f"m{i:02}" for i in range(40)]
    scene.push({f"models/{n}.yaml": reports.manifest(n) for n in names})
    scene.publish(*(scene.report("block", name=n) for n in names))
    assert [len(c.annotations) for c in hub.checks] == [50, 30]
    assert [c.name for c in hub.checks] == ["ftgate report", "ftgate report 2"]
    assert len(scene.thread()[0]) <= 60_000


def test_without_permission_for_checks_the_notes_are_in_the_log(hub, scene):
    hub.callers["token"] = Caller(BOT, {**ALL, "checks": "none"})
    scene.push()
    assert scene.publish(scene.report("block")) == 1
    assert hub.checks == []
    assert "::error file=models/bot.yaml,line=" in "\n".join(scene.said)


def test_without_permission_for_comments_the_status_is_set_all_the_same(hub, scene):
    hub.callers["token"] = Caller(BOT, {**ALL, "pull_requests": "read"})
    head = scene.push()
    with pytest.raises(PublishError, match="comment on pull request 7: 403"):
        scene.publish(scene.report("block"))
    assert state(hub, head)[0] == "failure"
    assert hub.comments == []


def test_without_permission_for_statuses_the_missing_one_is_named(hub, scene):
    hub.callers["token"] = Caller(BOT, {**ALL, "statuses": "read"})
    scene.push()
    with pytest.raises(PublishError) as error:
        scene.publish(scene.report("pass"))
    assert "set the status ftgate/verdict" in error.value.message
    assert "permissions:" in error.value.hint


def test_a_ledger_that_cannot_be_written_is_an_error_and_no_pass(hub, scene):
    hub.callers["token"] = Caller(BOT, {**ALL, "contents": "read"})
    head = scene.push()
    with pytest.raises(PublishError):
        scene.publish(scene.report("pass"))
    assert state(hub, head)[0] == "error"


def test_a_fork_s_own_event_posts_nothing_and_says_so(hub, scene):
    head = scene.push(fork=True)
    assert scene.publish(scene.report("block")) == 1
    assert hub.status_of(head) is None
    assert hub.writes() == []
    assert "summary page" in "\n".join(scene.said)
    assert "General skills" in (scene.folder / "summary").read_text(encoding="utf-8")


@pytest.mark.parametrize("event", ["pull_request_target", "workflow_run"])
def test_a_fork_is_reported_on_from_the_base_repository(hub, scene, event):
    head = scene.push(fork=True)
    payload = events.workflow_run(head, fork=True) if event == "workflow_run" else None
    assert scene.publish(scene.report("block"), event=event, payload=payload) == 1
    assert state(hub, head)[0] == "failure"
    assert len(hub.comments) == 1


def test_a_merge_group_has_its_status_on_its_own_commit(hub, scene):
    head = hub.git.commit({"models/bot.yaml": reports.manifest()}, scene.base)
    payload = events.merge_group(head, scene.base)
    assert scene.publish(scene.report("pass"), event="merge_group", payload=payload) == 0
    assert state(hub, head)[0] == "success"
    assert hub.comments == []


def release(scene, *found) -> int:
    return scene.publish(*found, event="release", payload=events.release(), GITHUB_SHA=scene.base)


def test_a_release_is_held_to_every_manifest_of_its_commit(hub, scene):
    assert release(scene, scene.report("pass", version="v0")) == 0
    assert state(hub, scene.base)[0] == "success"


def test_a_release_that_left_a_manifest_unjudged_is_an_error(hub, scene):
    scene.base = hub.git.commit({"models/mail.yaml": reports.manifest("mail")}, scene.base, branch="main")
    assert release(scene, scene.report("pass", version="v0")) == 3
    found, text = state(hub, scene.base)
    assert found == "error"
    assert text.startswith("the gate could not judge: mail: models/mail.yaml: the evaluation left no report for it")


def test_a_release_with_a_manifest_that_cannot_be_used_is_an_error(hub, scene):
    scene.base = hub.git.commit({"models/mail.yaml": "name: ["}, scene.base, branch="main")
    assert release(scene, scene.report("pass", version="v0")) == 3


def test_a_release_of_other_files_than_its_manifest_pins_is_an_error(hub, scene):
    assert release(scene, scene.report("pass", version="v1")) == 3
    assert release(scene) == 3
    assert state(hub, scene.base)[0] == "error"


def test_a_manual_run_on_a_commit_by_itself_is_held_to_its_manifests_too(hub, scene):
    head = scene.push({f"models/{n}.yaml": reports.manifest(n) for n in ("bot", "mail")})
    payload = events.workflow_dispatch(sha=head)
    assert scene.publish(scene.report("pass"), event="workflow_dispatch", payload=payload) == 3
    assert state(hub, head)[0] == "error"


def test_a_manual_run_for_a_pull_request(hub, scene):
    head = scene.push()
    payload = events.workflow_dispatch(**{"sha": head, "pull-request": "7"})
    assert scene.publish(scene.report("block"), event="workflow_dispatch", payload=payload) == 1
    assert state(hub, head)[0] == "failure"
    assert len(hub.comments) == 1


def test_a_manual_run_takes_no_policy_from_a_branch_without_rules(hub, scene):
    """Whoever may push may start the workflow by hand, and make a branch whose policy allows anything."""
    hub.git.commit({"README.md": "a branch"}, scene.base, branch="release")
    head = scene.push()
    hub.pulls[7].base = "release"
    manual = {"event": "workflow_dispatch", "payload": events.workflow_dispatch(**{"sha": head, "pull-request": "7"})}
    assert scene.publish(scene.report("pass"), **manual) == 3
    found, text = state(hub, head)
    assert found == "error"
    assert "#7 goes into release, where no ruleset requires a status" in text
    hub.rules["release"] = [bodies.rule("required_status_checks", tests=None)]
    assert scene.publish(scene.report("pass"), **manual) == 0
    assert state(hub, head)[0] == "success"


def test_an_enterprise_server_s_address_works(hub, scene):
    from ftgate.github.client import GitHubRepo, connect

    client = connect(f"{hub.url}/api/v3", "token", pause=None, backoff=0)
    found = GitHubRepo(client, events.REPOSITORY, lambda _: None)
    assert found.login() == BOT
    assert found.text_at(POLICY_PATH, "main") == scene.text


def suite(n: int) -> str:
    rows = [{"id": f"i{i}", "prompt": f"q {i} {n}", "choices": ["a", "b"], "answer": "a"} for i in range(5)]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(("asked", "wanted"), [(1, "success"), (2, "error")])
def test_questions_that_the_pull_request_brought_are_no_examination(hub, scene, tmp_path, asked, wanted):
    path = ".github/evals/target.jsonl"
    scene.base = hub.git.commit({path: suite(1)}, scene.base, branch="main")
    head = scene.push({"models/bot.yaml": reports.manifest(), path: suite(2)})
    (tmp_path / "target.jsonl").write_text(suite(asked))
    measurement = read_measurements({"target": {"dataset": "target.jsonl", "scorer": "choice"}}, "")[0]
    found = scene.report("pass")
    asked_of = sampled_suite(measurement, Resolver(ArtifactSettings(), tmp_path), 0)
    found.provenance["suites"] = {"target": {"sha256": asked_of.sha256}}
    scene.publish(found)
    assert state(hub, head)[0] == wanted


def test_a_suite_that_only_points_to_its_content_must_not_change_with_a_model(hub, scene):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\n"
    path = ".github/evals/target.jsonl"
    scene.base = hub.git.commit({path: pointer.format("a")}, scene.base, branch="main")
    scene.push()
    assert scene.publish(scene.report("pass")) == 0
    scene.push({path: pointer.format("b")})
    assert scene.publish(scene.report("pass")) == 3


def test_taking_a_model_back_does_not_clear_the_commit_before(hub, scene):
    """Else the next push could return to that commit, whose status is a success by now."""
    bad = scene.push()
    late = scene.effects()
    scene.push({"models/bot.yaml": reports.manifest(version="v0")})
    from ftgate.github.publish import publish_results

    assert int(publish_results(late, [])) == 3
    assert state(hub, bad)[0] == "error"


def test_weights_in_large_file_storage_are_known_by_their_pointer(hub, scene, tmp_path):
    """For whoever evaluates in a workflow of their own: the pointer names size and SHA-256 of what was judged."""
    text = reports.manifest(candidate={"source": "../weights/bot"})
    (tmp_path / "bot").mkdir()
    (tmp_path / "bot" / "a.bin").write_bytes(b"weights")
    found = scene.report("pass", text=text)
    found.provenance["candidate"] |= {
        "reference": "../weights/bot",
        "digest": take_snapshot(tmp_path / "bot", "").digest,
    }
    pointer = "version https://git-lfs.github.com/spec/v1\noid {}\nsize {}\n"
    for oid, size, word in (
        (reports.digest("weights"), "7", "success"),
        (reports.digest("other"), "7", "error"),
        (reports.digest("weights"), "7" * 5000, "error"),
        ("sha256:1", "7", "error"),
    ):
        head = scene.push({"models/bot.yaml": text, "weights/bot/a.bin": pointer.format(oid, size)})
        scene.publish(found)
        assert state(hub, head)[0] == word


@pytest.mark.parametrize("event", ["pull_request", "pull_request_target"])
def test_a_pull_request_that_was_pointed_at_a_weaker_branch_meanwhile_is_an_error(hub, scene, event):
    _, loose = reports.policy(measurements={"target": reports.POLICY["measurements"]["target"]})
    hub.git.commit({POLICY_PATH: reports.policy(measurements=loose.measurements)[0]}, scene.base, branch="weak")
    head = scene.push(fork=event == "pull_request_target")
    payload = events.pull_request(hub.pulls[7])
    hub.pulls[7].base = "weak"
    assert int(publish_pending(scene.effects(event=event, payload=payload))) == 3
    assert scene.publish(reports.report(loose, "pass"), event=event, payload=payload) == 3
    found, text = state(hub, head)
    assert found == "error"
    assert "#7 changed its base branch to weak after this run for main began" in text


@pytest.mark.parametrize("others", [1, 400])
def test_a_base_that_flips_between_two_questions_hides_no_change(hub, scene, others):
    """A branch that holds the change already has nothing to list, but it is not the branch that rules."""
    head = scene.push({"models/bot.yaml": reports.manifest()})
    hub.git.move("elsewhere", head)
    head = scene.push({f"docs/{n}.md": "words" for n in range(others)})
    effects = scene.effects()
    asked = effects.repo.read
    located: list[str] = []

    def flip(path: str, what: str, **more: object) -> object:
        """Pointed elsewhere for every question but those that look where it is pointed."""
        hub.pulls[7].base = "main" if path == "/pulls/7" else "elsewhere"
        located.append(path)
        return asked(path, what, **more)

    effects.repo.read = flip
    assert int(publish_pending(effects)) == 0
    assert "/pulls/7" in located
    assert state(hub, head)[0] == "pending"


def test_a_change_of_many_files_is_judged_on_the_pull_request_and_in_the_queue(hub, scene):
    """The platform lists 300 files of a comparison and leaves out the others without a word."""
    many = {f"docs/{n}.md": "words" for n in range(400)}
    head = scene.push({**many, "models/bot.yaml": reports.manifest()})
    assert scene.publish(scene.report("pass")) == 0
    assert state(hub, head)[0] == "success"
    payload = events.merge_group(head, scene.base)
    assert scene.pending(event="merge_group", payload=payload) == 0
    assert state(hub, head)[0] == "pending"
    assert scene.publish(scene.report("pass"), event="merge_group", payload=payload) == 0
    assert state(hub, head)[0] == "success"


def test_a_report_that_comes_after_the_merge_is_still_of_the_change(hub, scene):
    head = scene.push()
    effects = scene.effects()
    hub.git.move("main", head)
    hub.pulls[7].state, hub.pulls[7].merged = "closed", True
    assert int(publish_results(effects, scene.deliver(scene.report("block")))) == 1
    assert state(hub, head)[0] == "failure"


def test_of_many_files_only_what_the_change_itself_did_counts(hub, scene):
    """The base branch went on meanwhile, with a manifest of somebody else's."""
    hub.git.commit({"models/other.yaml": reports.manifest("other")}, scene.base, branch="main")
    head = scene.push({f"docs/{n}.md": "words" for n in range(400)})
    assert scene.pending() == 0
    assert state(hub, head) == ("success", "no model change")


def test_a_pull_request_that_was_closed_meanwhile_clears_nothing(hub, scene):
    head = scene.push(fork=True)
    hub.pulls[7].state = "closed"
    payload = events.workflow_run(head, fork=True)
    assert scene.publish(scene.report("pass"), event="workflow_run", payload=payload) == 3
    assert state(hub, head)[0] == "error"


def test_a_run_of_a_fork_that_is_gone_still_ends_with_a_status(hub, scene):
    head = scene.push(fork=True)
    payload = events.workflow_run(head, fork=True)
    payload["workflow_run"]["head_repository"] = None
    assert scene.publish(scene.report("pass"), event="workflow_run", payload=payload) == 3
    assert state(hub, head)[0] == "error"
    assert "no open pull request from ghost:candidate" in state(hub, head)[1]
    # The published description does not know of a repository that is gone.
    assert [problem.split(": ")[1] for problem in hub.invalid] == ["$.workflow_run.head_repository"]
    hub.invalid.clear()


@pytest.mark.parametrize("context", ["ftgate/verdict", "team/models"])
def test_a_status_that_a_lost_run_left_pending_is_ended_and_no_other(hub, tmp_path, context):
    scene = Scene(hub, tmp_path, publish={"context": context})
    head = scene.push()
    payload = events.workflow_run(head)
    assert int(settle_results(scene.effects("workflow_run", payload))) == 0
    assert not hub.statuses, "no run has begun"
    scene.pending()
    assert int(settle_results(scene.effects("workflow_run", payload))) == 3
    assert [(s.context, s.state) for s in hub.statuses] == [(context, "pending"), (context, "error")]
    assert "the evaluation left no report" in hub.statuses[-1].description
    scene.publish(scene.report("pass"))
    writes = hub.writes()
    assert int(settle_results(scene.effects("workflow_run", payload))) == 0
    assert hub.writes() == writes
    assert scene.said[-1] == f"{context} of {head[:7]} is success: nothing is left to settle"


def test_of_two_pull_requests_from_one_branch_none_is_guessed(hub, scene):
    """Each goes into a branch with a policy of its own: the weaker one must not clear the commit for the other."""
    _, loose = reports.policy(measurements={"target": reports.POLICY["measurements"]["target"]})
    hub.git.commit({POLICY_PATH: reports.policy(measurements=loose.measurements)[0]}, scene.base, branch="weak")
    head = scene.push(fork=True)
    hub.pulls[6] = replace(hub.pulls[7], number=6, base="weak")
    payload = events.workflow_run(head, fork=True)
    assert scene.publish(reports.report(loose, "pass"), event="workflow_run", payload=payload) == 3
    found, text = state(hub, head)
    assert found == "error"
    assert "2 pull requests are open from stranger:candidate" in text
    assert "#7 into main, #6 into weak" in "\n".join(scene.said)
    assert hub.comments == []
    hub.pulls[6].state = "closed"
    assert scene.publish(scene.report("pass"), event="workflow_run", payload=payload) == 0
    assert state(hub, head)[0] == "success"


def test_a_fork_that_edits_the_workflow_proves_nothing_by_its_own_run(hub, scene):
    head = scene.push({"models/bot.yaml": reports.manifest(), ".github/workflows/gate.yml": "on: push"}, fork=True)
    payload = events.workflow_run(head, fork=True)
    assert scene.publish(scene.report("pass"), event="workflow_run", payload=payload) == 3
    assert state(hub, head) == ("error", state(hub, head)[1])
    assert "gate.yml" in scene.thread()[0]


def test_no_event_of_a_fork_s_run_gets_around_the_look_at_its_workflow(hub, scene):
    """A review starts a run of the pull request's own workflow too."""
    head = scene.push({"models/bot.yaml": reports.manifest(), ".github/workflows/gate.yml": "on: push"}, fork=True)
    payload = events.workflow_run(head, fork=True, event="pull_request_review")
    assert scene.publish(scene.report("pass"), event="workflow_run", payload=payload) == 3
    assert state(hub, head)[0] == "error"
    assert "gate.yml" in scene.thread()[0]


def test_a_defect_still_leaves_a_status(hub, scene, monkeypatch):
    head = scene.push()
    monkeypatch.setattr("ftgate.github.publish.update_comment", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scene.publish(scene.report("pass"))
    assert state(hub, head)[0] == "error"


def test_a_folder_with_a_link_in_it_is_not_read(hub, scene, tmp_path: Path):
    scene.push()
    (tmp_path / "secret.json").write_text("{}")
    folder = scene.folder / "out-0"
    folder.mkdir()
    (folder / "report.json").symlink_to(tmp_path / "secret.json")
    assert scene.publish(folders=[folder]) == 3
    assert "is a link" in "\n".join(scene.said) + scene.thread()[0] + (hub.statuses[-1].description or "")


def test_the_place_knows_its_run(scene):
    scene.push()
    place = read_target(events.environment("push", events.TIP), events.push())
    assert place.run_url == "https://github.test/acme/models/actions/runs/77"


@pytest.mark.parametrize("others", [0, 300])
def test_a_push_takes_at_most_40_requests_however_many_manifests_it_leaves_alone(scene, others):
    more = {f"models/other{n}.yaml": reports.manifest(f"other{n}") for n in range(others)} | {"README.md": "other"}
    scene.base = scene.hub.git.commit(more, scene.base, branch="main")
    scene.push()
    scene.hub.log.clear()
    assert scene.pending() == 0
    assert write_bundle(scene.client(), scene.effects().target, POLICY_PATH, scene.folder / "job") == [
        "models/bot.yaml"
    ]
    assert scene.publish(scene.report()) == 0
    assert scene.hub.status_of(scene.hub.pulls[7].head).state == "success"
    assert len(scene.hub.log) <= 40


@pytest.mark.parametrize(("environments", "said"), [({}, "does not exist"), ({"ftgate-forks": []}, "has no required")])
def test_a_fork_is_refused_where_nobody_has_to_approve_its_evaluation(hub, scene, environments, said):
    hub.environments = environments
    head = scene.push(fork=True)
    assert scene.pending(event="pull_request_target") == 3
    assert scene.publish(folders=[], event="pull_request_target") == 3
    found, text = state(hub, head)
    assert found == "error"
    assert f"the environment ftgate-forks {said}" in text
    hub.environments = {"ftgate-forks": ["maintainer"]}
    assert scene.pending(event="pull_request_target") == 0
    assert state(hub, head)[0] == "pending"


def test_a_fork_that_touches_no_model_needs_no_approval(hub, scene):
    hub.environments = {}
    head = scene.push({"README.md": "better"}, fork=True)
    assert scene.pending(event="pull_request_target") == 0
    assert state(hub, head) == ("success", "no model change")


def test_the_pull_request_that_brings_the_policy_may_be_merged_without_a_comment(hub, scene):
    scene.base = hub.git.commit({POLICY_PATH: None}, scene.base, branch="main")
    head = scene.push({POLICY_PATH: scene.text, "models/bot.yaml": reports.manifest()})
    told = ("success", "not on main yet: merge this; judging starts with the next one")
    assert scene.pending() == 0
    assert state(hub, head) == told
    assert scene.outputs()["model-change"] == "false"
    assert write_bundle(scene.client(), scene.effects().target, POLICY_PATH, scene.folder / "job") == []
    assert scene.publish(folders=[]) == 0
    assert state(hub, head) == told
    assert hub.comments == []


@pytest.mark.parametrize("case", ["brings none", "fork", "unreadable tree", "unusable policy", "refused", "no branch"])
def test_no_other_change_passes_for_the_one_that_brings_the_policy(hub, scene, case):
    left = {POLICY_PATH: "version: [" if case == "unusable policy" else None}
    scene.base = hub.git.commit(left, scene.base, branch="main")
    head = scene.push({POLICY_PATH: None if case == "brings none" else scene.text}, fork=case == "fork")
    hub.truncate_trees = case == "unreadable tree"
    event = "pull_request_target" if case == "fork" else "pull_request"
    if case == "refused":
        hub.faults.plan("422", "GET", "/contents/")
    if case == "no branch":
        hub.pulls[7] = replace(hub.pulls[7], base="gone")
    assert scene.pending(event=event) == 3
    assert state(hub, head)[0] == "error"
    assert len(scene.thread()) == 1
