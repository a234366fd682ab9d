"""What GitHub publishes of its interfaces: requests, responses and payloads are held to it.

The extracts in published/ are written by scripts/github_description.py. A field that the platform does not know is a
problem like one that is missing: a caller could come to rely on it.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from graphql import GraphQLSchema, build_schema
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

PUBLISHED = Path(__file__).parent / "published"
ALWAYS = frozenset({401, 403, 404, 422, 429, 500, 502, 503, 504})
"""Refusals that any operation may give, whether it lists them or not: for statuses 422 is not, and is given."""
FORMATS = FormatChecker(())


@FORMATS.checks("date-time", raises=ValueError)
def is_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


class Interface:
    """The published REST operations and event payloads, each schema compiled once."""

    def __init__(self) -> None:
        self._documents = {
            name: json.loads(gzip.decompress((PUBLISHED / f"{name}.json.gz").read_bytes()))
            for name in ("rest", "events")
        }
        found = [(f"urn:{name}", DRAFT202012.create_resource(d)) for name, d in self._documents.items()]
        self._registry = Registry().with_resources(found)
        self._validators: dict[str, Draft202012Validator] = {}
        self._fine: set[tuple[str, str]] = set()
        """(place of the schema, text) that was found right: most answers are given again and again."""
        # Fixed paths come before those with a parameter in the same place.
        operations = sorted(self._documents["rest"]["operations"], key=lambda o: o.replace("{", "\x7f"))
        self._patterns = [(re.compile(pattern_of(name)), name) for name in operations]

    def operation(self, method: str, path: str) -> str | None:
        """The name of the operation that a request asks for, as ``GET /repos/{owner}/{repo}``."""
        return next((name for pattern, name in self._patterns if pattern.fullmatch(f"{method} {path}")), None)

    def request_problems(self, name: str, query: Mapping[str, str], body: Any) -> Iterator[str]:
        """What the platform would not know or not take."""
        operation = self._documents["rest"]["operations"][name]
        for parameter, value in query.items():
            if parameter not in operation["query"]:
                yield f"{name} has no parameter {parameter}"
            else:
                place = f"operations/{escaped(name)}/query/{parameter}"
                yield from self._problems("rest", place, typed(value, operation["query"][parameter]), closed=False)
        if operation["request"] is not None:
            yield from self._problems("rest", f"operations/{escaped(name)}/request", body)
        elif body:
            yield f"{name} takes no body"

    def response_problems(self, name: str, status: int, body: Any) -> Iterator[str]:
        """How an answer differs from what the platform gives."""
        answers = self._documents["rest"]["operations"][name]["responses"]
        if answers.get(str(status)) is not None:
            yield from self._problems(
                "rest", f"operations/{escaped(name)}/responses/{status}", body, closed=status < 400
            )
        elif str(status) not in answers and status not in ALWAYS:
            yield f"{name} never answers {status}"

    def event_problems(self, event: str, payload: Any) -> list[str]:
        """How the payload of an event differs from what the platform sends."""
        return list(self._problems("events", f"events/{event}", payload))

    def _problems(self, document: str, place: str, value: Any, *, closed: bool = True) -> Iterator[str]:
        if isinstance(value, list) and "items" in self._at(document, place):
            # Entry by entry: the same ones are listed again and again.
            for entry in value:
                yield from self._problems(document, f"{place}/items", entry)
            return
        key = (place, json.dumps(value, sort_keys=True))
        if key in self._fine:
            return
        errors = list(self._validator(document, place, closed).iter_errors(value))
        if not errors:
            self._fine.add(key)
        for error in errors:
            inner = best_match([error]) or error
            yield f"{place.replace('~1', '/')}: {inner.json_path}: {inner.message[-300:]}"

    def _validator(self, document: str, place: str, closed: bool) -> Draft202012Validator:
        if place not in self._validators:
            schema = {"$ref": f"urn:{document}#/{place}"} | ({"unevaluatedProperties": False} if closed else {})
            self._validators[place] = Draft202012Validator(schema, registry=self._registry, format_checker=FORMATS)
        return self._validators[place]

    def _at(self, document: str, place: str) -> dict[str, Any]:
        found = self._documents[document]
        for part in place.split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        return found


def pattern_of(name: str) -> str:
    """A regular expression for the operation's requests. A path or a ref may hold slashes."""
    parts = re.split(r"(\{\w+\})", name)
    wide = ("{path}", "{ref}", "{branch}", "{basehead}")
    return "".join((".+" if p in wide else "[^/]+") if p.startswith("{") else re.escape(p) for p in parts)


def escaped(name: str) -> str:
    """``name`` as one part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def typed(value: str, schema: Mapping[str, Any]) -> Any:
    """The value of a parameter, which a query holds as text."""
    if schema.get("type") == "integer" and value.isdigit():
        return int(value)
    return {"true": True, "false": False}.get(value, value) if schema.get("type") == "boolean" else value


@cache
def interface() -> Interface:
    """The published interface, read once in each process."""
    return Interface()


@cache
def schema() -> GraphQLSchema:
    """The published GraphQL schema, as far as it is used."""
    return build_schema((PUBLISHED / "schema.graphql").read_text(encoding="utf-8"))
