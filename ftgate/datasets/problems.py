"""What is wrong with the rows of a data file: all of it at once, and the same fault of many rows told once."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftgate.errors import DatasetError

MAX_ROW_BYTES = 10_000_000
"""Longer rows are refused: usually the file is broken."""
MAX_FAULTS = 20
"""Different faults that one error lists; the rest are counted."""
MAX_LINES = 5
"""Lines that are named for each fault."""
_VALUES = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\[[^]]*\]|\d[\d,.]*""")


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One fault of one row. ``line`` is where the row starts; 0 stands for the whole file."""

    line: int
    text: str
    hint: str
    fatal: bool = False
    """Nothing after this row could be read."""

    @property
    def kind(self) -> tuple[str, str]:
        """The same for the same fault of another row: the texts without the values that they quote."""
        if self.text.startswith("unknown field"):
            return self.text, self.hint
        return _VALUES.sub("", self.text), _VALUES.sub("", self.hint)


class BadRowError(Exception):
    """What is wrong with a part of a row. Never leaves this package."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


@dataclass(slots=True)
class _Fault:
    """A fault and the rows that have it: the first of them, the first lines, and their number."""

    first: RowProblem
    lines: list[int] = field(default_factory=list)
    rows: int = 0


class RowProblems:
    """The faults of all rows of one file. Memory does not grow with the number of bad rows."""

    def __init__(self) -> None:
        self.rows = 0
        """How many rows have a fault."""
        self._faults: dict[tuple[str, str], _Fault] = {}
        self._more = 0

    def add(self, problems: Sequence[RowProblem]) -> None:
        """Add all faults of one row."""
        self.rows += 1
        for problem in problems:
            fault = self._faults.get(problem.kind)
            if fault is None and len(self._faults) == MAX_FAULTS:
                self._more += 1
                continue
            fault = fault or self._faults.setdefault(problem.kind, _Fault(problem))
            fault.rows += 1
            if len(fault.lines) < MAX_LINES:
                fault.lines.append(problem.line)

    def summaries(self) -> list[str]:
        """Every fault with the lines that have it, each on one line; those that are not listed are counted."""
        more = [f"and {self._more:,} more"] if self._more else []
        return [_with_lines(fault) for fault in self._faults.values()] + more

    def error(self, what: str, path: Path) -> DatasetError:
        """One error with every fault, the lines that have it, and what to do about it."""
        faults = list(self._faults.values())
        hints = list(dict.fromkeys(fault.first.hint for fault in faults))
        listed = [
            f"{path}:{f.first.line}: {_with_lines(f)}" if f.first.line else f"{path}: {f.first.text}" for f in faults
        ]
        if len(faults) == 1 and self.rows == 1:
            return DatasetError(f"{what}: {listed[0]}", hint=hints[0])
        if len(hints) > 1:
            listed = [f"{text}\n    what to do: {fault.first.hint}" for text, fault in zip(listed, faults, strict=True)]
        if self._more:
            listed.append(f"and {self._more:,} more faults")
        rows = f"{self.rows:,} bad row{'s' * (self.rows > 1)}"
        hint = hints[0] if len(hints) == 1 else "correct the rows as said under each fault"
        return DatasetError(f"{what}: {rows}\n  " + "\n  ".join(listed), hint=hint)


def _with_lines(fault: _Fault) -> str:
    if fault.rows == 1:
        return fault.first.text
    more = ", ..." if fault.rows > len(fault.lines) else ""
    return f"{fault.first.text} ({fault.rows:,} rows: lines {', '.join(map(str, fault.lines))}{more})"


def kind_of(value: Any) -> str:
    """The JSON type of ``value``, in words."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def quoted(value: Any) -> str:
    """``value`` for an error message: on one line, in ASCII, at most 80 characters."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def one_line(text: str) -> str:
    """A message of ours that quotes the row, in ASCII on one line, at most 240 characters."""
    plain = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    return plain if len(plain) <= 240 else plain[:237] + "..."


def is_plain(value: Any) -> bool:
    """Whether ``value`` is a text that can be written to any file without a closer look, as nearly every text is."""
    return type(value) is str and value.isascii() and "\0" not in value and len(value) <= MAX_ROW_BYTES


def text_of(name: str, value: Any, hint: str, *, numbers: bool = False, blank: bool = False) -> str:
    """``value`` as text that can be written to any file. Numbers are converted if ``numbers`` allows it."""
    if is_plain(value) and (blank or value.strip()):
        return str(value)
    if numbers and (type(value) is int or (type(value) is float and math.isfinite(value))):
        return str(value)
    if not isinstance(value, str):
        raise BadRowError(f"{name} must be text, found {kind_of(value)}: {quoted(value)}", hint)
    if not blank and not value.strip():
        raise BadRowError(f"{name} is empty", hint)
    if len(value) > MAX_ROW_BYTES:
        raise BadRowError(f"{name} is longer than {MAX_ROW_BYTES:,} characters", "shorten it")
    if "\0" in value:
        raise BadRowError(f"{name} contains a NUL character at position {value.index(chr(0)) + 1}", "remove it")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadRowError(
                f"{name} contains a lone surrogate ({value[error.start]!a}) at position {error.start + 1}",
                "the text was truncated or decoded wrongly: export it again",
            ) from None
    return value
