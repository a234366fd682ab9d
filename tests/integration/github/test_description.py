"""The fake platform is held to GitHub's published interface: a difference fails the test in which it occurs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.github import bodies, events
from support.github.description import PUBLISHED, interface, schema
from support.github.scene import Scene
from support.github.server import FakeGitHub
from support.github.state import IssueComment, PullRequest

from ftgate.errors import PublishError
from ftgate.github.client import GitHubRepo
from scripts import github_description as script

SCALARS = {"ID", "Int", "String", "Boolean"}
PULL = "GET /repos/{owner}/{repo}/pulls/{pull_number}"
STATUS = "POST /repos/{owner}/{repo}/statuses/{sha}"


def pull(**changes: Any) -> dict[str, Any]:
    return bodies.pull(PullRequest(7, events.HEAD, events.BASE), events.REPOSITORY, events.MERGE) | changes


def problems_of(answer: Any, status: int = 200) -> str:
    return "\n".join(interface().response_problems(PULL, status, answer))


def test_an_answer_that_differs_is_a_problem():
    whole = pull()
    assert problems_of(whole) == ""
    assert "'head' is a required property" in problems_of({k: v for k, v in whole.items() if k != "head"})
    assert "is not of type 'string'" in problems_of(pull(state=None))
    assert "'verdict' was unexpected" in problems_of(pull(verdict="allow"))
    assert "is not a 'date-time'" in problems_of(pull(created_at="yesterday"))
    assert "never answers 201" in problems_of(whole, 201)


def test_a_request_that_the_platform_would_not_take_is_a_problem():
    def problems(body: dict[str, Any], **query: str) -> str:
        return "\n".join(interface().request_problems(STATUS, query, body))

    assert problems({"state": "success", "context": "ftgate/verdict"}) == ""
    assert "'state' is a required property" in problems({"context": "ftgate/verdict"})
    assert "'allow' is not one of" in problems({"state": "allow"})
    assert "has no parameter page" in problems({"state": "success"}, page="2")
    (unread,) = interface().request_problems(PULL, {}, {"x": 1})
    assert "takes no body" in unread


def test_a_payload_that_differs_is_a_problem():
    payload = events.pull_request()
    assert interface().event_problems("pull_request", payload) == []
    (problem,) = interface().event_problems("pull_request", {**payload, "number": "7"})
    assert "'7' is not of type 'integer'" in problem


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/repos/a/b/git/ref/heads/x/y", "GET /repos/{owner}/{repo}/git/ref/{ref}"),
        ("GET", "/repos/a/b/commits/main/statuses", "GET /repos/{owner}/{repo}/commits/{ref}/statuses"),
        ("GET", "/repos/a/b", "GET /repos/{owner}/{repo}"),
        ("DELETE", "/repos/a/b", None),
        ("GET", "/repos/a/b/secrets", None),
    ],
)
def test_each_request_has_one_operation(method, path, operation):
    assert interface().operation(method, path) == operation


def leave(folder: Path, call: Callable[[GitHubRepo], Any]) -> None:
    """A test on a platform of its own in which a call is refused."""
    with FakeGitHub(folder) as hub:
        with pytest.raises(PublishError):
            call(Scene(hub, folder).client())
        assert len(hub.log) == 1


def test_the_extract_is_what_its_script_asks_for():
    rest = json.loads(gzip.decompress((PUBLISHED / "rest.json.gz").read_bytes()))
    payloads = json.loads(gzip.decompress((PUBLISHED / "events.json.gz").read_bytes()))
    text = (PUBLISHED / "schema.graphql").read_text(encoding="utf-8")
    assert (rest["source"], payloads["source"]) == (script.REST, script.EVENTS)
    assert set(rest["operations"]) == set(script.OPERATIONS)
    assert set(payloads["events"]) == set(script.WEBHOOKS) == set(events.PAYLOADS)
    assert text.startswith(f"# From {script.GRAPHQL}, MIT.\n")
    assert (
        set(script.TYPES)
        == {name for name in schema().type_map if name in text and not name.startswith("__")} - SCALARS
    )
    licence = (PUBLISHED / "LICENSE").read_text(encoding="utf-8")
    assert all(package in licence for package in (script.REST, script.EVENTS, script.GRAPHQL))


def test_calling_what_is_not_published_fails_the_test_that_does(tmp_path):
    with pytest.raises(AssertionError, match="GET /repos/acme/models/verdicts: not in"):
        leave(tmp_path, lambda client: client.read("/verdicts", "ask"))


def test_a_query_that_the_schema_does_not_allow_fails_the_test_that_sends_it(tmp_path):
    with pytest.raises(AssertionError, match="Cannot query field 'verdict' on type 'User'"):
        leave(tmp_path, lambda client: client.graphql("query { viewer { verdict } }", {}, "ask"))


def test_graphql_names_a_bot_without_its_ending(hub, scene):
    hub.comments.append(IssueComment(1, 7, "github-actions[bot]", "one"))
    hub.edit(hub.comments[0], "github-actions[bot]", "two")
    client = scene.client()
    (comment,) = client.comments(7)
    assert [(e.editor, e.body) for e in client.edits(comment)] == [("github-actions", "two"), ("github-actions", "one")]
