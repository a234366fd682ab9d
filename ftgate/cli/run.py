"""`ftgate run`: judges a candidate, as policy and manifest say or from a few references."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ftgate.cli.common import (
    BUNDLE,
    OFFLINE,
    PATH,
    VERIFY,
    exit_with,
    print_paths,
    real_stderr,
    references,
    stdout,
    verify_whole_cache,
)


@click.command()
@click.option("--policy", type=PATH, default=None, help="Limits, suites and judge.  [default: .github/ftgate.yml]")
@click.option("--manifest", type=PATH, default=None, help="The file that names base and candidate.")
@references
@click.option("--write-policy", type=PATH, default=None, help="With --base: save policy and manifest in this folder.")
@click.option(
    "--limit", type=click.IntRange(1), default=None, help="Smoke test: so many items a suite; never says allow."
)
@click.option("--out", type=PATH, default=None, help="Folder for report and answers.  [default: out/NAME]")
@click.option("--reuse", type=PATH, multiple=True, help="Reuse the answers in this earlier output folder.")
@BUNDLE
@OFFLINE
@VERIFY
def run(out: Path | None, verify_cache: bool, **options: Any) -> None:
    """Run base and candidate on the suites, measure and decide. After an interruption, run it again to resume.

    Either --manifest names the models and --policy the limits, or --base and --candidate name models, and everything
    else has a default: ftgate run --base models/base --candidate models/bot --target evals/target.jsonl
    """
    from ftgate.api.evaluate import evaluate
    from ftgate.gate.output import default_folder
    from ftgate.report.progress_bar import RichProgress
    from ftgate.report.terminal import print_report

    verify_whole_cache(verify_cache)
    report = evaluate(out=out, progress=RichProgress(real_stderr()), **options)
    print_report(report, stdout())
    print_paths(out or default_folder(report.name))
    exit_with(report.verdict)
