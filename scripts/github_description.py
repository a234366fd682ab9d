"""Write what the tests know of GitHub's interfaces, tests/support/github/published/, from its published descriptions.

    python3 scripts/github_description.py     (needs npm, which downloads the three packages)

Only the operations, events and GraphQL types listed here are kept, with the schemas that they refer to and without
prose. A request to anything else fails the tests: add it here and run this again.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parent.parent / "tests/support/github/published"
REST = "@octokit/openapi@23.0.2"
EVENTS = "@octokit/openapi-webhooks@12.1.0"
GRAPHQL = "@octokit/graphql-schema@15.26.1"

REPO = "/repos/{owner}/{repo}"
OPERATIONS = f"""
GET {REPO}
GET {REPO}/actions/artifacts/{{artifact_id}}
GET {REPO}/actions/artifacts/{{artifact_id}}/{{archive_format}}
GET {REPO}/actions/runners
GET {REPO}/branches/{{branch}}/protection/required_status_checks
GET {REPO}/check-runs/{{check_run_id}}/annotations
GET {REPO}/collaborators/{{username}}/permission
GET {REPO}/commits/{{ref}}/check-runs
GET {REPO}/commits/{{ref}}/statuses
GET {REPO}/compare/{{basehead}}
GET {REPO}/contents/{{path}}
GET {REPO}/environments/{{environment_name}}
GET {REPO}/environments/{{environment_name}}/deployment-branch-policies
GET {REPO}/git/blobs/{{file_sha}}
GET {REPO}/git/commits/{{commit_sha}}
GET {REPO}/git/ref/{{ref}}
GET {REPO}/git/trees/{{tree_sha}}
GET {REPO}/installation
GET {REPO}/issues/{{issue_number}}/comments
GET {REPO}/pulls
GET {REPO}/pulls/{{pull_number}}
GET {REPO}/pulls/{{pull_number}}/commits
GET {REPO}/releases/assets/{{asset_id}}
GET {REPO}/releases/tags/{{tag}}
GET {REPO}/rules/branches/{{branch}}
GET /app
GET /apps/{{app_slug}}
GET /orgs/{{org}}/actions/runner-groups
GET /orgs/{{org}}/actions/runner-groups/{{runner_group_id}}/runners
PATCH {REPO}/check-runs/{{check_run_id}}
PATCH {REPO}/git/refs/{{ref}}
PATCH {REPO}/issues/comments/{{comment_id}}
POST /app/installations/{{installation_id}}/access_tokens
POST {REPO}/check-runs
POST {REPO}/git/commits
POST {REPO}/git/refs
POST {REPO}/git/trees
POST {REPO}/issues/{{issue_number}}/comments
POST {REPO}/statuses/{{sha}}
PUT {REPO}/pulls/{{pull_number}}/merge
""".split("\n")[1:-1]
WEBHOOKS = {
    "pull_request": "pull-request-synchronize",
    "pull_request_target": "pull-request-synchronize",
    "merge_group": "merge-group-checks-requested",
    "push": "push",
    "release": "release-published",
    "workflow_dispatch": "workflow-dispatch",
    "workflow_run": "workflow-run-completed",
}
"""The description's name of the payload of each event."""
TYPES = {
    "Query": ("id", "viewer", "repository", "node"),
    "Mutation": ("minimizeComment",),
    "User": ("id", "login"),
    "Bot": ("id", "login"),
    "Actor": ("login",),
    "Node": ("id",),
    "Repository": ("id", "object"),
    "GitObject": ("id", "oid"),
    "Blob": ("id", "oid", "text", "isBinary", "isTruncated", "byteSize"),
    "IssueComment": ("id", "body", "isMinimized", "userContentEdits"),
    "Minimizable": ("isMinimized",),
    "UserContentEditConnection": ("nodes", "totalCount"),
    "UserContentEdit": ("id", "diff", "editedAt", "editor"),
    "MinimizeCommentInput": (),
    "MinimizeCommentPayload": ("clientMutationId", "minimizedComment"),
    "ReportedContentClassifiers": (),
    "DateTime": (),
    "GitObjectID": (),
}
"""The GraphQL types, each with the fields that are kept; without any named, all are."""
SCHEMAS = ("items", "additionalProperties", "not")
LISTS = ("anyOf", "oneOf", "allOf")
MAPS = ("properties", "patternProperties")
PLAIN = ("$ref", "type", "required", "enum", "const", "format", "pattern", "uniqueItems")
BOUNDS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")


def main() -> None:
    """Write the extracts and the packages' licences."""
    with tempfile.TemporaryDirectory() as folder:
        rest, events, graphql = (unpacked(package, Path(folder)) for package in (REST, EVENTS, GRAPHQL))
        OUT.mkdir(parents=True, exist_ok=True)
        write("rest.json.gz", rest_extract(json.loads((rest / "generated/api.github.com.json").read_bytes())))
        write("events.json.gz", events_extract(json.loads((events / "generated/api.github.com.json").read_bytes())))
        text = (graphql / "schema.graphql").read_text(encoding="utf-8")
        (OUT / "schema.graphql").write_text(f"# From {GRAPHQL}, MIT.\n\n{graphql_extract(text)}", encoding="utf-8")
        licences = {package: next(at.glob("LICENSE*")) for package, at in ((REST, rest), (GRAPHQL, graphql))}
        parts = [f"{package}:\n\n{path.read_text(encoding='utf-8').strip()}\n" for package, path in licences.items()]
        head = f"Extracts of {REST}, {EVENTS} and {GRAPHQL}, made by scripts/github_description.py.\n\n"
        (OUT / "LICENSE").write_text(head + "\n".join(parts), encoding="utf-8")


def unpacked(package: str, folder: Path) -> Path:
    """The files of an npm package."""
    name = subprocess.run(
        ["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()
    with tarfile.open(folder / name) as archive:
        archive.extractall(folder / name.removesuffix(".tgz"), filter="data")
    return folder / name.removesuffix(".tgz") / "package"


def write(name: str, extract: dict[str, Any]) -> None:
    """Write the same bytes for the same extract."""
    text = json.dumps(extract, sort_keys=True, separators=(",", ":"))
    (OUT / name).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def rest_extract(document: dict[str, Any]) -> dict[str, Any]:
    """Parameters, request and responses of each operation, and the schemas that they refer to."""
    found = {}
    for line in OPERATIONS:
        method, path = line.split()
        operation = document["paths"][path][method.lower()]
        parameters = [resolved(p, document) for p in operation.get("parameters", [])]
        body = (operation.get("requestBody") or {}).get("content", {}).get("application/json", {}).get("schema")
        answers = {code: resolved(answer, document) for code, answer in operation["responses"].items()}
        found[line] = {
            "query": {p["name"]: pruned(p["schema"]) for p in parameters if p["in"] == "query"},
            "request": None if body is None else pruned(body),
            "responses": {code: of_response(answer) for code, answer in answers.items()},
        }
    return {"source": REST, "operations": found, "components": {"schemas": reached(found, document)}}


def of_response(answer: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of a response's JSON; None if it has none."""
    content = answer.get("content", {}).get("application/json")
    return pruned(content["schema"]) if content else None


def events_extract(document: dict[str, Any]) -> dict[str, Any]:
    """The payload of each event, and the schemas that it refers to."""
    found = {}
    for event, name in WEBHOOKS.items():
        body = document["webhooks"][name]["post"]["requestBody"]
        found[event] = pruned(body["content"]["application/json"]["schema"])
    return {"source": EVENTS, "events": found, "components": {"schemas": reached(found, document)}}


def resolved(value: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """``value``, or what it refers to."""
    while "$ref" in value:
        place = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            place = place[part]
        value = place
    return value


def reached(start: Any, document: dict[str, Any]) -> dict[str, Any]:
    """The pruned schemas of the components that ``start`` refers to, directly or not."""
    found: dict[str, Any] = {}
    waiting = list(references(start))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = pruned(document["components"]["schemas"][name])
            waiting += references(found[name])
    return found


def references(value: Any) -> Iterator[str]:
    """The components that a schema refers to."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].removeprefix("#/components/schemas/")
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def pruned(schema: Any) -> Any:
    """A schema without prose, as JSON Schema 2020-12: OpenAPI 3.0 says ``nullable`` where that has a type."""
    if isinstance(schema, bool):
        return schema
    found: dict[str, Any] = {name: schema[name] for name in (*PLAIN, *BOUNDS) if name in schema}
    found |= {name: pruned(schema[name]) for name in SCHEMAS if name in schema}
    found |= {name: [pruned(part) for part in schema[name]] for name in LISTS if name in schema}
    found |= {name: {key: pruned(part) for key, part in schema[name].items()} for name in MAPS if name in schema}
    if schema.get("nullable") is not True:
        return found
    if isinstance(found.get("type"), str) and not any(name in found for name in LISTS):
        enum = {"enum": [*found["enum"], None]} if "enum" in found and None not in found["enum"] else {}
        return found | {"type": [found["type"], "null"]} | enum
    return {"anyOf": [found, {"type": "null"}]}


def graphql_extract(text: str) -> str:
    """The definitions of ``TYPES`` without prose; a type implements, and a union holds, only types that are kept."""
    from graphql import parse, print_ast

    kept = []
    for node in parse(text, no_location=True).definitions:
        name = getattr(getattr(node, "name", None), "value", "")
        if name in TYPES:
            fields = [
                f for f in getattr(node, "fields", None) or () if f.name.value in (TYPES[name] or (f.name.value,))
            ]
            interfaces = [i for i in getattr(node, "interfaces", None) or () if i.name.value in TYPES]
            values = getattr(node, "values", None) or ()
            kept.append(print_ast(without_prose(node, fields=fields, interfaces=interfaces, values=values)))
    return "\n\n".join(kept) + "\n"


def without_prose(node: Any, **parts: Iterable[Any]) -> Any:
    """A definition with these parts instead of its own, and none of them with a description or directives."""
    plain: dict[str, Any] = {"description": None, "directives": ()}
    plain |= {
        name: tuple(without_prose(part, arguments=getattr(part, "arguments", None) or ()) for part in found)
        for name, found in parts.items()
    }
    return replace(node, **{name: value for name, value in plain.items() if hasattr(node, name)})


if __name__ == "__main__":
    main()
