"""Keeps exactly one comment per pull request and policy up to date, however often and concurrently jobs run.

The comment is identified by its author, since anyone can write the marker, and by its first line, which names the
policy's status. Of several the oldest is
kept; the records of the others are merged into it, and they are hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ftgate.config.policy import PublishSettings
from ftgate.github.audit.quotes import ACTIONS_BOT
from ftgate.github.audit.record import Ledger, Record
from ftgate.github.client import Comment, GitHubRepo
from ftgate.github.comment import mark, read_trail
from ftgate.report.render import MARKER

ROUNDS = 5
"""How often to write again after another job overwrote the comment."""
FOLDED = "_Hidden as a duplicate: see {url}._\n"


def own_comments(comments: Sequence[Comment], author: str, context: str) -> list[Comment]:
    """The comments of ``author`` that begin with the mark of ``context``, oldest first.

    If there are none, those with the mark from before it named a context.
    """
    own = sorted((c for c in comments if c.author == author), key=lambda c: c.id)
    marked = ([c for c in own if _plain(c.body).startswith(first_line)] for first_line in (mark(context), MARKER))
    return next(filter(None, marked), [])


def comment_author(repo: GitHubRepo, number: int, settings: PublishSettings) -> str:
    """The login that writes the gate's comments on a pull request.

    The token's owner if they wrote one, or else the creator that the policy expects, or the Actions bot.
    """
    own = repo.login()
    written = own_comments(repo.comments(number), own, settings.context)
    return own if written else settings.expected_creator or ACTIONS_BOT


def update_comment(
    repo: GitHubRepo,
    number: int,
    author: str,
    render: Callable[[str, Ledger], str],
    earlier: Sequence[Record],
    record: Record | None,
    *,
    context: str,
    create: bool = True,
) -> Comment | None:
    """Make the comment of pull request ``number`` show ``render(body, ledger)``, given its body so far.

    It is the comment on the policy whose status is called ``context``. The ledger holds the comment's own records,
    those of duplicate comments, those of ``earlier`` that it lacks, those that a concurrent job wrote and another one
    overwrote, and ``record`` at its end.

    Changes nothing if the comment is up to date. Without ``create`` a missing comment is not created, and None is
    returned.
    """
    comments = own_comments(repo.comments(number), author, context)
    overwritten: list[Record] = []
    for _ in range(ROUNDS):
        if not comments and not create:
            return None
        body = render(comments[0].body if comments else "", _merged_ledger(comments, earlier, overwritten, record))
        written = not comments or _plain(comments[0].body) != _plain(body)
        if not comments:
            created = repo.create_comment(number, body, partial(_oldest_comment, repo, number, author, context))
            author = created.author  # with a wrong ``author`` the comment would not be found, and created again
        elif written:
            repo.edit_comment(comments[0], body)
        for duplicate in comments[1:]:
            repo.edit_comment(duplicate, FOLDED.format(url=comments[0].url))
            repo.minimise(duplicate)
        comments = own_comments(repo.comments(number), author, context)
        overwritten = _overwritten(repo, comments[0], author) if written and comments else []
        if len(comments) == 1 and _plain(comments[0].body) == _plain(body) and not overwritten:
            break
    return comments[0] if comments else None


def _oldest_comment(repo: GitHubRepo, number: int, author: str, context: str) -> Comment | None:
    return next(iter(own_comments(repo.comments(number), author, context)), None)


def _merged_ledger(
    comments: Sequence[Comment], earlier: Sequence[Record], overwritten: Sequence[Record], record: Record | None
) -> Ledger:
    """The ledger of the oldest comment, then the records that it lacks, then ``record`` unless it is there already."""
    ledger = read_trail(comments[0].body) if comments else Ledger()
    duplicates = [r for duplicate in comments[1:] for r in read_trail(duplicate.body).records]
    # Old records that were dropped to make room are not added again.
    start = ledger.lines[0].record.time if ledger.lines and ledger.lines[0].n > 1 else ""
    for other in (*duplicates, *(r for r in earlier if r.time >= start), *overwritten):
        ledger = ledger if ledger.contains(other) else ledger.appended(other)
    return ledger if record is None or ledger.contains(record) else ledger.appended_if_new(record)


def _overwritten(repo: GitHubRepo, comment: Comment, author: str) -> list[Record]:
    """Records in earlier versions of the comment that it lacks now, oldest first.

    GitHub has no conditional edit of comments, so concurrent jobs may overwrite each other, but it keeps every version.
    """
    ledger = read_trail(comment.body)
    first = ledger.lines[0].n if ledger.lines else 1
    own_edits = (edit.body for edit in repo.edits(comment) if edit.editor == author.removesuffix("[bot]"))
    lines = [line for body in own_edits for line in read_trail(body).lines if line.n >= first]
    missing = {line.record.identity: line.record for line in lines if not ledger.contains(line.record)}
    return sorted(missing.values(), key=lambda r: r.time)


def _plain(body: str) -> str:
    """A body in normal form: GitHub may change line ends and trim it."""
    return body.replace("\r\n", "\n").strip()
