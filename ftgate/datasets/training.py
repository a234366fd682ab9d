"""Training data: read row by row, never held in memory; bad rows are counted and not fatal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ftgate.config.columns import Columns
from ftgate.datasets.problems import BadRowError, RowProblem, RowProblems
from ftgate.datasets.reader import ShapedFile
from ftgate.datasets.shapes.mapped import mapped
from ftgate.datasets.tables import FileRow
from ftgate.datasets.tools import tools_of, turn_calls
from ftgate.domain import Message, ToolCall, digest_of
from ftgate.errors import ConfigurationError
from ftgate.files import Stamp, settled_stamps

_REMEDY = (
    "use messages, conversations, prompt, instruction (and input), question, text or another known shape, or name the "
    "fields: training_data: {columns: {prompt: FIELD}} in the manifest, query_log_columns in the policy, `ftgate tail "
    "build --column prompt=FIELD`; `ftgate suite import FILE --column prompt=FIELD --out rows.jsonl` converts a file"
)


@dataclass(frozen=True, slots=True)
class Passage:
    """The texts of one training row: the ``turns`` of its user, and all ``texts`` in any field.

    ``turns`` is empty if the user's part is unknown. ``line`` is the row's line, counted through all files.
    """

    line: int
    turns: tuple[str, ...]
    texts: tuple[str, ...]


class Conversation(NamedTuple):
    """The turns of a row up to its last user turn, and the tools that could be called."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Training files that were read once and can be read again, one row in memory at a time.

    ``sha256`` is the file's, or of several files the tree digest's. ``rows`` have user text; ``skipped`` have none or
    are unreadable. ``paths`` is empty if only the record of an earlier run is available. ``stamps`` are those of the
    files from before they were read. ``shape`` is the name of the shape that the rows have, ``faults`` say why rows
    were skipped. ``columns`` is how the manifest maps the fields.
    """

    sha256: str
    rows: int
    source: str
    skipped: int = 0
    paths: tuple[Path, ...] = ()
    stamps: tuple[Stamp, ...] = ()
    shape: str = ""
    faults: tuple[str, ...] = ()
    columns: Columns | None = None

    def passages(self) -> Iterator[Passage]:
        """Every readable row, in file order. Raises ConfigurationError if the files are not available."""
        return (
            Passage(row.line, _user_turns(messages_of(shaped)), tuple(_texts(row.fields)))
            for row, shaped in _all_shaped(self._files(), self.columns)
            if isinstance(row, FileRow)
        )

    def conversations(self) -> Iterator[Conversation]:
        """The conversation of every row that has user text, in file order: ``rows``."""
        for _, shaped in _all_shaped(self._files(), self.columns):
            messages = messages_of(shaped)
            if isinstance(shaped, FileRow) and _problem(shaped, messages) is None:
                last = max(i for i, message in enumerate(messages) if message.role == "user")
                yield Conversation(messages[: last + 1], _tools(shaped))

    def texts(self) -> Iterator[str]:
        """The user text of every row that has one, in file order: ``rows`` of them."""
        return (user_text(messages) for messages, _ in self.conversations())

    def _files(self) -> tuple[Path, ...]:
        if not self.paths:
            raise ConfigurationError(
                f"the training data {self.source} are not available here",
                hint="the run ended before it compared them with the suites: run `ftgate run` again",
            )
        return self.paths

    def reading(self) -> str:
        """How the rows were read, and how many have no text."""
        if not self.skipped:
            return f"{self.rows:,} row{'s' * (self.rows != 1)}, read as {self.shape}"
        rows = f"{self.rows:,} of {self.rows + self.skipped:,} rows have user text, read as {self.shape}"
        return f"{rows}; of the others: {'; '.join(self.faults[:3])}" if self.faults else rows


def _shaped(path: Path, columns: Columns | None) -> ShapedFile:
    return ShapedFile(path, suite=False, shape=None if columns is None else mapped(columns))


def _all_shaped(
    paths: Sequence[Path], columns: Columns | None
) -> Iterator[tuple[FileRow | RowProblem, FileRow | RowProblem]]:
    """The rows of all files, as they are and as ftgate's fields; lines count on from file to file."""
    before = 0
    for path in paths:
        line = 0
        for row, shaped in _shaped(path, columns):
            line = row.line
            yield (
                (row, shaped)
                if not before
                else (
                    replace(row, line=line + before),
                    replace(shaped, line=line + before),
                )
            )
        before += line


def read_training_texts(
    *paths: Path, what: str = "training data", columns: Columns | None = None, most: int | None = None
) -> TrainingData:
    """Read data files of any shape, or as ``columns`` map it, once and count the rows with user text.

    With ``most`` only so many rows of each file are read, to see what they are like.

    Several ``paths`` are the files of one split. Ids are not needed. Rows without user text, or of another shape than
    their file's, are skipped and counted. ``what`` is what errors call the data. Raises DatasetError if no row of a
    file is usable, or a file cannot be read to its end.
    """
    stamps = tuple(settled_stamps(paths))
    parts = [_read(path, what, columns, most) for path in paths]
    digests = [[path.name, path.stat().st_size, part.sha256] for path, part in zip(paths, parts, strict=True)]
    return TrainingData(
        parts[0].sha256 if len(parts) == 1 else digest_of(sorted(digests)),  # as a snapshot of these files has it
        sum(part.rows for part in parts),
        ", ".join(map(str, paths)),
        sum(part.skipped for part in parts),
        tuple(paths),
        stamps,
        ", ".join(dict.fromkeys(part.shape for part in parts)),
        tuple(dict.fromkeys(fault for part in parts for fault in part.faults)),
        columns,
    )


def _read(path: Path, what: str, columns: Columns | None, most: int | None) -> TrainingData:
    """What one file holds."""
    rows = 0
    problems = RowProblems()
    file = _shaped(path, columns)
    for row, shaped in islice(file, most):
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
    return TrainingData(
        digest, rows, str(path), problems.rows, shape=file.shape.name, faults=tuple(problems.summaries())
    )


def _tools(shaped: FileRow) -> tuple[Mapping[str, Any], ...]:
    """The tools of a row; none where they cannot be read, which is no fault of data whose text alone matters."""
    try:
        return tools_of(shaped.fields.get("tools"))
    except BadRowError:
        return ()


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
            _REMEDY,
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
