"""The ledger branch: one file of records that only grows, moved forward by git's own rule.

Two writers may start from the same commit. Only one of them can move the branch; the other looks again and goes on from
where the first one left off. Nobody's record is lost, and none is written twice.
"""

from __future__ import annotations

from urllib.parse import quote

from github import GithubException
from requests import RequestException

from ftgate.errors import PublishError
from ftgate.github.audit.record import Ledger, LedgerLine, Record, read_chain
from ftgate.github.client import GitHubRepo
from ftgate.github.retry import refused, wait_after

LEDGER_FILE = "ledger.jsonl"
TRIES = 30


def read_ledger(hub: GitHubRepo, branch: str) -> Ledger | None:
    """The chain on ``branch``, or None where there is no such branch."""
    tip = hub.tip(branch)
    return read_chain(_text(hub, tip).splitlines()) if tip else None


def append(hub: GitHubRepo, branch: str, record: Record) -> LedgerLine:
    """``record`` on ``branch``, which is made if need be; the line that is there already if it tells the same."""
    what = f"write the ledger on the branch {branch}"
    began: int | None = None
    for attempt in range(TRIES):
        tip = hub.tip(branch)
        text = _text(hub, tip) if tip else ""
        chain = read_chain(text.splitlines())
        # A line of ours whose answer was lost may have others behind it by now.
        if known := chain.find(record) or (chain.find(record, since=began) if began is not None else None):
            return known
        link = chain.plus(record).links[-1]
        began = link.n - 1 if began is None else began
        kept = text if text.endswith("\n") or not text else text + "\n"
        if _move(hub, branch, tip, _commit(hub, tip, kept + link.line + "\n", record), what):
            return link
        hub.patience.sleep(min(0.2 * (attempt + 1), 3.0))
    raise PublishError(f"could not {what}: it moved {TRIES} times meanwhile", hint="run the job again")


def _text(hub: GitHubRepo, commit: str) -> str:
    entry = hub.tree(commit).get(LEDGER_FILE)
    return hub.blob(entry.sha).decode("utf-8", "replace") if entry else ""


def _commit(hub: GitHubRepo, parent: str | None, text: str, record: Record) -> str:
    """A commit that no branch points to yet, so that making it twice does no harm."""
    what = "write the record"
    entry = {"path": LEDGER_FILE, "mode": "100644", "type": "blob", "content": text}
    tree = {"tree": [entry]} | ({"base_tree": parent} if parent else {})
    made = hub.patience.repeat(lambda: hub.call("POST", "/git/trees", tree), what)
    # Nothing that a stranger wrote: a commit's message can mention people and close issues.
    message = f"Record {record.verdict} for {record.head[:12]}"
    commit = {"message": message, "tree": made["sha"], "parents": [parent] if parent else []}
    return str(hub.patience.repeat(lambda: hub.call("POST", "/git/commits", commit), what)["sha"])


def _move(hub: GitHubRepo, branch: str, tip: str | None, commit: str, what: str) -> bool:
    """Point the branch from ``tip`` to ``commit``, forward only. False where it may be tried again: look first."""
    try:
        if tip is None:
            hub.call("POST", "/git/refs", {"ref": f"refs/heads/{branch}", "sha": commit})
        else:
            hub.call("PATCH", f"/git/refs/heads/{quote(branch)}", {"sha": commit, "force": False})
    except RequestException:
        return False
    except GithubException as error:
        # A branch that others may not write is refused in the same way as one that somebody else has just moved.
        if wait_after(error, 1) is not None or (error.status == 422 and hub.tip(branch) != tip):
            return False
        raise refused(error, what) from None
    return True
