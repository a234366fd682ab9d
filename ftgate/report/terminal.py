"""The report on a terminal or in a CI log: readable at 80 columns, without colour, and in ASCII."""

from __future__ import annotations

from rich.box import ASCII, ROUNDED
from rich.cells import cell_len
from rich.console import Console, OverflowMethod
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ftgate.report import deployed, footnotes, numbers, tables
from ftgate.report.advice.first_step import first_step, more_steps
from ftgate.report.advice.next_steps import next_steps
from ftgate.report.cautions import cautions
from ftgate.report.escape import plain_line
from ftgate.report.explanation import explanation
from ftgate.report.forest_svg import LIMIT_AT, place
from ftgate.report.losses import lost
from ftgate.report.schema import MeasurementReport, Report
from ftgate.scoring import amounts

STYLES = {
    "pass": "green",
    "allow": "bold green",
    "warn": "yellow",
    "block": "bold red",
    "error": "bold red",
    "inconclusive": "magenta",
    "hold": "bold magenta",
    "not_applicable": "dim",
}
BAR_WIDTH = 36
WIDE = 96
"""Columns that a table takes with both the limits and the comparison with the deployed model."""


def print_report(report: Report, console: Console) -> None:
    """Print verdict, table, intervals, reasons and next steps."""
    console.print(_panel(report, console))
    for caution in cautions(report):
        console.print(_text(plain_line(f"! {caution}", 600), console, STYLES["block"]))
    for note in report.notes:
        _print_point(f"note: {note}", console)
    console.print(_table(report, console))
    console.print(_text("\n".join(plain_line(words, 500) for words in footnotes.below(report)), console, "dim"))
    if report.measurements:
        _print_bars(report, console)
    concerns = tables.concerns(report)
    if concerns:
        console.print(_text("Why", console, "bold"))
    for concern in concerns:
        _print_point(f"{concern.title} ({concern.badge}): {concern.reason}", console)
        for extra in (concern.needed, *concern.notes):
            if extra:
                _print_point(extra, console, indent=4)
    _print_steps(report, console)
    if words := tables.stopping(report):
        console.print(_text(plain_line(words, 600), console, "dim"))


def _print_steps(report: Report, console: Console) -> None:
    steps = next_steps(report)
    first = first_step(report, steps)
    if first is None:
        return
    console.print(_text(plain_line(first.heading), console, "bold"))
    _print_point(first.action, console)
    for detail in first.details:
        _print_point(detail, console, indent=4)
    for step in more_steps(report, steps):
        _print_point(step, console)


def interval_bar(m: MeasurementReport, width: int = BAR_WIDTH) -> str:
    """The interval as ``├──●──┤`` on a line with the limit as ``│``; right of the limit is worse.

    Each measurement has its own scale, so that the limit is always in the same column.
    """
    at = place(m)
    if at is None:
        return ""

    def column(share: float) -> int:
        return min(max(round(share * (width - 1)), 0), width - 1)

    cells = ["─"] * width
    cells[column(at.zero)] = "0"
    low, high, point, limit = column(at.low), column(at.high), column(at.point), column(LIMIT_AT)
    # Rounding must not move an interval onto its limit or across it.
    if at.high < LIMIT_AT:
        high = min(high, limit - 1)
    if at.low > LIMIT_AT:
        low = max(low, limit + 1)
    point = min(max(point, low), high)
    for i in range(low, high + 1):
        cells[i] = "═"
    cells[limit] = "│"
    cells[low], cells[high] = "├", "┤"
    cells[point] = "●"
    if limit not in (low, high, point):
        cells[limit] = "│"
    return "".join(cells)


def _panel(report: Report, console: Console) -> Panel:
    style = STYLES[report.verdict]
    words = f"{numbers.SYMBOLS[numbers.outcome(report)]} {numbers.HEADLINES[numbers.outcome(report)]}"
    title = _text(f"{words}: {_shortened(report.name, 50)}", console, style)
    lines = (f"Why: {explanation(report)}", f"What was lost: {lost(report)}")
    return Panel(
        _text("\n".join(plain_line(line, 600) for line in lines), console),
        title=title,
        title_align="left",
        border_style=style,
        box=ASCII if console.options.ascii_only else ROUNDED,
    )


def _table(report: Report, console: Console) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("measurement", overflow="crop", no_wrap=True, min_width=11)
    for heading in ("base", "candidate", "change"):
        table.add_column(heading, justify="right", no_wrap=True)
    compared = deployed.compared(report)
    with_limit = not compared or console.width >= WIDE  # the bars below show which side of the limit a result is on
    if with_limit:
        table.add_column("limit", overflow=_overflow(console), no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    if compared:
        table.add_column("deployed", no_wrap=True, justify="right")
    wide = console.width >= WIDE and not compared
    for row, m in zip(tables.table(report), report.measurements.values(), strict=True):
        limit = (
            [numbers.limit(m.limits, m.unit, short=True) if wide else numbers.compact_limit(m.limits, m.unit)]
            if with_limit
            else []
        )
        change = row.change if wide else numbers.compact_change(m.change, m.unit)
        cells = (row.base, row.candidate, change, *limit, row.n)
        status = _text(row.badge.replace(" (", "\n("), console, STYLES[row.status])  # the tier, below for want of room
        against = [_against_incumbent(m, console)] if compared else []
        shown = (_text(cell, console) for cell in cells)
        table.add_row(_text(_shortened(row.title, 15), console), *shown, status, *against)
    return table


def _against_incumbent(m: MeasurementReport, console: Console) -> Text:
    style = STYLES[m.incumbent.status] if m.incumbent is not None else "dim"
    return _text(deployed.short_cell(m), console, style)


def _print_bars(report: Report, console: Console) -> None:
    """Print one bar per measurement under a heading that explains the two sides."""
    limit = round(LIMIT_AT * (BAR_WIDTH - 1))
    heading = tables.interval_heading(report)[:15].ljust(16) + "0: no change, within limit ".rjust(limit) + "│ beyond"
    console.print()
    console.print(_text(heading, console, "dim"), no_wrap=True, overflow="crop")
    for name, m in report.measurements.items():
        bar = interval_bar(m) or "(no estimate)".ljust(BAR_WIDTH)
        label = _shortened(numbers.title(name), 15)
        line = _text(label + " " * (16 - cell_len(label)), console)
        line.append_text(_text(bar, console, STYLES[m.status]))
        line.append_text(_text(f" {amounts.brief(numbers.interval(_shown(m), m.unit), m.unit)}", console))
        console.print(line, no_wrap=True, overflow="crop")
    console.print()


def _print_point(words: str, console: Console, indent: int = 2) -> None:
    """A list item whose further lines are indented like its first."""
    grid = Table.grid(padding=0)
    grid.add_column(width=indent, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("- ".rjust(indent), _text(plain_line(words, 800), console))
    console.print(grid)


def _shown(m: MeasurementReport) -> amounts.Bounds:
    return amounts.within_reach(m.interval, m.base, m.unit)


def _shortened(text: str, limit: int) -> str:
    line = plain_line(text, 4 * limit)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _text(words: str, console: Console, style: str = "") -> Text:
    """``words`` without markup, in ASCII if the terminal shows nothing else."""
    return Text(numbers.ascii_only(words) if console.options.ascii_only else words, style=style)


def _overflow(console: Console) -> OverflowMethod:
    """Cut with an ellipsis, except on ASCII terminals."""
    return "crop" if console.options.ascii_only else "ellipsis"
