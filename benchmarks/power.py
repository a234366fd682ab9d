"""Measures what the documented set-up decides: the power table in docs/statistics.md.

    python -m benchmarks.power            print the table
    python -m benchmarks.power --write    put it into the document

The set-up is the policy that ``ftgate init`` writes, on as many rows as the documents ask for. Every finding takes the
path of a run: scores or answers, ``Measurement.compare`` at each look, ``verdict.assess``, and for the whole gate
``verdict.decide``. The same seed always gives the same table.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy loads: one process for each core is faster

import argparse
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context

from benchmarks.error_cases import PAIRS, PHI, SEED, choice_answers, finding_at_looks, right_or_wrong, scores
from benchmarks.error_rates import DOCUMENT, replaced
from ftgate.cli.init import STARTER
from ftgate.config.policy import Policy, read_policy
from ftgate.domain import Finding, Verdict
from ftgate.measurements.base import Measurement
from ftgate.measurements.looks import looks, planned_share
from ftgate.measurements.registry import read_measurements
from ftgate.measurements.tail import CHOSEN
from ftgate.stats.power import paired_accuracy
from ftgate.stats.seeding import generator
from ftgate.verdict import decide

MARKERS = ("<!-- power: begin -->", "<!-- power: end -->")
RUNS = 200
ROWS = {"target": 200, "forgetting": 800, "tail": 300, "calibration": 2000}
BASE = {"target": 0.6, "forgetting": 0.8, "tail": 0.7}
"""The base's accuracy; that of a calibrated base on multiple choice follows from its confidences."""
GAIN = 0.15
"""What a good candidate gains on the target."""
DROPS = (0.0, 0.02, 0.03, 0.05, 0.08, 0.10, 0.12, 0.15, 0.20, 0.30)
GOOD: Mapping[str, float] = {"target": -GAIN / BASE["target"], "forgetting": 0.0, "tail": 0.0, "calibration": 0.0}
"""The drop of a candidate that lost nothing; a gain is a negative one."""
HARMED: Mapping[str, tuple[str, ...]] = {
    "whole gate: forgetting and tail": ("forgetting", "tail"),
    "whole gate: forgetting": ("forgetting",),
    "whole gate: tail": ("tail",),
    "whole gate: calibration": ("calibration",),
    "whole gate: target": ("target",),
}
"""The rows of the whole gate, and which measurements have the drop."""
_ROW = re.compile(r"^\| ([^|]+?) \|((?: [\d./ ]+\|)+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Work:
    """Runs of one measurement with one true drop."""

    measurement: str
    drop: float
    runs: int


Findings = dict[Work, list[Finding]]


@cache
def setup() -> tuple[Policy, dict[str, Measurement]]:
    """The documented policy, and its measurements by name."""
    path = STARTER / "policy.yml"
    policy = read_policy(path)
    return policy, {m.name: m for m in read_measurements(policy.measurements, str(path))}


def measure(runs: int = RUNS, processes: int = 2) -> Findings:
    """The findings of every measurement at every drop, from ``runs`` runs each."""
    work = [Work(name, drop, runs) for name in ROWS for drop in (*DROPS, GOOD[name])]
    # Each once, and calibration, which takes longest, first.
    wanted = sorted(dict.fromkeys(work), key=lambda each: each.measurement)
    if processes == 1:
        return {each: _findings(each) for each in wanted}
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return dict(zip(wanted, pool.map(_findings, wanted), strict=True))


def render(found: Findings) -> str:
    """The table as Markdown, without the markers."""
    runs = next(iter(found)).runs
    head = f"| pass / hold / block in %, {runs} runs each | " + " | ".join(f"{100 * d:.0f} %" for d in DROPS) + " |"
    lines = [head, "|---|" + "---:|" * len(DROPS)]
    outcomes = {name: [_statuses(found[Work(name, d, runs)]) for d in DROPS] for name in ROWS}
    outcomes |= {name: [_verdicts(found, harmed, d, runs) for d in DROPS] for name, harmed in HARMED.items()}
    lines += [_line(name, [_shares(each) for each in row]) for name, row in outcomes.items()]
    return "\n".join(lines)


def parse(text: str) -> dict[str, list[tuple[int, ...]]]:
    """The rows of a rendered table by name: for each drop the shares in percent."""
    found = {}
    for match in _ROW.finditer(text):
        cells = match[2].strip(" |").split("|")
        found[match[1]] = [tuple(int(share) for share in cell.split("/")) for cell in cells]
    return found


def _findings(work: Work) -> list[Finding]:
    return [_finding(work, i) for i in range(work.runs)]


def _finding(work: Work, i: int) -> Finding:
    """The ``i``-th run of a candidate with that true drop: relative, or for calibration the rise of its error."""
    policy, measurements = setup()
    measurement, rng = measurements[work.measurement], generator(SEED, f"power {work.measurement} {work.drop} {i}")
    rows = ROWS[work.measurement]
    pairs = PAIRS[:rows]
    if work.measurement == "calibration":
        whole, pairs = choice_answers(rows, work.drop, rng)
    else:
        chances = paired_accuracy(BASE[work.measurement], PHI, work.drop)
        whole = scores(*right_or_wrong(chances, rows, rng), binary=True)
    if work.measurement == "tail":  # every row was chosen from a log as unlike the training data
        whole = replace(whole, items=tuple(replace(item, tags=(CHOSEN,)) for item in whole.items))
    plan = looks(policy.evidence, planned_share(measurement, rows))
    finding = finding_at_looks(measurement, whole, policy.evidence, plan, rng, pairs)
    return replace(finding, estimate=replace(finding.estimate, about=frozenset()))


def _verdicts(found: Findings, harmed: Sequence[str], drop: float, runs: int) -> list[str]:
    """The verdicts on candidates with that drop in ``harmed``, and none elsewhere.

    A run ends once a measurement blocks, which changes no verdict: the block stands.
    """
    policy, _ = setup()
    parts = [found[Work(name, drop if name in harmed else GOOD[name], runs)] for name in ROWS]
    return [decide(findings, policy.evidence)[0].value for findings in zip(*parts, strict=True)]


def _statuses(findings: Sequence[Finding]) -> list[str]:
    """Each status as the verdict it would give by itself."""
    policy, _ = setup()
    return [decide([finding], policy.evidence)[0].value for finding in findings]


_VERDICTS = (Verdict.ALLOW.value, Verdict.HOLD.value, Verdict.BLOCK.value)


def _shares(outcomes: Sequence[str]) -> str:
    """The share of each verdict in whole percent, such as ``97 / 3 / 0``."""
    return " / ".join(f"{100 * outcomes.count(kind) / len(outcomes):.0f}" for kind in _VERDICTS)


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table or write it into the document."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.power", description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCUMENT.name}")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each measurement at each drop")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    table = render(measure(options.runs, options.processes))
    if options.write:
        document = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(replaced(document, table, MARKERS), encoding="utf-8")
    else:
        print(table)


if __name__ == "__main__":
    main()
