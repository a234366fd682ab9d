"""JSON in the platform's own shape: what the REST API answers, and what the event payloads hold."""

from __future__ import annotations

import hashlib
from typing import Any

NOW = "2025-03-04T09:00:00Z"
_ADDRESSES = """
archive assignees blobs branches collaborators comments commits compare contents contributors deployments downloads
events forks git_commits git_refs git_tags issue_comment issue_events issues keys labels languages merges
milestones notifications pulls releases stargazers statuses subscribers subscription tags teams trees hooks
"""
ADDRESSES = _ADDRESSES.split()
PLACES = ("followers", "following", "gists", "starred", "subscriptions", "organizations", "repos", "events")


def number_of(text: str) -> int:
    """An id that is the same for the same text."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:7], 16)


def user(login: str) -> dict[str, Any]:
    at = f"https://github.test/users/{login}"
    return {
        "login": login,
        "id": number_of(login),
        "node_id": f"U_{number_of(login)}",
        "avatar_url": f"{at}/avatar",
        "gravatar_id": "",
        "url": at,
        "html_url": f"https://github.test/{login}",
        **{f"{place}_url": f"{at}/{place}" for place in (*PLACES, "received_events")},
        "type": "Bot" if login.endswith("[bot]") else "User",
        "site_admin": False,
        "user_view_type": "public",
    }


def repository(full_name: str, *, fork: bool = False) -> dict[str, Any]:
    owner, name = full_name.split("/")
    at = f"https://github.test/repos/{full_name}"
    counts = (
        "forks_count",
        "stargazers_count",
        "watchers_count",
        "size",
        "open_issues_count",
        "open_issues",
        "watchers",
    )
    return {
        "id": number_of(full_name),
        "node_id": f"R_{number_of(full_name)}",
        "name": name,
        "full_name": full_name,
        "owner": user(owner),
        "private": False,
        "html_url": f"https://github.test/{full_name}",
        "description": None,
        "fork": fork,
        "url": at,
        **{f"{place}_url": f"{at}/{place}" for place in ADDRESSES},
        "git_url": f"git://github.test/{full_name}.git",
        "ssh_url": f"git@github.test:{full_name}.git",
        "clone_url": f"https://github.test/{full_name}.git",
        "svn_url": f"https://github.test/{full_name}",
        "mirror_url": None,
        "homepage": None,
        "language": None,
        "license": None,
        "forks": 0,
        **dict.fromkeys(counts, 0),
        "default_branch": "main",
        **{f"has_{what}": True for what in ("issues", "projects", "wiki", "pages", "downloads", "discussions")},
        "archived": False,
        "disabled": False,
        "visibility": "public",
        "allow_forking": True,
        "is_template": False,
        "web_commit_signoff_required": False,
        "topics": [],
        "pushed_at": NOW,
        "created_at": NOW,
        "updated_at": NOW,
    }


def pull(found: Any, into: str, merge_sha: str, *, whole: bool = True) -> dict[str, Any]:
    """A pull request; ``whole`` as when it is asked for alone, else as in a list."""
    at = f"https://github.test/repos/{into}/pulls/{found.number}"
    issue = f"https://github.test/repos/{into}/issues/{found.number}"
    owner = found.source.split("/")[0]
    links = ("self", "html", "issue", "comments", "review_comments", "review_comment", "commits", "statuses")
    body = {
        "url": at,
        "id": number_of(at),
        "node_id": f"PR_{number_of(at)}",
        "html_url": f"https://github.test/{into}/pull/{found.number}",
        "diff_url": f"{at}.diff",
        "patch_url": f"{at}.patch",
        "issue_url": issue,
        "commits_url": f"{at}/commits",
        "review_comments_url": f"{at}/comments",
        "review_comment_url": f"{at}/comments{{/number}}",
        "comments_url": f"{issue}/comments",
        "statuses_url": f"{at}/statuses",
        "number": found.number,
        "state": found.state,
        "locked": False,
        "title": found.title,
        "user": user(owner),
        "body": found.body,
        "labels": [],
        "milestone": None,
        "created_at": NOW,
        "updated_at": NOW,
        "closed_at": None,
        "merged_at": NOW if found.merged else None,
        "merge_commit_sha": merge_sha,
        "assignee": None,
        "assignees": [],
        "requested_reviewers": [],
        "requested_teams": [],
        "draft": found.draft,
        "head": _end(found.source, found.branch, found.head, fork=found.source != into),
        "base": _end(into, found.base, found.base_sha),
        "_links": {name: {"href": at} for name in links},
        "author_association": "CONTRIBUTOR",
        "auto_merge": None,
        "active_lock_reason": None,
    }
    if whole:
        body |= {
            "merged": found.merged,
            "mergeable": True,
            "mergeable_state": "blocked",
            "merged_by": None,
            "rebaseable": True,
        }
        body |= {"comments": 0, "review_comments": 0, "maintainer_can_modify": False}
        body |= {"commits": 1, "additions": 1, "deletions": 1, "changed_files": 1}
    return body


def _end(full_name: str, branch: str, sha: str, *, fork: bool = False) -> dict[str, Any]:
    owner = full_name.split("/")[0]
    return {
        "label": f"{owner}:{branch}",
        "ref": branch,
        "sha": sha,
        "user": user(owner),
        "repo": repository(full_name, fork=fork),
    }


def comment(found: Any, into: str) -> dict[str, Any]:
    at = f"https://github.test/repos/{into}/issues/comments/{found.id}"
    return {
        "id": found.id,
        "node_id": f"IC_{found.id}",
        "url": at,
        "html_url": f"https://github.test/{into}/pull/{found.number}#issuecomment-{found.id}",
        "issue_url": f"https://github.test/repos/{into}/issues/{found.number}",
        "user": user(found.author),
        "created_at": NOW,
        "updated_at": NOW,
        "author_association": "NONE",
        "body": found.body,
    }


def status(found: Any, into: str) -> dict[str, Any]:
    return {
        "url": f"https://github.test/repos/{into}/statuses/{found.sha}",
        "avatar_url": None,
        "id": found.id,
        "node_id": f"SC_{found.id}",
        "state": found.state,
        "description": found.description,
        "target_url": found.target_url,
        "context": found.context,
        "created_at": NOW,
        "updated_at": NOW,
        "creator": user(found.creator),
    }


def check_run(found: Any, into: str) -> dict[str, Any]:
    at = f"https://github.test/repos/{into}/check-runs/{found.id}"
    return {
        "id": found.id,
        "head_sha": found.head_sha,
        "node_id": f"CR_{found.id}",
        "external_id": found.external_id,
        "url": at,
        "html_url": at,
        "details_url": found.details_url or at,
        "status": found.status,
        "conclusion": found.conclusion,
        "started_at": NOW,
        "completed_at": NOW if found.status == "completed" else None,
        "output": {
            "title": found.title,
            "summary": found.summary,
            "text": None,
            "annotations_count": len(found.annotations),
            "annotations_url": f"{at}/annotations",
        },
        "name": found.name,
        "check_suite": {"id": 1},
        "app": app(found.creator),
        "pull_requests": [],
    }


def app(login: str) -> dict[str, Any]:
    """The App whose bot has this login."""
    slug = login.removesuffix("[bot]")
    return {
        "id": 15368 if slug == "github-actions" else number_of(slug),
        "slug": slug,
        "node_id": f"A_{slug}",
        "owner": user("acme"),
        "name": slug,
        "description": None,
        "external_url": "https://github.test",
        "html_url": f"https://github.test/apps/{slug}",
        "created_at": NOW,
        "updated_at": NOW,
        "permissions": {},
        "events": [],
    }


def git_commit(sha: str, tree: str, parents: list[str], message: str, into: str) -> dict[str, Any]:
    at = f"https://github.test/repos/{into}/git"
    who = {"date": NOW, "email": "tester@example.invalid", "name": "Tester"}
    unsigned = {"verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None}
    return {
        "sha": sha,
        "node_id": f"C_{sha}",
        "url": f"{at}/commits/{sha}",
        "html_url": f"https://github.test/{into}/commit/{sha}",
        "author": who,
        "committer": who,
        "message": message,
        "tree": {"sha": tree, "url": f"{at}/trees/{tree}"},
        "parents": [{"sha": p, "url": f"{at}/commits/{p}", "html_url": f"{at}/commits/{p}"} for p in parents],
        "verification": unsigned,
    }


def commit(sha: str, parents: list[str], into: str) -> dict[str, Any]:
    at = f"https://github.test/repos/{into}/commits/{sha}"
    who = {"name": "Tester", "email": "tester@example.invalid", "date": NOW}
    tree = {"sha": sha, "url": f"{at}/tree"}
    return {
        "url": at,
        "sha": sha,
        "node_id": f"C_{sha}",
        "html_url": at,
        "comments_url": f"{at}/comments",
        "commit": {"url": at, "author": who, "committer": who, "message": "change", "comment_count": 0, "tree": tree},
        "author": user("tester"),
        "committer": user("tester"),
        "parents": [{"sha": p, "url": at, "html_url": at} for p in parents],
    }


def changed_file(letter: str, sha: str, path: str, previous: str, into: str) -> dict[str, Any]:
    at = f"https://github.test/{into}/blob/{path}"
    words = {"A": "added", "M": "modified", "D": "removed", "R": "renamed", "T": "changed"}
    return {
        "sha": sha,
        "filename": path,
        "status": words[letter],
        "additions": 1,
        "deletions": 0,
        "changes": 1,
        "blob_url": at,
        "raw_url": at,
        "contents_url": at,
        **({"previous_filename": previous} if previous else {}),
    }


def environment(name: str, reviewers: list[str], into: str, branches: list[str] | None = None) -> dict[str, Any]:
    """An environment; its rule about reviewers is there only if it names any.

    ``branches`` are those that may use it; None: all; empty: those that are protected.
    """
    people = [{"type": "User", "reviewer": user(login)} for login in reviewers]
    rule = {"id": 2, "node_id": "GA_2", "type": "required_reviewers", "prevent_self_review": False, "reviewers": people}
    return {
        "id": 1,
        "node_id": "EN_1",
        "name": name,
        "url": f"https://api.github.test/repos/{into}/environments/{name}",
        "html_url": f"https://github.test/{into}/deployments/activity_log?environments_filter={name}",
        "created_at": "2025-03-04T09:00:00Z",
        "updated_at": "2025-03-04T09:00:00Z",
        "protection_rules": [rule] if people else [],
        "deployment_branch_policy": None
        if branches is None
        else {"protected_branches": not branches, "custom_branch_policies": bool(branches)},
    }


def rule(kind: str, **checks: int | None) -> dict[str, Any]:
    """An active rule; ``checks`` are required, each from an app or (None) from any source."""
    found: dict[str, Any] = {
        "type": kind,
        "ruleset_source_type": "Repository",
        "ruleset_source": "acme/models",
        "ruleset_id": 3,
    }
    if kind == "required_status_checks":
        required = [{"context": c, **({"integration_id": app} if app else {})} for c, app in checks.items()]
        found["parameters"] = {"strict_required_status_checks_policy": False, "required_status_checks": required}
    return found


def status_check_policy(checks: dict[str, int | None], into: str) -> dict[str, Any]:
    at = f"https://api.github.test/repos/{into}/branches/main/protection/required_status_checks"
    return {
        "url": at,
        "contexts_url": f"{at}/contexts",
        "strict": False,
        "contexts": list(checks),
        "checks": [{"context": context, "app_id": app} for context, app in checks.items()],
    }


def runner_group(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": "machines with GPUs",
        "visibility": "selected",
        "default": False,
        "runners_url": "https://github.test/runners",
        "inherited": False,
        "allows_public_repositories": False,
    }


def runner(name: str, status: str, labels: list[str]) -> dict[str, Any]:
    return {
        "id": number_of(name),
        "name": name,
        "os": "linux",
        "status": status,
        "busy": False,
        "labels": [{"id": number_of(label), "name": label, "type": "custom"} for label in labels],
    }


def release(assets: list[dict[str, Any]]) -> dict[str, Any]:
    at = "https://github.test/releases/1"
    return {
        "id": 1,
        "node_id": "RE_1",
        "tag_name": "v1",
        "target_commitish": "main",
        "name": "v1",
        "body": "",
        "draft": False,
        "prerelease": False,
        "immutable": False,
        "created_at": NOW,
        "updated_at": NOW,
        "published_at": NOW,
        "assets": assets,
        "author": user("octocat"),
        **{f"{kind}url": at for kind in ("", "html_", "assets_", "upload_", "tarball_", "zipball_")},
    }


def asset(number: int, name: str, at: str, size: int, digest: str) -> dict[str, Any]:
    return {
        "id": number,
        "node_id": f"RA_{number}",
        "name": name,
        "label": None,
        "state": "uploaded",
        "content_type": "application/octet-stream",
        "size": size,
        "digest": digest,
        "download_count": 0,
        "created_at": NOW,
        "updated_at": NOW,
        "uploader": user("octocat"),
        "url": at,
        "browser_download_url": f"https://github.test/releases/download/v1/{name}",
    }


def artifact(number: int, name: str, size: int, digest: str, *, expired: bool) -> dict[str, Any]:
    at = f"https://github.test/actions/artifacts/{number}"
    return {
        "id": number,
        "node_id": f"A_{number}",
        "name": name,
        "size_in_bytes": size,
        "url": at,
        "archive_download_url": f"{at}/zip",
        "expired": expired,
        "created_at": NOW,
        "expires_at": NOW,
        "updated_at": NOW,
        "digest": digest,
    }
