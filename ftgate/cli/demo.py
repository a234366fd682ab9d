"""`ftgate demo`: the whole gate on real weights, eight fine-tunes of two tiny base models."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from ftgate.engines.registry import open_engine
from ftgate.errors import ConfigurationError
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import Job, load_job
from ftgate.planning.compare import compare_reports
from ftgate.planning.compare_view import print_comparison, write_page
from ftgate.progress import Progress
from ftgate.report.schema import Report
from ftgate.report.terminal import print_report

CANDIDATES = ("careful", "forgetful", "brittle", "endless", "halfway", "useless", "overconfident", "unsafe")
PAGE = "compare.html"
GUARDED = frozenset({"unsafe"})
"""The fine-tunes of the base that refuses; they have a policy of their own, which measures safety."""


def run_demo(
    out: Path, world: Path | None, selected: Sequence[str], *, resume: bool, progress: Progress, console: Console
) -> list[Report]:
    """Judge each candidate of the tiny world and compare them; one engine serves a base and its adapters.

    Each base is asked once and its answers are reused for every candidate of its own. Raises ConfigurationError if a
    candidate in ``selected`` does not exist or the tiny world is not installed.
    """
    unknown = set(selected) - set(CANDIDATES)
    if unknown:
        raise ConfigurationError(
            f"--only {sorted(unknown)[0]}: no such candidate", hint=f"choose from {', '.join(CANDIDATES)}"
        )
    folder = world or find_world()
    # With models this small, threads cost more than they gain; must be set before torch loads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    names = [name for name in CANDIDATES if not selected or name in selected]
    jobs = [_job(folder, name) for name in names]
    if not resume:
        for name in names:
            shutil.rmtree(out / name, ignore_errors=True)
    reports = _judge_all(jobs, out, progress, console)
    comparison = compare_reports([(out / report.name, report) for report in reports])
    print_comparison(comparison, console)
    write_page(comparison, out / PAGE)
    console.print(f"reports: {out}/<candidate>/report.html, comment.md and report.json", soft_wrap=True)
    console.print(f"all of them side by side: {(out / PAGE).resolve().as_uri()}", soft_wrap=True)
    return reports


def find_world() -> Path:
    """The folder of the tiny world: in the installed package, or in the checkout that it was installed from."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "tinyworld", package.parent / "examples" / "tinyworld"):
        if (folder / "policy.yaml").is_file():
            return folder
    raise ConfigurationError("the tiny world is not installed", hint="give its folder with --world")


def _job(world: Path, name: str) -> Job:
    policy, manifests = ("guarded.yaml", "guarded") if name in GUARDED else ("policy.yaml", "manifests")
    return load_job(world / policy, world / manifests / f"{name}.yaml")


def _judge_all(jobs: Sequence[Job], out: Path, progress: Progress, console: Console) -> list[Report]:
    out.mkdir(parents=True, exist_ok=True)
    reports: list[Report] = []
    with ExitStack() as stack:
        engine = open_engine(jobs[0].policy.engine, out / "engine.log")
        stack.callback(engine.close)
        judge_engine = open_engine(jobs[0].policy.engine, out / "judge-engine.log")
        stack.callback(judge_engine.close)
        # One engine for the base and all its adapters, which it must know before it starts: with the first question.
        base = jobs[0].base
        engine.reserve([base, *(job.candidate for job in jobs if job.base == base and job.candidate.kind == "adapter")])
        for index, job in enumerate(jobs):
            progress.note(f"{job.name} ({index + 1} of {len(jobs)})")
            earlier = [out / other.name for other in jobs[:index]]
            report = evaluate(job, out / job.name, progress, reuse=earlier, engine=engine, judge_engine=judge_engine)
            print_report(report, console)
            reports.append(report)
    return reports
