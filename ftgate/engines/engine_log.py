"""Redirecting an inference engine's output to a log, and finding the cause of a failure in it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

_UNINFORMATIVE = ("Engine core initialization failed", "EngineCore encountered an issue", "EngineDeadError")
_EXCEPTION = re.compile(
    r"^(?:\([^()]*\)\s*)*"  # (EngineCore pid=12)
    r"(?:(?:ERROR|CRITICAL) \S+ \S+ \[[^\]]*\]\s*)?"  # ERROR 01-31 12:00:00 [core.py:12]
    r"((?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b(?::.*)?)$"
)


@contextmanager
def redirected(log: Path) -> Iterator[None]:
    """Append everything written to file descriptors 1 and 2, by any library or child process, to ``log``.

    Nests, and always restores both descriptors. Child processes keep writing to ``log`` afterwards.
    """
    _flush()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        saved = [(number, os.dup(number)) for number in (1, 2)]
        try:
            for number, _ in saved:
                os.dup2(sink.fileno(), number)
            yield
        finally:
            _flush()
            for number, copy in saved:
                os.dup2(copy, number)
                os.close(copy)


def size_of(log: Path) -> int:
    """The current size of ``log``, as a starting point for :func:`first_exception`."""
    return log.stat().st_size if log.exists() else 0


def first_exception(log: Path, since: int = 0) -> str | None:
    """The first line of ``log`` after byte ``since`` that names an exception, generic ones left out."""
    try:
        with log.open("rb") as lines:
            lines.seek(since)
            text = lines.read().decode("utf-8", errors="replace")
    except OSError:
        return None
    exceptions = (match.group(1).strip() for line in text.splitlines() if (match := _EXCEPTION.match(line.strip())))
    return next((line for line in exceptions if not any(word in line for word in _UNINFORMATIVE)), None)


def cause_of(error: BaseException, log: Path, since: int = 0) -> str:
    """The error to report: ``error`` itself, or the logged cause if it only says that a child process failed."""
    if isinstance(error, ValidationError):  # vLLM validates its settings with pydantic
        return "; ".join(str(problem["msg"]).removeprefix("Value error, ") for problem in error.errors())
    own = f"{type(error).__name__}: {error}".strip()
    if any(word in own for word in _UNINFORMATIVE):
        return first_exception(log, since) or own
    return own


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
