"""Which status quotes a record, whose statuses count, and what contradicts a record."""

from __future__ import annotations

import pytest

from ftgate.github.audit.quotes import Creators, StatusQuotes, contradiction, status_problems
from ftgate.github.audit.record import ModelEntry, Record, status_suffix
from ftgate.github.client import CommitStatus
from ftgate.github.retry import RefusedError

BOT = "github-actions[bot]"
CONTEXT = "ftgate/verdict"


def record(n: int, verdict: str = "allow", **changes: str) -> Record:
    models = (ModelEntry(name="bot", base="sha256:a", candidate="sha256:b", verdict="allow"),)
    fields = {"time": f"2025-03-0{n + 1}", "repository": "acme/models", "head": f"{n:040x}", "verdict": verdict}
    return Record.model_validate({**fields, "models": models, **changes})


def status(quoted: Record, state: str = "success", creator: str = BOT, text: str = "it says") -> CommitStatus:
    return CommitStatus(state, text + status_suffix(quoted), "", creator)


def quotes(*statuses: tuple[Record, CommitStatus], expected: str | None = None, owner: str = "me") -> StatusQuotes:
    """The statuses, the oldest first, each at the head of its record. Only boss is a maintainer."""
    creators = Creators(expected, lambda: owner, lambda login: login == "boss")
    return StatusQuotes(lambda head: [s for r, s in reversed(statuses) if r.head == head], creators, CONTEXT)


@pytest.mark.parametrize(
    ("expected", "creator", "counts"),
    [
        (None, BOT, True),
        (None, "me", True),
        (None, "Me", True),
        (None, "mallory", False),
        (None, "", False),
        ("gate[bot]", "gate[bot]", True),
        ("gate[bot]", "gate", False),
        ("gate[bot]", BOT, False),
        ("gate[bot]", "me", False),
        ("gate[bot]", "", False),
    ],
)
def test_whose_statuses_count(expected: str | None, creator: str, counts: bool) -> None:
    assert Creators(expected, lambda: "me").accept(creator) is counts


@pytest.mark.parametrize(
    ("verdict", "state", "text", "agrees"),
    [
        ("allow", "success", "", True),
        ("allow", "failure", "", False),
        ("allow", "pending", "", False),
        ("block", "failure", "", True),
        ("hold", "failure", "", True),
        ("hold", "success", "allow: bot", False),
        ("block", "success", "waived: bot", True),
        ("block", "error", "waived: bot", False),
        ("error", "error", "", True),
        ("error", "success", "", False),
        ("no model change", "success", "", True),
    ],
)
def test_what_contradicts_a_record(verdict: str, state: str, text: str, agrees: bool) -> None:
    assert (contradiction(status(record(0, verdict), state, text=text), record(0, verdict)) == "") is agrees


def test_a_maintainers_own_waiver_counts_while_no_creator_is_named() -> None:
    waiver = record(0, "waived", kind="waiver", by="boss")
    own, other = status(waiver, creator="boss"), status(waiver, creator="mallory")
    assert quotes((waiver, own)).lack(waiver) == ""
    assert quotes((waiver, other)).lack(waiver) != ""
    assert quotes((waiver, own), expected=BOT).lack(waiver) != ""
    pushed = record(0, "waived", kind="waiver", by="mallory")
    assert quotes((pushed, status(pushed, creator="mallory"))).lack(pushed) != ""
    assert quotes((record(0, by="boss"), status(record(0, by="boss"), creator="boss"))).lack(record(0, by="boss")) != ""


def test_a_commit_that_is_gone_has_no_statuses_and_another_refusal_is_raised() -> None:
    def refuse(code: int) -> StatusQuotes:
        def read(_: str) -> list[CommitStatus]:
            raise RefusedError(code, "could not list")

        return StatusQuotes(read, Creators(None, lambda: ""), CONTEXT)

    assert refuse(404).of("a") == refuse(422).of("a") == ()
    with pytest.raises(RefusedError, match="could not list"):
        refuse(403).of("a")


def test_statuses_know_what_was_altered_and_what_was_removed() -> None:
    first, second = record(0), record(1)
    heads = [first.head, second.head]
    both = quotes((first, status(first)), (second, status(second)))
    assert status_problems([first, second], both, heads) == []
    assert "which is missing" in status_problems([first], both, heads)[0]
    assert status_problems([first], both, heads, whole=False) == []
    altered = record(1, run="other")
    problems = status_problems([first, altered], both, heads)
    assert len(problems) == 2
    assert problems[0].startswith("record 2 ")
    assert "not named by any status of its commit" in problems[0]


def test_the_ledger_lacks_by_right_what_changed_no_model_and_errors_that_come_later() -> None:
    first, unchanged, failed = record(0), record(0, "no model change"), record(0, "error")
    statuses = quotes(
        (first, status(first)),
        (first, status(unchanged, text="no model change")),
        (first, status(failed, "error")),
        (first, CommitStatus("success", "no model change", "", BOT)),
        (first, CommitStatus("pending", "judging 1 model", "", BOT)),
    )
    assert status_problems([first], statuses, [first.head], ledger=True) == []
    assert len(status_problems([first], statuses, [first.head])) == 2
