"""Where a comment on GitHub leads: run, artifacts, the policy at its commit, the documentation. Pure."""

from __future__ import annotations

from urllib.parse import quote

from ftgate.github.event import RunTarget
from ftgate.github.match_reports import BasePolicy
from ftgate.report.links import CommentLinks


def links_of(target: RunTarget, base_policy: BasePolicy | None, page: str = "") -> CommentLinks:
    """The links of a run's comment, each empty where the run does not tell its address.

    ``page``: where the pages of the run are published; without one they are in its artifacts.
    """
    server = target.run_url.partition(f"/{target.repository}/actions/")[0] if target.run_url else ""
    policy = ""
    if server and base_policy is not None:
        policy = f"{server}/{target.repository}/blob/{base_policy.commit}/{quote(base_policy.path)}"
    return CommentLinks(
        run=target.run_url,
        page=page or (f"{target.run_url}#artifacts" if target.run_url else ""),
        policy=policy,
        docs=target.docs,
        waive=f"{target.docs}audit.md#waive-a-verdict" if target.docs else "",
    )
