"""Reading a suite completely before anything else, and writing it in one normal form."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from ftgate.config.columns import Columns
from ftgate.datasets.problems import RowProblem, RowProblems
from ftgate.datasets.reader import ShapedFile
from ftgate.datasets.references import Needs, Places
from ftgate.datasets.rows import read_item
from ftgate.datasets.shapes import LEFT_OUT, OWN
from ftgate.datasets.shapes.mapped import mapped
from ftgate.datasets.tables import FileRow
from ftgate.datasets.task_rows import request_fields
from ftgate.domain import Item, Suite, canonical, digest_of
from ftgate.errors import DatasetError
from ftgate.files import write_whole
from ftgate.scoring.tool_calls import openai_turn

MAX_REPEATS_SHOWN = 3
"""Lines of repeated rows that are named; the rest are counted."""
MAX_COLUMNS_SHOWN = 8
"""Unused columns that are named; the rest are counted."""


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Pauses Python's search for cycles: rows make none, and it would look through all of them again and again."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


@_no_garbage_collection()
def read_suite(
    name: str, path: Path, *, needs: Needs, columns: Columns | None = None, most: int | None = None
) -> Suite:
    """Read ``path`` as the suite ``name``, in the shape that its rows have or that ``columns`` gives them.

    With ``most`` only so many rows are read, to see what they are like.

    In tables, lists are JSON or separated by bars. In a file without ids they are made of the content. Rows that repeat
    another one are left out and counted (:func:`distinct_items`). Raises one DatasetError with all that is wrong with
    any row.
    """
    file = ShapedFile(path, suite=True, shape=None if columns is None else mapped(columns))
    reading = _SuiteReading(needs, make_ids=not file.has_ids)
    for _, row in islice(file, most):
        reading.add(row)
    if columns is not None and file.columns:
        reading.require_columns(file)
    if reading.problems.rows:
        shape = f" (read as {file.shape.name})" if file.shape.name != OWN.name else ""
        raise reading.problems.error(f"suite {name}{shape}", path)
    items = reading.items
    if not items and reading.left_out.rows:
        raise reading.left_out.error(f"suite {name} (read as {file.shape.name}): no row is left", path)
    if not items:
        raise DatasetError(f"suite {name}: {path} is empty (no rows)", hint="add rows, or name another file")
    notes = (f"read as {file.shape.name}", *unused_text(file.unused()), *reading.left_out.summaries())
    warnings = (*suspects_text(file.suspects()), *reading.places.warnings())
    return suite_of_items(name, items, str(path), notes, warnings)


def suite_of_items(
    name: str, items: Sequence[Item], source: str, notes: tuple[str, ...] = (), warnings: tuple[str, ...] = ()
) -> Suite:
    """The distinct ones of ``items`` as a suite, with their fingerprint and the lines of the others."""
    distinct = distinct_items(items)
    kept = {item.line for item in distinct}
    repeats = tuple(item.line for item in items if item.line not in kept)
    return Suite(name, distinct, digest_of([_content(item) for item in distinct]), source, repeats, notes, warnings)


class _SuiteReading:
    """The rows of a suite while they are read: items, and what is wrong with the others."""

    def __init__(self, needs: Needs, *, make_ids: bool) -> None:
        self._needs, self._make_ids, self._lines = needs, make_ids, dict[str, int]()
        self.items: list[Item] = []
        self.problems, self.left_out, self.places = RowProblems(), RowProblems(), Places()

    def require_columns(self, file: ShapedFile) -> None:
        """Note the columns that the mapping names and no row has."""
        missing = [name for name in file.shape.uses if not {name, name.partition(".")[0]} & set(file.columns)]
        if missing:
            text = f"columns names {_names(missing)}, and the file has {_names(list(file.columns))}"
            self.problems.add([RowProblem(0, text, "correct `columns`")])

    def add(self, row: FileRow | RowProblem) -> None:
        """Read one row."""
        if isinstance(row, FileRow) and (reason := row.fields.get(LEFT_OUT)):
            self.left_out.add([RowProblem(row.line, f"left out: {reason}", "add rows that can be asked and scored")])
            return
        read = [row] if isinstance(row, RowProblem) else read_item(row, self._needs, make_ids=self._make_ids)
        if isinstance(read, list):
            self.problems.add(read)
            return
        item = read.item
        first = self._lines.setdefault(item.id, item.line)
        if first != item.line and not read.made_id:
            text = f"id {item.id!a} is already used at line {first}"
            hint = "give every row a unique id, or none: ids are then made of the content"
            self.problems.add([RowProblem(item.line, text, hint)])
            return
        self.places.add(read.place, len(item.choices))
        self.items.append(item)


def unused_text(columns: Sequence[str]) -> list[str]:
    """A sentence that names the columns that nothing reads; none if there are none."""
    if not columns:
        return []
    return [f"{_names(columns)} {'is' if len(columns) == 1 else 'are'} not used; map what matters with `columns`"]


def suspects_text(columns: Sequence[str]) -> list[str]:
    """A question about unread columns that look like a part of the prompt or like the right answer."""
    if not columns:
        return []
    return [
        f"{_names(columns)} {'is' if len(columns) == 1 else 'are'} not used: does the prompt or the answer need "
        f"{'it' if len(columns) == 1 else 'them'}? If so, map all that is asked with `columns`"
    ]


def _names(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - MAX_COLUMNS_SHOWN} more" if len(columns) > MAX_COLUMNS_SHOWN else ""
    return ", ".join(f"`{name[:40]}`" for name in columns[:MAX_COLUMNS_SHOWN]) + more


def distinct_items(items: Sequence[Item]) -> tuple[Item, ...]:
    """``items`` without those that repeat an earlier one: the same conversation, choices and reference.

    White space at either end of a text makes no difference. A model answers a repeated row as it answered the first, so
    the row says nothing new. The row that is kept gets the tags of its repeats. Rows that differ only in their
    reference are one cluster: the one that the first of them with a cluster names, or a new one. Rows that name
    different clusters keep them.
    """
    kept: dict[tuple[Any, ...], Item] = {}
    for item in items:
        rule = (item.check and canonical(item.check), item.request)
        key = (_prompt(item), item.answer and item.answer.strip(), rule)
        first = kept.get(key)
        kept[key] = item if first is None else replace(first, tags=tuple(dict.fromkeys((*first.tags, *item.tags))))
    prompts = Counter(prompt for prompt, *_ in kept)
    names: dict[Any, str] = {}
    for (prompt, *_), item in kept.items():
        if prompts[prompt] > 1 and item.cluster is not None:
            names.setdefault(prompt, item.cluster)
    return tuple(
        replace(item, cluster=names.setdefault(prompt, f"the prompt of {item.id}"))
        if prompts[prompt] > 1 and item.cluster is None
        else item
        for (prompt, *_), item in kept.items()
    )


def repeats_text(suite: Suite) -> str:
    """How many rows of ``suite`` were left out as repeats, and where the first of them are; empty if none were."""
    count = len(suite.repeats)
    if not count:
        return ""
    lines = ", ".join(map(str, suite.repeats[:MAX_REPEATS_SHOWN]))
    if count > MAX_REPEATS_SHOWN:
        lines += f" and {count - MAX_REPEATS_SHOWN:,} more"
    if count == 1:
        return f"1 row repeats another one and is left out (line {lines} of `{suite.source}`)"
    return f"{count:,} rows repeat another one and are left out (lines {lines} of `{suite.source}`)"


def _prompt(item: Item) -> tuple[Any, ...]:
    """All of a row that a model is asked, without white space at either end of its texts."""
    turns = tuple((m.role, m.content.strip(), m.tool_calls) for m in item.messages)
    return turns, tuple(map(str.strip, item.choices)), item.tools and canonical(item.tools)


def read_parts(
    name: str, paths: Sequence[Path], *, needs: Needs, columns: Columns | None = None, most: int | None = None
) -> Suite:
    """The rows of several files, one file after the other, as the suite ``name``; of one file what read_suite gives.

    Raises DatasetError as :func:`read_suite` does, and where an id occurs in two of the files.
    """
    parts = [read_suite(name, path, needs=needs, columns=columns, most=most) for path in paths]
    if len(parts) == 1:
        return parts[0]
    items = tuple(item for part in parts for item in part.items)
    source = ", ".join(part.source for part in parts)
    if twice := [taken for taken, count in Counter(item.id for item in items).items() if count > 1]:
        text = f"suite {name}: id {twice[0]!a} occurs in more than one of {source}"
        raise DatasetError(text, hint="give every row an id that no other row has")
    repeats = tuple(line for part in parts for line in part.repeats)
    notes, warnings = (
        tuple(dict.fromkeys(text for texts in texts_of_parts for text in texts))
        for texts_of_parts in ([part.notes for part in parts], [part.warnings for part in parts])
    )
    return Suite(name, items, digest_of([_content(item) for item in items]), source, repeats, notes, warnings)


def write_suite(suite: Suite, path: Path) -> None:
    """Write ``suite`` as JSON lines, atomically. Reading it back gives the same items and fingerprint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(json.dumps(_as_row(item), ensure_ascii=True) + "\n" for item in suite.items))


def _content(item: Item) -> list[Any]:
    """The content of an item, independent of file, line and format: what is fingerprinted."""
    turns = [m.key for m in item.messages]
    content: list[Any] = [item.id, turns, list(item.choices), item.answer, list(item.tags), item.cluster]
    if item.tools:
        content += [item.check, list(item.tools)]
    elif item.check is not None:
        content.append(item.check)
    return content if item.request is None else [*content, {"lm_eval": request_fields(item.request)}]


def _as_row(item: Item) -> Mapping[str, Any]:
    fields: Iterable[tuple[str, Any]] = [
        ("id", item.id),
        ("messages", [openai_turn(m) for m in item.messages]),
        ("tools", list(item.tools)),
        ("choices", [] if item.request is not None else list(item.choices)),
        ("answer", item.answer),
        ("tags", list(item.tags)),
        ("cluster", item.cluster),
        ("check", item.check),
        ("lm_eval", None if item.request is None else request_fields(item.request)),
    ]
    return {name: value for name, value in fields if value not in (None, [])}
