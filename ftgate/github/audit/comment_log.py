"""Keeping one comment in a thread, whoever else writes there and however often a job runs.

The comment is known by its first line and by its author: a marker in a stranger's comment is a stranger's text. Of
several the oldest stays; the others hand over their records and are folded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ftgate.github.audit.record import Ledger, Record
from ftgate.github.client import Comment, GitHubRepo
from ftgate.github.comment import read_trail
from ftgate.report.render import MARKER

BOT = "github-actions[bot]"
ROUNDS = 5
"""How often to write again when another job overwrote what was written."""
FOLDED = "_Folded: the result of this job is in {url}._\n"


def ours(comments: Sequence[Comment], author: str) -> list[Comment]:
    """The comments of ``author`` that begin with the marker, oldest first."""
    return sorted((c for c in comments if c.author == author and _plain(c.body).startswith(MARKER)), key=lambda c: c.id)


def writer(hub: GitHubRepo, number: int) -> str:
    """Who writes our comments in the thread: whoever the token speaks as, or else the platform's own bot."""
    own = hub.login()
    return own if ours(hub.comments(number), own) else BOT


def keep_comment(
    hub: GitHubRepo,
    number: int,
    author: str,
    render: Callable[[str, Ledger], str],
    earlier: Sequence[Record],
    record: Record | None,
    *,
    create: bool = True,
) -> Comment | None:
    """Make the thread of pull request ``number`` show ``render(body, chain)``, given the comment's body so far.

    The chain holds the comment's own records, those of any doubles, those of ``earlier`` that it lacks, those that
    another job wrote into it and a third one, which had not seen them, wrote over, and ``record`` at its end.

    Changes nothing if it does already. Without ``create`` only a comment that is there is edited, else None.
    """
    found = ours(hub.comments(number), author)
    lost: list[Record] = []
    for _ in range(ROUNDS):
        if not found and not create:
            return None
        body = render(found[0].body if found else "", _joined(found, earlier, lost, record))
        wrote = not found or _plain(found[0].body) != _plain(body)
        if not found:
            made = hub.create_comment(number, body, partial(_oldest, hub, number, author))
            author = made.author  # whoever was named instead would be looked for in vain, and written for again
        elif wrote:
            hub.edit_comment(found[0], body)
        for double in found[1:]:
            hub.edit_comment(double, FOLDED.format(url=found[0].url))
            hub.minimise(double)
        found = ours(hub.comments(number), author)
        lost = _overwritten(hub, found[0], author) if wrote and found else []
        if len(found) == 1 and _plain(found[0].body) == _plain(body) and not lost:
            break
    return found[0] if found else None


def _oldest(hub: GitHubRepo, number: int, author: str) -> Comment | None:
    return next(iter(ours(hub.comments(number), author)), None)


def _joined(
    found: Sequence[Comment], earlier: Sequence[Record], lost: Sequence[Record], record: Record | None
) -> Ledger:
    """The trail of the oldest comment, after it whatever it lacks, and ``record`` unless that is its last word."""
    chain = read_trail(found[0].body) if found else Ledger()
    doubles = [r for double in found[1:] for r in read_trail(double.body).records]
    # The oldest records may have given way to newer ones; they stay away.
    start = chain.links[0].record.time if chain.links and chain.links[0].n > 1 else ""
    for other in (*doubles, *(r for r in earlier if r.time >= start), *lost):
        chain = chain if chain.holds(other) else chain.plus(other)
    return chain if record is None or chain.holds(record) else chain.then(record)


def _overwritten(hub: GitHubRepo, comment: Comment, author: str) -> list[Record]:
    """Records that our earlier bodies of the comment held and that it lacks now, oldest first.

    The platform cannot edit a comment on condition that nobody else did meanwhile, but it remembers what was there.
    """
    chain = read_trail(comment.body)
    first = chain.links[0].n if chain.links else 1
    ours_alone = (edit.body for edit in hub.edits(comment) if edit.editor == author.removesuffix("[bot]"))
    links = [link for body in ours_alone for link in read_trail(body).links if link.n >= first]
    found = {link.record.identity: link.record for link in links if not chain.holds(link.record)}
    return sorted(found.values(), key=lambda r: r.time)


def _plain(body: str) -> str:
    """A body as it was sent: the platform may change line ends and trim."""
    return body.replace("\r\n", "\n").strip()
