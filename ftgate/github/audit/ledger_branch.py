"""The ledger branch: one append-only file of records, updated by fast-forward only.

If two jobs start from the same commit, only one of them can move the branch; the other reads it again and appends to
the first one's result. No record is lost, and none is written twice.
"""

from __future__ import annotations

from urllib.parse import quote

from github import GithubException
from requests import RequestException

from ftgate.errors import PublishError
from ftgate.github.audit.record import Ledger, LedgerLine, Record, parse_ledger
from ftgate.github.client import GitHubRepo
from ftgate.github.retry import refused, wait_after

LEDGER_FILE = "ledger.jsonl"
TRIES = 30


def read_ledger(repo: GitHubRepo, branch: str) -> Ledger | None:
    """The ledger on ``branch``, or None if there is no such branch."""
    tip = repo.tip(branch)
    return parse_ledger(_text(repo, tip).splitlines()) if tip else None


def append(repo: GitHubRepo, branch: str, record: Record) -> LedgerLine:
    """Append ``record`` to the ledger on ``branch``, which is created if needed, and return its line.

    Returns the existing line if the ledger already records the same decision. Raises PublishError.
    """
    what = f"write the ledger on the branch {branch}"
    begun_after: int | None = None
    for attempt in range(TRIES):
        tip = repo.tip(branch)
        content = _text(repo, tip) if tip else ""
        ledger = parse_ledger(content.splitlines())
        # If the response to our own write was lost, others may have appended lines after ours by now.
        if existing := ledger.find(record) or (
            ledger.find(record, since=begun_after) if begun_after is not None else None
        ):
            return existing
        line = ledger.appended(record).lines[-1]
        begun_after = line.n - 1 if begun_after is None else begun_after
        new_content = content if content.endswith("\n") or not content else content + "\n"
        if _move(repo, branch, tip, _commit(repo, tip, new_content + line.text + "\n", record), what):
            return line
        repo.retry.sleep(min(0.2 * (attempt + 1), 3.0))
    raise PublishError(f"could not {what}: other jobs moved it {TRIES} times meanwhile", hint="run the job again")


def _text(repo: GitHubRepo, commit: str) -> str:
    entry = repo.tree(commit).get(LEDGER_FILE)
    return repo.blob(entry.sha).decode("utf-8", "replace") if entry else ""


def _commit(repo: GitHubRepo, parent: str | None, text: str, record: Record) -> str:
    """A commit that no branch points to yet, so that creating it twice does no harm. Returns its hash."""
    what = "write the record"
    entry = {"path": LEDGER_FILE, "mode": "100644", "type": "blob", "content": text}
    tree = {"tree": [entry]} | ({"base_tree": parent} if parent else {})
    created = repo.retry.repeat(lambda: repo.call("POST", "/git/trees", tree), what)
    # No untrusted text: a commit message can mention people and close issues.
    message = f"Record {record.verdict} for {record.head[:12]}"
    commit = {"message": message, "tree": created["sha"], "parents": [parent] if parent else []}
    return str(repo.retry.repeat(lambda: repo.call("POST", "/git/commits", commit), what)["sha"])


def _move(repo: GitHubRepo, branch: str, tip: str | None, commit: str, what: str) -> bool:
    """Fast-forward the branch from ``tip`` to ``commit``. False if the caller may read the branch and try again."""
    try:
        if tip is None:
            repo.call("POST", "/git/refs", {"ref": f"refs/heads/{branch}", "sha": commit})
        else:
            repo.call("PATCH", f"/git/refs/heads/{quote(branch)}", {"sha": commit, "force": False})
    except RequestException:
        return False
    except GithubException as error:
        # GitHub gives the same error for a protected branch and for one that was just moved by another job.
        if wait_after(error, 1) is not None or (error.status == 422 and repo.tip(branch) != tip):
            return False
        raise refused(error, what) from None
    return True
