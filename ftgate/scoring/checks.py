"""Rules that a row may carry in its ``check`` field: each says of an answer whether it is right, without a judge.

A check is an object with one kind: ``numeric`` (with ``tolerance``), ``exact``, ``contains``, ``contains_all``,
``regex``, ``json_schema`` or ``constraints``. Constraints on form follow the idea of verifiable instructions of Zhou et
al. 2023 (Instruction-Following Evaluation, section 2); all of a row's constraints must hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import regex
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend

from ftgate.scoring.constraints import constraints_hold, constraints_problem
from ftgate.scoring.numbers import last_number
from ftgate.scoring.text import UnscorableError, contains_words, normal, pattern_problem, same_text, search

MOST_JSON_STARTS = 1000
"""Places in an answer at which a JSON value is looked for."""
MOST_JSON_CHARACTERS = 10_000_000
"""Characters read in vain at these places, all together: nested brackets can make each of them lead to the end."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of check: what is wrong with its argument (None: nothing), and whether a text meets it."""

    problem: Callable[[Any], str | None]
    meets: Callable[[Any, str], bool]


def check_problem(check: object) -> str | None:
    """What is wrong with a row's ``check``, in words that follow the field's name, or None."""
    if not isinstance(check, Mapping):
        return f'must be an object such as {{"numeric": 42}}, found {type(check).__name__}'
    kinds = [name for name in check if name in KINDS]
    unknown = [str(name)[:40] for name in check if name not in KINDS and name != "tolerance"]
    if unknown or len(kinds) != 1:
        said = f"unknown kind {unknown[0]!r}" if unknown else f"{len(kinds)} kinds at once" if kinds else "no kind"
        return f"{said}: give one of {', '.join(KINDS)}"
    if "tolerance" in check and kinds != ["numeric"]:
        return "tolerance goes with numeric alone"
    if "tolerance" in check and not (_is_number(check["tolerance"]) and check["tolerance"] >= 0):
        return f"tolerance must be a number from 0, found {check['tolerance']!r}"
    found = KINDS[kinds[0]].problem(check[kinds[0]])
    return f"{kinds[0]} {found}" if found else None


def meets(check: Mapping[str, Any], text: str) -> bool:
    """Whether the answer ``text`` meets ``check``, which :func:`check_problem` found nothing wrong with.

    Raises UnscorableError when it cannot be told (a pattern that takes too long on this answer).
    """
    kind = next(name for name in check if name in KINDS)
    if kind == "numeric":
        return same_number(check["numeric"], last_number(text), check.get("tolerance", 0.0))
    return KINDS[kind].meets(check[kind], text)


def same_number(wanted: float, said: float | None, tolerance: float = 0.0) -> bool:
    """Whether ``said`` is ``wanted``, to within ``tolerance`` and what decimal fractions lose in binary."""
    return said is not None and math.isclose(said, wanted, rel_tol=1e-9, abs_tol=max(tolerance * (1 + 1e-9), 1e-12))


def json_values(text: str) -> Iterator[Any]:
    """The JSON values in ``text``, in order: the whole of it, or else every object or list that starts somewhere."""
    decoder = json.JSONDecoder()
    try:
        yield decoder.decode(text.strip())
        return
    except (ValueError, RecursionError):
        pass
    at, tried, read = 0, 0, 0
    while tried < MOST_JSON_STARTS and read < MOST_JSON_CHARACTERS and (found := _START.search(text, pos=at)):
        tried += 1
        try:
            value, at = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError) as error:
            at = found.start() + 1
            read += _failed_at(error, text) - found.start()
        else:
            yield value


def _failed_at(error: Exception, text: str) -> int:
    """How far the decoder read at most: of a string without an end it names the start, of other errors no place."""
    told = isinstance(error, json.JSONDecodeError) and not error.msg.startswith("Unterminated")
    return error.pos if told else len(text)  # type: ignore[attr-defined]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number_problem(value: object) -> str | None:
    return None if _is_number(value) else f"must be a number, found {value!r}"


def _texts(value: object) -> list[str]:
    """One text or a list of alternatives as a list."""
    return [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []


def _text_problem(value: object) -> str | None:
    texts: list[object] = [*_texts(value)]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        return f"must be a text or a list of texts, found {value!r}"
    return None


def _all_problem(value: object) -> str | None:
    if not isinstance(value, list) or not value:
        return f"must be a list of texts, found {value!r}"
    return next((problem for part in value if (problem := _text_problem(part))), None)


def _schema_problem(value: object) -> str | None:
    if not isinstance(value, dict):
        return f"must be a JSON Schema object, found {type(value).__name__}"
    if any(not str(target).startswith("#") for target in _under(value, "$ref", "$dynamicRef")):
        return 'may refer to parts of itself alone ($ref: "#/...")'
    if any(True for _ in _under(value, "patternProperties")):
        return "must do without patternProperties, whose patterns have no time limit: name the properties instead"
    patterns = (pattern for pattern in _under(value, "pattern") if isinstance(pattern, str))
    if problem := next((problem for pattern in patterns if pattern and (problem := pattern_problem(pattern))), None):
        return f"holds a pattern that {problem}"
    try:
        Draft202012Validator.check_schema(value)
    except SchemaError as error:
        return f"is no JSON Schema: {error.message[:200]}"
    return None


def _under(schema: object, *names: str) -> Iterator[object]:
    """What stands under these keys anywhere in a schema."""
    if isinstance(schema, Mapping):
        yield from (value for key, value in schema.items() if key in names)
        for value in schema.values():
            yield from _under(value, *names)
    elif isinstance(schema, list):
        for value in schema:
            yield from _under(value, *names)


def _exact(wanted: Any, text: str) -> bool:
    return any(same_text(one, text) for one in _texts(wanted))


def _contains(wanted: Any, text: str) -> bool:
    said = normal(text)
    return any(contains_words(one, text, said) for one in _texts(wanted))


def _contains_all(wanted: Any, text: str) -> bool:
    return all(_contains(one, text) for one in wanted)


def _json_schema(schema: Any, text: str) -> bool:
    value = next(json_values(text), _NOTHING)
    if value is _NOTHING:
        return False
    try:
        _Validator(schema).validate(value)
    except ValidationError:
        return False
    except RecursionError:
        raise UnscorableError("the JSON in the answer is nested too deeply to be checked") from None
    return True


def _pattern(validator: Any, pattern: str, value: object, schema: object) -> Iterator[ValidationError]:  # noqa: ARG001
    """The keyword ``pattern``, with a time limit."""
    if isinstance(value, str) and not search(pattern, value):
        yield ValidationError(f"{value[:60]!r} does not match {pattern[:60]!r}")


_Validator = extend(Draft202012Validator, {"pattern": _pattern})
_START = regex.compile(r"[\[{]")
_NOTHING = object()

KINDS: Mapping[str, Kind] = {
    "numeric": Kind(_number_problem, lambda wanted, text: same_number(wanted, last_number(text))),
    "exact": Kind(_text_problem, _exact),
    "contains": Kind(_text_problem, _contains),
    "contains_all": Kind(_all_problem, _contains_all),
    "regex": Kind(pattern_problem, lambda pattern, text: search(pattern, text)),
    "json_schema": Kind(_schema_problem, _json_schema),
    "constraints": Kind(constraints_problem, constraints_hold),
}
"""Every kind of check. A new one is a line here and its functions."""
