"""Data files as streams of rows, in any supported format; an unreadable row is a RowProblem in the stream."""

from __future__ import annotations

import csv
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from ftgate.datasets.files import PACKED, format_of, opened, seekable
from ftgate.datasets.json_stream import DECODER, json_values
from ftgate.datasets.problems import MAX_ROW_BYTES, RowProblem, kind_of
from ftgate.errors import DatasetError

PARQUET_ROWS = 1024
"""Rows of a Parquet file that are decoded at a time."""
_WRAPPERS = ("data", "rows", "examples", "instances", "train", "validation", "test")
"""Fields of an object in which exporters put all rows."""
_ASKED = ("prompt", "question", "instruction", "input", "text", "problem", "query")
_SEPARATOR_LINE = re.compile(r"sep=(.)")
"""What a first line of Excel's says, before the header."""
_MAGIC = {b"\x1f\x8b": "packed by gzip", b"\x28\xb5\x2f\xfd": "packed by Zstandard", b"PAR1": "Parquet", b"PK": "a ZIP"}
"""The first bytes of files that are no text, and what they are."""
_SUFFIXES = {"packed by gzip": ".gz", "packed by Zstandard": ".zst", "Parquet": ".parquet"}
_OBJECT_HINT = 'write {"prompt": ..., "answer": ...}'


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row of a file.

    ``cells``: lists are written as text, as in CSV. ``written`` has the file's own names of fields that are read under
    others.
    """

    line: int
    fields: Mapping[str, Any]
    cells: bool = False
    written: Mapping[str, str] | None = None

    def name(self, field: str) -> str:
        """The name of a field as the file has it."""
        return self.written.get(field, field) if self.written else field


class _UnreadableError(Exception):
    """A line that cannot be decoded, in a format whose rows may span lines."""

    def __init__(self, problem: RowProblem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def read_rows(path: Path) -> Iterator[FileRow | RowProblem]:
    """Every row of a data file with its line (Parquet, JSON: row number), without blank lines; one in memory at a time.

    JSONL, JSON (a list of objects, or objects one after the other), CSV, TSV and Parquet, each also as ``.gz`` or
    ``.zst``. Raises DatasetError if the file is missing, unreadable, or has another suffix.
    """
    if "\0" in str(path):
        raise DatasetError(f"{str(path)!a}: not a file name: it contains a NUL character", hint="check the path")
    if path.is_dir():
        raise DatasetError(f"{path}: not a file", hint="name a file, not a folder")
    reader = READERS.get(format_of(path))
    if reader is None:
        raise DatasetError(
            f"{path}: unsupported format {path.suffix or '(no suffix)'}",
            hint=f"use {', '.join(READERS)}, or one of them packed ({', '.join(PACKED)})",
        )
    try:
        if path.exists() and not path.is_file():
            raise DatasetError(f"{path}: not a file", hint="name a file, not a folder")
        _require_text(path)
        yield from reader(path)
    except FileNotFoundError:
        raise DatasetError(
            f"{path}: no such file",
            hint="check the path: in a file it is relative to that file, on the command line to the current folder",
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        if path.suffix.lower() in PACKED and not getattr(error, "errno", None):
            raise DatasetError(f"{path}: cannot be unpacked: {error}", hint="pack or download the file again") from None
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{path}: cannot be read: {reason}", hint="check its permissions") from None


def _require_text(path: Path) -> None:
    """Raise DatasetError for a file that is packed or Parquet under the name of a text file."""
    if path.suffix.lower() not in READERS or path.suffix.lower() == ".parquet":
        return
    with path.open("rb") as file:
        start = file.read(4)
    kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
    if kind == "a ZIP" and start[2:] != b"\x03\x04":  # a header such as PK,name
        return
    if kind is not None:
        end = _SUFFIXES.get(kind)
        name = f"{path.stem if end == '.parquet' else path.name}{end}"
        hint = f"rename it to {name}" if end else "unpack it, or save an .xlsx file as CSV"
        raise DatasetError(f"{path}: the file is {kind}, and its name says {path.suffix}", hint=hint)


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
    first = True
    with opened(path) as file:
        for number, line in _lines(file):
            if isinstance(line, RowProblem):
                yield line
                first = False
            elif line and not line.isspace():
                if first and (text := _other_json(line)):
                    name = path.name.lower().replace(".jsonl", ".json")
                    yield RowProblem(number, text, f"rename it to {name}", fatal=True)
                    return
                first = False
                yield _json_row(number, line)


def _other_json(line: str) -> str:
    """What a file is whose first line is this, if its rows are not one object a line each; empty if they may be."""
    if line.lstrip().startswith("["):
        return "the file is one JSON list, not one JSON object a line"
    if line.strip() == "{":
        return "a JSON object spans several lines, and a .jsonl file has one object a line"
    return "lines end with a comma, and a .jsonl file has nothing between rows" if line.rstrip().endswith("},") else ""


def _within(value: Mapping[str, Any]) -> RowProblem | None:
    """What is wrong with a file whose first value is no row, but holds all of them."""
    for name in _WRAPPERS if not any(isinstance(text, str) for text in map(value.get, _ASKED)) else ():
        if isinstance(value.get(name), list) and value[name] and all(isinstance(row, dict) for row in value[name]):
            hint = f"write that list alone to a file, for instance with: jq .{name} FILE"
            return RowProblem(1, f"the rows are in the field `{name}` of one object", hint, fatal=True)
    if value and all(isinstance(column, dict) and "0" in column for column in value.values()):
        hint = "write a row at a time; with pandas: to_json(path, orient='records', lines=True)"
        return RowProblem(1, "the file is written by columns, not by rows", hint, fatal=True)
    return None


def _squad(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The questions of a file as SQuAD is published: articles with paragraphs with questions."""
    for article in value["data"] if isinstance(value.get("data"), list) else ():
        for paragraph in article.get("paragraphs") or () if isinstance(article, dict) else ():
            for question in paragraph.get("qas") or () if isinstance(paragraph, dict) else ():
                if isinstance(question, dict):
                    yield {"title": article.get("title"), "context": paragraph.get("context"), **question}


def _json(path: Path) -> Iterator[FileRow | RowProblem]:
    """The objects of one list, or of several values one after the other."""
    with opened(path) as file:
        for number, value in json_values(file):
            if number == 1 and isinstance(value, dict) and (questions := list(_squad(value))):
                yield from (FileRow(place, row) for place, row in enumerate(questions, 1))
                return
            if number == 1 and isinstance(value, dict) and (problem := _within(value)):
                yield problem
                return
            if isinstance(value, RowProblem):
                yield value
            elif isinstance(value, dict):
                yield FileRow(number, value)
            else:
                yield RowProblem(number, f"a row must be a JSON object, found {kind_of(value)}", _OBJECT_HINT)


def _json_row(number: int, line: str) -> FileRow | RowProblem:
    try:
        value = DECODER.decode(line)
    except json.JSONDecodeError as error:
        start = line.strip()
        shown = ascii(start if len(start) <= 60 else start[:57] + "...")
        return RowProblem(number, f"not valid JSON: {error.msg} at column {error.colno}: {shown}", "fix that line")
    except (ValueError, RecursionError) as error:
        return RowProblem(number, f"not valid JSON: {error}", "fix that line")
    if not isinstance(value, dict):
        return RowProblem(number, f"a row must be a JSON object, found {kind_of(value)}", _OBJECT_HINT)
    return FileRow(number, value)


def _csv(path: Path, separator: str = "") -> Iterator[FileRow | RowProblem]:
    """Rows by the names in the header. Quoted cells may span lines; a row is reported at the line where it starts.

    Without a ``separator`` it is the comma, or what a header without commas has: a semicolon, as spreadsheets write
    where the comma is decimal, a tab, or a bar. A line ``sep=;`` before the header says it, too.
    """
    old_limit = csv.field_size_limit(MAX_ROW_BYTES)
    start = before = 0
    try:
        with opened(path) as file:
            lines = _decoded(file)
            first = next(lines, "")
            if named := _SEPARATOR_LINE.fullmatch(first.strip().strip('"')):  # Excel's own note
                separator, first, before = named[1], next(lines, ""), 1
            separator = separator or _separator(first)
            reader = csv.reader(chain((first,), lines), strict=True, delimiter=separator)
            header = [name.strip() for name in next(reader, [])]
            problem = _header_problem(header, separator)
            if problem is not None:
                yield problem
                return
            start = reader.line_num + before
            for cells in reader:
                line, start = start + 1, reader.line_num + before
                if len(cells) == len(header):
                    yield FileRow(line, dict(zip(header, cells, strict=True)), cells=True)
                elif cells:
                    yield _uneven(line, len(cells), len(header))
    except _UnreadableError as error:
        yield error.problem
    except csv.Error as error:
        old = "new-line character" in str(error)
        text, hint = (
            ("lines end with a carriage return alone", "save it with the line ends of Unix or Windows")
            if old
            else (str(error), "check the quotes of that row")
        )
        yield RowProblem(start + 1, f"not valid CSV: {text}", hint, fatal=True)
    finally:
        csv.field_size_limit(old_limit)


def _uneven(line: int, cells: int, header: int) -> RowProblem:
    """A row with more or fewer cells than the header."""
    text = f"{cells} cell{'s' * (cells != 1)}, {'more' if cells > header else 'fewer'} than the {header} of the header"
    hint = "quote cells that hold commas or line breaks" if cells > header else "give every row all cells"
    return RowProblem(line, text, hint)


def _separator(header: str) -> str:
    """What separates the cells of a table that has this first line."""
    return next((mark for mark in ",;\t|" if len(next(csv.reader([header], delimiter=mark), [])) > 1), ",")


def _decoded(file: BinaryIO) -> Iterator[str]:
    for _, line in _lines(file):
        if isinstance(line, RowProblem):
            raise _UnreadableError(RowProblem(line.line, line.text, line.hint, fatal=True))
        yield line


def _header_problem(header: list[str], separator: str) -> RowProblem | None:
    if len(header) == 1 and separator == "\t" and re.search("[,;]", header[0]):
        return RowProblem(1, f"the header {header[0]!r} has no tabs", "name the file .csv", fatal=True)
    duplicate = next((name for name in header if name and header.count(name) > 1), None)
    if duplicate is not None:
        return RowProblem(1, f"column {duplicate!r} occurs twice in the header", "rename one of them", fatal=True)
    return None


def _tsv(path: Path) -> Iterator[FileRow | RowProblem]:
    return _csv(path, "\t")


def _parquet(path: Path) -> Iterator[FileRow | RowProblem]:
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    with seekable(path) as file:  # outside: the caller reports a missing or damaged file, for all formats alike
        try:
            with parquet.ParquetFile(file) as table:
                odd = [field.name for field in table.schema_arrow if _is_no_json(field.type)]
                for batch in table.iter_batches(batch_size=PARQUET_ROWS):
                    for fields in batch.to_pylist():
                        number += 1
                        yield FileRow(number, {**fields, **{name: _json_value(fields[name]) for name in odd}})
        except (pa.ArrowException, ValueError, OSError) as error:
            reason = str(error).partition("\n")[0]
            yield RowProblem(
                number + 1 if number else 0, f"not readable as Parquet: {reason}", "write it again", fatal=True
            )


def _is_no_json(kind: Any) -> bool:
    """Whether the values of a column have a type that JSON has not: maps, decimal numbers, dates and times."""
    import pyarrow as pa

    return bool(pa.types.is_map(kind) or pa.types.is_decimal(kind) or pa.types.is_temporal(kind))


def _json_value(value: Any) -> Any:
    """An object for a map, which Arrow gives as a list of pairs, and the text of a decimal number, a date or a time."""
    if value is None:
        return None
    return dict(value) if isinstance(value, list) else str(value)


READERS: Mapping[str, Callable[[Path], Iterator[FileRow | RowProblem]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}
"""What reads each format, by its suffix."""
