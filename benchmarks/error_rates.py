"""Measures ftgate's error rates on candidates that lie exactly on a limit: the table in docs/statistics.md.

    python -m benchmarks.error_rates            print the table
    python -m benchmarks.error_rates --write    put it into the document

The same seed always gives the same table.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy loads: one process for each core is faster

import argparse
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmarks.control_cases import BIASES, PATHS, RUNS, held
from benchmarks.error_cases import CASES, WARNING_RUNS, WARNINGS, Case, warnings
from benchmarks.judge_cases import CASES as JUDGES
from benchmarks.judge_cases import RUNS as JUDGE_RUNS
from benchmarks.judge_cases import counted
from ftgate.domain import Status
from ftgate.stats.interval import wilson_interval

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "statistics.md"
BEGIN, END = "<!-- error rates: begin -->", "<!-- error rates: end -->"
BY_FTGATE, OTHER_WAYS = "How ftgate decides", "Other ways to decide, for comparison"
HEADING = "| case | items | runs | false allow | false block |\n|---|---:|---:|---:|---:|"
WARNINGS_TITLE = "**How often a pass is a warning**: warn limit 8 %, limit 10 %, base accuracy 0.8"
WARNINGS_HEADING = "| true drop | items | runs | pass | warn | block | hold |\n|---:|---:|---:|---:|---:|---:|---:|"
HELD_TITLE = f"**How often the zero-delta control holds a measurement**: one of three, {RUNS} runs each"
HELD_HEADING = (
    "| items | answers that change by chance | no loss | a quarter of the tolerance | half | all of it |\n"
    "|---:|---:|---:|---:|---:|---:|"
)
JUDGES_TITLE = f"**How often a judge passes its test**: simulated judges, {JUDGE_RUNS} runs each"
JUDGES_HEADING = "| judge | passes | of these, on the first probes alone |\n|---|---:|---:|"
_ROW = re.compile(r"\| (.+?) \| (\d+) \| (\d+) \| ([\d.]+) % \(.*?\) \| ([\d.]+) % \(.*?\) \|")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as measured: ``allowed`` and ``blocked`` are numbers of runs."""

    name: str
    items: int
    repetitions: int
    allowed: int
    blocked: int
    by_ftgate: bool


@dataclass(frozen=True, slots=True)
class Rates:
    """One row as read back from the table: shares in percent."""

    items: int
    repetitions: int
    allowed: float
    blocked: float


def measure(names: Sequence[str] | None = None, scale: float = 1.0, processes: int = 2) -> list[Row]:
    """Simulate all cases, or those named, with ``scale`` times their repetitions (at least two)."""
    chosen = [case for case in CASES if names is None or case.name in names]
    work = [(case.name, max(2, round(scale * case.repetitions))) for case in chosen]
    if processes == 1:
        return [_measure_case(entry) for entry in work]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_measure_case, work))


def measure_warnings(scale: float = 1.0) -> str:
    """The table of how often a pass is a warning, as Markdown: one row for each true drop and number of items."""
    repetitions, lines = max(2, round(scale * WARNING_RUNS)), [WARNINGS_TITLE, "", WARNINGS_HEADING]
    for drop, n in WARNINGS:
        outcomes = warnings(drop, n, repetitions)
        statuses = (Status.PASS, Status.WARN, Status.BLOCK, Status.INCONCLUSIVE)
        shares = " | ".join(f"{100 * outcomes[status] / repetitions:.1f} %" for status in statuses)
        lines.append(f"| {100 * drop:.0f} % | {n} | {repetitions} | {shares} |")
    return "\n".join(lines)


def measure_held(scale: float = 1.0) -> str:
    """The table of how often the zero-delta control holds a measurement, as Markdown: one row for each path."""
    repetitions, lines = max(2, round(scale * RUNS)), [HELD_TITLE, "", HELD_HEADING]
    for items, noise in PATHS:
        shares = " | ".join(f"{100 * held(items, noise, bias, repetitions) / repetitions:.1f} %" for bias in BIASES)
        lines.append(f"| {items} | {100 * noise:.0f} % | {shares} |")
    return "\n".join(lines)


def measure_judges(scale: float = 1.0) -> str:
    """The table of how often a judge passes its test, as Markdown: one row for each kind of judge."""
    repetitions, lines = max(2, round(scale * JUDGE_RUNS)), [JUDGES_TITLE, "", JUDGES_HEADING]
    for case in JUDGES:
        passed, early = counted(case, repetitions)
        share = f"{100 * early / passed:.0f} %" if passed else "none"
        lines.append(f"| {case.name} | {100 * passed / repetitions:.1f} % | {share} |")
    return "\n".join(lines)


def render(rows: Sequence[Row]) -> str:
    """Both tables as Markdown, without the markers."""
    parts = []
    for title, by_ftgate in ((BY_FTGATE, True), (OTHER_WAYS, False)):
        lines = [_line(row) for row in rows if row.by_ftgate is by_ftgate]
        parts.append("\n".join([f"**{title}**", "", HEADING, *lines]))
    return "\n\n".join(parts)


def parse(text: str) -> dict[str, Rates]:
    """The rows of a rendered table by name."""
    return {m[1]: Rates(int(m[2]), int(m[3]), float(m[4]), float(m[5])) for m in _ROW.finditer(text)}


def section(document: str, markers: tuple[str, str] = (BEGIN, END)) -> str:
    """The text between the markers. Raises ValueError if there are none."""
    return document[slice(*_place(document, markers))].strip("\n")


def replaced(document: str, table: str, markers: tuple[str, str] = (BEGIN, END)) -> str:
    """``document`` with ``table`` between its markers. Raises ValueError if there are none."""
    start, end = _place(document, markers)
    return f"{document[:start]}\n{table}\n{document[end:]}"


def _place(document: str, markers: tuple[str, str]) -> tuple[int, int]:
    start, end = (document.find(marker) for marker in markers)
    if not 0 <= start < end:
        raise ValueError(f"the document has no section from {markers[0]} to {markers[1]}")
    return start + len(markers[0]), end


def _measure_case(work: tuple[str, int]) -> Row:
    name, repetitions = work
    case: Case = next(case for case in CASES if case.name == name)
    allowed, blocked = case.count(repetitions)
    return Row(name, case.items, repetitions, allowed, blocked, case.by_ftgate)


def _line(row: Row) -> str:
    shares = " | ".join(_share(count, row.repetitions) for count in (row.allowed, row.blocked))
    return f"| {row.name} | {row.items} | {row.repetitions} | {shares} |"


def _share(count: int, repetitions: int) -> str:
    """``4.9 % (4.0 to 5.9)``: the rate with its 95 % confidence interval."""
    bounds = wilson_interval(count / repetitions, repetitions, 0.025)
    return f"{100 * count / repetitions:.1f} % ({100 * bounds.low:.1f} to {100 * bounds.high:.1f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table or write it into the document."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.error_rates", description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCUMENT.name}")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the repetitions to run, for a quick look")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    errors = render(measure(scale=options.scale, processes=options.processes))
    others = (measure_warnings, measure_held, measure_judges)
    table = "\n\n".join([errors, *(measured(options.scale) for measured in others)])
    if options.write:
        DOCUMENT.write_text(replaced(DOCUMENT.read_text(encoding="utf-8"), table), encoding="utf-8")
    else:
        print(table)


if __name__ == "__main__":
    main()
