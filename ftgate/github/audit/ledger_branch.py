"""The ledger branch: one append-only file of records, updated by fast-forward only.

If two jobs start from the same commit, only one of them can move the branch; the other reads it again and appends to
the first one's result. No record is lost, and none is written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from github import GithubException
from requests import RequestException

from ftgate.errors import PublishError
from ftgate.github.audit.record import Ledger, LedgerLine, Record, parse_ledger
from ftgate.github.audit.signature import bundle_path
from ftgate.github.client import GitHubRepo
from ftgate.github.retry import refused, wait_after

LEDGER_FILE = "ledger.jsonl"
TRIES = 30


def read_ledger(repo: GitHubRepo, branch: str) -> Ledger | None:
    """The ledger on ``branch``, or None if there is no such branch."""
    tip = repo.tip(branch)
    return parse_ledger(_text(repo, tip).splitlines()) if tip else None


def append(
    repo: GitHubRepo,
    branch: str,
    record: Record,
    late: Sequence[Record] = (),
    now: str = "",
    sign: Callable[[Record], str] | None = None,
) -> LedgerLine:
    """Append ``record`` to the ledger on ``branch``, which is created if needed, and return its line.

    ``sign`` makes its signature, or "" for none, which is written with it, or later if the record has none.

    Before it go the records of ``late`` that the ledger lacks, because an earlier job could not write them, marked with
    ``now``. Returns the existing line if the ledger already records the same decision. Raises PublishError.
    """
    what = f"write the ledger on the branch {branch}"
    begun_after: int | None = None
    signed: dict[str, str] = {}
    for attempt in range(TRIES):
        tip = repo.tip(branch)
        content = _text(repo, tip) if tip else ""
        ledger = parse_ledger(content.splitlines())
        begun_after = begun_after if begun_after is not None else ledger.lines[-1].n if ledger.lines else 0
        wanted = _with_late(ledger, late, now)
        # If the response to our own write was lost, others may have appended lines after ours by now.
        line = wanted.find(record) or (wanted.find(record, since=begun_after) if attempt else None)
        wanted = wanted if line else wanted.appended(record)
        line = line or wanted.lines[-1]
        new_lines = [new.text + "\n" for new in wanted.lines[len(ledger.lines) :]]
        files = {}
        path = bundle_path(line.record)
        if sign is not None and path not in (repo.tree(tip) if tip else ()):
            signed[path] = signed[path] if path in signed else sign(line.record)
            files = {path: signed[path]} if signed[path] else {}
        if new_lines:
            old = content if content.endswith("\n") or not content else content + "\n"
            files[LEDGER_FILE] = old + "".join(new_lines)
        if not files:
            return line
        if _move(repo, branch, tip, _commit(repo, tip, files, record), what):
            return line
        repo.retry.sleep(min(0.2 * (attempt + 1), 3.0))
    raise PublishError(f"could not {what}: other jobs moved it {TRIES} times meanwhile", hint="run the job again")


def _with_late(ledger: Ledger, late: Sequence[Record], now: str) -> Ledger:
    for record in late:
        ledger = ledger if ledger.contains(record) else ledger.appended(record, now)
    return ledger


def _text(repo: GitHubRepo, commit: str) -> str:
    entry = repo.tree(commit).get(LEDGER_FILE)
    return repo.blob(entry.sha).decode("utf-8", "replace") if entry else ""


def _commit(repo: GitHubRepo, parent: str | None, files: Mapping[str, str], record: Record) -> str:
    """A commit that no branch points to yet, so that creating it twice does no harm. Returns its hash."""
    what = "write the record"
    entries = [{"path": path, "mode": "100644", "type": "blob", "content": text} for path, text in files.items()]
    tree: dict[str, Any] = {"tree": entries} | ({"base_tree": repo.tree_of(parent)} if parent else {})
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
        # 409: another job is moving it. 422: it did, or a rule protects the branch.
        if wait_after(error, 1) is not None or error.status == 409 or (error.status == 422 and repo.tip(branch) != tip):
            return False
        raise refused(error, what) from None
    return True
