"""Training data: read row by row, never held in memory; bad rows are counted and not fatal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftgate.datasets.problems import RowProblem, RowProblems
from ftgate.datasets.tables import FileRow, read_rows
from ftgate.errors import ConfigurationError
from ftgate.files import Stamp, settled_stamps

_USERS = ("user", "human")
_USER_TEXT_FIELDS = "messages, conversations, prompt, instruction (and input), question or text"


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
    the record of an earlier run is available. ``stamp`` is the file's from before it was read.
    """

    sha256: str
    rows: int
    source: str
    skipped: int = 0
    path: Path | None = None
    stamp: Stamp = ()

    def passages(self) -> Iterator[Passage]:
        """Every readable row, in file order. Raises ConfigurationError if the file is not available."""
        if self.path is None:
            raise ConfigurationError(
                f"the training data {self.source} are not available here",
                hint="the run ended before it compared them with the suites: run `ftgate run` again",
            )
        return (_passage(row) for row in read_rows(self.path) if isinstance(row, FileRow))

    def texts(self) -> Iterator[str]:
        """The user text of every row that has one, in file order: ``rows`` of them."""
        texts = (_user_text(passage) for passage in self.passages())
        return (text for text in texts if text is not None)


def read_training_texts(path: Path, what: str = "training data") -> TrainingData:
    """Read a JSONL, CSV or Parquet file once and count the rows with user text.

    The first of these fields counts: ``messages`` (``role``/``content``) or ``conversations`` (``from``/``value``), all
    user turns joined by line breaks; ``prompt``, as text or messages; ``instruction``, joined with ``input`` if
    present; ``question``; ``text``, whole. Ids are not needed. Rows without any of them are skipped and counted.
    ``what`` is what errors call the file. Raises DatasetError if no row is usable, or the file cannot be read to its
    end.
    """
    rows = 0
    problems = RowProblems()
    (stamp,) = settled_stamps([path])
    for row in read_rows(path):
        problem = row if isinstance(row, RowProblem) else _row_problem(row)
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
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return TrainingData(digest, rows, str(path), problems.rows, path, stamp)


def _row_problem(row: FileRow) -> RowProblem | None:
    turns = _turns(row.fields)
    text = "\n".join(turns)
    if not text.strip():
        return RowProblem(
            row.line, f"no user text in the fields {', '.join(map(ascii, row.fields))}", f"use {_USER_TEXT_FIELDS}"
        )
    if not _encodable(text):
        return RowProblem(row.line, "the text contains a lone surrogate", "export it again")
    return None


def _user_text(passage: Passage) -> str | None:
    text = "\n".join(passage.turns)
    return text if text.strip() and _encodable(text) else None


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _passage(row: FileRow) -> Passage:
    return Passage(row.line, _turns(row.fields), tuple(_texts(row.fields)))


def _turns(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """What the user said, turn by turn; empty if no known field has it."""
    for name in ("messages", "conversations", "prompt", "instruction", "question", "text"):
        value = fields.get(name)
        if isinstance(value, str) and name in ("messages", "conversations"):
            value = _parse_json(value)
        if isinstance(value, list):
            return _user_turns(value)
        if isinstance(value, str):
            more_input = fields.get("input") if name == "instruction" else None
            return (f"{value}\n{more_input}" if isinstance(more_input, str) and more_input.strip() else value,)
    return ()


def _parse_json(text: str) -> Any:
    """The list of messages in a CSV cell."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _user_turns(turns: list[Any]) -> tuple[str, ...]:
    contents = [
        turn.get("content", turn.get("value"))
        for turn in turns
        if isinstance(turn, Mapping) and turn.get("role", turn.get("from")) in _USERS
    ]
    return tuple(text for text in contents if isinstance(text, str))


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
