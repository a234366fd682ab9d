"""The field ``lm_eval`` of a row: what a task of the lm-evaluation-harness asks, as a suite keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ftgate.datasets.problems import BadRowError, kind_of, quoted
from ftgate.domain import TaskRequest
from ftgate.scoring.task_requests import chat_problem, request_problem

_REQUEST = TypeAdapter(TaskRequest)
_HINT = "ftgate writes this field: import the task again"


def request_fields(request: TaskRequest) -> dict[str, Any]:
    """A request as JSON, without the fields that say nothing."""
    values = {field.name: getattr(request, field.name) for field in fields(request)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value not in ((), None, False, "", 0) or name == "prompt"
    }


def request_of(value: Any) -> TaskRequest | None:
    """The request in a row; None if it has none. Raises BadRowError."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise BadRowError(f"lm_eval must be an object, found {kind_of(value)}: {quoted(value)}", _HINT)
    try:
        request = _REQUEST.validate_python(dict(value))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadRowError(f"lm_eval: {'.'.join(map(str, first['loc']))}: {first['msg']}", _HINT) from None
    if problem := request_problem(request) or chat_problem(request):
        raise BadRowError(f"lm_eval: {problem}", _HINT)
    return request
