"""Training data: only what its users said, read row by row, with bad rows counted instead of fatal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftgate.datasets.suites import bad_rows
from ftgate.datasets.tables import Problem, Row, read_rows

_USERS = ("user", "human")
_KNOWN = "messages, conversations, prompt, instruction (and input), question or text"


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The user's side of every usable training row, in file order.

    ``sha256`` covers the texts and their order. ``rows`` were usable, ``skipped`` were not.
    """

    texts: tuple[str, ...]
    sha256: str
    rows: int
    source: str
    skipped: int = 0


def read_training_texts(path: Path) -> TrainingData:
    """The user text of every row in a JSONL, CSV or Parquet file.

    The first field of these that is present counts: ``messages`` (``role``/``content``) or ``conversations``
    (``from``/``value``), of which all user turns are joined by line breaks; ``prompt``, as text or as messages;
    ``instruction``, joined with ``input`` if there is one; ``question``; ``text``, whole. Ids are not needed. Rows with
    none of them are skipped and counted. Raises DatasetError when no row is usable, or when the file breaks off.
    """
    texts: list[str] = []
    problems: list[Problem] = []
    digest = hashlib.sha256()
    for row in read_rows(path):
        found = row if isinstance(row, Problem) else _user_text(row)
        if isinstance(found, Problem):
            problems.append(found)
            if found.fatal:
                raise bad_rows("training data", path, [found])
            continue
        content = found.encode("utf-8")
        digest.update(len(content).to_bytes(8, "little") + content)
        texts.append(found)
    if not texts:
        nothing = [Problem(0, "empty: it holds no row", "add rows, or leave training_data out of the manifest")]
        raise bad_rows("training data", path, problems or nothing)
    return TrainingData(tuple(texts), digest.hexdigest(), len(texts), str(path), len(problems))


def _user_text(row: Row) -> str | Problem:
    text = _said(row.fields)
    if text is None or not text.strip():
        return Problem(row.line, f"no user text among the fields {', '.join(map(ascii, row.fields))}", f"give {_KNOWN}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return Problem(row.line, "the text holds half a character (a lone surrogate)", "export it again")
    return text


def _said(fields: Mapping[str, Any]) -> str | None:
    for name in ("messages", "conversations", "prompt", "instruction", "question", "text"):
        value = fields.get(name)
        if isinstance(value, str) and name in ("messages", "conversations"):
            value = _parsed(value)
        if isinstance(value, list):
            return _turns(value)
        if isinstance(value, str):
            more = fields.get("input") if name == "instruction" else None
            return f"{value}\n{more}" if isinstance(more, str) and more.strip() else value
    return None


def _parsed(text: str) -> Any:
    """A list of messages in a CSV cell."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _turns(turns: list[Any]) -> str | None:
    said = [
        turn.get("content", turn.get("value"))
        for turn in turns
        if isinstance(turn, Mapping) and turn.get("role", turn.get("from")) in _USERS
    ]
    return "\n".join(text for text in said if isinstance(text, str)) or None
