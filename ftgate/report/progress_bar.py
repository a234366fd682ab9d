"""Progress of a run: bars on a terminal, lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from ftgate.progress import Advance, Clock
from ftgate.report import numbers
from ftgate.report.escape import plain_line

LOG_EVERY = 10.0
"""Seconds between two lines about the same phase in a log."""
WHOLE = "whole run"


@dataclass(slots=True)
class _Whole:
    """The steps of all phases together: how many there are at most, how many are done, and since when."""

    total: int
    started: float
    done: int = 0

    def left(self, now: float) -> str:
        """``whole run: 34 %, at most 3 min left``; nothing is said of the time before the first step."""
        share = f"{WHOLE}: {numbers.level(min(1.0, self.done // (self.total / 100) / 100))}"
        if not 0 < self.done < self.total:
            return share
        return f"{share}, at most {numbers.duration((now - self.started) / self.done * (self.total - self.done))} left"


class RichProgress:
    """A bar for each phase on a terminal; in a log, a line at the start, one every ten seconds, and one at the end.

    ``live`` selects bars; by default they are for terminals. ``console.is_terminal`` does not tell: with FORCE_COLOR,
    which CI systems set for colour, it takes a log for a terminal.
    """

    def __init__(self, console: Console, clock: Clock = time.monotonic, *, live: bool | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._console = console
        self._clock = clock
        self._live = console.file.isatty() and console.is_interactive if live is None else live
        self._bars: Bars | None = None
        self._open = 0
        self._whole: _Whole | None = None
        self._whole_task: TaskID | None = None

    def expect(self, steps: int) -> None:
        """From now on show how much of the whole run is done, and how long it takes at most."""
        self._whole = _Whole(steps, self._clock()) if steps > 0 else None

    def step(self, steps: int) -> None:
        """Count ``steps`` of the whole run as done."""
        if self._whole is None:
            return
        self._whole.done += steps
        if self._bars is not None and self._whole_task is not None:
            done = min(self._whole.done, self._whole.total)
            self._bars.update(self._whole_task, completed=done, description=self._whole.left(self._clock()))

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Advance]:
        """Show the phase while it runs and time it, also when it fails. Phases may be nested."""
        started = self._clock()
        show = self._bar if self._live else self._log
        try:
            with show(plain_line(name, 60), total) as advance:
                yield advance
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._clock() - started

    def note(self, text: str) -> None:
        """Print one line, above any bar."""
        self._print(plain_line(text, 400))

    @contextmanager
    def _bar(self, name: str, total: int | None) -> Iterator[Advance]:
        bars = self._bars
        if bars is None:
            bars = self._bars = _new_bars(self._console)
            self._whole_task = self._add_whole(bars)
            bars.start()
        self._open += 1
        task = bars.add_task(numbers.ascii_only(name) if self._console.options.ascii_only else name, total=total)
        try:
            yield lambda steps: bars.advance(task, steps)
            _complete(bars, task)
        finally:
            bars.stop_task(task)
            self._open -= 1
            if self._open == 0:
                bars.stop()
                self._bars = self._whole_task = None

    def _add_whole(self, bars: Bars) -> TaskID | None:
        whole = self._whole
        if whole is None:
            return None
        return bars.add_task(whole.left(self._clock()), total=whole.total, completed=min(whole.done, whole.total))

    @contextmanager
    def _log(self, name: str, total: int | None) -> Iterator[Advance]:
        started = self._clock()
        done, printed = 0, started

        def advance(steps: int) -> None:
            nonlocal done, printed
            done += steps
            now = self._clock()
            if now - printed >= LOG_EVERY:
                printed = now
                whole = f"; {self._whole.left(now)}" if self._whole is not None else ""
                self._print(f"{name}: {_state(done, total, now - started)}{whole}")

        self._print(f"{name}: started" + (f", {numbers.count(total)} to do" if total is not None else ""))
        end = "stopped"
        try:
            yield advance
            end = "done"
        finally:
            spent = self._clock() - started
            counted = f", {_of(done, total)}" if total is not None or done else ""
            speed = f" ({numbers.rate(done, spent)})" if done and spent > 0 else ""
            self._print(f"{name}: {end}{counted} in {numbers.duration(spent)}{speed}")

    def _print(self, line: str) -> None:
        text = numbers.ascii_only(line) if self._console.options.ascii_only else line
        # A log line is never wrapped, because tools search logs by line.
        self._console.print(Text(text), soft_wrap=True)


class _Rate(ProgressColumn):
    """Steps per second since the phase began."""

    def render(self, task: Task) -> Text:
        """The rate, or nothing before the first step."""
        return Text(numbers.rate(int(task.completed), task.elapsed or 0.0) if task.completed else "", style="dim")


class _Steps(MofNCompleteColumn):
    """The number of steps done and their total; empty for a phase of unknown length without steps."""

    def render(self, task: Task) -> Text:
        """The count."""
        return super().render(task) if task.total is not None or task.completed else Text("")


def _new_bars(console: Console) -> Bars:
    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        _Steps(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _complete(bars: Bars, task: TaskID) -> None:
    """Fill the bar of a phase of unknown length. One that ended before its total stays as it is."""
    if bars.tasks[task].total is None:
        steps = max(1, int(bars.tasks[task].completed))
        bars.update(task, total=steps, completed=steps)


def _state(done: int, total: int | None, spent: float) -> str:
    """``120 of 400 (30 %), 12.0/s, 10 s, about 23 s left``."""
    words = [_of(done, total), numbers.rate(done, spent), numbers.duration(spent)]
    if total and 0 < done <= total:
        words[0] += f" ({numbers.level(done // (total / 100) / 100)})"
        words.append(f"about {numbers.duration(spent / done * (total - done))} left")
    return ", ".join(words)


def _of(done: int, total: int | None) -> str:
    return f"{numbers.count(done)} of {numbers.count(total)}" if total is not None else f"{numbers.count(done)} steps"
