"""Kills at random moments of a run, and what is left after them."""

from __future__ import annotations

import math
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from benchmarks.faults.program import (
    LONGEST,
    VERDICTS,
    Ended,
    Program,
    interrupted,
    journalled,
    logged,
    repeated,
    report_in,
    settle,
)
from benchmarks.faults.worlds import Case

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CODES = {signal.SIGKILL: {-9}, signal.SIGTERM: {143}, signal.SIGINT: {130}}
"""How a run may end that was stopped before it had a verdict."""
BEFORE_HANDLERS = {signal.SIGTERM: -15, signal.SIGINT: -2}
"""The same while the interpreter itself still starts."""
PHASES = ("loading", "downloading", "starting an engine", "asking", "judging", "computing", "writing the report")
STEPS = {
    "start engine": "starting an engine",
    "pilot": "asking",
    "ask the base ahead": "asking",
    "ask the base twice": "asking",
    "answer questions": "asking",
    "test judge": "judging",
    "grade answers": "judging",
}
"""The phase that a step belongs to, which the run prints. Between steps it computes: distances, scores, a decision."""
MOST_KILLS = 4
"""Of one run, before it may come to its end."""


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run: what every killed one must come to."""

    report: dict[str, Any]
    code: int
    asked: Counter[str]
    seconds: dict[str, float]
    """What each phase took, all its turns together: both the models and the judge are asked again and again."""


@dataclass
class Tally:
    """What was counted."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By signal and phase."""
    runs: int = 0
    late: int = 0
    """Signals that came when the run had already ended or stated its verdict."""
    lost: int = 0
    """Answers that were handed over and are not in the journal, beyond those on their way."""
    on_their_way: int = 0
    """Answers that a kill took between the engine, or the endpoint, and the journal: they are asked for again."""
    twice: int = 0
    """Questions that were asked although the journal held their answer."""
    largest: float = 0.0
    """The largest difference of a number in a report from the uninterrupted run's."""
    problems: list[str] = field(default_factory=list)
    """Everything that must not be: reports that differ, wrong exit codes, crashes, journals that were rewritten."""

    def rows(self) -> list[tuple[str, object]]:
        """Name and count, for a table."""
        by_phase: Counter[str] = Counter()
        for (_, phase), count in self.kills.items():
            by_phase[phase] += count
        by_signal: Counter[str] = Counter()
        for (name, _), count in self.kills.items():
            by_signal[name] += count
        return [
            ("kills", sum(self.kills.values())),
            *((f"  by {name}", count) for name, count in sorted(by_signal.items())),
            *((f"  while {phase}", count) for phase, count in sorted(by_phase.items())),
            ("runs that came to their end", self.runs),
            ("answers lost", self.lost),
            ("answers on their way when the kill came", self.on_their_way),
            ("answers asked for although the journal held them", self.twice),
            ("largest difference of a number in a report", f"{self.largest:.1g}"),
            ("reports that differ, wrong exit codes, crashes", len(self.problems)),
        ]


def uninterrupted(case: Case, folder: Path) -> Whole:
    """Run ``case`` to its end and note how long each phase took. Raises RuntimeError if it has no verdict."""
    folder.mkdir(parents=True)
    out, cache = folder / "out", folder / "cache"
    before = logged(case)
    began = now = time.monotonic()
    program = Program(case, out, cache)
    seconds: dict[str, float] = {}
    while program.running() and now - began < LONGEST:
        phase = phase_of(out, cache, program.printed)
        time.sleep(0.001)
        then, now = now, time.monotonic()
        seconds[phase] = seconds.get(phase, 0.0) + now - then
    ended = program.wait(max(1.0, LONGEST - (now - began)))
    report = report_in(out)
    if ended.code not in VERDICTS or report is None:
        raise RuntimeError(f"{case.name}: exit {ended.code}\n{ended.printed[-3000:]}")
    return Whole(report, ended.code, logged(case) - before, seconds)


def phase_of(out: Path, cache: Path, printed: Path) -> str:
    """What a run is doing, from the files that it has written and the steps that it prints."""
    if (out / "report.json").exists():
        return "writing the report"
    if not (out / "answers.jsonl").exists():
        return "downloading" if any(files for _, _, files in os.walk(cache / "incoming")) else "loading"
    for line in reversed(printed.read_text(errors="replace").splitlines()):
        step, _, state = line.partition(": ")
        if step in STEPS:
            return "computing" if state.startswith(("done", "stopped")) else STEPS[step]
    return "computing"


def campaign(
    case: Case,
    folder: Path,
    kills: int,
    rng: np.random.Generator,
    tell: Callable[[str], object],
    aim: str | None = None,
) -> Tally:
    """Kill runs of ``case``, and let each come to its end, until ``kills`` were killed; all while ``aim``, if given."""
    whole, tally = uninterrupted(case, folder), Tally()
    rmtree(folder)
    if aim is not None and aim not in whole.seconds:
        raise RuntimeError(f"{case.name}: no moment to aim at: a run was never {aim}")
    while sum(tally.kills.values()) < kills and not interrupted():
        _chain(case, folder / "run", min(int(rng.integers(1, MOST_KILLS + 1)), kills), whole, tally, rng, aim)
        rmtree(folder / "run")
        tally.runs += 1
        tell(f"{case.name}: {sum(tally.kills.values())} kills, {len(tally.problems)} problems")
    return tally


def _chain(
    case: Case, folder: Path, kills: int, whole: Whole, tally: Tally, rng: np.random.Generator, aim: str | None
) -> None:
    """One run that is killed up to ``kills`` times and then comes to its end."""
    folder.mkdir(parents=True)
    out, cache = folder / "out", folder / "cache"
    given_before, killed, done = logged(case), 0, False
    for number in range(kills + 1):
        kept_before, answers_before = journalled(out)
        log_before = logged(case)
        program = Program(case, out, cache)
        sent = _kill(program, out, cache, whole, rng, aim) if number < kills else None
        ended = program.wait()
        settle(case)
        done = _check_end(case, out, ended, sent, whole, tally)
        killed += sent is not None and not done
        kept, answers = journalled(out)
        if not kept.startswith(kept_before):
            tally.problems.append(f"{case.name}: the journal does not begin as it did before a resumption")
        tally.twice += (logged(case) - log_before - (whole.asked - answers_before)).total()
        if done:
            break
    if case.given is None:
        tally.twice += repeated(out)
    missing = (logged(case) - given_before - answers).total() if case.given else 0
    tally.on_their_way += min(missing, killed * case.on_their_way)
    tally.lost += max(0, missing - killed * case.on_their_way)
    if not done:
        tally.problems.append(f"{case.name}: no verdict in the end: exit {ended.code}\n{ended.printed[-2000:]}")


def _kill(
    program: Program, out: Path, cache: Path, whole: Whole, rng: np.random.Generator, aim: str | None
) -> tuple[signal.Signals, str] | None:
    """Send a random signal at a random moment; the signal and the phase, or None if the run was over before.

    Half of the moments are uniform over the whole run, half over the time that it spends in one of its phases, so that
    short ones are met too; with ``aim`` all of them over that phase.
    """
    number = SIGNALS[int(rng.integers(len(SIGNALS)))]
    if aim is None and rng.random() < 0.5:
        time.sleep(rng.random() * sum(whole.seconds.values()))
    else:
        which = aim or list(whole.seconds)[int(rng.integers(len(whole.seconds)))]
        _wait_for(which, rng.random() * whole.seconds[which], program, out, cache)
    phase = phase_of(out, cache, program.printed)
    if not program.running():
        return None
    program.send(number)
    return number, phase


def _wait_for(phase: str, seconds: float, program: Program, out: Path, cache: Path) -> None:
    """Wait until a run has been in ``phase`` for ``seconds``, all its turns together, or is over."""
    now, spent = time.monotonic(), 0.0
    while program.running():
        inside = phase_of(out, cache, program.printed) == phase
        if inside and spent >= seconds:
            return
        time.sleep(0.0005)
        then, now = now, time.monotonic()
        spent += now - then if inside else 0.0


def _check_end(
    case: Case, out: Path, ended: Ended, sent: tuple[signal.Signals, str] | None, whole: Whole, tally: Tally
) -> bool:
    """Count how a run ended. Whether it has its verdict."""
    report = report_in(out)
    if ended.crashed:
        tally.problems.append(f"{case.name}: crashed after {sent}: exit {ended.code}\n{ended.printed[-2000:]}")
    if ended.code in VERDICTS:
        difference_of_numbers = gap(report, whole.report)
        tally.largest = max(tally.largest, difference_of_numbers)
        if difference_of_numbers > case.tolerance or ended.code != whole.code:
            tally.problems.append(
                f"{case.name}: after {sent} another report: exit {ended.code}, {difference(report, whole.report)}"
            )
        tally.late += sent is not None
        return True
    if sent is None:
        tally.problems.append(f"{case.name}: exit {ended.code} without a kill\n{ended.printed[-2000:]}")
        return False
    number, phase = sent
    tally.kills[number.name, phase] += 1
    if ended.code not in CODES[number] | {BEFORE_HANDLERS.get(number, -9)}:
        tally.problems.append(
            f"{case.name}: exit {ended.code} after {number.name} while {phase}\n{ended.printed[-2000:]}"
        )
    if report is not None and report != whole.report:
        tally.problems.append(f"{case.name}: {number.name} while {phase} left another report")
    return False


def gap(one: Any, other: Any) -> float:
    """The largest difference of two numbers at the same place of two reports; infinite if anything else differs."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((gap(one[key], other[key]) for key in one), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max((gap(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other)
    return 0.0 if one == other else math.inf


def difference(one: Any, other: Any, path: str = "") -> str:
    """The first place where two reports differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            if one.get(key) != other.get(key):
                return difference(one.get(key), other.get(key), f"{path}.{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            if a != b:
                return difference(a, b, f"{path}[{index}]")
    return f"{path}: {str(one)[:80]} / {str(other)[:80]}"
