"""Training data: read row by row, never held in memory; bad rows are counted and not fatal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftgate.config.columns import Columns
from ftgate.datasets.problems import BadRowError, RowProblem, RowProblems
from ftgate.datasets.reader import ShapedFile
from ftgate.datasets.shapes.mapped import mapped
from ftgate.datasets.tables import FileRow
from ftgate.datasets.tools import turn_calls
from ftgate.domain import Message, ToolCall
from ftgate.errors import ConfigurationError
from ftgate.files import Stamp, settled_stamps

_USER_TEXT_FIELDS = "messages, conversations, prompt, instruction (and input), question, text or another known shape"


@dataclass(frozen=True, slots=True)
class Passage:
    """The texts of one training row: the ``turns`` of its user, and all ``texts`` in any field.

    ``turns`` is empty if the user's part is unknown. ``line`` is the row's line.
    """

    line: int
    turns: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """A training file that was read once and can be read again, one row in memory at a time.

    ``sha256`` is the file's. ``rows`` have user text; ``skipped`` have none or are unreadable. ``path`` is None if only
    the record of an earlier run is available. ``stamp`` is the file's from before it was read. ``shape`` is the name of
    the shape that its rows have, ``faults`` say why rows were skipped. ``columns`` is how the manifest maps its fields.
    """

    sha256: str
    rows: int
    source: str
    skipped: int = 0
    path: Path | None = None
    stamp: Stamp = ()
    shape: str = ""
    faults: tuple[str, ...] = ()
    columns: Columns | None = None

    def passages(self) -> Iterator[Passage]:
        """Every readable row, in file order. Raises ConfigurationError if the file is not available."""
        return (
            Passage(row.line, _user_turns(messages_of(shaped)), tuple(_texts(row.fields)))
            for row, shaped in _shaped(self._file(), self.columns)
            if isinstance(row, FileRow)
        )

    def conversations(self) -> Iterator[tuple[Message, ...]]:
        """The conversation of every row that has user text, up to its last user turn, in file order: ``rows``."""
        for _, shaped in _shaped(self._file(), self.columns):
            messages = messages_of(shaped)
            if _problem(shaped, messages) is None:
                last = max(i for i, message in enumerate(messages) if message.role == "user")
                yield messages[: last + 1]

    def texts(self) -> Iterator[str]:
        """The user text of every row that has one, in file order: ``rows`` of them."""
        return (user_text(messages) for messages in self.conversations())

    def _file(self) -> Path:
        if self.path is None:
            raise ConfigurationError(
                f"the training data {self.source} are not available here",
                hint="the run ended before it compared them with the suites: run `ftgate run` again",
            )
        return self.path

    def reading(self) -> str:
        """How the rows were read, and how many have no text."""
        if not self.skipped:
            return f"{self.rows:,} row{'s' * (self.rows != 1)}, read as {self.shape}"
        rows = f"{self.rows:,} of {self.rows + self.skipped:,} rows have user text, read as {self.shape}"
        return f"{rows}; of the others: {'; '.join(self.faults[:3])}" if self.faults else rows


def _shaped(path: Path, columns: Columns | None) -> ShapedFile:
    return ShapedFile(path, suite=False, shape=None if columns is None else mapped(columns))


def read_training_texts(path: Path, what: str = "training data", *, columns: Columns | None = None) -> TrainingData:
    """Read a data file of any shape, or as ``columns`` map it, once and count the rows with user text.

    Ids are not needed. Rows without user text, or of another shape than the file's, are skipped and counted.
    ``what`` is what errors call the file. Raises DatasetError if no row is usable, or the file cannot be read to its
    end.
    """
    rows = 0
    problems = RowProblems()
    (stamp,) = settled_stamps([path])
    file = _shaped(path, columns)
    for row, shaped in file:
        problem = _problem(shaped, messages_of(shaped), row)
        if problem is None:
            rows += 1
            continue
        if problem.fatal:
            problems = RowProblems()
            problems.add([problem])
            raise problems.error(what, path)
        problems.add([problem])
    if not rows:
        omission = "training_data out of the manifest" if what == "training data" else "it out"
        if not problems.rows:
            problems.add([RowProblem(0, "empty (no rows)", f"add rows, or leave {omission}")])
        raise problems.error(what, path)
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    faults = tuple(problems.summaries())
    return TrainingData(digest, rows, str(path), problems.rows, path, stamp, file.shape.name, faults, columns)


def _problem(
    shaped: FileRow | RowProblem, messages: Sequence[Message], row: FileRow | RowProblem | None = None
) -> RowProblem | None:
    """Why a row, ``row`` in the file, has no user text; None if it has."""
    if isinstance(shaped, RowProblem):
        return shaped
    text = user_text(messages)
    if not text.strip():
        return RowProblem(
            shaped.line,
            f"no user text in the fields {', '.join(map(ascii, (row if isinstance(row, FileRow) else shaped).fields))}",
            f"use {_USER_TEXT_FIELDS}",
        )
    if not _encodable(text):
        return RowProblem(shaped.line, "the text contains a lone surrogate", "export it again")
    return None


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def messages_of(shaped: FileRow | RowProblem) -> tuple[Message, ...]:
    """The turns of a row with a text; empty for a row that is of another shape. Roles are as in the file."""
    if isinstance(shaped, RowProblem):
        return ()
    prompt, messages = shaped.fields.get("prompt"), shaped.fields.get("messages")
    if isinstance(prompt, str) and not isinstance(messages, list):
        return (Message("user", prompt),)
    turns = messages if isinstance(messages, list) else ()
    return tuple(message for turn in turns if (message := _message(turn)) is not None)


def _message(turn: Any) -> Message | None:
    """A turn with its tool calls; None for one without text and calls. Calls that cannot be read are left out."""
    if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
        return None
    role, content, calls = turn["role"], turn.get("content"), tuple[ToolCall, ...]()
    if turn.get("tool_calls") or turn.get("function_call"):
        with suppress(BadRowError):
            calls = turn_calls("a turn", turn)
    if role == "tool" and isinstance(content, dict | list):
        content = json.dumps(content, ensure_ascii=False, default=str)
    if not isinstance(content, str) and not calls:
        return None
    call_id, name = (turn.get(key) if isinstance(turn.get(key), str) else "" for key in ("tool_call_id", "name"))
    return Message(role, content or "", calls, *((call_id, name) if role == "tool" else ()))


def user_text(messages: Sequence[Message]) -> str:
    """All user turns, joined by line breaks."""
    return "\n".join(_user_turns(messages))


def _user_turns(messages: Sequence[Message]) -> tuple[str, ...]:
    return tuple(message.content for message in messages if message.role == "user")


def _texts(fields: Mapping[str, Any]) -> Iterator[str]:
    """Every text in a row, at any depth: leaked items may be in unexpected fields."""
    pending: list[Any] = [fields]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            pending.extend(reversed(list(value.values())))
        elif isinstance(value, list):
            pending.extend(reversed(value))
