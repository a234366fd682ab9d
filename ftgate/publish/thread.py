"""Keeping one comment in a thread, whoever else writes there and however often a job runs.

The comment is known by its first line and by its author: a marker in a stranger's comment is a stranger's text. Of
several the oldest stays; the others hand over their records and are folded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ftgate.publish.comment import read_trail
from ftgate.publish.hub import Comment, Hub
from ftgate.publish.records import Chain, Record
from ftgate.report.render import MARKER

BOT = "github-actions[bot]"
ROUNDS = 5
"""How often to write again when another job overwrote what was written."""
FOLDED = "_Folded: the result of this job is in {url}._\n"


def ours(comments: Sequence[Comment], author: str) -> list[Comment]:
    """The comments of ``author`` that begin with the marker, oldest first."""
    return sorted((c for c in comments if c.author == author and _plain(c.body).startswith(MARKER)), key=lambda c: c.id)


def writer(hub: Hub, number: int) -> str:
    """Who writes our comments in the thread: whoever the token speaks as, or else the platform's own bot."""
    own = hub.login()
    return own if ours(hub.comments(number), own) else BOT


def keep_comment(
    hub: Hub,
    number: int,
    author: str,
    render: Callable[[str, Chain], str],
    records: Sequence[Record],
    *,
    create: bool = True,
) -> Comment | None:
    """Make the thread of pull request ``number`` show ``render(body, chain)``, given the comment's body so far.

    The chain holds the comment's own records, then those of any doubles, then ``records`` where they are not in it.

    Changes nothing if it does already. Without ``create`` only a comment that is there is edited, else None.
    """
    found = ours(hub.comments(number), author)
    for _ in range(ROUNDS):
        if not found and not create:
            return None
        body = render(found[0].body if found else "", _joined(found, records))
        if not found:
            hub.create_comment(number, body, lambda: next(iter(ours(hub.comments(number), author)), None))
        elif _plain(found[0].body) != _plain(body):
            hub.edit_comment(found[0], body)
        for double in found[1:]:
            hub.edit_comment(double, FOLDED.format(url=found[0].url))
            hub.minimise(double)
        found = ours(hub.comments(number), author)
        if len(found) == 1 and _plain(found[0].body) == _plain(body):
            break
    return found[0] if found else None


def _joined(found: Sequence[Comment], records: Sequence[Record]) -> Chain:
    """The trail of the oldest comment, and after it whatever it lacks."""
    chain = read_trail(found[0].body) if found else Chain()
    lacking = [record for double in found[1:] for record in read_trail(double.body).records]
    for record in (*lacking, *records):
        chain = chain.then(record)
    return chain


def _plain(body: str) -> str:
    """A body as it was sent: the platform may change line ends and trim."""
    return body.replace("\r\n", "\n").strip()
