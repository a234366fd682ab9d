"""The shape of a file whose fields the policy maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftgate.config.columns import Columns, is_template, template, template_names
from ftgate.datasets.problems import BadRowError, one_line
from ftgate.datasets.references import ChoicePlace, lettered, named
from ftgate.datasets.shapes.shape import Fields, Shape, absent, question_and_reply
from ftgate.datasets.tools import xlam_tools

NAME = "rows mapped by columns"


def mapped(columns: Columns) -> Shape:
    """The shape that ``columns`` describes. ``uses`` are the fields that it names."""
    names = [
        name
        for entry in columns.entries()
        for name in (sorted(template_names(entry)) if is_template(entry) else [entry])
    ]
    return Shape(NAME, (), lambda fields: _row(columns, fields), "what `columns` says", tuple(dict.fromkeys(names)))


def _row(columns: Columns, fields: Fields) -> dict[str, Any]:
    row: dict[str, Any] = {
        name: None if entry is None else _value(entry, fields)
        for name, entry in (
            *(("prompt", columns.prompt), ("answer", columns.answer)),
            *(("cluster", columns.cluster), ("check", columns.check)),
        )
    }
    if columns.id is not None:
        row["id"] = _value(columns.id, fields)
    if columns.messages is not None:
        row |= _conversation(_value(columns.messages, fields), row["answer"])
    asked_in = columns.prompt or columns.messages or ""
    if absent(row["prompt"]) and absent(row.get("messages")):
        raise BadRowError(
            f"{asked_in[:60]!a}, which `columns` names, is empty or missing", "fill it in, or remove the row"
        )
    row["choices"] = _choices(columns.choices, fields)
    if columns.choices is not None and isinstance(row["choices"], list):
        fields_of_choices = () if isinstance(columns.choices, str) else columns.choices
        row["answer"] = _named_choice(row["answer"], fields_of_choices, row["choices"])
        if columns.answer is not None and is_template(columns.answer):
            row["answer"] = _place(row["answer"], row["choices"])
    row["tags"] = _tags(columns.tags, fields)
    if columns.tools is not None:
        row["tools"] = xlam_tools(_value(columns.tools, fields))
    return row


def _value(entry: str, fields: Fields) -> Any:
    """What an entry names in a row; None if the row does not have it. Raises BadRowError for a template that fails."""
    if is_template(entry):
        try:
            return template(entry).render({**fields, "row": fields})
        except Exception as error:  # whatever a template does with the values of a row
            reason = one_line(f"{type(error).__name__}: {error}")
            hint = "correct `columns`; for a field that some rows lack write {{ row.get('FIELD') }}"
            raise BadRowError(f"the template {entry[:60]!a} fails: {reason}", hint) from None
    if entry in fields:
        return fields[entry]
    value: Any = fields
    for name in entry.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _conversation(value: Any, answer: Any) -> dict[str, Any]:
    """The turns up to the user's last; a reply after them is the reference, unless a field holds another."""
    row = question_and_reply(value)
    return {**row, "answer": row.get("answer") if absent(answer) else answer}


def _choices(entries: str | Sequence[str] | None, fields: Fields) -> Any:
    if entries is None or isinstance(entries, str):
        return None if entries is None else _value(entries, fields)
    values = [_value(entry, fields) for entry in entries]
    while values and absent(values[-1]):
        values.pop()
    return values


def _named_choice(answer: Any, entries: Sequence[str], choices: Sequence[Any]) -> Any:
    """The place of the choice that ``answer`` names by its field or its letter, or ``answer`` itself."""
    if not isinstance(answer, str):
        return answer
    written = answer.strip()
    if written in entries[: len(choices)]:
        return named(answer, entries.index(written), choices)
    return lettered(answer, list(choices))


def _place(answer: Any, choices: Sequence[Any]) -> Any:
    """The place that a template has written as digits, since templates make texts of everything."""
    digits = answer.strip() if isinstance(answer, str) else ""
    if digits.isdecimal() and len(digits) < 4 and int(digits) < len(choices) and digits not in map(str, choices):
        return ChoicePlace(int(digits))
    return answer


def _tags(entries: Sequence[str], fields: Fields) -> list[Any]:
    values = [_value(entry, fields) for entry in entries]
    tags = [tag for value in values for tag in (value if isinstance(value, list) else [value]) if not absent(tag)]
    return [str(tag) if isinstance(tag, int | float) else tag for tag in tags]
