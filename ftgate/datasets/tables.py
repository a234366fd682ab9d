"""Data files as streams of rows, in any supported format; an unreadable row is a RowProblem in the stream."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ftgate.errors import DatasetError

MAX_ROW_BYTES = 10_000_000
"""Longer rows are refused: usually the file is broken."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """What is wrong with one row. ``line`` is where the row starts; 0 stands for the whole file."""

    line: int
    text: str
    hint: str
    fatal: bool = False
    """Nothing after this row could be read."""


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row of a file. ``cells``: lists are written as text, as in CSV."""

    line: int
    fields: Mapping[str, Any]
    cells: bool = False


class _UnreadableError(Exception):
    """A line that cannot be decoded, in a format whose rows may span lines."""

    def __init__(self, problem: RowProblem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def read_rows(path: Path) -> Iterator[FileRow | RowProblem]:
    """Every row of a JSONL, CSV or Parquet file with its line (Parquet: row number), without blank lines.

    Raises DatasetError if the file is missing, unreadable, or has another suffix.
    """
    if "\0" in str(path):
        raise DatasetError(f"{str(path)!a}: not a file name: it contains a NUL character", hint="check the path")
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        hint = "use .jsonl (one JSON object a line), .csv or .parquet"
        if path.suffix.lower() == ".json":
            hint += f"; convert a list of objects with: jq -c '.[]' {path.name} > {path.stem}.jsonl"
        raise DatasetError(f"{path}: unsupported format {path.suffix or '(no suffix)'}", hint=hint)
    try:
        if path.exists() and not path.is_file():
            raise DatasetError(f"{path}: not a file", hint="name a file, not a folder")
        yield from reader(path)
    except FileNotFoundError:
        raise DatasetError(
            f"{path}: no such file",
            hint="check the path: in a file it is relative to that file, on the command line to the current folder",
        ) from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}", hint="check its permissions") from None


def _lines(file: BinaryIO) -> Iterator[tuple[int, str | RowProblem]]:
    """Every line with its number, decoded, without byte order mark; or what is wrong with it."""
    number = 0
    while line := file.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > MAX_ROW_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_ROW_BYTES)
            yield number, RowProblem(number, f"the row is longer than {MAX_ROW_BYTES:,} bytes", "shorten or split it")
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError as error:
            problem = f"not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1}"
            if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                problem += " (the file looks like UTF-16)"
            yield number, RowProblem(number, problem, "save the file as UTF-8")


def _jsonl(path: Path) -> Iterator[FileRow | RowProblem]:
    with path.open("rb") as file:
        for number, line in _lines(file):
            if isinstance(line, RowProblem):
                yield line
            elif line and not line.isspace():
                yield _json_row(number, line)


def _json_row(number: int, line: str) -> FileRow | RowProblem:
    try:
        value = _DECODER.decode(line)
    except json.JSONDecodeError as error:
        start = line.strip()
        shown = ascii(start if len(start) <= 60 else start[:57] + "...")
        return RowProblem(number, f"not valid JSON: {error.msg} at column {error.colno}: {shown}", "fix that line")
    except (ValueError, RecursionError) as error:
        return RowProblem(number, f"not valid JSON: {error}", "fix that line")
    if not isinstance(value, dict):
        return RowProblem(
            number, f"a row must be a JSON object, found {kind_of(value)}", 'write {"id": ..., "prompt": ...}'
        )
    return FileRow(number, value)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"field {next(n for n in names if names.count(n) > 1)!r} occurs twice in one object")
    return value


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not valid JSON")


def _csv(path: Path) -> Iterator[FileRow | RowProblem]:
    """Rows by the names in the header. Quoted cells may span lines; a row is reported at the line where it starts."""
    old_limit = csv.field_size_limit(MAX_ROW_BYTES)
    start = 0
    try:
        with path.open("rb") as file:
            reader = csv.reader(_decoded(file), strict=True)
            header = [name.strip() for name in next(reader, [])]
            problem = _header_problem(header)
            if problem is not None:
                yield problem
                return
            start = reader.line_num
            for cells in reader:
                line, start = start + 1, reader.line_num
                if len(cells) == len(header):
                    yield FileRow(line, dict(zip(header, cells, strict=True)), cells=True)
                elif cells:
                    text = f"{len(cells)} cells, but the header has {len(header)}"
                    yield RowProblem(line, text, "quote cells that hold commas or line breaks")
    except _UnreadableError as error:
        yield error.problem
    except csv.Error as error:
        yield RowProblem(start + 1, f"not valid CSV: {error}", "check the quotes of that row", fatal=True)
    finally:
        csv.field_size_limit(old_limit)


def _decoded(file: BinaryIO) -> Iterator[str]:
    for _, line in _lines(file):
        if isinstance(line, RowProblem):
            raise _UnreadableError(RowProblem(line.line, line.text, line.hint, fatal=True))
        yield line


def _header_problem(header: list[str]) -> RowProblem | None:
    if len(header) == 1 and re.search(r"[;\t]", header[0]):
        return RowProblem(1, f"the header {header[0]!r} has no commas", "separate cells by commas", fatal=True)
    duplicate = next((name for name in header if name and header.count(name) > 1), None)
    if duplicate is not None:
        return RowProblem(1, f"column {duplicate!r} occurs twice in the header", "rename one of them", fatal=True)
    return None


def _parquet(path: Path) -> Iterator[FileRow | RowProblem]:
    with path.open("rb"):
        pass  # the caller reports a missing file, for all formats alike
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=4096):
                for fields in batch.to_pylist():
                    number += 1
                    yield FileRow(number, fields)
    except (pa.ArrowException, ValueError, OSError) as error:
        reason = str(error).partition("\n")[0]
        yield RowProblem(
            number + 1 if number else 0, f"not readable as Parquet: {reason}", "write it again", fatal=True
        )


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)


def kind_of(value: Any) -> str:
    """The JSON type of ``value``, in words."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
