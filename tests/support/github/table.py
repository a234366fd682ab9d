"""docs/github-events.md, made from the code that it describes (`make events`).

Each row is one job: the payload as the platform shapes it goes through the reader, and the outcome through the rules.
"""

from __future__ import annotations

import sys
from typing import Any, get_args

from ftgate.publish.context import READERS, Outcome, Place, posting, read_place
from support.github import events

SUPERSEDED = "any, but a newer head is there"
NAMES = {
    events.HEAD: "head",
    events.MERGE: "merge commit",
    events.TIP: "GITHUB_SHA",
}
PAYLOADS: dict[str, dict[bool, dict[str, Any]]] = {
    "pull_request": {f: events.pull_request(fork=f) for f in (False, True)},
    "pull_request_target": {f: events.pull_request(fork=f) for f in (False, True)},
    "workflow_run": {f: events.workflow_run(fork=f) for f in (False, True)},
    "merge_group": {False: events.merge_group()},
    "push": {False: events.push()},
    "release": {False: events.release()},
    "workflow_dispatch": {False: {**events.workflow_dispatch(sha=events.HEAD), "inputs": {"sha": events.HEAD}}},
}
HEADER = """# What is reported where

Generated from the code (`make events`); a test keeps it current. `head` is the head of the pull request or of the merge
group, or the input `sha` of a manual run. The status is `ftgate/verdict`. A draft is reported on like any other.

Where a fork's own `pull_request` event runs, the token can only read: nothing is posted, and the result stands on the
job's summary page. A workflow on `workflow_run` or `pull_request_target` in the base repository posts it.

"over an earlier one": a comment that is there is brought up to date; none is made. "its history alone": what the newer
head came to stays, and the record is added below it.

| event | from a fork | outcome | status on | status | comment |
|---|---|---|---|---|---|
"""


def place(event: str, fork: bool) -> Place:
    sha = events.MERGE if event.startswith("pull_request") else events.TIP
    return read_place(events.environment(event, sha), PAYLOADS[event][fork])


def rows() -> list[tuple[str, ...]]:
    """One row for each event, origin and outcome."""
    found = []
    for event in READERS:
        for fork in PAYLOADS[event]:
            at = place(event, fork)
            cells = [(outcome, posting(at, outcome)) for outcome in get_args(Outcome)]
            if at.pull_request or at.branch:
                cells.append((SUPERSEDED, posting(at, "allow", superseded=True)))
            for outcome, p in cells:
                state = "as its outcome" if outcome == SUPERSEDED and p.state else p.state or "none"
                origin = ("yes" if fork else "no") if len(PAYLOADS[event]) > 1 else "–"
                found.append((event, origin, outcome, NAMES[p.sha], state, p.comment))
    return found


def document() -> str:
    return HEADER + "".join(f"| {' | '.join(row)} |\n" for row in rows())


if __name__ == "__main__":
    sys.stdout.write(document())
