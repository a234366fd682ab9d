"""The zoo's table: what is true of each member, beside what ftgate says of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.zoo import truth
from benchmarks.zoo.members import FineTune, Member

MEASUREMENTS = ("target", "forgetting", "tail")
HEADING = "| member | made by | target | forgetting | tail | in truth | verdict | because of | verdict is |"
RULE = "|---|---|---:|---:|---:|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Line:
    """One member: its true changes, what they make it, and the gate's verdict with the measurements that led to it."""

    member: Member
    changes: dict[str, dict[str, float]]
    verdict: str
    decided_by: tuple[str, ...]

    @property
    def truth(self) -> str:
        """What the member is. One that was trained on the suite is ``contaminated`` unless it lost something."""
        kind = truth.classify(self.changes)
        on_suite = isinstance(self.member, FineTune) and self.member.data == "suite"
        return "contaminated" if on_suite and kind in ("better", "neutral") else kind

    @property
    def judgement(self) -> str:
        """``right``, ``undecided`` (a hold that asks for more data) or ``wrong``."""
        return judge(self.truth, self.verdict, near_limit=truth.near_limit(self.changes))


def judge(kind: str, verdict: str, *, near_limit: bool) -> str:
    """Whether the verdict suits the truth.

    Ruined models must be blocked, and harmed ones unless they are ``near_limit``. Useless and contaminated ones must
    not be allowed: the first have no gain, of the second it cannot be known. Better and neutral ones should be.
    """
    if kind == "ruined":
        return "right" if verdict == "block" else "wrong"
    if kind in ("useless", "contaminated"):
        return "wrong" if verdict == "allow" else "right"
    wanted = "block" if kind == "harmed" else "allow"
    if verdict == wanted:
        return "right"
    return "undecided" if verdict == "hold" or near_limit else "wrong"


def read_lines(members: Sequence[Member], out: Path) -> list[Line]:
    """The members of which there are both the truth and a report."""
    lines = []
    for member in members:
        answers, report = out / "truth" / f"{member.name}.jsonl", out / "gate" / member.name / "report.json"
        if answers.exists() and report.exists():
            found = truth.changes(out / "truth" / "base.jsonl", answers)
            content = json.loads(report.read_text(encoding="utf-8"))
            lines.append(Line(member, found, content["verdict"], _decided_by(content)))
    return lines


def _decided_by(report: dict[str, Any]) -> tuple[str, ...]:
    status = {"block": "block", "hold": "inconclusive"}.get(report["verdict"])
    return tuple(name for name, found in report["measurements"].items() if found["status"] == status)


def render(lines: Sequence[Line]) -> str:
    """The table as Markdown, and a sentence that counts."""
    rows = [HEADING, RULE, *(_row(line) for line in lines)]
    return "\n".join(rows) + "\n\n" + summary(lines) + "\n"


def summary(lines: Sequence[Line]) -> str:
    """How many verdicts are right, and the two mistakes that must not happen."""
    count = {word: sum(line.judgement == word for line in lines) for word in ("right", "undecided", "wrong")}
    ruined = [line for line in lines if line.truth == "ruined"]
    neutral = [line for line in lines if line.truth == "neutral"]
    return (
        f"Of {len(lines)} verdicts {count['right']} are right, {count['undecided']} undecided, {count['wrong']} wrong. "
        f"Ruined and not blocked: {sum(line.verdict != 'block' for line in ruined)} of {len(ruined)}. "
        f"Neutral and blocked: {sum(line.verdict == 'block' for line in neutral)} of {len(neutral)}."
    )


def _row(line: Line) -> str:
    shares = [
        f"{100 * line.changes[name]['base']:.0f} → {100 * line.changes[name]['member']:.0f}" for name in MEASUREMENTS
    ]
    near = " (near a limit)" if truth.near_limit(line.changes) else ""
    cells = [line.member.name, line.member.about, *shares, line.truth + near, f"**{line.verdict}**"]
    return "| " + " | ".join([*cells, ", ".join(line.decided_by) or "-", line.judgement]) + " |"
