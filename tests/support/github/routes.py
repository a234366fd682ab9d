"""The part of the REST API that a merge gate needs, with its rules: permissions, limits, pages, fast-forward only."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.github import bodies, models
from support.github.state import Caller, Check, IssueComment, Status

if TYPE_CHECKING:
    from support.github.server import FakeGitHub


class RefusedError(Exception):
    """An answer with a status other than success."""

    def __init__(self, status: int, message: str, *errors: dict[str, str]) -> None:
        super().__init__(message)
        self.status, self.body = status, {"message": message, "documentation_url": "https://docs.test"}
        if errors:
            self.body["errors"] = list(errors)


@dataclass(frozen=True)
class Request:
    """One call, below the repository."""

    hub: FakeGitHub
    caller: Caller
    query: dict[str, str]
    body: dict[str, Any]
    parts: dict[str, str]


@dataclass(frozen=True)
class Route:
    method: str
    path: re.Pattern[str]
    scope: str
    answers: str
    """Model of the response."""
    takes: str
    handler: Callable[[Request], Any]


ROUTES: list[Route] = []
SHA = "(?P<sha>[0-9a-f]{40})"


def route(method: str, path: str, scope: str, answers: str, takes: str = "") -> Callable[[Any], Any]:
    def register(handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
        ROUTES.append(Route(method, re.compile(path), scope, answers, takes, handler))
        return handler

    return register


def page(request: Request, entries: list[Any]) -> list[Any]:
    size, number = int(request.query.get("per_page", 30)), int(request.query.get("page", 1))
    return entries[min(size, 100) * (number - 1) :][: min(size, 100)]


def need(value: Any) -> Any:
    if value is None:
        raise RefusedError(404, "Not Found")
    return value


def limit(text: str | None, most: int, what: str) -> None:
    if text is not None and len(text) > most:
        message = f"{what} is too long (maximum is {most} characters)"
        raise RefusedError(422, "Validation Failed", {"field": what, "code": "custom", "message": message})


@route("GET", r"/pulls", "pull_requests", "[PullRequestSimple]")
def list_pulls(r: Request) -> Any:
    wanted = r.query.get("head")
    found = [
        p
        for p in r.hub.pulls.values()
        if p.state == r.query.get("state", "open") and wanted in (None, f"{p.source.split('/')[0]}:{p.branch}")
    ]
    return page(r, [bodies.pull(p, r.hub.name, r.hub.merge_sha, whole=False) for p in found])


@route("GET", r"/pulls/(?P<number>\d+)", "pull_requests", "PullRequest")
def get_pull(r: Request) -> Any:
    return bodies.pull(need(r.hub.pulls.get(int(r.parts["number"]))), r.hub.name, r.hub.merge_sha)


@route("GET", r"/pulls/(?P<number>\d+)/commits", "pull_requests", "[Commit]")
def pull_commits(r: Request) -> Any:
    pull = need(r.hub.pulls.get(int(r.parts["number"])))
    return page(r, [bodies.commit(sha, [], r.hub.name) for sha in r.hub.git.log(pull.base, pull.head)])


@route("GET", r"/compare/(?P<base>[^.]+)\.\.\.(?P<head>[^.]+)", "contents", "CommitComparison")
def compare(r: Request) -> Any:
    base, head = need(r.hub.git.resolve(r.parts["base"])), need(r.hub.git.resolve(r.parts["head"]))
    changes = r.hub.git.changes(base, head)[:300]
    at = f"https://github.test/{r.hub.name}/compare"
    return {
        **{f"{kind}url": at for kind in ("", "html_", "permalink_", "diff_", "patch_")},
        "base_commit": bodies.commit(base, [], r.hub.name),
        "merge_base_commit": bodies.commit(r.hub.git.fork_point(base, head), [], r.hub.name),
        "status": "ahead",
        "ahead_by": 1,
        "behind_by": 0,
        "total_commits": 1,
        "commits": [],
        "files": [bodies.changed_file(*change, r.hub.name) for change in changes],
    }


@route("GET", r"/contents/(?P<path>.+)", "contents", "ContentFile")
def contents(r: Request) -> Any:
    commit = need(r.hub.git.resolve(r.query.get("ref", "main")))
    found = next((e for e in r.hub.git.entries(commit) if e[3] == r.parts["path"] and e[1] == "blob"), None)
    content = r.hub.git.content(sha := need(found)[2]) or b""
    at = f"https://github.test/repos/{r.hub.name}/contents/{r.parts['path']}"
    return {
        "type": "file",
        "encoding": "base64",
        "size": len(content),
        "name": r.parts["path"].rsplit("/", 1)[-1],
        "path": r.parts["path"],
        "content": base64.encodebytes(content).decode(),
        "sha": sha,
        **{f"{kind}url": at for kind in ("", "git_", "html_", "download_")},
        "_links": {"git": at, "html": at, "self": at},
    }


@route("GET", rf"/git/trees/{SHA}", "contents", "GitTree")
def get_tree(r: Request) -> Any:
    commit = need(r.hub.git.resolve(r.parts["sha"]))
    tree = [{"path": p, "mode": m, "type": t, "sha": s} for m, t, s, p in r.hub.git.entries(commit)]
    return {"sha": commit, "url": "https://github.test/tree", "truncated": r.hub.truncate_trees, "tree": tree}


@route("GET", rf"/git/blobs/{SHA}", "contents", "Blob")
def get_blob(r: Request) -> Any:
    content = need(r.hub.git.content(r.parts["sha"]))
    return {
        "content": base64.encodebytes(content).decode(),
        "encoding": "base64",
        "url": "https://github.test/blob",
        "sha": r.parts["sha"],
        "size": len(content),
        "node_id": "B_1",
    }


@route("POST", r"/git/trees", "contents", "GitTree", "ReposOwnerRepoGitTreesPostBody")
def post_tree(r: Request) -> Any:
    files = {e["path"]: e["content"] for e in r.body["tree"]}
    parent = r.body.get("base_tree")
    commit = r.hub.git.commit(files, need(r.hub.git.resolve(parent)) if parent else None)
    tree = r.hub.git.git("rev-parse", f"{commit}^{{tree}}")
    return {"sha": tree, "url": "https://github.test/tree", "truncated": False, "tree": []}


@route("POST", r"/git/commits", "contents", "GitCommit", "ReposOwnerRepoGitCommitsPostBody")
def post_commit(r: Request) -> Any:
    sha = r.hub.git.commit_tree(r.body["tree"], r.body["parents"], r.body["message"])
    return bodies.git_commit(sha, r.body["tree"], r.body["parents"], r.body["message"], r.hub.name)


def ref_body(name: str, sha: str) -> dict[str, Any]:
    at = "https://github.test/ref"
    return {
        "ref": f"refs/heads/{name}",
        "node_id": "REF_1",
        "url": at,
        "object": {"type": "commit", "sha": sha, "url": at},
    }


@route("GET", r"/git/ref/heads/(?P<name>.+)", "contents", "GitRef")
def get_ref(r: Request) -> Any:
    return ref_body(r.parts["name"], need(r.hub.git.resolve(f"refs/heads/{r.parts['name']}")))


@route("POST", r"/git/refs", "contents", "GitRef", "ReposOwnerRepoGitRefsPostBody")
def post_ref(r: Request) -> Any:
    name = r.body["ref"].removeprefix("refs/heads/")
    if r.hub.git.resolve(r.body["ref"]):
        raise RefusedError(422, "Reference already exists")
    r.hub.git.move(name, r.body["sha"])
    return ref_body(name, r.body["sha"])


@route("PATCH", r"/git/refs/heads/(?P<name>.+)", "contents", "GitRef", "ReposOwnerRepoGitRefsRefPatchBody")
def patch_ref(r: Request) -> Any:
    old = need(r.hub.git.resolve(f"refs/heads/{r.parts['name']}"))
    if not r.body.get("force") and not r.hub.git.is_ancestor(old, r.body["sha"]):
        raise RefusedError(422, "Update is not a fast forward")
    r.hub.git.move(r.parts["name"], r.body["sha"])
    return ref_body(r.parts["name"], r.body["sha"])


@route("GET", r"/issues/(?P<number>\d+)/comments", "issues", "[IssueComment]")
def list_comments(r: Request) -> Any:
    found = [c for c in r.hub.comments if c.number == int(r.parts["number"])]
    return page(r, [bodies.comment(c, r.hub.name) for c in found])


@route(
    "POST",
    r"/issues/(?P<number>\d+)/comments",
    "issues",
    "IssueComment",
    "ReposOwnerRepoIssuesIssueNumberCommentsPostBody",
)
def post_comment(r: Request) -> Any:
    limit(r.body["body"], 65_536, "body")
    made = IssueComment(r.hub.next_id(), int(r.parts["number"]), r.caller.login, r.body["body"])
    r.hub.comments.append(made)
    return bodies.comment(made, r.hub.name)


@route(
    "PATCH", r"/issues/comments/(?P<id>\d+)", "issues", "IssueComment", "ReposOwnerRepoIssuesCommentsCommentIdPatchBody"
)
def patch_comment(r: Request) -> Any:
    limit(r.body["body"], 65_536, "body")
    found = need(next((c for c in r.hub.comments if c.id == int(r.parts["id"])), None))
    r.hub.edit(found, r.caller.login, r.body["body"])
    return bodies.comment(found, r.hub.name)


@route("GET", rf"/commits/{SHA}/statuses", "statuses", "[Status]")
def list_statuses(r: Request) -> Any:
    found = [s for s in reversed(r.hub.statuses) if s.sha == r.parts["sha"]]
    return page(r, [bodies.status(s, r.hub.name) for s in found])


@route("POST", rf"/statuses/{SHA}", "statuses", "Status", "ReposOwnerRepoStatusesShaPostBody")
def post_status(r: Request) -> Any:
    limit(r.body.get("description"), 140, "description")
    if r.hub.git.resolve(r.parts["sha"]) is None:
        raise RefusedError(422, f"No commit found for SHA: {r.parts['sha']}")
    made = Status(
        r.hub.next_id(),
        r.parts["sha"],
        r.body["state"],
        r.body.get("description"),
        r.body.get("target_url"),
        r.body.get("context", "default"),
        r.caller.login,
    )
    r.hub.statuses.append(made)
    return bodies.status(made, r.hub.name)


@route("GET", rf"/commits/{SHA}/check-runs", "checks", "")
def list_checks(r: Request) -> Any:
    wanted = r.query.get("check_name")
    found = [c for c in r.hub.checks if c.head_sha == r.parts["sha"] and wanted in (None, c.name)]
    runs = [bodies.check_run(c, r.hub.name) for c in found]
    models.require("[CheckRun]", runs)
    return {"total_count": len(runs), "check_runs": page(r, runs)}


@route("POST", r"/check-runs", "checks", "CheckRun", "ReposOwnerRepoCheckRunsPostBodyOneof0")
def post_check(r: Request) -> Any:
    output = r.body["output"]
    limit(output["summary"], 65_535, "summary")
    if len(output.get("annotations", [])) > 50:
        raise RefusedError(422, "Invalid request: no more than 50 items allowed in annotations")
    made = Check(
        r.hub.next_id(),
        r.body["name"],
        r.body["head_sha"],
        r.body.get("external_id", ""),
        r.body["conclusion"],
        output["title"],
        output["summary"],
        list(output.get("annotations", [])),
    )
    r.hub.checks.append(made)
    return bodies.check_run(made, r.hub.name)


@route("GET", r"/collaborators/(?P<login>[^/]+)/permission", "metadata", "RepositoryCollaboratorPermission")
def permission(r: Request) -> Any:
    level = r.hub.collaborators.get(r.parts["login"], "read")
    person = {**bodies.user(r.parts["login"]), "role_name": level}
    return {"permission": {"maintain": "write", "triage": "read"}.get(level, level), "role_name": level, "user": person}
