"""A comparison of several runs, as tables on a terminal and as a page of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ftgate.errors import ConfigurationError
from ftgate.files import remedy_for, write_whole
from ftgate.planning import compare_rows
from ftgate.planning.compare import Group, RunComparison
from ftgate.planning.compare_rows import Cell
from ftgate.planning.front_svg import front_plot
from ftgate.report import numbers
from ftgate.report.escape import plain_line
from ftgate.report.render import render_page
from ftgate.report.terminal import STYLES

NAME_WIDTH = 24
CELL_WIDTH = 14
"""Columns of a measurement: an interval breaks between its bounds, never inside a number."""
GAP = 2


def print_comparison(comparison: RunComparison, console: Console) -> None:
    """Print each group's changes and what its best run is worth, then, where eyes are, who may merge and why."""
    for group in comparison.groups:
        _print_group(group, console)
        console.print()
    if words := compare_rows.apart(comparison):
        console.print(_text(words, console))
        console.print()
    console.print(_text(plain_line(f"{compare_rows.headline(comparison)}.", 1000), console, "bold"))
    table = _table(console, "candidate", "verdict", "why")
    for c in comparison.contenders:
        verdict = _text(compare_rows.verdict(c.report), console, STYLES[numbers.outcome(c.report)])
        table.add_row(_name(c.label, console), verdict, _text(plain_line(compare_rows.why(c), 300), console))
    console.print(table)
    for note in comparison.notes:
        console.print(_text(plain_line(note, 600), console, "dim"))


def write_page(comparison: RunComparison, path: Path) -> None:
    """The same as a page, which loads nothing. Raises ConfigurationError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, comparison_page(comparison, path.parent))
    except OSError as error:
        raise ConfigurationError(f"--html {path}: {error.strerror}", hint=remedy_for(error)) from None


def comparison_page(comparison: RunComparison, folder: Path) -> str:
    """The page; candidates lead to their own pages, if they are there, by addresses that are relative to ``folder``."""
    links = {
        c.label: Path(os.path.relpath(c.folder / "report.html", folder)).as_posix()
        for c in comparison.contenders
        if (c.folder / "report.html").is_file()
    }
    plots = [front_plot(group) if len(group.contenders) > 1 else "" for group in comparison.groups]
    return render_page(
        "compare.html.j2", comparison=comparison, links=links, plots=plots, view=compare_rows, outcome=numbers.outcome
    )


def _print_group(group: Group, console: Console) -> None:
    """Print as many measurements beside each other as the terminal has room for, with all runs, then the others."""
    names = compare_rows.measurements(group)
    labels = max(min(len(plain_line(c.label, 200)), NAME_WIDTH) for c in group.contenders)
    room = max((console.width - max(labels, len("candidate")) - GAP) // (CELL_WIDTH + GAP), 1)
    differs = f"; {compare_rows.differs(group)}" if group.differs else ""
    console.print(
        _text(plain_line(f"Changes against the base {compare_rows.base(group)}{differs}", 300), console, "bold")
    )
    console.print(
        _text(plain_line(f"{compare_rows.level(group)}; policy {compare_rows.policy(group)}", 300), console, "dim")
    )
    for first in range(0, len(names), room):
        console.print(_changes(group, names[first : first + room], console))
    for words in (compare_rows.trade_offs(group), compare_rows.selection(group)):
        if words:
            console.print(_text(plain_line(words, 1000), console))


def _changes(group: Group, names: Sequence[str], console: Console) -> Table:
    headings = ["\n".join(plain_line(part, 60) for part in compare_rows.heading(group, name)) for name in names]
    table = _table(console, "candidate")
    for heading in headings:
        table.add_column(_text(heading, console), width=CELL_WIDTH)
    limits = (_text(compare_rows.short_limit(group, name), console, "dim") for name in names)
    table.add_row(_text("limit", console, "dim"), *limits)
    for c in group.contenders:
        cells = (compare_rows.cell(c.report.measurements.get(name)) for name in names)
        table.add_row(_name(c.label, console), *(_cell(cell, console) for cell in cells))
    return table


def _cell(cell: Cell | None, console: Console) -> Text:
    """Sign, change and interval without the unit, which is in the heading."""
    if cell is None:
        return _text(numbers.NONE, console, "dim")
    lines = _text(f"{cell.sign} {_bare(cell.change)}", console, STYLES[cell.status])
    if cell.spread != numbers.NONE:
        lines.append_text(_text(f"\n{_bare(cell.spread)}", console, "dim"))
    if cell.deployed_fails:
        lines.append_text(_text(f"\ndeployed: {_bare(cell.deployed.split(' (')[0])}", console, STYLES[cell.status]))
    if cell.tier:
        lines.append_text(_text(f"\n({cell.tier})", console, "dim"))
    return lines


def _bare(words: str) -> str:
    """``words`` without their unit, which is in the heading."""
    return plain_line(words, 100).replace(" points", "").replace(" %", "").replace(" further", "")


def _table(console: Console, *headings: str) -> Table:
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(_text(heading, console), overflow="fold")
    return table


def _name(label: str, console: Console) -> Text:
    return _text("\n".join(_pieces(plain_line(compare_rows.shown(label), 200), NAME_WIDTH)), console)


def _pieces(text: str, width: int) -> Iterable[str]:
    """``text`` in pieces of ``width`` characters: a long name is broken, and never cut."""
    return (text[start : start + width] for start in range(0, max(len(text), 1), width))


def _text(words: str, console: Console, style: str = "") -> Text:
    return Text(numbers.ascii_only(words) if console.options.ascii_only else words, style=style)
