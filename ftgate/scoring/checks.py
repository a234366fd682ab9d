"""Checks: rules in a row's ``check`` field that tell right answers from wrong ones without a judge.

A check is an object with one kind: ``numeric`` (with ``tolerance``), ``exact``, ``contains``, ``contains_all``,
``regex``, ``json_schema``, ``constraints`` or ``tool_call``. Constraints on form follow the verifiable instructions of
Zhou et al. 2023 (Instruction-Following Evaluation, section 2); all of a row's constraints must hold.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftgate.domain import ToolCall
from ftgate.scoring.constraints import constraints_hold, constraints_problem
from ftgate.scoring.folding import typography
from ftgate.scoring.json_schema import fits_schema, schema_problem
from ftgate.scoring.json_values import MISSING, json_value
from ftgate.scoring.numbers import Number, number_in, read_two_ways, wanted_number
from ftgate.scoring.text import contains_words, normalized, pattern_problem, same_text, search
from ftgate.scoring.tool_calls import calls_in, calls_match


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of check: what is wrong with its argument (None: nothing), and whether a text passes."""

    problem: Callable[[Any], str | None]
    meets: Callable[[Any, str], bool]


def check_problem(check: object) -> str | None:
    """What is wrong with a row's ``check``, worded to follow the field's name; None if nothing."""
    if not isinstance(check, Mapping):
        return f'must be an object such as {{"numeric": 42}}, found {type(check).__name__}'
    kinds = [name for name in check if name in KINDS]
    unknown = [str(name)[:40] for name in check if name not in KINDS and name != "tolerance"]
    if unknown or len(kinds) != 1:
        problem = f"unknown kind {unknown[0]!r}" if unknown else f"{len(kinds)} kinds at once" if kinds else "no kind"
        return f"{problem}: give one of {', '.join(KINDS)}"
    if "tolerance" in check and kinds != ["numeric"]:
        return "tolerance works with numeric only"
    if "tolerance" in check and not (_is_number(check["tolerance"]) and check["tolerance"] >= 0):
        return f"tolerance must be a number of at least 0, found {check['tolerance']!r}"
    argument_problem = KINDS[kinds[0]].problem(check[kinds[0]])
    return f"{kinds[0]} {argument_problem}" if argument_problem else None


def meets(check: Mapping[str, Any], text: str, calls: Sequence[ToolCall] | None = None) -> bool:
    """Whether the answer ``text`` passes ``check``, which must be valid (:func:`check_problem`).

    ``calls`` are the answer's tool calls where its engine has read them. Raises UnscorableError if that cannot be
    decided, because a pattern takes too long on this answer.
    """
    kind = next(name for name in check if name in KINDS)
    if kind == "numeric":
        return _wanted(check["numeric"]).equals(number_in(text), check.get("tolerance", 0.0))
    if kind == "tool_call" and calls is not None:
        return calls_match(check[kind], calls, fits_schema)
    return KINDS[kind].meets(check[kind], text)


def _is_number(value: object) -> bool:
    """Whether ``value`` is a number that a float can be; JSON allows longer ones."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _number_problem(value: object) -> str | None:
    number = wanted_number(value) if isinstance(value, str) else None
    if number is not None and number.unit != 1 and read_two_ways(str(value)) is None:
        return None
    return None if _is_number(value) else f"must be a number, found {value!r}"


def _wanted(value: Any) -> Number:
    """The number that a check wants: a JSON number, or a text such as ``50 %``, whose unit counts."""
    return (wanted_number(value) if isinstance(value, str) else None) or Number((value,))


def _alternatives(value: object) -> list[str]:
    """A text, or a list of alternative texts, as a list."""
    return [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []


def _text_problem(value: object) -> str | None:
    texts: list[object] = [*_alternatives(value)]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        return f"must be a text or a list of texts, found {value!r}"
    return None


def _all_problem(value: object) -> str | None:
    if not isinstance(value, list) or not value:
        return f"must be a list of texts, found {value!r}"
    return next((problem for part in value if (problem := _text_problem(part))), None)


def _exact(wanted: Any, text: str) -> bool:
    return any(same_text(alternative, text) for alternative in _alternatives(wanted))


def _contains(wanted: Any, text: str) -> bool:
    answer = normalized(text)
    return any(contains_words(alternative, text, answer) for alternative in _alternatives(wanted))


def _contains_all(wanted: Any, text: str) -> bool:
    return all(_contains(part, text) for part in wanted)


def _regex(pattern: str, text: str) -> bool:
    """Whether the pattern is found in the text as it is or, failing that, with straight quotes and apostrophes."""
    plain = typography(text)
    return search(pattern, text) or (plain != text and search(pattern, plain))


def _json_schema(schema: Any, text: str) -> bool:
    value = json_value(text)
    return value is not MISSING and fits_schema(schema, value)


def _calls_problem(value: object) -> str | None:
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
            return f'must be {{"name": "TOOL", "arguments": {{...}}}}, a list of them, or [], found {value!r:.80}'
        if unknown := [name for name in entry if name not in ("name", "arguments", "schema")]:
            return f"knows name, arguments and schema, found {unknown[0]!r:.40}"
        if "arguments" in entry and not isinstance(entry["arguments"], Mapping):
            return f"has arguments that are no object: {entry['arguments']!r:.80}"
        if "arguments" in entry and "schema" in entry:
            return "has arguments and a schema: give one of them"
        if "schema" in entry and (problem := schema_problem(entry["schema"])):
            return f"has a schema that {problem}"
    return None


KINDS: Mapping[str, Kind] = {
    "numeric": Kind(_number_problem, lambda wanted, text: _wanted(wanted).equals(number_in(text))),
    "exact": Kind(_text_problem, _exact),
    "contains": Kind(_text_problem, _contains),
    "contains_all": Kind(_all_problem, _contains_all),
    "regex": Kind(pattern_problem, _regex),
    "json_schema": Kind(schema_problem, _json_schema),
    "constraints": Kind(constraints_problem, constraints_hold),
    "tool_call": Kind(_calls_problem, lambda wanted, text: calls_match(wanted, calls_in(text), fits_schema)),
}
"""Every kind of check. To add one, write its functions and add a line here."""
