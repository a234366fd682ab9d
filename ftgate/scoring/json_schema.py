"""JSON Schemas in checks: whether one may be used, and whether a value fits it.

jsonschema is imported when the first schema is read, because few suites have one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from ftgate.scoring.text import UnscorableError, pattern_problem, search


def schema_problem(value: object) -> str | None:
    """What keeps ``value`` from being a usable JSON Schema (draft 2020-12), as a phrase, or None."""
    if not isinstance(value, dict):
        return f"must be a JSON Schema object, found {type(value).__name__}"
    if any(not str(target).startswith("#") for target in _values_of_keys(value, "$ref", "$dynamicRef")):
        return 'may only refer to itself ($ref: "#/...")'
    if any(True for _ in _values_of_keys(value, "patternProperties")):
        return "must not use patternProperties, whose patterns have no time limit: name the properties instead"
    patterns = (pattern for pattern in _values_of_keys(value, "pattern") if isinstance(pattern, str))
    if problem := next((problem for pattern in patterns if pattern and (problem := pattern_problem(pattern))), None):
        return f"contains a pattern that {problem}"
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(value)
    except SchemaError as error:
        return f"is not a valid JSON Schema: {error.message[:200]}"
    return None


def _values_of_keys(schema: object, *names: str) -> Iterator[object]:
    """The values of these keys anywhere in a schema."""
    if isinstance(schema, Mapping):
        yield from (value for key, value in schema.items() if key in names)
        for value in schema.values():
            yield from _values_of_keys(value, *names)
    elif isinstance(schema, list):
        for value in schema:
            yield from _values_of_keys(value, *names)


def fits_schema(schema: Any, value: Any) -> bool:
    """Whether ``value`` is valid by ``schema``. Raises UnscorableError if it is nested too deeply to tell."""
    from jsonschema import ValidationError

    try:
        _validator()(schema).validate(value)
    except ValidationError:
        return False
    except RecursionError:
        raise UnscorableError("the JSON in the answer is nested too deeply") from None
    return True


@cache
def _validator() -> Any:
    """The validator of draft 2020-12, with a time limit on the keyword ``pattern``."""
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def pattern_keyword(validator: Any, pattern: str, value: object, schema: object) -> Iterator[ValidationError]:  # noqa: ARG001
        if isinstance(value, str) and not search(pattern, value):
            yield ValidationError(f"{value[:60]!r} does not match {pattern[:60]!r}")

    return extend(Draft202012Validator, {"pattern": pattern_keyword})
