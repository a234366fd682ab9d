"""Reading a data file of any shape: its rows as ftgate's fields, for suites, training data and query logs alike."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ftgate.datasets.problems import BadRowError, RowProblem
from ftgate.datasets.rows import FIELDS, STRING, printed_list
from ftgate.datasets.shapes import OWN, recognise
from ftgate.datasets.shapes.shape import CARRIED, LEFT_OUT, ONE_SHAPE, Shape, absent
from ftgate.datasets.shapes.turns import is_conversation
from ftgate.datasets.tables import FileRow, read_rows
from ftgate.datasets.unread import OPTIONS, UnreadParts, mapping

HEAD_ROWS = 50
"""The first rows of a file, which show the shape of all of them."""
JSON_CELLS = frozenset(
    (
        *(
            "messages",
            "conversations",
            "conversation",
            "chosen",
            "rejected",
            "preferred_output",
            "history",
            "body",
            "params",
            "request",
            "ideal",
            "target",
            "tools",
            "functions",
            "contents",
            "inputs",
            "outputs",
            "answers_spans",
        ),
        *(
            "turns",
            "mc1_targets",
            "mc2_targets",
            "possible_answers",
            "incorrect_answers",
            "distractors",
            "targets",
            "systemInstruction",
        ),
        *("kwargs", "instruction_id_list", "choices", "options", "endings", "answers", "reward_model"),
    )
)
"""Columns of tables whose cells may hold JSON."""
_CAPITALISED = re.compile(r"[A-Z](?:[a-z]+|[A-Z]+)(?: (?:[A-Za-z]+|\d))*")
"""Names of columns as spreadsheets have them; camelCase and a single letter are names of their own."""
_ARRAYS = re.compile(rf"({STRING.pattern})|array\(|(\])(?:,\s*dtype=[\w.<>]+)?\)")
"""Texts, which are kept, and what numpy writes around the lists within an object."""
_MEDIA = frozenset(("image", "images", "video", "videos", "audio", "audios"))
_TALKS = ("messages", "conversations", "conversation")
_TEXTS = (*_TALKS, *sorted(OPTIONS))
_LISTS = OPTIONS | frozenset(
    (
        *("conversations", "turns", "instruction_id_list", "answers", "possible_answers", "incorrect_answers"),
        *("distractors", "targets", "contexts"),
    )
)
"""Columns of tables whose cells may hold a list of texts as Python or numpy prints it."""
CONVERSATION_CELLS = ("input", "prompt", "completion", "system")
"""Columns whose cells may hold a conversation as JSON; any other JSON is their text."""


class ShapedFile:
    """The rows of one data file, read in the shape that its first rows show: never row by row.

    ``shape`` is fixed when the file is opened; ``columns`` grows as rows are read. Raises DatasetError as
    :func:`~ftgate.datasets.tables.read_rows` does.
    """

    def __init__(self, path: Path, *, suite: bool, shape: Shape | None = None) -> None:
        self._suite = suite
        self._file_names: dict[str, str] = {}
        """Names of columns as they are in the file, by the names that they are read under."""
        rows = (decoded(row if shape is not None else self._lowered(row)) for row in read_rows(path))
        head = list(islice(rows, HEAD_ROWS))
        fields = [row.fields for row in head if isinstance(row, FileRow)]
        self.shape = shape or recognise(fields, suite=suite)
        uses = self.shape.uses
        own = FIELDS if self.shape.name == OWN.name else ("id", "tools") if shape is not None else CARRIED
        self._used = {*own, *self.shape.needs, *uses, *(name.partition(".")[0] for name in uses)}
        # A mapping says itself what is to be read.
        self._unread_media, self._unread_options = (
            frozenset[str]() if shape is not None else names - self._used for names in (_MEDIA, OPTIONS)
        )
        self._parts = UnreadParts(self.shape, self._used) if shape is None else None
        self._passed_over: dict[str, None] = {}
        self.columns: dict[str, None] = {}
        self._head, self._rest = [(row, self._shaped(row)) for row in head], rows
        self.has_ids = any(isinstance(row, FileRow) and row.fields.get("id") is not None for _, row in self._head)
        """Whether rows have ids of their own."""

    def __iter__(self) -> Iterator[tuple[FileRow | RowProblem, FileRow | RowProblem]]:
        """Every row, as it is in the file and as ftgate's fields; either may be what is wrong with it."""
        for row, shaped in chain(self._head, ((row, self._shaped(row)) for row in self._rest)):
            if isinstance(row, FileRow) and not self.columns.keys() >= row.fields.keys():
                self.columns.update(dict.fromkeys(row.fields))
            yield row, shaped

    def _shaped(self, row: FileRow | RowProblem) -> FileRow | RowProblem:
        return row if isinstance(row, RowProblem) else self.shaped(row)

    def _lowered(self, row: FileRow | RowProblem) -> FileRow | RowProblem:
        renamed = lowered(row)
        if renamed is not row and isinstance(row, FileRow) and isinstance(renamed, FileRow) and not self._file_names:
            self._file_names = dict(zip(renamed.fields, row.fields, strict=True))
        return renamed

    def shaped(self, row: FileRow) -> FileRow | RowProblem:
        """The row as ftgate's fields, or why it is not of the file's shape."""
        if missing := self.shape.fault(row.fields):
            return RowProblem(row.line, *missing)
        if self.shape.one_of:
            filled = [name for name in self.shape.one_of if not absent(row.fields.get(name))]
            self._passed_over.update(dict.fromkeys(filled[1:]))
        try:
            shaped = FileRow(row.line, self.shape.converted(row.fields), row.cells, self._file_names)
        except BadRowError as error:
            return RowProblem(row.line, error.text, error.hint)
        if self._suite and (fault := self._fault(row, shaped)):
            return RowProblem(row.line, fault.text, fault.hint)
        if self._suite and self.shape.unlike and not self.shape.marks(row.fields):
            return RowProblem(row.line, f"{self.shape.unlike}, and the file is read as {self.shape.name}", ONE_SHAPE)
        return shaped

    def _fault(self, row: FileRow, shaped: FileRow) -> BadRowError | None:
        """What keeps a row from being asked as it is meant: a part that nothing reads, or what its shape says."""
        for name in () if self._unread_media.isdisjoint(row.fields) else self._unread_media:
            if row.fields.get(name):
                hint = "remove the row, or map what can be asked without it with `columns`"
                return BadRowError(f"the row has `{self._name(name)}`, and only text can be asked", hint)
        for name in () if self._unread_options.isdisjoint(row.fields) else self._unread_options:
            options = row.fields.get(name)
            if (isinstance(options, list) and len(options) > 1) or (isinstance(options, str) and options.strip()):
                hint = f"map it: {mapping(row, choices=self._name(name))}"
                return BadRowError(f"the row has `{self._name(name)}`, which {self.shape.name} do not have", hint)
        for value in shaped.fields.values():
            if type(value) is BadRowError:
                return value
        return None if self._parts is None or LEFT_OUT in shaped.fields else self._parts.fault(row, shaped)

    def unused(self) -> list[str]:
        """The columns of the rows read so far that nothing reads, as the file names them."""
        read = (name for name in self.columns if name in self._used or self.shape.reads(name))
        used = {name for name in read if name not in self._passed_over}
        return [self._name(name) for name in self.columns if name and name not in used]

    def suspects(self) -> list[str]:
        """Those of them that a question or its answer may need."""
        return [] if self._parts is None else [self._name(name) for name in self._parts.suspects]

    def _name(self, name: str) -> str:
        return self._file_names.get(name, name)


def lowered(row: FileRow | RowProblem) -> FileRow | RowProblem:
    """A row under the names that its fields have in the known shapes: ``Question`` is ``question``."""
    if isinstance(row, RowProblem):
        return row
    names = _lowered(tuple(row.fields))
    return row if names is None else replace(row, fields=dict(zip(names, row.fields.values(), strict=True)))


@lru_cache(maxsize=16)
def _lowered(header: tuple[str, ...]) -> tuple[str, ...] | None:
    """The names of a header of capitalised words in lower case; None where there are none, or two would be one."""
    names = tuple(
        "_".join(word.lower() if len(word) > 1 else word for word in name.split())
        if _CAPITALISED.fullmatch(name)
        else name
        for name in header
    )
    return None if names == header or len(set(names)) < len(names) else names


def decoded(row: FileRow | RowProblem) -> FileRow | RowProblem:
    """A row of a table with the JSON in its cells decoded; of any other row only conversations and options."""
    if isinstance(row, RowProblem):
        return row
    if not row.cells:
        texts = {name: row.fields[name] for name in _TEXTS if isinstance(row.fields.get(name), str)}
        return replace(row, fields={**row.fields, **_content(texts)}) if texts else row
    return replace(row, fields={name: _listed(name, _decoded(name, value)) for name, value in row.fields.items()})


def _listed(name: str, value: Any) -> Any:
    return (printed_list(value) or value) if name in _LISTS else value


def _content(fields: dict[str, Any]) -> dict[str, Any]:
    """The conversations and lists of options that exporters have written as text within JSON."""
    values = {name: _decoded(name, value) for name, value in fields.items()}
    options = {name: printed_list(value) for name, value in values.items() if name in OPTIONS}
    values |= {name: texts for name, texts in options.items() if texts}
    return {name: value for name, value in values.items() if name in OPTIONS or is_conversation(value)}


def _decoded(name: str, value: Any) -> Any:
    if name not in (*JSON_CELLS, *CONVERSATION_CELLS) or not isinstance(value, str):
        return value
    try:
        content = json.loads(value) if value.lstrip()[:1] in ("[", "{") else value
    except (ValueError, RecursionError):
        content = _printed(value)
    turns = content.get("messages") if isinstance(content, dict) else content
    return content if name in JSON_CELLS or is_conversation(turns) else value


def _printed(value: str) -> Any:
    """Objects as Python prints them, which is how tables of rows with objects are written; any other text as it is.

    Lists of texts are left alone: where numpy has printed them without commas, Python would join them.
    """
    if "{" not in value[:10]:
        return value
    try:
        content = ast.literal_eval(_ARRAYS.sub(lambda match: match[1] or match[2] or "", value.strip()))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value
    return content if isinstance(content, dict) or is_conversation(content) else value
