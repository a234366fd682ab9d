"""The part of the REST API that a merge gate needs, with its rules: permissions, limits, pages, fast-forward only."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.github import bodies
from support.github.limits import may_merge, may_push
from support.github.state import Caller, Check, IssueComment, RefusedError, Status

if TYPE_CHECKING:
    from support.github.server import FakeGitHub


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
    handler: Callable[[Request], Any]


ROUTES: list[Route] = []
MOST_STATUSES = 1000
TOO_MANY = "This SHA and context has reached the maximum number of statuses."
SHA = "(?P<sha>[0-9a-f]{40})"


def route(method: str, path: str, scope: str) -> Callable[[Any], Any]:
    def register(handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
        ROUTES.append(Route(method, re.compile(path), scope, handler))
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


def too_large(r: Request, content: bytes) -> None:
    """Raise RefusedError for a file that the API does not return."""
    if len(content) > r.hub.largest_blob:
        reason = {"resource": "Blob", "field": "data", "code": "too_large"}
        raise RefusedError(403, "This API returns blobs up to 100 MB in size. The requested blob is too large.", reason)


@route("GET", r"/pulls", "pull_requests")
def list_pulls(r: Request) -> Any:
    wanted = r.query.get("head")
    found = [
        p
        for p in r.hub.pulls.values()
        if p.state == r.query.get("state", "open") and wanted in (None, f"{p.source.split('/')[0]}:{p.branch}")
    ]
    return page(r, [bodies.pull(p, r.hub.name, r.hub.merge_sha, whole=False) for p in found])


@route("GET", r"/pulls/(?P<number>\d+)", "pull_requests")
def get_pull(r: Request) -> Any:
    return bodies.pull(need(r.hub.pulls.get(int(r.parts["number"]))), r.hub.name, r.hub.merge_sha)


@route("PUT", r"/pulls/(?P<number>\d+)/merge", "contents")
def merge(r: Request) -> Any:
    pull = need(r.hub.pulls.get(int(r.parts["number"])))
    if r.body.get("sha") not in (None, pull.head):
        raise RefusedError(409, "Head branch was modified. Review and try the merge again.")
    may_merge(r.hub, pull)
    tip = need(r.hub.git.resolve(pull.base))
    tree, _, _ = r.hub.git.commit_fields(pull.head)
    made = r.hub.git.commit_tree(tree, [tip, pull.head], f"Merge pull request #{pull.number}")
    r.hub.git.move(pull.base, made)
    pull.merged, pull.state = True, "closed"
    return {"sha": made, "merged": True, "message": "Pull Request successfully merged"}


@route("GET", r"/pulls/(?P<number>\d+)/commits", "pull_requests")
def pull_commits(r: Request) -> Any:
    pull = need(r.hub.pulls.get(int(r.parts["number"])))
    return page(r, [bodies.commit(sha, [], r.hub.name) for sha in r.hub.git.log(pull.base, pull.head)])


@route("GET", r"/compare/(?P<base>[^.]+)\.\.\.(?P<head>[^.]+)", "contents")
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


@route("GET", r"/contents/(?P<path>.+)", "contents")
def contents(r: Request) -> Any:
    commit = need(r.hub.git.resolve(r.query.get("ref", "main")))
    found = next((e for e in r.hub.git.entries(commit) if e[3] == r.parts["path"] and e[1] == "blob"), None)
    content = r.hub.git.content(sha := need(found)[2]) or b""
    too_large(r, content)
    shown = len(content) <= r.hub.most_shown
    at = f"https://github.test/repos/{r.hub.name}/contents/{r.parts['path']}"
    return {
        "type": "file",
        "encoding": "base64" if shown else "none",
        "size": len(content),
        "name": r.parts["path"].rsplit("/", 1)[-1],
        "path": r.parts["path"],
        "content": base64.encodebytes(content).decode() if shown else "",
        "sha": sha,
        **{f"{kind}url": at for kind in ("", "git_", "html_", "download_")},
        "_links": {"git": at, "html": at, "self": at},
    }


@route("GET", rf"/git/trees/{SHA}", "contents")
def get_tree(r: Request) -> Any:
    commit = need(r.hub.git.resolve(r.parts["sha"]))
    tree = [{"path": p, "mode": m, "type": t, "sha": s} for m, t, s, p in r.hub.git.entries(commit)]
    return {"sha": commit, "url": "https://github.test/tree", "truncated": r.hub.truncate_trees, "tree": tree}


@route("GET", rf"/git/blobs/{SHA}", "contents")
def get_blob(r: Request) -> Any:
    content = need(r.hub.git.content(r.parts["sha"]))
    too_large(r, content)
    return {
        "content": base64.encodebytes(content).decode(),
        "encoding": "base64",
        "url": "https://github.test/blob",
        "sha": r.parts["sha"],
        "size": len(content),
        "node_id": "B_1",
    }


@route("POST", r"/git/trees", "contents")
def post_tree(r: Request) -> Any:
    files = {e["path"]: e["content"] for e in r.body["tree"]}
    base = r.body.get("base_tree")
    if base and r.hub.git.kind(base) != "tree":
        raise RefusedError(422, "base_tree is not a valid tree oid")
    tree = r.hub.git.tree(files, base)
    return {"sha": tree, "url": "https://github.test/tree", "truncated": False, "tree": []}


@route("GET", rf"/git/commits/{SHA}", "contents")
def get_commit(r: Request) -> Any:
    sha = r.parts["sha"]
    if r.hub.git.kind(sha) != "commit":
        raise RefusedError(404, "Not Found")
    tree, parents, message = r.hub.git.commit_fields(sha)
    return bodies.git_commit(sha, tree, parents, message, r.hub.name)


@route("POST", r"/git/commits", "contents")
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


@route("GET", r"/git/ref/heads/(?P<name>.+)", "contents")
def get_ref(r: Request) -> Any:
    return ref_body(r.parts["name"], need(r.hub.git.resolve(f"refs/heads/{r.parts['name']}")))


@route("POST", r"/git/refs", "contents")
def post_ref(r: Request) -> Any:
    name = r.body["ref"].removeprefix("refs/heads/")
    if r.hub.git.resolve(r.body["ref"]):
        raise RefusedError(422, "Reference already exists")
    if r.hub.git.kind(r.body["sha"]) != "commit":
        raise RefusedError(422, "Object does not exist")
    may_push(r.hub, r.caller, name)
    r.hub.git.move(name, r.body["sha"])
    return ref_body(name, r.body["sha"])


@route("PATCH", r"/git/refs/heads/(?P<name>.+)", "contents")
def patch_ref(r: Request) -> Any:
    old = r.hub.git.resolve(f"refs/heads/{r.parts['name']}")
    if old is None:
        raise RefusedError(422, "Reference does not exist")
    may_push(r.hub, r.caller, r.parts["name"], force=bool(r.body.get("force")))
    if not r.body.get("force") and not r.hub.git.is_ancestor(old, r.body["sha"]):
        raise RefusedError(422, "Update is not a fast forward")
    r.hub.git.move(r.parts["name"], r.body["sha"])
    return ref_body(r.parts["name"], r.body["sha"])


@route("GET", r"/issues/(?P<number>\d+)/comments", "issues|pull_requests")
def list_comments(r: Request) -> Any:
    found = [c for c in r.hub.comments if c.number == int(r.parts["number"])]
    return page(r, [bodies.comment(c, r.hub.name) for c in found])


@route("POST", r"/issues/(?P<number>\d+)/comments", "issues|pull_requests")
def post_comment(r: Request) -> Any:
    limit(r.body["body"], 65_536, "body")
    made = IssueComment(r.hub.next_id(), int(r.parts["number"]), r.caller.login, r.body["body"])
    r.hub.comments.append(made)
    return bodies.comment(made, r.hub.name)


@route("PATCH", r"/issues/comments/(?P<id>\d+)", "issues|pull_requests")
def patch_comment(r: Request) -> Any:
    limit(r.body["body"], 65_536, "body")
    found = need(next((c for c in r.hub.comments if c.id == int(r.parts["id"])), None))
    r.hub.edit(found, r.caller.login, r.body["body"])
    return bodies.comment(found, r.hub.name)


@route("GET", rf"/commits/{SHA}/statuses", "statuses")
def list_statuses(r: Request) -> Any:
    found = [s for s in reversed(r.hub.statuses) if s.sha == r.parts["sha"]]
    return page(r, [bodies.status(s, r.hub.name) for s in found])


@route("POST", rf"/statuses/{SHA}", "statuses")
def post_status(r: Request) -> Any:
    limit(r.body.get("description"), 140, "description")
    if r.hub.git.resolve(r.parts["sha"]) is None:
        raise RefusedError(422, f"No commit found for SHA: {r.parts['sha']}")
    context = r.body.get("context", "default")
    same = [s for s in r.hub.statuses if (s.sha, s.context.casefold()) == (r.parts["sha"], context.casefold())]
    if len(same) >= MOST_STATUSES:
        reason = {"resource": "Status", "code": "custom", "message": TOO_MANY}
        raise RefusedError(422, "Validation Failed", reason)
    made = Status(
        r.hub.next_id(),
        r.parts["sha"],
        r.body["state"],
        r.body.get("description"),
        r.body.get("target_url"),
        context,
        r.caller.login,
    )
    r.hub.statuses.append(made)
    return bodies.status(made, r.hub.name)


@route("GET", rf"/commits/{SHA}/check-runs", "checks")
def list_checks(r: Request) -> Any:
    wanted = r.query.get("check_name")
    found = [c for c in r.hub.checks if c.head_sha == r.parts["sha"] and wanted in (None, c.name)]
    if r.query.get("filter", "latest") == "latest":
        found = list({(c.creator, c.name): c for c in found}.values())
    runs = [bodies.check_run(c, r.hub.name) for c in found]
    return {"total_count": len(runs), "check_runs": page(r, runs)}


@route("POST", r"/check-runs", "checks")
def post_check(r: Request) -> Any:
    output = checked_output(r)
    made = Check(
        r.hub.next_id(),
        r.body["name"],
        r.body["head_sha"],
        r.body.get("external_id", ""),
        r.body.get("conclusion"),
        output["title"],
        output["summary"],
        list(output.get("annotations", [])),
        r.caller.login,
        "completed" if "conclusion" in r.body else r.body.get("status", "queued"),
        r.body.get("details_url"),
    )
    r.hub.checks.append(made)
    return bodies.check_run(made, r.hub.name)


@route("PATCH", r"/check-runs/(?P<id>\d+)", "checks")
def patch_check(r: Request) -> Any:
    found = need(next((c for c in r.hub.checks if c.id == int(r.parts["id"])), None))
    if found.creator != r.caller.login:
        raise RefusedError(403, "Invalid app_id: the check run was created by another GitHub App")
    output = checked_output(r)
    found.title, found.summary = output["title"], output["summary"]
    found.annotations += output.get("annotations", [])  # an update adds to them
    found.conclusion = r.body.get("conclusion", found.conclusion)
    found.status = "completed" if "conclusion" in r.body else r.body.get("status", found.status)
    found.external_id, found.details_url = (
        r.body.get("external_id", found.external_id),
        r.body.get("details_url", found.details_url),
    )
    return bodies.check_run(found, r.hub.name)


def checked_output(r: Request) -> Any:
    """The output of a check run, of which only Apps may make any."""
    if not r.caller.login.endswith("[bot]"):
        raise RefusedError(403, "You must authenticate via a GitHub App.")
    output = r.body["output"]
    limit(output["summary"], 65_535, "summary")
    if len(output.get("annotations", [])) > 50:
        raise RefusedError(422, "Invalid request: no more than 50 items allowed in annotations")
    return output


@route("GET", r"/collaborators/(?P<login>[^/]+)/permission", "metadata")
def permission(r: Request) -> Any:
    level = r.hub.collaborators.get(r.parts["login"], "read")
    person = {**bodies.user(r.parts["login"]), "role_name": level}
    return {"permission": {"maintain": "write", "triage": "read"}.get(level, level), "role_name": level, "user": person}


@route("GET", r"/environments/(?P<name>[^/]+)", "actions")
def environment(r: Request) -> Any:
    name = r.parts["name"]
    found = need(r.hub.environments.get(name))
    return bodies.environment(name, found, r.hub.name, r.hub.deployment_branches.get(name))


@route("GET", r"/environments/(?P<name>[^/]+)/deployment-branch-policies", "actions")
def deployment_branches(r: Request) -> Any:
    names = need(r.hub.deployment_branches.get(r.parts["name"]))
    kinds = [("branch", name) if not name.startswith("tag:") else ("tag", name[4:]) for name in names]
    policies = [{"id": n, "node_id": f"DBP_{n}", "name": name, "type": kind} for n, (kind, name) in enumerate(kinds)]
    return {"total_count": len(policies), "branch_policies": page(r, policies)}


@route("GET", r"", "metadata")
def get_repository(r: Request) -> Any:
    return {**bodies.repository(r.hub.name), "subscribers_count": 0, "network_count": 0}


@route("GET", r"/rules/branches/(?P<branch>.+)", "metadata")
def branch_rules(r: Request) -> Any:
    return page(r, r.hub.rules.get(r.parts["branch"], []))


@route("GET", r"/branches/(?P<branch>.+)/protection/required_status_checks", "administration")
def branch_protection(r: Request) -> Any:
    administrator(r)
    return bodies.status_check_policy(need(r.hub.protection.get(r.parts["branch"])), r.hub.name)


@route("GET", r"/actions/runners", "administration")
def list_runners(r: Request) -> Any:
    administrator(r)
    runners = [bodies.runner(name, *fields) for name, fields in r.hub.runners.items()]
    return {"total_count": len(runners), "runners": page(r, runners)}


def administrator(r: Request) -> None:
    if "administration" not in r.caller.permissions:
        raise RefusedError(403, "Resource not accessible by integration")


@route("GET", r"/orgs/acme/actions/runner-groups", "administration")
def list_runner_groups(r: Request) -> Any:
    if r.hub.organisation_runners is None:
        raise RefusedError(403, "Resource not accessible by personal access token")
    groups = [bodies.runner_group(1)] if r.hub.organisation_runners else []
    return {"total_count": len(groups), "runner_groups": groups}


@route("GET", r"/orgs/acme/actions/runner-groups/1/runners", "administration")
def list_runners_of_group(r: Request) -> Any:
    runners = [bodies.runner(name, *fields) for name, fields in (r.hub.organisation_runners or {}).items()]
    return {"total_count": len(runners), "runners": page(r, runners)}
