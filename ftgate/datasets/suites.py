"""Reading a suite completely before anything else, and writing it in one normal form."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftgate.datasets.rows import Needs, read_item
from ftgate.datasets.tables import RowProblem, read_rows
from ftgate.domain import Item, Suite, canonical, digest_of
from ftgate.errors import DatasetError

MAX_SHOWN = 20
"""Bad rows that one error lists; the rest are counted."""


def read_suite(name: str, path: Path, *, needs: Needs) -> Suite:
    """Read ``path`` as the suite ``name``.

    Fields of a row: ``id``; ``prompt``, or ``messages`` that end with the user; ``choices`` and ``answer`` where
    needed; optionally ``tags``, ``cluster`` and ``check``. In CSV, lists are JSON or separated by bars. Rows that
    repeat another one are left out and counted (:func:`distinct_items`). Raises one DatasetError that lists all bad
    rows by file and line (up to twenty, then a count).
    """
    items: list[Item] = []
    problems: list[RowProblem] = []
    lines: dict[str, int] = {}
    for row in read_rows(path):
        item = row if isinstance(row, RowProblem) else read_item(row, needs)
        if isinstance(item, RowProblem):
            problems.append(item)
            continue
        first = lines.setdefault(item.id, item.line)
        if first != item.line:
            text = f"id {item.id!a} is already used at line {first}"
            problems.append(RowProblem(item.line, text, "give every row a unique id"))
            continue
        items.append(item)
    if problems:
        raise bad_rows(f"suite {name}", path, problems)
    if not items:
        raise DatasetError(f"suite {name}: {path} is empty (no rows)", hint="add rows, or name another file")
    distinct = distinct_items(items)
    fingerprint = digest_of([_content(item) for item in distinct])
    return Suite(name, distinct, fingerprint, str(path), repeats=len(items) - len(distinct))


def distinct_items(items: Sequence[Item]) -> tuple[Item, ...]:
    """``items`` without those that repeat an earlier one: the same conversation, choices and reference.

    A model answers a repeated row as it answered the first, so the row says nothing new. The row that is kept gets the
    tags of its repeats. Rows that differ only in their reference are one cluster. Rows with a cluster of their own are
    left as they are.
    """
    kept: dict[Any, Item] = {}
    prompts = Counter[Any]()
    for item in items:
        prompt = (item.messages, item.choices)
        key = item.id if item.cluster is not None else (*prompt, item.answer, canonical(item.check))
        if key in kept:
            first = kept[key]
            kept[key] = replace(first, tags=tuple(dict.fromkeys((*first.tags, *item.tags))))
            continue
        kept[key] = item
        prompts[prompt] += item.cluster is None
    firsts: dict[Any, str] = {}
    for key, item in kept.items():
        prompt = (item.messages, item.choices)
        if item.cluster is None and prompts[prompt] > 1:
            kept[key] = replace(item, cluster=f"the prompt of {firsts.setdefault(prompt, item.id)}")
    return tuple(kept.values())


def read_parts(name: str, paths: Sequence[Path], *, needs: Needs) -> Suite:
    """The rows of several files, one file after the other, as the suite ``name``; of one file what read_suite gives.

    Raises DatasetError as :func:`read_suite` does, and where an id occurs in two of the files.
    """
    parts = [read_suite(name, path, needs=needs) for path in paths]
    if len(parts) == 1:
        return parts[0]
    items = tuple(item for part in parts for item in part.items)
    source = ", ".join(part.source for part in parts)
    if twice := [taken for taken, count in Counter(item.id for item in items).items() if count > 1]:
        text = f"suite {name}: id {twice[0]!a} occurs in more than one of {source}"
        raise DatasetError(text, hint="give every row an id that no other row has")
    repeats = sum(part.repeats for part in parts)
    return Suite(name, items, digest_of([_content(item) for item in items]), source, repeats)


def write_suite(suite: Suite, path: Path) -> None:
    """Write ``suite`` as JSON lines, atomically. Reading it back gives the same items and fingerprint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(_as_row(item), ensure_ascii=True) + "\n" for item in suite.items)
    partial.replace(path)


def bad_rows(what: str, path: Path, problems: Sequence[RowProblem]) -> DatasetError:
    """One error that lists up to twenty of ``problems`` by file and line, and counts the rest."""
    shown = [f"{path}:{p.line}: {p.text}" if p.line else f"{path}: {p.text}" for p in problems[:MAX_SHOWN]]
    hints = "; ".join(dict.fromkeys(p.hint for p in problems[:MAX_SHOWN]))
    if len(problems) == 1:
        return DatasetError(f"{what}: {shown[0]}", hint=hints)
    if len(problems) > MAX_SHOWN:
        shown.append(f"and {len(problems) - MAX_SHOWN:,} more")
    return DatasetError(f"{what}: {len(problems):,} bad rows\n  " + "\n  ".join(shown), hint=hints)


def _content(item: Item) -> list[Any]:
    """The content of an item, independent of file, line and format: what is fingerprinted."""
    turns = [[m.role, m.content] for m in item.messages]
    content = [item.id, turns, list(item.choices), item.answer, list(item.tags), item.cluster]
    return content if item.check is None else [*content, item.check]


def _as_row(item: Item) -> Mapping[str, Any]:
    fields: Iterable[tuple[str, Any]] = [
        ("id", item.id),
        ("messages", [{"role": m.role, "content": m.content} for m in item.messages]),
        ("choices", list(item.choices)),
        ("answer", item.answer),
        ("tags", list(item.tags)),
        ("cluster", item.cluster),
        ("check", item.check),
    ]
    return {name: value for name, value in fields if value not in (None, [])}
