"""Two policies judge one pull request: each has its status, its comment, and its records in a shared ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner
from support import reports
from support.github.scene import POLICY_PATH, Scene
from support.github.server import BOT
from support.github.state import IssueComment

from ftgate.cli.main import cli
from ftgate.github.audit.history import add_waiver, comment_history, compare, ledger_history, verify_candidate
from ftgate.github.audit.ledger_branch import append, read_ledger
from ftgate.github.audit.record import Ledger, status_suffix
from ftgate.github.client import CommitStatus
from ftgate.github.comment import mark, read_trail
from ftgate.github.publish import publish_pending, publish_results
from ftgate.report.render import MARKER

CONTEXT, SERVING = "ftgate/verdict", "serving-->/two words"
SERVING_PATH = ".github/serving.yml"
NOW = "2025-03-05T09:00:00+00:00"


class Policies:
    """The usual policy, and a second one with a status of its own; the ledger is the same."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        text, self.serving = reports.policy(publish={"ledger": "branch", "context": SERVING})
        scene.base = scene.hub.git.commit({SERVING_PATH: text}, scene.base, branch="main")
        self.head = scene.push()

    def publish(self, path: str, found: str) -> int:
        """One job under the policy at ``path``."""
        effects = replace(self.scene.effects(), policy_path=path)
        return int(publish_results(effects, self.scene.deliver(self.scene.report(found))))

    def ledger(self) -> Ledger:
        ledger = read_ledger(self.scene.client(), "ftgate-ledger")
        assert ledger is not None
        return ledger

    def problems(self, context: str) -> list[str]:
        """What `history --pull-request 7` and `history` name under the policy of ``context``."""
        client, quoted = self.scene.client(), self.scene.quoted(context=context)
        comment = comment_history(client, 7, BOT, quoted)
        branch = ledger_history(client, "ftgate-ledger", 7)
        whole = ledger_history(client, "ftgate-ledger", None, quoted)
        return [*comment.problems, *whole.problems, *compare(comment, branch, context)]

    def allowed(self, context: str) -> bool:
        digest, quoted = reports.digest("bot v1"), self.scene.quoted(context=context)
        return verify_candidate(self.ledger(), digest, self.serving.sha256(), NOW, quoted).allowed


@pytest.fixture
def both(scene: Scene) -> Policies:
    return Policies(scene)


def test_each_policy_has_its_status_its_comment_and_its_records(both: Policies) -> None:
    hub = both.scene.hub
    assert both.publish(POLICY_PATH, "pass") == 0
    assert both.publish(SERVING_PATH, "block") == 1
    assert both.publish(POLICY_PATH, "pass") == 0
    assert (hub.status_of(both.head).state, hub.status_of(both.head, SERVING).state) == ("success", "failure")
    first, second = (c.body for c in hub.comments)
    assert first.startswith(mark(CONTEXT) + "\n")
    assert second.startswith("<!-- ftgate:comment serving--%3E/two%20words -->\n")
    assert "for the status `serving-->/two words`" in second
    assert [[r.context for r in read_trail(body).records] for body in (first, second)] == [[CONTEXT], [SERVING]]
    assert [r.context for r in both.ledger().records] == [CONTEXT, SERVING]
    assert both.problems(CONTEXT) == both.problems(SERVING) == []
    assert (both.allowed(CONTEXT), both.allowed(SERVING)) == (True, False)


def test_the_lines_of_the_history_name_their_policy_where_there_are_several(both: Policies) -> None:
    env = {"GITHUB_TOKEN": "token", "GITHUB_API_URL": both.scene.hub.url, "GITHUB_REPOSITORY": "acme/models"}
    policy = both.scene.folder / "policy.yml"
    policy.write_text(both.scene.text, encoding="utf-8")
    both.publish(POLICY_PATH, "pass")
    alone = CliRunner(env=env).invoke(cli, ["history", "--policy", str(policy)])
    assert CONTEXT not in alone.output
    both.publish(SERVING_PATH, "block")
    done = CliRunner(env=env).invoke(cli, ["history", "--policy", str(policy)])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].endswith(f"({CONTEXT})")
    assert lines[1].endswith(f"({SERVING})")
    assert lines[2].startswith(f"note: only 1 of 2 records are of {CONTEXT} and compared with its statuses; the others")
    assert lines[3] == "2 records, the chain is intact"
    assert "note:" not in alone.output


def test_after_the_context_was_changed_history_says_that_it_compared_nothing(both: Policies) -> None:
    env = {"GITHUB_TOKEN": "token", "GITHUB_API_URL": both.scene.hub.url, "GITHUB_REPOSITORY": "acme/models"}
    both.publish(POLICY_PATH, "pass")
    policy = both.scene.folder / "policy.yml"
    policy.write_text(reports.policy(publish={"ledger": "branch", "context": "renamed"})[0], encoding="utf-8")
    for options in ([], ["--pull-request", "7"]):
        output = CliRunner(env=env).invoke(cli, ["history", "--policy", str(policy), *options]).output
        assert (
            f"note: only 0 of 1 records are of renamed and compared with its statuses; the others are of {CONTEXT}"
            in output
        )
        assert "if publish.context was changed, with the policy as it was" in output


def test_an_allow_of_one_policy_that_is_quoted_under_the_others_name_counts_for_neither(both: Policies) -> None:
    both.publish(POLICY_PATH, "block")
    (blocked,) = both.ledger().records
    models = tuple(e.model_copy(update={"verdict": "allow"}) for e in blocked.models)
    changes = {
        "time": "2025-03-04T12:00:00+00:00",
        "verdict": "allow",
        "models": models,
        "run": "9",
        "context": SERVING,
    }
    forged = append(both.scene.client(), "ftgate-ledger", blocked.model_copy(update=changes)).record
    quoting = CommitStatus("success", "allow: bot" + status_suffix(forged), "")
    both.scene.client().set_status(both.head, CONTEXT, quoting)
    assert both.scene.quoted().lack(forged) == (
        f"its record {forged.identity[:12]} (2025-03-04T12:00:00+00:00) is one of {SERVING}"
    )
    assert not both.allowed(CONTEXT)
    assert not both.allowed(SERVING)
    assert any("which is missing" in problem for problem in both.problems(CONTEXT))


def test_a_waiver_is_for_one_policy(both: Policies) -> None:
    both.publish(POLICY_PATH, "block")
    both.publish(SERVING_PATH, "block")
    given = {"days": 7, "now": NOW, "author": BOT, "settings": both.serving.publish}
    add_waiver(both.scene.client(), 7, "boss", reports.digest("bot v1"), "urgent", **given)
    assert both.ledger().records[-1].context == SERVING
    states = [both.scene.hub.status_of(both.head, context).state for context in (CONTEXT, SERVING)]
    assert states == ["failure", "success"]
    assert ["### Waived" in c.body for c in both.scene.hub.comments] == [False, True]
    assert (both.allowed(CONTEXT), both.allowed(SERVING)) == (False, True)


def test_a_comment_from_before_the_mark_named_a_context_is_kept(both: Policies) -> None:
    both.scene.hub.comments.append(IssueComment(1, 7, BOT, f"{MARKER}\n## an earlier result\n"))
    both.publish(POLICY_PATH, "pass")
    both.publish(SERVING_PATH, "pass")
    assert [c.id == 1 for c in both.scene.hub.comments] == [True, False]
    assert both.scene.hub.comments[0].body.startswith(mark(CONTEXT) + "\n")


def test_a_policy_that_is_not_in_force_yet_leaves_the_others_status_alone(scene: Scene) -> None:
    text, _ = reports.policy(publish={"ledger": "branch", "context": "serving"})
    head = scene.push({SERVING_PATH: text})
    assert publish_pending(replace(scene.effects(), policy_path=SERVING_PATH)) == 0
    assert [(s.context, s.state) for s in scene.hub.statuses] == [("serving", "success")]
    scene.hub.git.commit({SERVING_PATH: text + "version: 2\n"}, scene.base, branch="main")
    effects = replace(scene.effects(), policy_path=SERVING_PATH)
    assert int(publish_results(effects, [])) == 3
    assert scene.hub.status_of(head, "serving").state == "error"
    assert scene.hub.status_of(head) is None
