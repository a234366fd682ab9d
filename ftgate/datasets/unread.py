"""What the question of a test seems to need and its shape does not read: a passage, an answer, or a list in a cell."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from ftgate.datasets.problems import BadRowError
from ftgate.datasets.rivals import PLACE, REFERENCE, rival_fault
from ftgate.datasets.shapes.options import option_columns
from ftgate.datasets.shapes.shape import Shape, absent
from ftgate.datasets.tables import FileRow

OPTIONS = frozenset(("choices", "options", "endings", "multiple_choice_targets"))
"""Fields with a list of options."""
_ABOUT = re.compile(
    r"(?i)(?:.*_)?(?:context|passage|paragraph|article|story|narrative|premise|document|dialogue|body|table|text)s?"
)
"""Names of what a question is about."""
_RIGHT = re.compile(
    r"(?i)(?!.*_(?:type|id|source|start|url)$)(?:.*_)?"
    r"(?:answer|gold|label|target|solution|reference|ground_truth|correct|expected|decision)s?(?:_.*)?"
)
"""Names of what says which answer is right."""
_SUSPECT = re.compile(
    r"(?i)(?:ground_?truth|reference|label|premise|passage|context|code|document|article|gold(?:_.*)?|correct(?:_.*)?|"
    r"expected(?:_(?:answer|output))?)s?"
)
"""Names of what is told aloud where nothing reads it: a prompt or an answer may be another without it."""
_QUESTIONS = ("question", "prompt", "problem", "sentence", "goal", "query", "inputs", "user_input")


class _Header(NamedTuple):
    """The fields of a row by their names: read ones, unread ones that a question may be about, and unread answers.

    ``rivals`` may say which answer is right, read or not; ``suspect`` are not read, and worth a warning.
    """

    read: tuple[str, ...]
    about: tuple[str, ...]
    right: tuple[str, ...]
    rivals: tuple[str, ...]
    suspect: tuple[str, ...]


class UnreadParts:
    """Finds what nothing reads in the rows of one file, of ``shape``, which reads the fields ``used``."""

    def __init__(self, shape: Shape, used: Collection[str]) -> None:
        self._shape, self._used = shape, used
        self._headers: dict[tuple[str, ...], _Header] = {}
        self.suspects: dict[str, None] = {}
        """The unread fields with a value that rows so far had, and that a question or its answer may need."""

    def fault(self, row: FileRow, shaped: FileRow) -> BadRowError | None:
        """Why ``row`` would be asked in part; None if it is read whole."""
        names = tuple(row.fields)
        header = self._headers.get(names)
        if header is None:
            header = self._headers.setdefault(names, self._header(names))
        fault = self._unread(row, shaped, header) if self._shape.whole else None
        if fault is None:
            self.suspects.update(dict.fromkeys(name for name in header.suspect if _is_filled(row.fields[name])))
            fault = rival_fault(
                row.fields,
                shaped.fields,
                header.rivals,
                lambda choices, answer: mapping(row, choices=choices, answer=answer),
            )
        return fault

    def _unread(self, row: FileRow, shaped: FileRow, header: _Header) -> BadRowError | None:
        """What nothing reads of the question of a test."""
        for name in header.read if row.cells else ():
            if _holds_structure(row.fields[name]):
                return BadRowError(
                    f"the cell `{name}` holds a list or an object, or the text of one, and a table cannot tell which",
                    f"write the rows as JSON lines; to take it as text name the fields: {mapping(row)}",
                )
        for name in header.about:
            if row.fields[name] and isinstance(row.fields[name], str | list | dict):
                return BadRowError(
                    f"the row has `{name}`, which {self._shape.name} do not have, and the question may be about it",
                    f"map all that is asked: {mapping(row, before=name)}",
                )
        if not header.right or any(not absent(shaped.fields.get(name)) for name in ("answer", "check")):
            return None
        name = next((name for name in header.right if _is_filled(row.fields[name])), "")
        if not name:
            return None
        return BadRowError(
            f"the row has no answer that {self._shape.name} have, and `{name}` looks like one",
            f'map it: {mapping(row, answer=name)}; if it counts from 1, answer: "{{{{ {name} | int - 1 }}}}"',
        )

    def _header(self, names: tuple[str, ...]) -> _Header:
        unread = [name for name in names if name not in self._used and not self._shape.reads(name)]
        rivals = tuple(name for name in names if REFERENCE.fullmatch(name) or PLACE.fullmatch(name))
        return _Header(
            tuple(name for name in names if name not in unread),
            tuple(name for name in unread if _ABOUT.fullmatch(name)),
            tuple(name for name in unread if _RIGHT.fullmatch(name)),
            rivals if rivals != ("answer",) else (),
            tuple(name for name in unread if _SUSPECT.fullmatch(name)),
        )


def _is_filled(value: Any) -> bool:
    return not isinstance(value, bool) and (bool(value) or value == 0)


def mapping(row: FileRow, *, before: str = "", choices: str = "", answer: str = "FIELD") -> str:
    """An example of `columns` for a row: what the question is about before it, and the options as the file has them."""
    names = [row.name(name) for name in row.fields]
    question = next((name for name in _QUESTIONS if row.name(name) in names), "FIELD")
    about = [
        name
        for name, value in row.fields.items()
        if name == before or (_ABOUT.fullmatch(name) and name != question and isinstance(value, str) and value.strip())
    ]
    options = choices or next((name for name in sorted(OPTIONS) if name in row.fields), "")
    if not options and (columns := option_columns(row.fields)):
        options = f"[{', '.join(map(row.name, columns.values()))}]"
    prompt = row.name(question)
    if about:
        prompt = '"' + " ".join(f"{{{{ {row.name(name)} }}}}" for name in (*about, question)) + '"'
    return f"columns: {{prompt: {prompt}{f', choices: {options}' if options else ''}, answer: {answer}}}"


def _holds_structure(text: Any) -> bool:
    """Whether a text is a list or an object as JSON or Python write it."""
    if not isinstance(text, str) or text.lstrip()[:1] not in ("[", "{"):
        return False
    for read in (json.loads, ast.literal_eval):
        try:
            return isinstance(read(text.strip()), dict | list)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return False
