"""Parsing one row of a suite into an :class:`~ftgate.domain.Item`, or reporting what is wrong with it."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from ftgate.datasets.tables import MAX_ROW_BYTES, FileRow, RowProblem, kind_of
from ftgate.domain import Item, Message, Role
from ftgate.scoring.checks import check_problem, meets
from ftgate.scoring.numbers import last_number, read_two_ways
from ftgate.scoring.text import UnscorableError
from ftgate.scoring.trace import final_answer

FIELDS = ("id", "messages", "prompt", "choices", "answer", "tags", "cluster", "check")
"""The fields of a row. Other fields are common in real data and are ignored, unless one looks like a misspelling."""

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a measurement requires of every item of its suite, besides an id and a prompt."""

    choices: bool = False
    answer: bool = False
    number: bool = False
    """Whether the answer must contain a number."""
    check: bool = False


class _BadRowError(Exception):
    """What is wrong with a row. Never leaves this package."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


def read_item(row: FileRow, needs: Needs) -> Item | RowProblem:
    """The item that ``row`` describes, or its first problem."""
    try:
        return _item(row, needs)
    except _BadRowError as error:
        return RowProblem(row.line, error.text, error.hint)


def _item(row: FileRow, needs: Needs) -> Item:
    values = {name: row.fields.get(name) for name in FIELDS}
    if row.cells:
        values = {name: _parse_cell(name, value) for name, value in values.items()}
    _check_spelling(row.fields, values)
    choices = _choices(values["choices"])
    answer = _answer(values["answer"], choices)
    _check_answer(choices, answer, needs, written=isinstance(values["answer"], str))
    check = _check_rule(values["check"], answer, needs)
    cluster = values["cluster"]
    return Item(
        id=_id(values["id"]),
        messages=_conversation(values["prompt"], values["messages"]),
        choices=choices,
        answer=answer,
        tags=_tags(values["tags"]),
        cluster=None if cluster is None else _text("cluster", cluster, "write it as text", numbers=True),
        check=check,
        line=row.line,
    )


def _check_spelling(fields: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    for name in fields:
        if name in values:
            continue
        field = _misspelled_field(name)
        if field is not None and values[field] is None:
            raise _BadRowError(f"unknown field {name!r}: did you mean {field!r}?", f"rename {name!r}, or remove it")


@lru_cache(maxsize=1024)
def _misspelled_field(name: str) -> str | None:
    """The field that ``name`` seems to misspell. ``id`` is too short to guess, except for letter case."""
    plain = str(name).strip().lower()
    if plain in FIELDS:
        return plain
    matches = difflib.get_close_matches(plain, FIELDS[1:], n=1, cutoff=0.8)
    return matches[0] if matches else None


def _parse_cell(name: str, value: str | None) -> Any:
    """The value of a CSV cell: None if empty; for lists JSON, or parts separated by bars (tags also by commas)."""
    if value is None or not value.strip():
        return None
    if name not in ("messages", "choices", "tags", "check"):
        return value
    if name == "check" or value.lstrip().startswith("["):
        kind, example = ("object", '{"numeric": 42}') if name == "check" else ("list", '["a", "b"], or a | b')
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise _BadRowError(f"{name} is not a JSON {kind}: {error}", f"write {example}") from None
    if name == "messages":
        raise _BadRowError("messages is not a JSON list", 'write [{"role": "user", "content": "..."}], or use prompt')
    separator = "," if name == "tags" and "|" not in value else "|"
    parts = [part.strip() for part in value.split(separator)]
    return [part for part in parts if part] if name == "tags" else parts


def _id(value: Any) -> str:
    if value is None:
        raise _BadRowError("no id", "give every row a unique id")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _BadRowError(
            f"id must be text or an integer, found {kind_of(value)}: {_quoted(value)}", "write it as text"
        )
    return _text("id", value, "give every row a unique id", numbers=True)


def _text(name: str, value: Any, hint: str, *, numbers: bool = False, blank: bool = False) -> str:
    """``value`` as text that can be written to any file. Numbers are converted if ``numbers`` allows it."""
    if numbers and (type(value) is int or (type(value) is float and math.isfinite(value))):
        return str(value)
    if not isinstance(value, str):
        raise _BadRowError(f"{name} must be text, found {kind_of(value)}: {_quoted(value)}", hint)
    if not blank and not value.strip():
        raise _BadRowError(f"{name} is empty", hint)
    if len(value) > MAX_ROW_BYTES:
        raise _BadRowError(f"{name} is longer than {MAX_ROW_BYTES:,} characters", "shorten it")
    if "\0" in value:
        raise _BadRowError(f"{name} contains a NUL character at position {value.index(chr(0)) + 1}", "remove it")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise _BadRowError(
                f"{name} contains a lone surrogate ({value[error.start]!a}) at position {error.start + 1}",
                "the text was truncated or decoded wrongly: export it again",
            ) from None
    return value


def _conversation(prompt: Any, messages: Any) -> tuple[Message, ...]:
    if prompt is not None and messages is not None:
        raise _BadRowError("both prompt and messages", "give one of them")
    if prompt is not None:
        return (Message("user", _text("prompt", prompt, "give the question as text")),)
    if messages is None:
        raise _BadRowError("neither prompt nor messages", 'give "prompt": "...", or a list of messages')
    if not isinstance(messages, list) or not messages:
        raise _BadRowError(
            f"messages must be a list of turns, found {'an empty list' if messages == [] else kind_of(messages)}",
            'write [{"role": "user", "content": "..."}]',
        )
    turns = tuple(_message(number, turn) for number, turn in enumerate(messages, 1))
    if turns[-1].role != "user":
        raise _BadRowError(
            f"the last message is from {turns[-1].role}, not from the user",
            "the model gives the reply: move the last turn to answer",
        )
    return turns


def _message(number: int, turn: Any) -> Message:
    where = f"message {number}"
    if not isinstance(turn, Mapping):
        raise _BadRowError(
            f"{where} must be an object, found {kind_of(turn)}", 'write {"role": "user", "content": "..."}'
        )
    role = turn.get("role")
    if role not in _ROLES:
        raise _BadRowError(f"{where}: role is {_quoted(role)}", f"use one of {', '.join(_ROLES)}")
    content = _text(f"{where}: content", turn.get("content"), "give the turn as plain text", blank=role != "user")
    return Message(cast("Role", role), content)


def _choices(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    hint = "give at least two different texts"
    if not isinstance(value, list):
        raise _BadRowError(f"choices must be a list, found {kind_of(value)}: {_quoted(value)}", hint)
    if len(value) < 2:
        raise _BadRowError(f"choices must be at least two, found {len(value)}", hint)
    texts = tuple(_text(f"choice {number}", entry, hint, numbers=True) for number, entry in enumerate(value, 1))
    seen: dict[str, int] = {}
    for number, text in enumerate(texts, 1):
        first = seen.setdefault(text.strip(), number)
        if first != number:
            raise _BadRowError(f"choices {first} and {number} are the same: {_quoted(text)}", hint)
    return texts


def _answer(value: Any, choices: Sequence[str]) -> str | None:
    """The answer as text, without a reasoning trace before it.

    A JSON integer is the index of the right choice, from 0, unless all choices are numbers.
    """
    if value is None:
        return None
    text = _answer_after_trace(_text("answer", value, "write it as text", numbers=True))
    if not isinstance(value, int) or not 0 <= value < len(choices):
        return text
    return text if text in choices or all(_numeric(choice) for choice in choices) else choices[value]


def _answer_after_trace(text: str) -> str:
    reference = final_answer(text)
    if reference.trace and not reference.text.strip():
        raise _BadRowError(
            f"the answer {_quoted(text)} is reasoning alone", "put the right reply after its closing mark"
        )
    return reference.text


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_answer(choices: Sequence[str], answer: str | None, needs: Needs, *, written: bool) -> None:
    if needs.choices and not choices:
        raise _BadRowError(
            "no choices, but this measurement needs them", 'add "choices": [...], or choose another scorer'
        )
    if needs.answer and answer is None:
        raise _BadRowError("no answer, but this measurement needs one", 'add "answer": the right reply')
    if needs.number and last_number(answer or "") is None:
        raise _BadRowError(
            f"no number in the answer {_quoted(answer)}", 'add one, or choose another scorer than "numeric"'
        )
    if needs.number and written and (ways := read_two_ways(answer or "")) is not None:
        raise _BadRowError(
            f"the number in the answer {_quoted(answer)} can be read as {ways[0]:g} or {ways[1]:g}",
            f'write "{ways[0]:.4f}" or "{ways[1]:.0f}"',
        )
    if not choices or answer is None or answer in choices:
        return
    near_match = next((text for text in choices if text.strip().casefold() == answer.strip().casefold()), None)
    if near_match is not None:
        hint = f"write it as the choice is written: {_quoted(near_match)}"
    elif answer.strip().isdigit() or (len(answer.strip()) == 1 and answer.strip().isalpha()):
        hint = "write the text of the right choice, or its index as a JSON integer from 0"
    else:
        hint = "write the right choice word for word"
    raise _BadRowError(f"the answer {_quoted(answer)} is not among the choices {_quoted(list(choices))}", hint)


def _check_rule(value: Any, answer: str | None, needs: Needs) -> Mapping[str, Any] | None:
    """The row's check. Its own reference answer must pass it, otherwise one of the two is wrong."""
    if value is None:
        if needs.check:
            raise _BadRowError(
                "no check, but this measurement needs one", 'add "check": {"numeric": 42} or another rule'
            )
        return None
    if isinstance(value, Mapping):  # in a column of objects every row has all keys that any row has
        value = {kind: argument for kind, argument in value.items() if argument is not None}
    problem = check_problem(value)
    if problem is not None:
        raise _BadRowError(
            f"check: {_one_line(problem)}", 'write for instance {"numeric": 42} or {"contains": "Paris"}'
        )
    try:
        if answer is not None and not meets(value, answer):
            raise _BadRowError(f"the answer {_quoted(answer)} does not pass the row's own check", "fix one of the two")
    except UnscorableError as error:
        raise _BadRowError(f"check: {error}", "write a simpler pattern") from None
    return dict(value)


def _tags(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _BadRowError(f"tags must be a list, found {kind_of(value)}: {_quoted(value)}", 'write ["a", "b"]')
    texts = [
        _text(f"tag {number}", entry, "remove it or give it a name").strip() for number, entry in enumerate(value, 1)
    ]
    return tuple(dict.fromkeys(texts))


def _quoted(value: Any) -> str:
    """``value`` for an error message: on one line, in ASCII, at most 80 characters."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _one_line(text: str) -> str:
    """A message of ours that quotes the row, in ASCII on one line, at most 240 characters."""
    plain = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    return plain if len(plain) <= 240 else plain[:237] + "..."
