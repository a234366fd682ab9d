"""JSON values one after the other, or in one list, from a file of any size."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from ftgate.datasets.problems import MAX_ROW_BYTES, RowProblem

_CHUNK = 1 << 16
_SPACE, _SPACE_OR_COMMA = re.compile(r"[ \t\r\n]*"), re.compile(r"[ \t\r\n,]*")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"field {next(n for n in names if names.count(n) > 1)!r} occurs twice in one object")
    return value


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not valid JSON")


DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
"""Refuses what the standard library allows beyond JSON: NaN, and a field that occurs twice."""


def json_values(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Every value with its number, counted from 1: the entries of a list, or else the values in the file.

    One value, of at most MAX_ROW_BYTES characters, is in memory at a time. Ends with a fatal RowProblem where the file
    cannot be read on.
    """
    text, number = _Text(file), 1
    try:
        in_list = text.skip(_SPACE) == "["
        if in_list:
            text.take(1)
        while True:
            following = text.skip(_SPACE_OR_COMMA)
            if not following and in_list:
                raise ValueError("the list has no end")
            if not following:
                return
            if in_list and following == "]":
                text.take(1)
                if text.skip(_SPACE):
                    raise ValueError("text after the end of the list")
                return
            yield number, text.value()
            number += 1
    except UnicodeDecodeError as error:
        where = f"not UTF-8: byte 0x{error.object[error.start]:02x}"
        if number == 1 and error.object.startswith((b"\xff\xfe", b"\xfe\xff")):
            where += " (the file looks like UTF-16)"
        yield number, RowProblem(number, where, "save the file as UTF-8", fatal=True)
    except (ValueError, RecursionError) as error:
        reason = f"not valid JSON at line {text.line}: {error}"
        yield number, RowProblem(number, reason, "correct or export the file", fatal=True)


class _Text:
    """A text that is read as far as needed. ``line`` is the line of its next character."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._decode = file, codecs.getincrementaldecoder("utf-8-sig")().decode
        self._text, self._at, self._ended = "", 0, False
        self.line = 1

    def _more(self, size: int) -> bool:
        """Read on; False at the end of the file."""
        chunk = self._file.read(size)
        self._text, self._at = self._text[self._at :] + self._decode(chunk, final=not chunk), 0
        self._ended = not chunk
        return not self._ended

    def skip(self, spaces: re.Pattern[str]) -> str:
        """The next character after ``spaces``; empty at the end."""
        while True:
            match = spaces.match(self._text, self._at)
            self.take(match.end() - self._at if match else 0)
            if self._at < len(self._text) or not self._more(_CHUNK):
                return self._text[self._at : self._at + 1]

    def take(self, count: int) -> None:
        self.line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def value(self) -> Any:
        """The next value. Raises ValueError if it is not valid, or too long."""
        size = _CHUNK
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > MAX_ROW_BYTES:
                    raise ValueError(f"no whole value within {MAX_ROW_BYTES:,} characters ({error.msg})") from None
                if self._ended or not self._more(size):
                    raise ValueError(error.msg) from None
                size *= 2
                continue
            if end == len(self._text) and isinstance(value, int | float) and not self._ended and self._more(_CHUNK):
                continue  # the number may go on
            self.take(end - self._at)
            return value
