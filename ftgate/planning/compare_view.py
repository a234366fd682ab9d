"""A comparison of several runs, as a table on a terminal and as a page."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ftgate.errors import ConfigurationError
from ftgate.files import remedy_for, write_whole
from ftgate.measurements.registry import in_order
from ftgate.planning.compare import RunComparison
from ftgate.report import intervals, numbers
from ftgate.report.escape import plain_line
from ftgate.report.schema import MeasurementReport
from ftgate.report.terminal import STYLES

FRONT = "front: no other run gains as much and loses as little, as a share of its tightest limit"
PAGE_WIDTH = 160
"""Columns of the table on a page."""


def print_comparison(comparison: RunComparison, console: Console) -> None:
    """Print one row for each run: verdict, changes with their intervals, and whether it is on the front."""
    reports = [contender.report for contender in comparison.contenders]
    names = in_order({name: m.kind for report in reports for name, m in report.measurements.items()})
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", show_lines=False)
    for heading in ("candidate", "verdict", *(numbers.title(name) for name in names), "front"):
        table.add_column(_plain(heading, console), overflow="fold")
    for at, report in enumerate(reports):
        changes = [_change(report.measurements.get(name), console) for name in names]
        verdict = _plain(numbers.badge(report.verdict), console, STYLES[report.verdict])
        front = _plain(numbers.SYMBOLS["pass"] if at in comparison.front else "", console)
        table.add_row(_plain(plain_line(report.name, 30), console), verdict, *changes, front)
    console.print(table)
    console.print(
        _plain("front: no other run gains as much and loses as little (of its tightest limit)", console, "dim")
    )
    console.print(_plain(selection(comparison), console))


def write_page(comparison: RunComparison, path: Path) -> None:
    """The same as a page of its own, without any request. Raises ConfigurationError if it cannot be written."""
    with Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        console = Console(file=nowhere, record=True, width=PAGE_WIDTH, force_terminal=True)
        print_comparison(comparison, console)
        page = console.export_html(inline_styles=True)
    try:
        write_whole(path, page)
    except OSError as error:
        raise ConfigurationError(f"--html {path}: {error.strerror}", hint=remedy_for(error)) from None


def selection(comparison: RunComparison) -> str:
    """What the best run is worth, on the items that did not choose it."""
    best = comparison.confirmation
    if best is None:
        return f"the best run is not confirmed: {comparison.unconfirmed}"
    gains = [numbers.points(value) for value in (best.chosen_gain, best.gain, best.low, best.high)]
    return plain_line(
        f"The best of {len(comparison.contenders)} is also the luckiest. Half of the common target items chose "
        f"{best.name}, with a gain of {gains[0]}; on the other {best.n}, which did not choose it, it gains {gains[1]} "
        f"[{gains[2]}, {gains[3]}].",
        600,
    )


def _change(m: MeasurementReport | None, console: Console) -> Text:
    if m is None:
        return _plain(numbers.NONE, console)
    shown = f"{numbers.SYMBOLS[m.status]} {numbers.change(m.change, m.unit)}\n{intervals.short(m.interval, m.unit)}"
    return _plain(shown, console, STYLES[m.status])


def _plain(text: str, console: Console, style: str = "") -> Text:
    return Text(numbers.ascii_only(text) if console.options.ascii_only else text, style=style)
