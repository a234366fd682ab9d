"""Keep what an inference engine prints out of the reader's sight, and find in it what went wrong."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_GENERIC = ("Engine core initialization failed", "EngineCore encountered an issue", "EngineDeadError")
_EXCEPTION = re.compile(
    r"^(?:\([^()]*\)\s*)*"  # (EngineCore pid=12)
    r"(?:(?:ERROR|CRITICAL) \S+ \S+ \[[^\]]*\]\s*)?"  # ERROR 01-31 12:00:00 [core.py:12]
    r"((?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b(?::.*)?)$"
)


@contextmanager
def redirected(log: Path) -> Iterator[None]:
    """Append everything written to file descriptors 1 and 2 to ``log``, by whatever library or child process.

    Nests; gives both descriptors back whatever happens. A child process keeps what it inherited, so that its later
    output goes to ``log`` too.
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
    """How far ``log`` reaches now, as a starting point for :func:`first_exception`."""
    return log.stat().st_size if log.exists() else 0


def first_exception(log: Path, since: int = 0) -> str | None:
    """The first line of ``log`` after byte ``since`` that names an exception and says more than that one happened."""
    try:
        with log.open("rb") as lines:
            lines.seek(since)
            text = lines.read().decode("utf-8", errors="replace")
    except OSError:
        return None
    found = (match.group(1).strip() for line in text.splitlines() if (match := _EXCEPTION.match(line.strip())))
    return next((line for line in found if not any(word in line for word in _GENERIC)), None)


def cause_of(error: BaseException, log: Path, since: int = 0) -> str:
    """What to tell the reader: ``error`` itself, unless it only says that a child process failed."""
    own = f"{type(error).__name__}: {error}".strip()
    if any(word in own for word in _GENERIC):
        return first_exception(log, since) or own
    return own


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
