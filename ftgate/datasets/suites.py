"""Reading a suite whole, before anything else happens, and writing it down again in one normal form."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftgate.datasets.rows import Needs, read_item
from ftgate.datasets.tables import RowProblem, read_rows
from ftgate.domain import Item, Suite, digest_of
from ftgate.errors import DatasetError

MOST_SHOWN = 20
"""How many bad rows one error names; the rest are counted."""


def read_suite(name: str, path: Path, *, needs: Needs) -> Suite:
    """Every row of ``path`` as the suite ``name``.

    Fields of a row: ``id``; ``prompt``, or ``messages`` that end with the user; where needed ``choices`` and
    ``answer``; and, if wanted, ``tags``, ``cluster`` and ``check``. In CSV, lists are JSON or parts between bars.
    Raises one DatasetError that names all bad rows (up to twenty, then a count) by file and line.
    """
    items: list[Item] = []
    problems: list[RowProblem] = []
    lines: dict[str, int] = {}
    for row in read_rows(path):
        found = row if isinstance(row, RowProblem) else read_item(row, needs)
        if isinstance(found, RowProblem):
            problems.append(found)
            continue
        first = lines.setdefault(found.id, found.line)
        if first != found.line:
            text = f"id {found.id!a} is taken already by line {first}"
            problems.append(RowProblem(found.line, text, "give every row an id that no other row has"))
            continue
        items.append(found)
    if problems:
        raise bad_rows(f"suite {name}", path, problems)
    if not items:
        raise DatasetError(f"suite {name}: {path} is empty: it holds no row", hint="add rows, or name another file")
    return Suite(name, tuple(items), digest_of([_content(item) for item in items]), str(path))


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
    return Suite(name, items, digest_of([_content(item) for item in items]), source)


def write_suite(suite: Suite, path: Path) -> None:
    """Write ``suite`` as JSON lines, whole or not at all. Reading it back gives the same items and fingerprint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(_as_row(item), ensure_ascii=True) + "\n" for item in suite.items)
    partial.replace(path)


def bad_rows(what: str, path: Path, problems: Sequence[RowProblem]) -> DatasetError:
    """One error that names up to twenty of ``problems`` by file and line, and counts the rest."""
    shown = [f"{path}:{p.line}: {p.text}" if p.line else f"{path}: {p.text}" for p in problems[:MOST_SHOWN]]
    hints = "; ".join(dict.fromkeys(p.hint for p in problems[:MOST_SHOWN]))
    if len(problems) == 1:
        return DatasetError(f"{what}: {shown[0]}", hint=hints)
    if len(problems) > MOST_SHOWN:
        shown.append(f"and {len(problems) - MOST_SHOWN:,} more")
    return DatasetError(f"{what}: {len(problems):,} bad rows\n  " + "\n  ".join(shown), hint=hints)


def _content(item: Item) -> list[Any]:
    """What an item says, wherever it stood and however it was written: the part that is fingerprinted."""
    turns = [[m.role, m.content] for m in item.messages]
    said = [item.id, turns, list(item.choices), item.answer, list(item.tags), item.cluster]
    return said if item.check is None else [*said, item.check]


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
