"""Records that only a comment has, although there is a ledger, for reasons that are no alteration."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from ftgate.errors import PublishError
from ftgate.github.audit.quotes import StatusQuotes
from ftgate.github.audit.record import Ledger, Record
from ftgate.github.client import GitHubRepo


def explained_records(
    repo: GitHubRepo, comment: Ledger, branch: Ledger, quoted: StatusQuotes, policy_path: str
) -> Mapping[str, str]:
    """Why records of the ``comment`` are not on the ``branch``, by their identity.

    Either their job could not write it and ended with an error, which decides nothing, or the policy on the base branch
    (at ``policy_path``) kept no ledger yet. Both only if a status of the expected creator quotes the record.
    """
    on_branch = {record.identity for record in branch.records}
    reasons = {}
    for record in comment.records:
        if record.identity in on_branch or quoted.lack(record):
            continue
        if record.kind == "run" and record.verdict == "error":
            text = "its job could not write the ledger; the next job of the pull request appends it, marked as late"
        elif _without_ledger(repo, record, policy_path):
            text = f"the policy on the base branch kept no ledger yet, at {record.base[:7]}"
        else:
            continue
        reasons[record.identity] = f"record {record.identity[:12]} ({record.time}) is only in the comment: {text}"
    return reasons


def _without_ledger(repo: GitHubRepo, record: Record, policy_path: str) -> bool:
    """Whether the base commit of ``record`` has a policy without a ledger. False if that cannot be told."""
    try:
        policy = yaml.safe_load((repo.text_at(policy_path, record.base) if record.base else None) or "")
    except (PublishError, yaml.YAMLError):
        return False
    if not isinstance(policy, dict):
        return False
    publish = policy.get("publish", {})
    return isinstance(publish, dict) and publish.get("ledger", "comment") == "comment"
