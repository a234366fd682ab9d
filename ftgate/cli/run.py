"""`ftgate run`: judges candidates, as policy and manifests say or from a few references."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftgate.cli.common import (
    BUNDLE,
    OFFLINE,
    PATH,
    VERIFY,
    Command,
    exit_with,
    print_paths,
    real_stderr,
    references,
    stdout,
    verify_whole_cache,
)
from ftgate.cli.problem import show_problem
from ftgate.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from ftgate.gate.together import Outcome
    from ftgate.report.schema import Report

WORST_FIRST = (ExitCode.GATE_FAILED, ExitCode.USAGE, ExitCode.BLOCK, ExitCode.HOLD, ExitCode.ALLOW)
"""The exit code of a run of several candidates is the first of these that one of them has."""


@click.command(cls=Command)
@click.option("--policy", type=PATH, default=None, help="Limits, suites and judge.  [default: .github/ftgate.yml]")
@click.option("--manifest", type=PATH, multiple=True, help="The file that names base and candidate. Can be repeated.")
@partial(references, several=True)
@click.option("--write-policy", type=PATH, default=None, help="With --base: save policy and manifest in this folder.")
@click.option(
    "--limit", type=click.IntRange(1), default=None, help="Smoke test: so many items a suite; never says allow."
)
@click.option(
    "--out",
    type=PATH,
    multiple=True,
    help="Folder for report and answers; of several candidates the folder above theirs, or one for each, in order.  "
    "[default: out/NAME]",
)
@click.option("--reuse", type=PATH, multiple=True, help="Reuse the answers in this earlier output folder.")
@BUNDLE
@OFFLINE
@VERIFY
def run(
    manifest: tuple[Path, ...], candidate: tuple[str, ...], out: tuple[Path, ...], verify_cache: bool, **options: Any
) -> None:
    """Run base and candidate on the suites, measure and decide. After an interruption, run it again to resume.

    Either --manifest names the models and --policy the limits, or --base and --candidate name models, and everything
    else has a default: ftgate run --base models/base --candidate models/bot --target evals/target.jsonl

    Several manifests or candidates share engines, the base's answers and the judge. Each has a report of its own; the
    exit code is that of the worst.
    """
    verify_whole_cache(verify_cache)
    if max(len(manifest), len(candidate)) > 1:
        _run_each(manifest, candidate, out, **options)
        return
    from ftgate.api.evaluate import evaluate
    from ftgate.gate.output import default_folder
    from ftgate.report.progress_bar import RichProgress
    from ftgate.report.terminal import print_report

    if len(out) > 1:
        raise ConfigurationError(f"--out is given {len(out)} times for one candidate", hint="give it once")
    named: dict[str, Any] = {"manifest": next(iter(manifest), None), "candidate": next(iter(candidate), None)}
    folder = next(iter(out), None)
    report = evaluate(out=folder, progress=RichProgress(real_stderr()), **named, **options)
    print_report(report, stdout())
    print_paths(folder or default_folder(report.name))
    exit_with(report.verdict)


def _run_each(manifests: tuple[Path, ...], candidates: tuple[str, ...], out: tuple[Path, ...], **options: Any) -> None:
    """Judge several candidates, and show each and all of them side by side."""
    from ftgate.api.evaluate import evaluate_each
    from ftgate.gate.output import OUT
    from ftgate.report.progress_bar import RichProgress

    number = len(manifests) or len(candidates)
    if manifests and candidates:
        raise ConfigurationError("manifest and candidate: give one of them", hint="a manifest names the models")
    for name in ("name", "write_policy"):
        if options.pop(name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise ConfigurationError(
                f"{option} is for one candidate, and {number} are given", hint=f"leave out {option}"
            )
    if len(out) not in (0, 1, number):
        raise ConfigurationError(
            f"--out is given {len(out)} times for {number} candidates",
            hint="give it once, for the folder above theirs, or once for each",
        )
    folders = out if len(out) > 1 else next(iter(out), OUT)
    outcomes = evaluate_each(
        manifests=manifests, candidates=candidates, out=folders, progress=RichProgress(real_stderr()), **options
    )
    click.get_current_context().exit(_show(outcomes))


def _show(outcomes: Iterable[Outcome]) -> int:
    """Print what becomes of each, and then all of them side by side; returns the worst exit code."""
    from ftgate.domain import Verdict
    from ftgate.planning.compare import compare_reports
    from ftgate.planning.compare_view import print_comparison
    from ftgate.report.terminal import print_report

    reports: list[tuple[Path, Report]] = []
    codes: list[int] = []
    failed: list[str] = []
    for outcome in outcomes:
        if outcome.error is not None:
            codes.append(show_problem(outcome.error, about=outcome.name))
            failed.append(outcome.name)
        elif outcome.report is not None and outcome.out is not None:
            print_report(outcome.report, stdout())
            print_paths(outcome.out)
            codes.append(Verdict(outcome.report.verdict).exit_code)
            reports.append((outcome.out, outcome.report))
    if len(reports) > 1:
        print_comparison(compare_reports(reports), stdout())
    for name in failed:
        click.echo(f"{name}: no verdict, see the error above")
    return int(min(codes, key=WORST_FIRST.index))
