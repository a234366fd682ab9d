"""A time line of releases, as a table on a terminal and as a page with a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ftgate.errors import ConfigurationError
from ftgate.files import remedy_for, write_whole
from ftgate.github.audit.record import Change
from ftgate.github.audit.timeline import Release, Timeline
from ftgate.measurements.registry import in_order
from ftgate.report import numbers
from ftgate.report.escape import plain_line
from ftgate.report.plots.timeline_svg import TimePoint, timeline_plot
from ftgate.report.render import render_page
from ftgate.report.tables import WEIGHT
from ftgate.report.terminal import STYLES
from ftgate.scoring.amounts import possible

MOST_DRAWN = 24
"""Releases in a picture, the newest; the table has all of them."""


def print_timelines(lines: Sequence[Timeline], console: Console) -> None:
    """Print one table for each model, a row for each release: changes against base and deployed model, waivers."""
    for line in lines:
        console.print(_text(plain_line(line.title, 200), console, "bold"))
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("release", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
        for name in measurements(line):
            table.add_column(_text(plain_line(numbers.title(name), 60), console), overflow="fold")
        for release in line.releases:
            cells = (_cell(release.numbers.get(name), console) for name in measurements(line))
            table.add_row(_text(heading_of(release), console), _verdict(release, console), *cells)
        console.print(table)
        for release in line.releases:
            for note in notes(release):
                console.print(_text(plain_line(f"{release.record.head[:7]}: {note}", 600), console))
        console.print()


def write_timelines(lines: Sequence[Timeline], problems: Sequence[str], path: Path) -> None:
    """The same as a page, which loads nothing. Raises ConfigurationError if it cannot be written."""
    plots = [_plots(line) for line in lines]
    page = render_page("timeline.html.j2", lines=lines, plots=plots, problems=problems, view=_View)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page)
    except OSError as error:
        raise ConfigurationError(f"--html {path}: {error.strerror}", hint=remedy_for(error)) from None


def measurements(line: Timeline) -> list[str]:
    """The names of a time line's measurements, in the order of reports."""
    return in_order({name: name for name in line.measurements})


def heading_of(release: Release) -> str:
    """Day, name and commit of a release, on two lines."""
    lines = (f"{release.record.time[:10]} {release.record.head[:7]}", release.entry.name)
    return "\n".join(plain_line(line, 24) for line in lines)


def status_of(change: Change) -> str:
    """The status without the tier; an unknown one, which a record may hold, as not applicable."""
    status = change.status.split(" (")[0]
    return status if status in WEIGHT else "not_applicable"


def worst_status(change: Change) -> str:
    """The status, or that against the deployed model if it is worse: what blocks shows no tick."""
    part = change.incumbent
    return min((status_of(c) for c in (change, part) if c is not None), key=WEIGHT.index)


def against_deployed(change: Change) -> str:
    """``deployed: 1.2 % worse``; empty where nothing was deployed, or the record is from before it held that."""
    part = change.incumbent
    return "" if part is None else f"deployed: {numbers.change(part.change, part.unit)}"


def notes(release: Release) -> list[str]:
    """What a reader must know beside the numbers: waivers, and what no longer compares with the release before."""
    changed = [f"new {what}: its changes do not compare with those before" for what in release.changed]
    return [*changed, *release.waivers]


def _verdict(release: Release, console: Console) -> Text:
    verdict = release.entry.verdict
    shown = _text(numbers.badge(verdict), console, STYLES[verdict])
    if release.waivers:
        shown.append_text(_text("\nwaived" if "expired:" not in release.waivers[-1] else "\nwaiver expired", console))
    if release.runs > 1:
        shown.append_text(_text(f"\n{release.runs} runs", console, "dim"))
    return shown


def _cell(change: Change | None, console: Console) -> Text:
    if change is None:
        return _text(numbers.NONE, console, "dim")
    status = worst_status(change)
    sign, style = numbers.SYMBOLS[status], STYLES[status]
    cell = _text(plain_line(f"{sign} {numbers.change(change.change, change.unit)}", 60), console, style)
    if words := against_deployed(change):
        part = change.incumbent
        failing = part is not None and part.status in ("block", "inconclusive", "error")
        cell.append_text(_text(f"\n{plain_line(words, 60)}", console, STYLES["block"] if failing else "dim"))
    return cell


def _plots(line: Timeline) -> Markup:
    shown = line.releases[-MOST_DRAWN:]
    panels = {}
    for name in measurements(line):
        points = [_points(release, name) for release in shown]
        panels[numbers.title(name)] = points
    labels = [f"{r.record.time[5:10]} {r.record.head[:5]}" for r in shown]
    breaks = [at for at, release in enumerate(shown) if release.changed and at]
    verdicts = [release.entry.verdict for release in shown]
    # The drawing consists of ftgate's own elements, with untrusted text escaped inside them.
    return Markup(timeline_plot(line.title, labels, verdicts, panels, breaks))  # noqa: S704


def _points(release: Release, name: str) -> tuple[TimePoint | None, TimePoint | None]:
    change = release.numbers.get(name)
    return (None, None) if change is None else (_point(change), _point(change.incumbent))


def _point(change: Change | None) -> TimePoint | None:
    """A change with up as better."""
    value = None if change is None else possible(change.change, change.unit)
    if change is None or value is None:
        return None
    sign = 1.0 if numbers.kind(change.unit) == "gain" else -1.0
    low, high = change.interval or (None, None)
    bounds = None if low is None or high is None else (sign * low, sign * high)
    return TimePoint(sign * value, bounds and (min(bounds), max(bounds)), status_of(change))


class _View:
    """What the page's template calls."""

    measurements = staticmethod(measurements)
    worst_status = staticmethod(worst_status)
    against_deployed = staticmethod(against_deployed)
    notes = staticmethod(notes)
    symbols = numbers.SYMBOLS
    most_drawn = MOST_DRAWN


def _text(words: str, console: Console, style: str = "") -> Text:
    return Text(numbers.ascii_only(words) if console.options.ascii_only else words, style=style)
