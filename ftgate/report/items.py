"""Every item of a run with what both models answered: ``items.jsonl.gz``, which the page lets its reader browse.

One JSON object a line. Texts are as the models gave them; whoever shows them escapes them.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ftgate.errors import ConfigurationError

ITEMS = "items.jsonl.gz"
LARGEST = 2_000_000_000
"""Bytes, unpacked: more is refused, because a small file can unpack to any size."""
LEAST_FLIP = 0.2
"""An item counts as changed for a reader from this difference on: a judge grades the same answer so much apart."""
Outcome = Literal["worse", "better", "same", "failed", "left out"]
OUTCOMES: tuple[Outcome, ...] = ("worse", "better", "same", "failed", "left out")
DEFINITION = f"Worse and better: by {100 * LEAST_FLIP:.0f} points or more. Same: by less."
"""What the outcomes mean, wherever they are counted."""


def _whole(text: Any) -> Any:
    """``text`` with a question mark for every half of a character, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(_whole)]


class _ItemModel(BaseModel):
    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True, validate_assignment=True)


class ModelAnswer(_ItemModel):
    """One answer. ``note`` says what its text does not: that there is none and why, or that it was cut."""

    text: Text = ""
    note: Text = ""


class AnswerSide(_ItemModel):
    """What one model answered to an item."""

    score: float | None
    """From 0 to 1, higher is better; null if it is unknown."""
    worth: float | None = None
    """By which the item is worse or better, where that is not ``score``: of a measurement of confidence it is 1 for a
    right answer, else 1 minus the confidence."""
    answers: list[ModelAnswer]
    options: list[float] = Field(default_factory=list)
    """The log-probability of each choice, for the first answer to an item with choices."""
    likelihoods: bool = False
    """Whether ``options`` are log-likelihoods of whole continuations, whose probabilities add up to nothing."""
    grades: dict[Text, float] = Field(default_factory=dict)
    """From the judge, for the first answer: by criterion from 0 to 1, or the probability of each label."""


class ItemRow(_ItemModel):
    """One item of one measurement."""

    measurement: Text
    item: Text
    """Its id, unique in the measurement."""
    outcome: Outcome
    """``worse`` and ``better``: by at least ``LEAST_FLIP``. ``failed``: a model gave no answer that can be scored.
    ``left out``: it does not count, and ``why`` says so."""
    why: Text = ""
    messages: list[tuple[Text, Text]]
    """Role and text of each turn of the prompt."""
    reference: Text | None = None
    choices: list[Text] = Field(default_factory=list)
    tags: list[Text] = Field(default_factory=list)
    slices: list[Text] = Field(default_factory=list)
    """The slices of the report that it belongs to, other than its tags."""
    line: int = 0
    """In the suite's file; 0 if unknown."""
    cluster: Text = ""
    """The items that belong together share it, such as questions on one text; empty for an item of its own."""
    distance: float | None = None
    """From the training data, where that was measured."""
    base: AnswerSide
    candidate: AnswerSide
    incumbent: AnswerSide | None = None

    @property
    def change(self) -> float:
        """What the candidate's answer is worth, minus what the base's is; 0 if either is unknown."""
        base, candidate = (s.score if s.worth is None else s.worth for s in (self.base, self.candidate))
        return 0.0 if base is None or candidate is None else candidate - base


def packed_items(rows: Sequence[ItemRow]) -> bytes:
    """The content of ``items.jsonl.gz``. The same rows give the same bytes."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0, filename="") as file:
        for row in rows:
            file.write(row.model_dump_json(exclude_defaults=True).encode() + b"\n")
    return packed.getvalue()


def read_items(directory: Path) -> list[ItemRow]:
    """The rows in ``directory``; none without the file. Raises ConfigurationError, naming the line, if it is broken."""
    path = directory / ITEMS
    try:
        with gzip.open(path, "rb") as file:
            return [_read(line, path, number) for number, line in enumerate(_limited(file, path), start=1)]
    except FileNotFoundError:
        return []
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"{path}: cannot be unpacked: {error}", hint="run `ftgate decide` again") from None


def _limited(lines: Iterable[bytes], path: Path) -> Iterable[bytes]:
    size = 0
    for line in lines:
        size += len(line)
        if size > LARGEST:
            raise ConfigurationError(f"{path} unpacks to more than {LARGEST:,} bytes", hint="move it away")
        yield line


def _read(line: bytes, path: Path, number: int) -> ItemRow:
    try:
        return ItemRow.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the row"
        raise ConfigurationError(
            f"{path}:{number}: {where}: {first['msg']}", hint="run `ftgate decide` again"
        ) from None
