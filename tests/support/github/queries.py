"""The GraphQL side of the fake: queries run against the published schema, on what the fake remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphql import GraphQLError, GraphQLResolveInfo, graphql_sync

from support.github.bodies import NOW
from support.github.description import schema
from support.github.limits import TOO_MANY
from support.github.state import Caller, IssueComment, RefusedError

if TYPE_CHECKING:
    from support.github.server import FakeGitHub

LONGEST_TEXT = 512_000
"""Bytes. GraphQL cuts the text of a file after these."""


def answer(hub: FakeGitHub, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
    """The response to a query. One that the schema does not allow is noted in ``hub.invalid``."""
    root = {
        "viewer": {"id": f"U_{caller.login}", "login": caller.login},
        "repository": lambda info, owner, name, **_: repository(hub, caller, f"{owner}/{name}"),
        "node": lambda info, id: found_comment(hub, id),  # noqa: A006 - the schema's name
        "minimizeComment": lambda info, input: minimised(hub, caller, input["subjectId"]),  # noqa: A006
    }
    done = graphql_sync(schema(), body["query"], root, variable_values=body.get("variables") or {})
    errors = done.errors or []
    for error in errors:
        if isinstance(error.original_error, RefusedError):
            raise error.original_error
        if "type" not in (error.extensions or {}):
            hub.invalid.append(f"GraphQL: {error.message}")
    found: dict[str, Any] = {"data": done.data}
    return found | ({"errors": [{**(e.extensions or {}), "message": e.message} for e in errors]} if errors else {})


def too_many() -> dict[str, Any]:
    """A request beyond the hour's share; its status is 200 all the same."""
    return {"errors": [{"type": "RATE_LIMITED", "message": TOO_MANY}]}


def repository(hub: FakeGitHub, caller: Caller, name: str) -> dict[str, Any]:
    require(caller, "contents", "read")
    if name != hub.name:
        raise missing(f"a Repository with the name '{name}'")
    return {"id": "R_1", "object": lambda info, oid=None, expression=None: blob(hub, oid)}


def blob(hub: FakeGitHub, sha: str) -> dict[str, Any] | None:
    """A blob as GraphQL has it: no text if it is binary, cut if it is long, invalid UTF-8 replaced."""
    content = hub.git.content(sha)
    if content is None:
        return None
    binary = b"\0" in content
    return {
        "__typename": "Blob",
        "id": f"B_{sha}",
        "oid": sha,
        "byteSize": len(content),
        "isBinary": binary,
        "isTruncated": len(content) > LONGEST_TEXT,
        "text": None if binary else content[:LONGEST_TEXT].decode("utf-8", "replace"),
    }


def comment(hub: FakeGitHub, node: str) -> IssueComment:
    found = next((c for c in hub.comments if f"IC_{c.id}" == node), None)
    if found is None:
        raise missing(f"a node with the global id of '{node}'")
    return found


def found_comment(hub: FakeGitHub, node: str) -> dict[str, Any]:
    found = comment(hub, node)
    versions = list(reversed(list(enumerate(found.edits))))

    def edits(info: GraphQLResolveInfo, first: int | None = None, **_: Any) -> dict[str, Any]:
        if first is None or not 1 <= first <= 100:
            raise GraphQLError("`first` must be between 1 and 100", extensions={"type": "ARGUMENT_LIMIT"})
        nodes = [
            {"id": f"UCE_{n}", "editedAt": NOW, "diff": body, "editor": editor(who)} for n, (who, body) in versions
        ]
        return {"totalCount": len(nodes), "nodes": nodes[:first]}

    return {
        "__typename": "IssueComment",
        "id": node,
        "body": found.body,
        "isMinimized": bool(found.minimised),
        "userContentEdits": edits,
    }


def editor(login: str) -> dict[str, Any]:
    """Whoever wrote a version; GraphQL names a bot without the ending that REST gives it."""
    kind = "Bot" if login.endswith("[bot]") else "User"
    return {"__typename": kind, "id": f"U_{login}", "login": login.removesuffix("[bot]")}


def minimised(hub: FakeGitHub, caller: Caller, node: str) -> dict[str, Any]:
    require(caller, "issues|pull_requests", "write")
    comment(hub, node).minimised = "DUPLICATE"
    return {"minimizedComment": found_comment(hub, node)}


def missing(what: str) -> GraphQLError:
    return GraphQLError(f"Could not resolve to {what}.", extensions={"type": "NOT_FOUND"})


def require(caller: Caller, scopes: str, level: str) -> None:
    if not caller.may(scopes, level):
        raise RefusedError(403, "Resource not accessible by integration")
