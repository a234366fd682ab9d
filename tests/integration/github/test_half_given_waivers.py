"""Waivers whose job ended half-way, and waivers by people whom the policy does not name."""

from __future__ import annotations

import pytest
from support import reports
from support.github.scene import Scene
from support.github.server import BOT, FakeGitHub

from ftgate.errors import PublishError
from ftgate.github.audit.history import add_waiver, ledger_history
from ftgate.github.audit.ledger_branch import append
from ftgate.github.audit.record import Record, status_suffix
from ftgate.github.client import CommitStatus

BRANCH, CONTEXT = "ftgate-ledger", "ftgate/verdict"
NOW, AN_HOUR_LATER = "2025-03-05T09:00:00+00:00", "2025-03-05T10:00:00+00:00"


@pytest.fixture
def blocked(scene: Scene) -> Scene:
    """A pull request whose model was blocked."""
    scene.push()
    assert scene.publish(scene.report("block")) == 1
    return scene


def give(scene: Scene, now: str = NOW) -> Record:
    given = {"days": 14, "settings": scene.policy.publish, "now": now, "author": BOT}
    return add_waiver(scene.client(), 7, "boss", "", "urgent fix", **given)


def named(scene: Scene, **settings: object) -> str:
    return "\n".join(ledger_history(scene.client(), BRANCH, None, scene.quoted(**settings)).problems)


def test_a_waiver_whose_status_failed_is_completed_by_the_next_try(hub: FakeGitHub, blocked: Scene) -> None:
    hub.faults.plan("422", "POST", r"/statuses/", times=50)
    with pytest.raises(PublishError):
        give(blocked)
    hub.faults.planned.clear()
    assert "or its job ended before the status" in named(blocked)
    completed = give(blocked, AN_HOUR_LATER)
    assert [r.kind for r in blocked.records()] == ["run", "waiver"], "no second one is written"
    assert blocked.records()[1] == completed
    assert named(blocked) == ""
    assert blocked.publish(blocked.report("block")) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"expires": "2025-05-01T00:00:00+00:00"},
        {"time": "2025-03-08T09:00:00+00:00", "expires": "2025-03-22T09:00:00+00:00"},
        {"by": "mallory"},
        {"reason": "something else"},
        {"expires": "not a date"},
    ],
)
def test_a_waiver_on_the_ledger_that_gives_more_than_is_asked_for_is_not_completed(
    blocked: Scene, changes: dict[str, str]
) -> None:
    (run,) = blocked.records()
    asked = {"kind": "waiver", "verdict": "waived", "by": "boss", "reason": "urgent fix", "run": "", "time": NOW}
    asked |= {"expires": "2025-03-19T09:00:00+00:00", **changes}
    forged = append(blocked.client(), BRANCH, run.model_copy(update=asked)).record
    assert give(blocked, AN_HOUR_LATER) != forged
    assert blocked.quoted().quoting(forged) is None
    assert f"record 2 ({forged.time}" in named(blocked)


def test_a_waiver_by_somebody_whom_the_policy_does_not_name_counts_for_nothing_whoever_quotes_it(
    hub: FakeGitHub, blocked: Scene
) -> None:
    waiver = give(blocked)
    assert blocked.verified(NOW).allowed
    for people, counts in ((["boss"], True), (["Boss"], True), (["somebody"], False)):
        result = blocked.verified(NOW, may_waive=tuple(people))
        assert result.allowed == counts
    assert result.reason == "the waiver proves nothing: boss gave it, whom publish.may_waive does not name"
    text = f"record 2 ({waiver.time}, head {waiver.head[:7]}) counts for nothing: boss gave it, whom publish.may_waive"
    assert named(blocked, may_waive=("somebody",)) == f"{text} does not name"
    # What the bot of a pushed workflow quotes, too.
    hub.statuses.clear()
    quoting = CommitStatus("success", "waived" + status_suffix(waiver), "")
    blocked.client().set_status(waiver.head, CONTEXT, quoting)
    assert not blocked.verified(NOW, may_waive=("somebody",)).allowed
    assert blocked.verified(NOW).allowed
    assert waiver.models[0].candidate == reports.digest("bot v1")
