"""One row of a suite as an :class:`~ftgate.domain.Item`, or what is wrong with it."""

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
from ftgate.scoring.numbers import last_number
from ftgate.scoring.text import UnscorableError

FIELDS = ("id", "messages", "prompt", "choices", "answer", "tags", "cluster", "check")
"""All that a row may say. Other fields are common in real data and are ignored, unless one looks like a misspelling."""

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a measurement requires of every item of its suite, beyond an id and a prompt."""

    choices: bool = False
    answer: bool = False
    number: bool = False
    """Whether the answer must hold a number."""
    check: bool = False


class _BadRowError(Exception):
    """What is wrong with a row. Never leaves this package."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


def read_item(row: FileRow, needs: Needs) -> Item | RowProblem:
    """The item that ``row`` describes, or the first thing that is wrong with it."""
    try:
        return _item(row, needs)
    except _BadRowError as error:
        return RowProblem(row.line, error.text, error.hint)


def _item(row: FileRow, needs: Needs) -> Item:
    given = {name: row.fields.get(name) for name in FIELDS}
    if row.cells:
        given = {name: _cell(name, value) for name, value in given.items()}
    _check_spelling(row.fields, given)
    choices = _choices(given["choices"])
    answer = _answer(given["answer"], choices)
    _check_answer(choices, answer, needs)
    check = _rule(given["check"], answer, needs)
    cluster = given["cluster"]
    return Item(
        id=_id(given["id"]),
        messages=_conversation(given["prompt"], given["messages"]),
        choices=choices,
        answer=answer,
        tags=_tags(given["tags"]),
        cluster=None if cluster is None else _text("cluster", cluster, "write it as text", numbers=True),
        check=check,
        line=row.line,
    )


def _check_spelling(fields: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for name in fields:
        if name in given:
            continue
        meant = _meant(name)
        if meant is not None and given[meant] is None:
            raise _BadRowError(f"unknown field {name!r}: did you mean {meant!r}?", f"rename {name!r}, or remove it")


@lru_cache(maxsize=1024)
def _meant(name: str) -> str | None:
    """The known field that ``name`` seems to misspell. ``id`` is too short to guess at, but for its case."""
    plain = str(name).strip().lower()
    if plain in FIELDS:
        return plain
    close = difflib.get_close_matches(plain, FIELDS[1:], n=1, cutoff=0.8)
    return close[0] if close else None


def _cell(name: str, value: str | None) -> Any:
    """What a CSV cell means: nothing if empty; JSON, or parts between bars (tags: or commas), for lists."""
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
        raise _BadRowError("no id", "give every row an id that no other row has")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _BadRowError(
            f"id must be text or a whole number, found {kind_of(value)}: {_shown(value)}", "write it as text"
        )
    return _text("id", value, "give every row an id that no other row has", numbers=True)


def _text(name: str, value: Any, hint: str, *, numbers: bool = False, blank: bool = False) -> str:
    """``value`` as text that can be written to any file. Numbers are converted where ``numbers`` allows it."""
    if numbers and (type(value) is int or (type(value) is float and math.isfinite(value))):
        return str(value)
    if not isinstance(value, str):
        raise _BadRowError(f"{name} must be text, found {kind_of(value)}: {_shown(value)}", hint)
    if not blank and not value.strip():
        raise _BadRowError(f"{name} is empty", hint)
    if len(value) > MAX_ROW_BYTES:
        raise _BadRowError(f"{name} is longer than {MAX_ROW_BYTES:,} characters", "shorten it")
    if "\0" in value:
        raise _BadRowError(f"{name} holds a NUL character at position {value.index(chr(0)) + 1}", "remove it")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise _BadRowError(
                f"{name} holds half a character (lone surrogate {value[error.start]!a}) at position {error.start + 1}",
                "the text was cut or decoded wrongly: export it again",
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
            "the model's reply is what is asked for: move the last turn to answer",
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
        raise _BadRowError(f"{where}: role is {_shown(role)}", f"use one of {', '.join(_ROLES)}")
    content = _text(f"{where}: content", turn.get("content"), "give the turn as plain text", blank=role != "user")
    return Message(cast("Role", role), content)


def _choices(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    hint = "give at least two different texts"
    if not isinstance(value, list):
        raise _BadRowError(f"choices must be a list, found {kind_of(value)}: {_shown(value)}", hint)
    if len(value) < 2:
        raise _BadRowError(f"choices must be at least two, found {len(value)}", hint)
    texts = tuple(_text(f"choice {number}", entry, hint, numbers=True) for number, entry in enumerate(value, 1))
    seen: dict[str, int] = {}
    for number, text in enumerate(texts, 1):
        first = seen.setdefault(text.strip(), number)
        if first != number:
            raise _BadRowError(f"choices {first} and {number} are the same: {_shown(text)}", hint)
    return texts


def _answer(value: Any, choices: Sequence[str]) -> str | None:
    """The answer as text. A JSON integer is the place of the right choice, from 0, unless all choices are numbers."""
    if value is None:
        return None
    text = _text("answer", value, "write it as text", numbers=True)
    if not isinstance(value, int) or not 0 <= value < len(choices):
        return text
    return text if text in choices or all(_numeric(choice) for choice in choices) else choices[value]


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_answer(choices: Sequence[str], answer: str | None, needs: Needs) -> None:
    if needs.choices and not choices:
        raise _BadRowError("no choices, which this measurement needs", 'add "choices": [...], or choose another scorer')
    if needs.answer and answer is None:
        raise _BadRowError("no answer, which this measurement needs", 'add "answer": the right reply')
    if needs.number and last_number(answer or "") is None:
        raise _BadRowError(
            f"no number in the answer {_shown(answer)}", 'add one, or choose another scorer than "numeric"'
        )
    if not choices or answer is None or answer in choices:
        return
    close = next((text for text in choices if text.strip().casefold() == answer.strip().casefold()), None)
    if close is not None:
        hint = f"write it as the choice is written: {_shown(close)}"
    elif answer.strip().isdigit() or (len(answer.strip()) == 1 and answer.strip().isalpha()):
        hint = "write the text of the right choice, or its place as a JSON integer counted from 0"
    else:
        hint = "write the right choice word for word"
    raise _BadRowError(f"choices without the answer: {_shown(answer)} is none of {_shown(list(choices))}", hint)


def _rule(value: Any, answer: str | None, needs: Needs) -> Mapping[str, Any] | None:
    """The row's check, which its own reference answer must meet: otherwise one of the two is wrong."""
    if value is None:
        if needs.check:
            raise _BadRowError("no check, which this measurement needs", 'add "check": {"numeric": 42} or another rule')
        return None
    if isinstance(value, Mapping):  # a column of objects gives every row all the keys that any row has
        value = {kind: argument for kind, argument in value.items() if argument is not None}
    problem = check_problem(value)
    if problem is not None:
        raise _BadRowError(f"check: {_clipped(problem)}", 'write for instance {"numeric": 42} or {"contains": "Paris"}')
    try:
        if answer is not None and not meets(value, answer):
            raise _BadRowError(
                f"the answer {_shown(answer)} does not meet the row's own check", "correct one of the two"
            )
    except UnscorableError as error:
        raise _BadRowError(f"check: {error}", "write a simpler pattern") from None
    return dict(value)


def _tags(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _BadRowError(f"tags must be a list, found {kind_of(value)}: {_shown(value)}", 'write ["a", "b"]')
    texts = [_text(f"tag {number}", entry, "remove or name it").strip() for number, entry in enumerate(value, 1)]
    return tuple(dict.fromkeys(texts))


def _shown(value: Any) -> str:
    """``value`` for a log: on one line, in ASCII, not longer than a glance."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _clipped(text: str) -> str:
    """Words of ours that quote the row, for a log."""
    plain = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    return plain if len(plain) <= 240 else plain[:237] + "..."
