"""Answers that runs share: the second candidate on a base asks only itself, and its judge only about its answers.

A store is a folder, by default ``answers`` in the cache, or a prefix in an object store. An answer is found under its
content address (:func:`ftgate.gate.journal.answer_key`): the weights' digests, the engine with versions and settings,
and the question with all that its answer depends on. ``<shelf>/<seal>.jsonl.gz`` holds answers of one model on one
engine; the seal is an HMAC-SHA256 of the file's bytes, so that a torn, altered or foreign file is noticed and its
answers are asked again. Files are only ever written whole and under a new name: several runners may share a store.

What must be measured anew is never taken from a store: questions that are asked again on purpose (``Question.repeat``).
The A/A test therefore compares stored answers with the engine of this run.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from ftgate.artifacts.resolve import open_cache
from ftgate.artifacts.sources.objects import file_system
from ftgate.config.policy import ArtifactSettings
from ftgate.domain import Answer, Question
from ftgate.errors import ArtifactError, ChangedError, ConfigurationError
from ftgate.files import write_whole
from ftgate.jobs.journal_lines import STORED_ANSWER, answer_fields, answer_of

MODE, KEY = "FTGATE_ANSWERS", "FTGATE_ANSWERS_KEY"
"""Environment variables: what a run may do with the store (``write``, ``read``, ``off``), and what seals depend on."""
SUFFIX = ".jsonl.gz"
LARGEST = 1 << 29
"""Bytes of one file, unpacked: more is not read."""
MOST_FILES = 8
"""Files of a shelf; with as many, the next run that writes puts them into one."""
DAYS = 90
"""A file on this machine that no run has used for so long is removed. An object store has rules of its own for that."""


@dataclass(slots=True)
class Shelf:
    """The answers of one model on one engine: those in the store's files, and those that this run adds."""

    answers: dict[str, Answer]
    names: list[str]
    new: dict[str, Answer] = field(default_factory=dict)


class AnswerStore:
    """The store in ``folder`` of the fsspec file system ``files``; ``note`` says what could not be read or written.

    Nothing that goes wrong here ends a run: what cannot be read is asked again.
    """

    def __init__(
        self, files: Any, folder: str, *, key: bytes = b"", writes: bool = True, note: Callable[[str], None]
    ) -> None:
        self._files, self._folder = files, folder.rstrip("/")
        self._key, self._writes, self._note = key, writes, note
        self._shelves: dict[str, Shelf] = {}
        self._used: set[tuple[str, str]] = set()

    def has(self, shelf: str, key: str, question: Question) -> bool:
        """Whether :meth:`take` would give an answer."""
        answer = None if question.repeat else self._shelf(shelf).answers.get(key)
        return answer is not None and len(answer.option_logprobs) == len(question.options)

    def take(self, shelf: str, key: str, question: Question) -> Answer | None:
        """The stored answer under ``key``; None if there is none, or if the question asks for a new one."""
        if not self.has(shelf, key, question):
            return None
        answer = self._shelf(shelf).answers[key]
        self._used.add((shelf, key))
        return replace(answer, continued=question.continued)

    def add(self, shelf: str, key: str, question: Question, answer: Answer) -> None:
        """Have :meth:`save` keep an answer that the engine gave just now."""
        if self._writes and not question.repeat and answer.error is None:
            self._shelf(shelf).new[key] = answer

    def forget(self) -> None:
        """Add nothing of this run."""
        for shelf in self._shelves.values():
            shelf.new.clear()

    def save(self) -> None:
        """Write what was added, one file a shelf, and remove files that are contained in it or too old."""
        if self._used:
            self._note(f"{len(self._used):,} answers came from earlier runs on the same weights and engine")
            self._used.clear()
        if not self._writes:
            return
        try:
            for name, shelf in self._shelves.items():
                self._write(f"{self._folder}/{name}", shelf)
            if self._on_this_machine:
                self._expire()
        except Exception as error:
            self._note(f"answers are not shared with other runs: cannot write to {self._folder}: {error}")

    @property
    def _on_this_machine(self) -> bool:
        return isinstance(self._files, LocalFileSystem)

    def _write(self, folder: str, shelf: Shelf) -> None:
        if not shelf.new:
            return
        merged = len(shelf.names) >= MOST_FILES
        content = _pack({**shelf.answers, **shelf.new} if merged else shelf.new)
        name = f"{folder}/{self._seal(content)}{SUFFIX}"
        if self._on_this_machine:
            Path(folder).mkdir(parents=True, exist_ok=True)
            write_whole(Path(name), content)
        else:
            self._files.pipe_file(name, content)  # one request: no reader sees half of it
        shelf.answers.update(shelf.new)
        shelf.new = {}
        for old in shelf.names if merged else ():
            self._remove(old)
        shelf.names = [name] if merged else [*shelf.names, name]

    def _expire(self) -> None:
        """Mark the files that this run read as used, and remove those that none has used for long."""
        now = time.time()
        for shelf in self._shelves.values():
            for name in shelf.names:
                with suppress(OSError):
                    os.utime(name)
        for path, entry in self._files.find(self._folder, detail=True).items():
            if path.endswith(SUFFIX) and now - entry["mtime"] > DAYS * 86_400:
                self._remove(path)

    def _shelf(self, name: str) -> Shelf:
        if name not in self._shelves:
            self._shelves[name] = self._read(f"{self._folder}/{name}")
        return self._shelves[name]

    def _read(self, folder: str) -> Shelf:
        shelf = Shelf({}, [])
        try:
            listed = sorted(self._files.ls(folder, detail=True, refresh=True), key=lambda entry: str(entry["name"]))
        except FileNotFoundError:
            return shelf
        except Exception as error:
            self._note(f"no answers are taken from other runs: cannot read {folder}: {error}")
            return shelf
        for entry in listed:
            path = str(entry["name"])
            if not path.endswith(SUFFIX):
                continue
            try:
                for key, answer in self._unpack(path).items():
                    shelf.answers.setdefault(key, answer)
            except Exception as error:
                # It stays: under another FTGATE_ANSWERS_KEY it may be sound.
                self._note(f"the answers in {path} do not count and are asked again: {error}")
            else:
                shelf.names.append(path)
        return shelf

    def _unpack(self, path: str) -> dict[str, Answer]:
        content: bytes = self._files.cat_file(path)
        if not hmac.compare_digest(self._seal(content), path.rpartition("/")[2].removesuffix(SUFFIX)):
            raise ValueError("its bytes are not those that its name is made of")
        with gzip.open(BytesIO(content), "rb") as file:
            lines = file.read(LARGEST + 1)
        if len(lines) > LARGEST:
            raise ValueError(f"it unpacks to more than {LARGEST:,} bytes")
        records = map(json.loads, lines.splitlines())
        return {str(record["key"]): answer_of(STORED_ANSWER.validate_python(record["answer"])) for record in records}

    def _seal(self, content: bytes) -> str:
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()

    def _remove(self, path: str) -> None:
        with suppress(OSError):  # another runner may have removed it
            self._files.rm_file(path)


def _pack(answers: Mapping[str, Answer]) -> bytes:
    packed = BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as file:
        for key, answer in sorted(answers.items()):
            file.write(json.dumps({"key": key, "answer": answer_fields(answer)}).encode() + b"\n")
    return packed.getvalue()


def open_store(settings: ArtifactSettings, note: Callable[[str], None]) -> AnswerStore | None:
    """The store that the policy names, or the one in the cache; None if FTGATE_ANSWERS is ``off``.

    Raises ConfigurationError for another value of that variable, and for a store that this installation cannot reach.
    """
    mode = os.environ.get(MODE) or "write"
    if mode not in ("write", "read", "off"):
        raise ConfigurationError(
            f"{MODE}={mode}: not a way to use the answers that runs share",
            hint="set it to write (the default), read (for runs that are not trusted) or off",
        )
    if mode == "off":
        return None
    key, writes = os.environ.get(KEY, "").encode(), mode == "write"
    if settings.answers_store is None:
        return AnswerStore(
            LocalFileSystem(), str(open_cache(settings).root / "answers"), key=key, writes=writes, note=note
        )
    scheme, _, location = settings.answers_store.partition("://")
    try:
        files = file_system(scheme, settings.answers_store)
    except ArtifactError as error:
        raise ConfigurationError(f"artifacts.answers_store: {error.message}", hint=error.hint) from None
    return AnswerStore(files, location, key=key, writes=writes, note=note)


@contextmanager
def sharing(store: AnswerStore | None) -> Iterator[None]:
    """Have ``store`` keep what the body added, also if it is cut short; nothing if files changed under it."""
    try:
        yield
    except ChangedError:
        if store is not None:
            store.forget()
        raise
    finally:
        if store is not None:
            store.save()
