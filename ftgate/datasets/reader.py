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
from ftgate.datasets.rows import FIELDS
from ftgate.datasets.shapes import OWN, recognise
from ftgate.datasets.shapes.shape import CARRIED, ONE_SHAPE, Shape, is_conversation
from ftgate.datasets.tables import FileRow, read_rows

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
            "ideal",
            "target",
            "tools",
            "functions",
            "contents",
            "inputs",
            "outputs",
            "answers_spans",
        ),
        *("kwargs", "instruction_id_list", "choices", "options", "endings", "answers", "reward_model"),
    )
)
"""Columns of tables whose cells may hold JSON."""
_CAPITALISED = re.compile(r"[A-Z](?:[a-z]+|[A-Z]+)(?: (?:[A-Za-z]+|\d))*")
"""Names of columns as spreadsheets have them; camelCase and a single letter are names of their own."""
_MEDIA = frozenset(("image", "images", "video", "videos", "audio", "audios"))
_OPTIONS = frozenset(("choices", "options", "endings"))
_TALKS = ("messages", "conversations", "conversation")
CONVERSATION_CELLS = ("input", "prompt", "completion")
"""Columns whose cells may hold a conversation as JSON; any other JSON is their text."""


class ShapedFile:
    """The rows of one data file, read in the shape that its first rows show: never row by row.

    ``shape`` is fixed when the file is opened; ``columns`` grows as rows are read. Raises DatasetError as
    :func:`~ftgate.datasets.tables.read_rows` does.
    """

    def __init__(self, path: Path, *, suite: bool, shape: Shape | None = None) -> None:
        self._suite = suite
        rows = (decoded(row if shape is not None else lowered(row)) for row in read_rows(path))
        head = list(islice(rows, HEAD_ROWS))
        fields = [row.fields for row in head if isinstance(row, FileRow)]
        self.shape = shape or recognise(fields, suite=suite)
        uses = self.shape.uses
        own = FIELDS if self.shape.name == OWN.name else ("id",) if shape is not None else CARRIED
        self._used = {*own, *self.shape.needs, *uses, *(name.partition(".")[0] for name in uses)}
        # A mapping says itself what is to be read.
        self._unread_media, self._unread_options = (
            frozenset[str]() if shape is not None else names - self._used for names in (_MEDIA, _OPTIONS)
        )
        self.columns: dict[str, None] = {}
        self._rows = chain(head, rows)
        readable = [self.shaped(row) for row in head if isinstance(row, FileRow)]
        self.has_ids = any(isinstance(row, FileRow) and row.fields.get("id") is not None for row in readable)
        """Whether rows have ids of their own."""

    def __iter__(self) -> Iterator[tuple[FileRow | RowProblem, FileRow | RowProblem]]:
        """Every row, as it is in the file and as ftgate's fields; either may be what is wrong with it."""
        for row in self._rows:
            if isinstance(row, RowProblem):
                yield row, row
            else:
                if not self.columns.keys() >= row.fields.keys():
                    self.columns.update(dict.fromkeys(row.fields))
                yield row, self.shaped(row)

    def shaped(self, row: FileRow) -> FileRow | RowProblem:
        """The row as ftgate's fields, or why it is not of the file's shape."""
        if missing := self.shape.fault(row.fields):
            return RowProblem(row.line, *missing)
        try:
            shaped = FileRow(row.line, self.shape.converted(row.fields), row.cells)
        except BadRowError as error:
            return RowProblem(row.line, error.text, error.hint)
        if self._suite and (fault := self._fault(row, shaped)):
            return RowProblem(row.line, fault.text, fault.hint)
        if self._suite and self.shape.unlike and not self.shape.marks(row.fields):
            return RowProblem(row.line, f"{self.shape.unlike}, and the file is read as {self.shape.name}", ONE_SHAPE)
        return shaped

    def _fault(self, row: FileRow, shaped: FileRow) -> BadRowError | None:
        """What keeps a row from being asked as it is meant: a part that nothing reads, or what its shape says."""
        for name in self._unread_media:
            if row.fields.get(name):
                hint = "remove the row, or map what can be asked without it with `columns`"
                return BadRowError(f"the row has `{name}`, and only text can be asked", hint)
        for name in self._unread_options:
            options = row.fields.get(name)
            if isinstance(options, list) and len(options) > 1:
                hint = f"map it: columns: {{prompt: FIELD, choices: {name}, answer: FIELD}}"
                return BadRowError(f"the row has `{name}`, which {self.shape.name} do not have", hint)
        for value in shaped.fields.values():
            if type(value) is BadRowError:
                return value
        return None

    def unused(self) -> list[str]:
        """The columns of the rows read so far that nothing reads."""
        return [name for name in self.columns if name and name not in self._used and not self.shape.reads(name)]


def lowered(row: FileRow | RowProblem) -> FileRow | RowProblem:
    """A row of a table under the names that its columns have in the known shapes: ``Question`` is ``question``."""
    if isinstance(row, RowProblem) or not row.cells:
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
    """A row of a table with the JSON in its cells decoded; of any other row only a conversation that is text."""
    if isinstance(row, RowProblem):
        return row
    if not row.cells:
        written = {name: row.fields[name] for name in _TALKS if isinstance(row.fields.get(name), str)}
        return replace(row, fields={**row.fields, **_talks(written)}) if written else row
    return replace(row, fields={name: _decoded(name, value) for name, value in row.fields.items()})


def _talks(written: dict[str, Any]) -> dict[str, Any]:
    """The conversations that exporters have written as JSON within JSON."""
    talks = {name: _decoded(name, value) for name, value in written.items()}
    return {name: talk for name, talk in talks.items() if is_conversation(talk)}


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
        content = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value
    return content if isinstance(content, dict) or is_conversation(content) else value
