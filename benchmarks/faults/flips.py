"""Single flipped bits in what a run keeps: the journal, reused answers, and the cache.

Each is harmless (the report is the same; what was damaged is fetched, computed or asked again), or named: an error that
says which file, and what to do. It is never used silently, and it never crashes the run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.faults.kills import Whole, difference
from benchmarks.faults.program import VERDICTS, Ended, Program, interrupted, report_in
from benchmarks.faults.worlds import Case

REMEDY = re.compile(r"`(sed -i '[0-9d; ]+' (\S+))`")
ONE_IN = 10
"""How many of the errors have their remedy followed, too."""
KINDS = (
    "journal",
    "journal",
    "reused answers",
    "cached files",
    "records of the cache",
    "vectors",
    "unfinished downloads",
)
"""What is damaged, drawn with equal chances: the journal twice as often as each of the others."""


@dataclass
class Tally:
    """What was counted, by kind of file."""

    flips: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    harmless: Counter[str] = field(default_factory=Counter)
    remedies: int = 0
    """Errors whose remedy was followed, and led to the same report."""
    silent: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    """Crashes, and errors that do not say which file or what to do."""

    def rows(self) -> list[tuple[str, object]]:
        """Name and count, for a table."""
        parts = [
            (f"  {kind}", f"{count} ({self.harmless[kind]} harmless, {self.named[kind]} named)")
            for kind, count in sorted(self.flips.items())
        ]
        return [
            ("flipped bits", self.flips.total()),
            *parts,
            ("remedies followed, with the same report in the end", self.remedies),
            ("used silently", len(self.silent)),
            ("crashes, and errors that name nothing", len(self.crashes)),
        ]


@dataclass(frozen=True)
class Kept:
    """What earlier runs left: a whole run, and a cache with downloads that were cut short."""

    whole: Path
    cut: Path


def campaign(
    case: Case,
    whole: Whole,
    kept: Kept,
    folder: Path,
    flips: int,
    rng: np.random.Generator,
    tell: Callable[[str], object],
) -> Tally:
    """Flip ``flips`` bits, one at a time, and run ``case`` after each."""
    tally = Tally()
    while tally.flips.total() < flips and not interrupted():
        kind = KINDS[int(rng.integers(len(KINDS)))]
        folder.mkdir(parents=True)
        _flip(case, whole, kept, kind, folder, rng, tally)
        shutil.rmtree(folder)
        if tally.flips.total() % 50 == 0:
            tell(f"{tally.flips.total()} flips, {len(tally.silent)} silent, {len(tally.crashes)} crashes")
    return tally


def _flip(
    case: Case, whole: Whole, kept: Kept, kind: str, folder: Path, rng: np.random.Generator, tally: Tally
) -> None:
    out, cache, reused = folder / "out", folder / "cache", folder / "earlier"
    shutil.copytree((kept.cut if kind == "unfinished downloads" else kept.whole) / "cache", cache)
    shutil.copytree(kept.whole / "out", reused if kind == "reused answers" else out)
    if kind == "vectors":  # they are read again if the journal does not hold the distances
        (out / "answers.jsonl").unlink()
    more = ("--reuse", str(reused)) if kind == "reused answers" else ()
    path = _drawn_file(kind, out, cache, reused, rng)
    where = flip_bit(path, rng)
    tally.flips[kind] += 1
    ended = Program(case, out, cache, *more).wait()
    what = f"{path.relative_to(folder)}, {where}: exit {ended.code}"
    if ended.code in VERDICTS and not ended.crashed:
        report = report_in(out)
        if report == whole.report and ended.code == whole.code:
            tally.harmless[kind] += 1
        else:
            tally.silent.append(f"{what}: {difference(report, whole.report)}")
    elif is_named(ended, path):
        tally.named[kind] += 1
        if int(rng.integers(ONE_IN)) == 0:
            _follow(case, whole, ended, out, cache, more, what, tally)
    else:
        tally.crashes.append(f"{what}\n{ended.printed[-2000:]}")


def _drawn_file(kind: str, out: Path, cache: Path, reused: Path, rng: np.random.Generator) -> Path:
    files = {
        "journal": [out / "answers.jsonl"],
        "reused answers": [reused / "answers.jsonl"],
        "cached files": [path for path in (cache / "trees").glob("*/**/*") if path.is_file()],
        "records of the cache": [*(cache / "trees").glob("*.json"), *(cache / "names").glob("*.json")],
        "vectors": [*(cache / "vectors").glob("*")],
        "unfinished downloads": [path for path in (cache / "incoming").glob("**/*") if path.is_file()],
    }[kind]
    files = sorted(path for path in files if path.stat().st_size)
    return files[int(rng.integers(len(files)))]


def flip_bit(path: Path, rng: np.random.Generator) -> str:
    """Flip a random bit of a file; says which."""
    content = bytearray(path.read_bytes())
    position, bit = int(rng.integers(len(content))), int(rng.integers(8))
    content[position] ^= 1 << bit
    path.chmod(0o644)
    path.write_bytes(content)
    return f"bit {bit} of byte {position}"


def is_named(ended: Ended, path: Path) -> bool:
    """Whether an error names the damaged file (a journal with the line) and says what to do."""
    text = re.sub(r"\s+", "", ended.printed)
    where = f"{path}:" if path.name == "answers.jsonl" else str(path)
    return ended.code in (2, 3) and not ended.crashed and re.sub(r"\s+", "", where) in text and "whattodo" in text


def _follow(
    case: Case, whole: Whole, ended: Ended, out: Path, cache: Path, more: tuple[str, ...], what: str, tally: Tally
) -> None:
    """Do what an error says, and run again."""
    remedy = REMEDY.search(ended.printed)
    if remedy is None:
        return  # the first line of a journal: its remedy is to be typed
    subprocess.run(["/bin/sh", "-c", remedy[1]], check=True)
    again = Program(case, out, cache, *more).wait()
    report = report_in(out)
    if again.code != whole.code or report != whole.report:
        tally.silent.append(f"{what}: after `{remedy[1]}` exit {again.code}: {difference(report, whole.report)}")
    else:
        tally.remedies += 1
