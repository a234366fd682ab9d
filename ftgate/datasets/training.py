"""Training data: read row by row, never held in memory; bad rows are counted instead of fatal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftgate.datasets.suites import bad_rows
from ftgate.datasets.tables import FileRow, RowProblem, read_rows
from ftgate.errors import ConfigurationError

_USERS = ("user", "human")
_KNOWN = "messages, conversations, prompt, instruction (and input), question or text"
MOST_PROBLEMS = 1000
"""Bad rows that are remembered to be named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What one training row says: the ``turns`` of its user, and every text in it (``texts``), whatever its field.

    ``turns`` is empty where it cannot be told what the user said. ``line`` is where the row stands.
    """

    line: int
    turns: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """A training file that was read once and can be read again: one row is in memory at a time.

    ``sha256`` is the file's. ``rows`` hold user text, ``skipped`` do not or could not be read. ``path`` is None where
    only the record of an earlier run is left.
    """

    sha256: str
    rows: int
    source: str
    skipped: int = 0
    path: Path | None = None

    def passages(self) -> Iterator[Passage]:
        """Every row that can be read, in file order. Raises ConfigurationError where the file is not at hand."""
        if self.path is None:
            raise ConfigurationError(
                f"the training data {self.source} is not read again here",
                hint="the run was cut short before it was compared with: run `ftgate run` again",
            )
        return (_passage(row) for row in read_rows(self.path) if isinstance(row, FileRow))

    def texts(self) -> Iterator[str]:
        """The user text of every row that has one, in file order: ``rows`` of them."""
        found = (_readable(passage) for passage in self.passages())
        return (text for text in found if text is not None)


def read_training_texts(path: Path, what: str = "training data") -> TrainingData:
    """Read a JSONL, CSV or Parquet file once, counting the rows whose user text can be told.

    The first field of these that is present counts: ``messages`` (``role``/``content``) or ``conversations``
    (``from``/``value``), of which all user turns are joined by line breaks; ``prompt``, as text or as messages;
    ``instruction``, joined with ``input`` if there is one; ``question``; ``text``, whole. Ids are not needed. Rows with
    none of them are skipped and counted. ``what`` is what errors call the file. Raises DatasetError when no row is
    usable, or when the file breaks off.
    """
    rows = skipped = 0
    problems: list[RowProblem] = []
    for row in read_rows(path):
        found = row if isinstance(row, RowProblem) else _problem(row)
        if found is None:
            rows += 1
            continue
        if found.fatal:
            raise bad_rows(what, path, [found])
        skipped += 1
        if skipped <= MOST_PROBLEMS:
            problems.append(found)
    if not rows:
        where = "training_data out of the manifest" if what == "training data" else "it out"
        nothing = [RowProblem(0, "empty: it holds no row", f"add rows, or leave {where}")]
        raise bad_rows(what, path, problems or nothing)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return TrainingData(digest, rows, str(path), skipped, path)


def _problem(row: FileRow) -> RowProblem | None:
    turns = _turns(row.fields)
    text = "\n".join(turns)
    if not text.strip():
        return RowProblem(
            row.line, f"no user text among the fields {', '.join(map(ascii, row.fields))}", f"give {_KNOWN}"
        )
    if not _encodable(text):
        return RowProblem(row.line, "the text holds half a character (a lone surrogate)", "export it again")
    return None


def _readable(passage: Passage) -> str | None:
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
    """What the user said, turn by turn; nothing where no known field says it."""
    for name in ("messages", "conversations", "prompt", "instruction", "question", "text"):
        value = fields.get(name)
        if isinstance(value, str) and name in ("messages", "conversations"):
            value = _parsed(value)
        if isinstance(value, list):
            return _user_turns(value)
        if isinstance(value, str):
            more = fields.get("input") if name == "instruction" else None
            return (f"{value}\n{more}" if isinstance(more, str) and more.strip() else value,)
    return ()


def _parsed(text: str) -> Any:
    """A list of messages in a CSV cell."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _user_turns(turns: list[Any]) -> tuple[str, ...]:
    said = [
        turn.get("content", turn.get("value"))
        for turn in turns
        if isinstance(turn, Mapping) and turn.get("role", turn.get("from")) in _USERS
    ]
    return tuple(text for text in said if isinstance(text, str))


def _texts(fields: Mapping[str, Any]) -> Iterator[str]:
    """Every text in a row, however deep: what leaked may stand in a field that no one thought of."""
    waiting: list[Any] = [fields]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting.extend(reversed(list(value.values())))
        elif isinstance(value, list):
            waiting.extend(reversed(value))
