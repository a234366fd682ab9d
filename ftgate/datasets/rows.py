"""Parsing one row of a suite into an :class:`~ftgate.domain.Item`, or reporting everything that is wrong with it."""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple, cast, get_args

from ftgate.datasets.problems import BadRowError, RowProblem, kind_of, quoted, text_of
from ftgate.datasets.references import Needs, RightAnswer, check_of, choices_of, reference_of, require_usable
from ftgate.datasets.tables import FileRow
from ftgate.datasets.task_rows import request_of
from ftgate.datasets.tools import tools_of, turn_calls, with_schemas
from ftgate.domain import Item, Message, Role, ToolCall, digest_of

FIELDS = ("id", "messages", "prompt", "choices", "answer", "tags", "cluster", "check", "tools", "lm_eval")
"""The fields of a row. Other fields are common in real data and are ignored, unless one looks like a misspelling."""

Value = Callable[[str], Any]
"""The value of a field of a row."""
STRING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
"""A text as Python writes it."""
_CELLS = {
    "check": ("object", '{"numeric": 42}'),
    "messages": ("list", '[{"role": "user", "content": "..."}]'),
}
"""What a cell is to hold, and an example."""
_ROLES = get_args(Role)


class ReadItem(NamedTuple):
    """An item, the place of the right choice if its answer is given as one, and whether its id is made of its content.

    ``place`` counts from 0.
    """

    item: Item
    place: int | None = None
    made_id: bool = False


class _Faults:
    """Collects what is wrong with one row: the body of ``with faults:`` is left at its first fault."""

    def __init__(self, line: int) -> None:
        self.line, self.problems = line, list[RowProblem]()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if isinstance(error, BadRowError):
            self.problems.append(RowProblem(self.line, error.text, error.hint))
        return isinstance(error, BadRowError)


def read_item(row: FileRow, needs: Needs, *, make_ids: bool = False) -> ReadItem | list[RowProblem]:
    """The item that ``row`` describes, or all its problems. With ``make_ids`` a row without an id gets one."""
    faults = _Faults(row.line)
    fields = _spelled(row, faults)

    value: Value = (lambda name: _parse_cell(name, fields.get(name))) if row.cells else fields.get
    name, messages, cluster = "", tuple[Message, ...](), None
    tags, tools, request = tuple[str, ...](), tuple[Mapping[str, Any], ...](), None
    with faults:
        name = _id(value("id"), make=make_ids)
    with faults:
        messages = _conversation(value("prompt"), value("messages"), row)
    with faults:
        tags = _tags(value("tags"))
    if (group := value("cluster")) is not None:
        with faults:
            cluster = text_of("cluster", group, "write it as text", numbers=True)
    if fields.get("tools"):
        with faults:
            tools = tools_of(fields["tools"])
    if fields.get("lm_eval") is not None:
        with faults:
            request = request_of(value("lm_eval"))
    if request is not None:
        choices, reference, check = request.choices, RightAnswer(_text_or_none(value("answer"))), None
    else:
        choices, reference, check = _scoring(value, row.cells, needs, faults, tools)
    if faults.problems:
        return faults.problems
    made_id = not name
    if made_id:
        content = [[m.key for m in messages], list(choices), reference.text, check]
        name = f"row-{digest_of([*content, list(tools)] if tools else content)[:16]}"
    item = Item(name, messages, choices, reference.text, tags, cluster, row.line, check, tools, request)
    return ReadItem(item, reference.place, made_id)


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _scoring(
    value: Value, cell: bool, needs: Needs, faults: _Faults, tools: Sequence[Mapping[str, Any]]
) -> tuple[tuple[str, ...], RightAnswer, Mapping[str, Any] | None]:
    """Choices, right answer and check of a row."""
    choices, reference, check, readable = tuple[str, ...](), RightAnswer(), None, False
    with faults:
        options = value("choices")
        choices = choices_of(options)
        readable = True
    with faults:
        if readable:
            answer = value("answer")
            reference = reference_of(answer, options, choices, cell=cell)
            checked, written = value("check") is not None, isinstance(answer, str)
            require_usable(choices, reference, needs, checked=checked, written=written)
    with faults:
        check = check_of(with_schemas(value("check"), tools), reference.text, needs)
    return choices, reference, check


def _spelled(row: FileRow, faults: _Faults) -> Mapping[str, Any]:
    """The fields of ``row``, in which misspelt names, each a fault, are taken for what they seem to mean."""
    fields, meant = row.fields, dict[str, Any]()
    for name in fields:
        if name in FIELDS:
            continue
        with faults:
            field = _misspelled_field(name)
            if field is not None and fields.get(field) is None:
                meant[field] = fields[name]
                own = row.name(name)
                raise BadRowError(f"unknown field {own!r}: did you mean {field!r}?", f"rename {own!r}, or remove it")
    return {**fields, **meant} if meant else fields


@lru_cache(maxsize=1024)
def _misspelled_field(name: str) -> str | None:
    """The field that ``name`` seems to misspell. ``id`` is too short to guess, except for letter case.

    A name of several words, such as ``prompt_id``, is a field of its own, and so is ``tool``.
    """
    plain = str(name).strip().lower()
    if plain in FIELDS:
        return plain
    if not plain.isalpha():
        return None
    matches = difflib.get_close_matches(plain, FIELDS[1:-1], n=1, cutoff=0.8)
    return matches[0] if matches else None


def _parse_cell(name: str, value: Any) -> Any:
    """The value of a CSV cell: None if empty; for lists JSON, or parts separated by bars (tags also by commas)."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str) or name not in ("messages", "choices", "tags", "check"):
        return value
    if name == "check" or value.lstrip().startswith("["):
        kind, example = _CELLS.get(name, ("list", '["a", "b"], or a | b'))
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            if (texts := printed_list(value)) is not None:
                return texts
            raise BadRowError(f"{name} is not a JSON {kind}: {error}", f"write {example}") from None
    if name == "choices" and value.lstrip().startswith("{"):
        hint = (
            "write a list of texts, or the rows as JSON lines; with pandas: to_json(path, orient='records', lines=True)"
        )
        raise BadRowError(f"choices is an object that is not JSON: {quoted(value)}", hint)
    if name == "messages":
        raise BadRowError("messages is not a JSON list", 'write [{"role": "user", "content": "..."}], or use prompt')
    separator = "," if name == "tags" and "|" not in value else "|"
    parts = [part.strip() for part in value.split(separator)]
    return [part for part in parts if part] if name == "tags" else parts


def printed_list(text: Any) -> list[str] | None:
    """A list of texts as Python or numpy prints it; None if it is anything else, or has left something out."""
    if not isinstance(text, str) or not text.strip().startswith("["):
        return None
    inner = text.strip()[1:-1]
    if not text.strip().endswith("]") or STRING.sub("", inner).strip(", \n\t"):
        return None
    try:
        return [str(ast.literal_eval(string)) for string in STRING.findall(inner)]
    except (ValueError, SyntaxError):
        return None


def _id(value: Any, *, make: bool) -> str:
    """The row's id; empty if it has none and ``make`` says that one is to be made."""
    if value is None and make:
        return ""
    hint = "give every row a unique id, or none: ids are then made of the content"
    if value is None:
        raise BadRowError("no id, and other rows of the file have one", hint)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRowError(f"id must be text or an integer, found {kind_of(value)}: {quoted(value)}", "write it as text")
    return text_of("id", value, hint, numbers=True)


def _conversation(prompt: Any, messages: Any, row: FileRow) -> tuple[Message, ...]:
    if prompt is not None and messages is not None:
        raise BadRowError("both prompt and messages", "give one of them")
    if prompt is not None:
        return (Message("user", text_of("prompt", prompt, "give the question as text")),)
    if messages is None:
        names = [row.name(name) for name, value in row.fields.items() if value is not None]
        hint = (
            'give "prompt": "...", or a list of messages; or name the fields in the policy: '
            "columns: {prompt: FIELD, choices: [FIELD, FIELD], answer: FIELD}"
        )
        if row.cells and any(_is_no_name(name) for name in names):
            hint = "the first line looks like a row: put the names of the columns before it, as question,A,B,answer"
        raise BadRowError(f"neither prompt nor messages among the fields {quoted(names)}", hint)
    if not isinstance(messages, list) or not messages:
        raise BadRowError(
            f"messages must be a list of turns, found {'an empty list' if messages == [] else kind_of(messages)}",
            'write [{"role": "user", "content": "..."}]',
        )
    turns = tuple(_message(number, turn) for number, turn in enumerate(messages, 1))
    if turns[-1].role not in ("user", "tool"):
        raise BadRowError(
            f"the last message is from {turns[-1].role}, not from the user",
            "the model gives the reply: "
            + ("remove the last turn" if row.fields.get("answer") is not None else "move the last turn to answer"),
        )
    return turns


def _is_no_name(header: str) -> bool:
    """Whether a cell of a header is rather a question or a value: a number, a sentence, or long."""
    return header[:1].isdigit() or header.endswith(("?", ".", "!")) or len(header) > 60


def _message(number: int, turn: Any) -> Message:
    where = f"message {number}"
    if not isinstance(turn, Mapping):
        raise BadRowError(
            f"{where} must be an object, found {kind_of(turn)}", 'write {"role": "user", "content": "..."}'
        )
    role = turn.get("role")
    if role not in _ROLES:
        raise BadRowError(f"{where}: role is {quoted(role)}", f"use one of {', '.join(_ROLES)}")
    content, calls = turn.get("content"), tuple[ToolCall, ...]()
    if role == "assistant" and (turn.get("tool_calls") or turn.get("function_call")):
        calls = turn_calls(where, turn)
        content = "" if content is None else content
    elif role == "tool" and isinstance(content, dict | list):
        content = json.dumps(content, ensure_ascii=False)
    text = text_of(f"{where}: content", content, "give the turn as plain text", blank=role != "user")
    if role != "tool":
        return Message(cast("Role", role), text, calls)
    call_id, name = (turn.get(key) for key in ("tool_call_id", "name"))
    return Message("tool", text, (), call_id if isinstance(call_id, str) else "", name if isinstance(name, str) else "")


def _tags(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadRowError(f"tags must be a list, found {kind_of(value)}: {quoted(value)}", 'write ["a", "b"]')
    texts = [
        text_of(f"tag {number}", entry, "remove it or give it a name").strip() for number, entry in enumerate(value, 1)
    ]
    return tuple(dict.fromkeys(texts))
