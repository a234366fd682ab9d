"""The platform stumbles: nothing is written twice, and no final status is lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from support import reports
from support.github.faults import KINDS, Faults
from support.github.scene import Scene
from support.github.server import BOT, FakeGitHub

from ftgate.errors import PublishError
from ftgate.github.audit.history import comment_history
from ftgate.github.audit.ledger_branch import append, read_ledger
from ftgate.github.client import CommitStatus
from ftgate.github.comment import read_trail
from ftgate.github.publish import publish_results

COMMENT = r"/issues/7/comments$"


def test_200_faults_make_no_second_comment_and_lose_no_final_status(tmp_path: Path):
    faults = Faults(seed=20250304, rate=0.35, left=200)
    with FakeGitHub(tmp_path / "platform", faults) as hub:
        scene = Scene(hub, tmp_path)
        heads = []
        while faults.left and len(heads) < 60:
            version, found = f"v{len(heads) + 1}", ("pass", "block", "inconclusive")[len(heads) % 3]
            heads.append((scene.push({"models/bot.yaml": reports.manifest(version=version)}), found))
            scene.pending()
            scene.publish(scene.report(found, version=version))
        chain = read_ledger_of(scene)
    assert sum(faults.injected.values()) == 200
    assert set(faults.injected) == set(KINDS)
    wanted = {"pass": "success", "block": "failure", "inconclusive": "failure"}
    for head, found in heads:
        assert hub.status_of(head).state == wanted[found]
        assert len([s for s in hub.statuses if s.sha == head]) == 2, "pending and final, each once"
    assert len(hub.comments) == 1
    assert [r.head for r in read_trail(hub.comments[0].body).records][-1] == heads[-1][0]
    assert [r.head for r in chain.records] == [head for head, _ in heads]
    assert chain.problems == ()


def read_ledger_of(scene: Scene):
    chain = read_ledger(scene.client(), "ftgate-ledger")
    assert chain is not None
    return chain


@pytest.mark.parametrize("kind", ["502 after", "cut midway", "cut before", "secondary", "422 before", "422 lag"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", COMMENT),
        ("POST", r"/statuses/"),
        ("POST", r"/git/refs$"),
        ("POST", r"/check-runs$"),
        ("PATCH", r"/issues/comments/"),
        ("PATCH", r"/git/refs/heads/"),
    ],
)
def test_a_write_whose_answer_is_lost_happens_once(hub, scene, kind, method, path):
    scene.push()
    scene.publish(scene.report("block"))
    if method == "POST":
        hub.comments.clear()
        hub.git.git("update-ref", "-d", "refs/heads/ftgate-ledger")
        hub.checks.clear()
        scene.minutes += 60
    scene.push({"models/bot.yaml": reports.manifest(version="v2")})
    hub.faults.plan(kind, method, path, times=2)
    before = len(hub.statuses)
    assert scene.publish(scene.report("block", version="v2")) == 1
    assert kind in hub.faults.injected
    assert len(hub.comments) == 1
    assert len(hub.statuses) == before + 1
    assert len({(c.name, c.external_id, c.head_sha) for c in hub.checks}) == len(hub.checks)
    assert len(read_ledger_of(scene).records) == (1 if method == "POST" else 2)


def test_a_rate_limit_is_waited_for_as_long_as_it_asks(hub, scene):
    waited: list[float] = []
    client = scene.client(sleep=waited.append)
    hub.faults.plan("429", "POST", COMMENT, times=3)
    client.create_comment(7, "hello", lambda: None)
    assert waited == [0.0, 0.0, 0.0]
    assert len(hub.comments) == 1


def test_patience_ends_and_says_what_could_not_be_done(hub, scene):
    hub.faults.plan("502 before", "POST", COMMENT, times=50)
    with pytest.raises(PublishError, match="could not comment on pull request 7: 502"):
        scene.client().create_comment(7, "hello", lambda: None)


def test_an_answer_that_never_comes_is_given_up_on(hub, scene):
    hub.slow = 3
    hub.faults.plan("slow", "GET", r"/pulls/7$", times=1)
    scene.push()
    assert scene.client(timeout=1).pull(7).number == 7


def posts(hub: FakeGitHub) -> int:
    return len([entry for entry in hub.log if entry[0] == "POST"])


def test_a_refusal_is_not_tried_again_and_its_reason_is_told(hub, scene):
    with pytest.raises(PublishError, match=r"comment on pull request 7: 422 Validation Failed: body is too long"):
        scene.client().create_comment(7, "x" * 70_000, lambda: None)
    assert posts(hub) == 1


def test_a_description_that_is_too_long_is_refused_once(hub, scene):
    status = CommitStatus("success", "x" * 141, "")
    with pytest.raises(PublishError, match=r"422 Validation Failed: description is too long \(maximum is 140"):
        scene.client().set_status(scene.base, "ftgate/verdict", status)
    assert posts(hub) == 1


def test_a_commit_that_is_gone_is_looked_for_a_few_times_and_named(hub, scene):
    waited: list[float] = []
    with pytest.raises(PublishError, match=f"No commit found for SHA: {'9' * 40}") as error:
        scene.client(sleep=waited.append).set_status("9" * 40, "ftgate/verdict", CommitStatus("success", "", ""))
    assert "force push" in error.value.hint
    assert (len(waited), sum(waited) <= 10) == (3, True)


FOR_GOOD = {
    # What is refused for good: exit code, the status that is left, comments, records on the ledger.
    COMMENT: ("failure", 0, 1),
    r"/git/refs$": ("error", 1, 0),
    r"/git/trees$": ("error", 1, 0),
    r"/check-runs$": ("failure", 1, 1),
    r"/statuses/": (None, 1, 1),
}


@pytest.mark.parametrize("path", FOR_GOOD)
def test_what_is_refused_for_good_ends_the_job_as_a_failure_of_the_gate(hub, scene, path):
    state, comments, records = FOR_GOOD[path]
    head = scene.push()
    hub.faults.plan("422", "POST", path, times=50)
    if path == r"/check-runs$":
        assert scene.publish(scene.report("block")) == 1
        assert "::error file=models/bot.yaml" in "\n".join(scene.said), "notes are in the log instead"
    else:
        with pytest.raises(PublishError, match="422 Repository rule violations found"):
            scene.publish(scene.report("block"))
    assert hub.faults.injected["422"] <= 2, "a refusal is no reason to go on trying"
    found = hub.status_of(head)
    assert (found.state if found else None) == state
    assert len(hub.comments) == comments
    chain = read_ledger(scene.client(), "ftgate-ledger")
    assert len(chain.records if chain else ()) == records


def test_two_jobs_at_once_leave_one_comment_and_both_records(hub, scene):
    scene.push()
    desks = [scene.with_run(scene.effects(), str(run)) for run in range(4)]
    folders = scene.deliver(scene.report("block"))
    jobs = [threading.Thread(target=publish_results, args=(effects, folders)) for effects in desks]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert sorted(r.run for r in read_ledger_of(scene).records) == ["0", "1", "2", "3"]
    assert read_ledger_of(scene).problems == ()
    ours = [c for c in hub.comments if c.author == BOT and not c.minimised]
    assert len(ours) == 1
    # Whichever record another job's edit took out of the comment is in the ledger, and comes back with the next run.
    publish_results(scene.with_run(scene.effects(), "4"), folders)
    assert {r.run for r in read_trail(ours[0].body).records} == {"0", "1", "2", "3", "4"}


def test_a_record_whose_answer_was_lost_is_not_written_again_though_others_follow_it(hub, scene):
    scene.push()
    scene.publish(scene.report("block"))
    mine, theirs = (read_ledger_of(scene).records[0].model_copy(update={"run": run}) for run in ("78", "79"))
    hub.faults.plan("502 after", "PATCH", r"/git/refs/heads/", times=6)  # the client tries five times more by itself
    meanwhile = scene.client()
    append(scene.client(sleep=lambda _: append(meanwhile, "ftgate-ledger", theirs) and None), "ftgate-ledger", mine)
    assert [r.run for r in read_ledger_of(scene).records] == ["77", "78", "79"]


@pytest.mark.parametrize("ledger", ["comment", "branch"])
def test_a_job_that_wrote_over_anothers_record_puts_it_back(hub, tmp_path, ledger):
    scene = Scene(hub, tmp_path, publish={"ledger": ledger})
    scene.push()
    folders = scene.deliver(scene.report("block"))
    publish_results(scene.with_run(scene.effects(), "1"), folders)
    late, quick = (scene.with_run(scene.effects(), run) for run in ("3", "2"))

    def edit(comment, body, send=late.repo.edit_comment):
        """The late job has read the comment; before it writes, the quick one reads, writes and is done."""
        if len(read_trail(hub.comments[0].body).records) == 1:
            publish_results(quick, folders)
        send(comment, body)

    late.repo.edit_comment = edit
    publish_results(late, folders)
    (comment,) = hub.comments
    assert sorted(r.run for r in read_trail(comment.body).records) == ["1", "2", "3"]
    assert comment_history(scene.client(), 7, BOT, scene.quoted()).problems == ()
    publish_results(scene.with_run(scene.effects(), "3"), folders)
    before = hub.writes()
    publish_results(scene.with_run(scene.effects(), "3"), folders)
    assert hub.writes() == before
