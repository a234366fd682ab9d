"""The journal: every answer, appended as soon as it arrives, so that nothing is asked twice.

One JSON object a line. An ``answer`` line holds prompt and answer, keyed by the content of the question, the digests of
the model and the configuration of the engine; a ``failure`` line says why there is none; a ``fact`` line holds
another result that is expensive to compute (distances, a control); a ``score`` line holds an item's two scores. The
file is append-only, and each line carries a checksum: see :mod:`ftgate.jobs.journal_lines`. A last line that was cut
short by a kill is removed when the journal is next opened.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from ftgate.domain import Answer, EngineInfo, Model, Question, canonical
from ftgate.errors import StoreError
from ftgate.files import cannot_write
from ftgate.jobs.journal_lines import HEADER, answer_fields, answer_of, encode, read_lines
from ftgate.models.chat import asked_differently
from ftgate.models.rendering import MAY_THINK

NOT_A_NUMBER = "not a number"
"""An answer whose error contains this stops the run, instead of counting as one failed item."""


def answer_key(model: Model, question: Question, engine: EngineInfo) -> str:
    """The content address of an answer: a digest of everything that it depends on."""
    return answer_keys(model, engine)(question)


def answer_keys(model: Model, engine: EngineInfo) -> Callable[[Question], str]:
    """:func:`answer_key` for the questions to one model; the part they share is hashed once."""
    common = _shared_part(model, engine)

    def key(question: Question) -> str:
        digest = common.copy()
        digest.update(_content(question))
        return digest.hexdigest()

    return key


def shelf_of(model: Model, engine: EngineInfo) -> str:
    """What all addresses of one model on one engine have in common, in 40 hex digits."""
    return _shared_part(model, engine).hexdigest()[:40]


def _shared_part(model: Model, engine: EngineInfo) -> hashlib._Hash:
    weights: list[Any] = [model.digest, model.base.digest if model.base is not None else None]
    if "merge" in model.facts:
        weights.append(model.facts["merge"]["with"])
    # An older version asked every template as it was, with thinking off, and the settings of an engine leave out
    # defaults. Any other setting of thinking is in the address by itself.
    rendering = [
        what for what in model.facts.get("rendering", ()) if what != MAY_THINK or "thinking" not in engine.settings
    ]
    if rendering:
        weights.append(rendering)
    if asked := asked_differently(model):
        weights.append(asked)
    return hashlib.sha256(canonical([weights, engine_identity(engine)])[:-1] + b",")


@lru_cache(maxsize=1)
def _content(question: Question) -> bytes:
    """The question's part of an address, kept once, for the next model: all would be a copy of the prompts."""
    return canonical(question.content()) + b"]"


def engine_identity(engine: EngineInfo) -> dict[str, Any]:
    """The part of an engine's description that can change a result."""
    return {
        "kind": engine.kind,
        "versions": dict(engine.versions),
        "device": engine.device,
        "dtype": engine.dtype,
        "settings": dict(engine.settings),
    }


class Journal:
    """An open journal. It is locked: a second process that opens it gets a StoreError."""

    def __init__(self, path: Path, reuse: Iterable[Path] = ()) -> None:
        """Open ``path`` for appending. Answers in the journals of ``reuse`` are copied over when they are needed."""
        self.path = path
        self._answers: dict[str, Answer] = {}
        self._failures: dict[str, str] = {}
        self._facts: dict[str, Any] = {}
        self._scores: dict[tuple[str, str], tuple[float, float]] = {}
        self._reused: dict[str, dict[str, Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: FileIO = path.open("ab+", buffering=0)  # no buffer: what was appended survives a kill
        self._lock()
        try:
            records, self._length = read_lines(path)
            self._cut_back()
            if not self._length:
                self._append([HEADER])
            self._length_before = self._length
        except BaseException:
            self.close()
            raise
        for record in records:
            self._remember(record)
        for reused_path in reuse:
            if reused_path.exists():
                records, _ = read_lines(reused_path)
                self._reused.update({r["key"]: r for r in records if r["type"] in ("answer", "fact")})

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release its lock."""
        with suppress(OSError):  # a full disk was reported when it was written to
            self._file.close()

    def discard(self) -> None:
        """Remove everything that was appended since the journal was opened."""
        self._length = self._length_before
        self._cut_back()

    def sync(self) -> None:
        """Have the disk keep everything so far, in case the machine loses power."""
        with suppress(OSError):  # some file systems cannot, and the lines are in the file either way
            os.fsync(self._file.fileno())

    def answer(self, key: str) -> Answer | None:
        """The answer under ``key``, here or in a reused journal; None if there is none."""
        if key not in self._answers and key in self._reused and self._reused[key]["type"] == "answer":
            self._append([self._reused[key]])
        return self._answers.get(key)

    def has_answer(self, key: str) -> bool:
        """Whether there is an answer under ``key``, here or in a reused journal."""
        return key in self._answers or self._reused.get(key, {}).get("type") == "answer"

    def add_answers(self, entries: Sequence[tuple[str, Model, Question, Answer]]) -> None:
        """Append answers. For a failed one only the reason is kept; the next run may ask again."""
        self._append([_answer_record(*entry) for entry in entries if NOT_A_NUMBER not in (entry[3].error or "")])

    def failure(self, key: str) -> Answer | None:
        """The failed answer under ``key``, if this journal holds a failure and no answer."""
        error = self._failures.get(key)
        return Answer(finish="error", error=error) if error is not None and key not in self._answers else None

    def add_failure(self, key: str, error: str) -> None:
        """Append why there is no fact under ``key``: the next run computes it again."""
        if self._failures.get(key) != error:
            self._append([{"type": "failure", "key": key, "error": error}])

    def has_fact(self, key: str) -> bool:
        """Whether there is a value under ``key``, here or in a reused journal."""
        return key in self._facts or self._reused.get(key, {}).get("type") == "fact"

    def fact(self, key: str, compute: Callable[[], Any]) -> Any:
        """The JSON value under ``key``; computed by ``compute`` and appended if it is missing."""
        if key not in self._facts and key in self._reused and self._reused[key]["type"] == "fact":
            self._append([self._reused[key]])
        if key not in self._facts:
            self._append([{"type": "fact", "key": key, "value": compute()}])
        return self._facts[key]

    def add_scores(self, measurement: str, item_ids: Sequence[str], scores: Sequence[tuple[float, float]]) -> None:
        """Append the (base, candidate) scores of items that are new or have changed."""
        changed = [
            {"type": "score", "measurement": measurement, "item": item, "base": pair[0], "candidate": pair[1]}
            for item, pair in zip(item_ids, scores, strict=True)
            if self._scores.get((measurement, item)) != pair
        ]
        self._append(changed)

    def _append(self, records: Sequence[Mapping[str, Any]]) -> None:
        if not records:
            return
        lines = b"".join(encode(record) for record in records)
        written = 0
        try:
            while written < len(lines):
                written += self._file.write(lines[written:]) or 0
        except OSError as error:
            self._cut_back()
            raise cannot_write(self.path, len(lines), error) from None
        self._length += written
        for record in records:
            self._remember(record)

    def _cut_back(self) -> None:
        """Remove what follows the last whole line: the start of one that could not be written to its end."""
        if self._file.seek(0, os.SEEK_END) != self._length:
            self._file.truncate(self._length)

    def _remember(self, record: Mapping[str, Any]) -> None:
        if record["type"] == "answer":
            continued = record.get("continued", False)
            self._answers[record["key"]] = answer_of(record["answer"], continued=continued)
        elif record["type"] == "failure":
            self._failures[record["key"]] = str(record["error"])
        elif record["type"] == "fact":
            self._facts[record["key"]] = record["value"]
        elif record["type"] == "score":
            pair = (float(record["base"]), float(record["candidate"]))
            self._scores[(record["measurement"], record["item"])] = pair

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise StoreError(
                f"{self.path} is in use by another ftgate process", hint="wait for it, or give another --out"
            ) from None


def _answer_record(key: str, model: Model, question: Question, answer: Answer) -> dict[str, Any]:
    question_fields = {
        "key": key,
        "model": model.name,
        "digest": model.digest,
        "measurement": question.measurement,
        "item": question.item_id,
        "part": question.part,
        **question.content(),
    }
    if answer.error is not None:
        return {"type": "failure", **question_fields, "error": answer.error}
    return {"type": "answer", **question_fields, "answer": answer_fields(answer)}
