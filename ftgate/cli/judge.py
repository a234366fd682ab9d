"""`ftgate judge`: draws answers for people to grade, and checks a judge on the grades."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ftgate.cli.common import PATH, CommandGroup
from ftgate.errors import ConfigurationError

if TYPE_CHECKING:
    from ftgate.gate.judge_check import JudgeCheck
    from ftgate.judge.agreement import Agreement

SCALE = (
    "Grade each answer as a whole: does it do what the prompt asks, is it correct, is it well formed and complete?\n"
    "  5 fully  4 mostly  3 partly  2 hardly  1 worthless: wrong, empty, broken or about something else\n"
    "Write the grade into the column grade, from the top, and leave no row out; change nothing else but note."
)


@click.group(cls=CommandGroup)
def judge() -> None:
    """Check a judge against people: draw answers to grade, and compare."""


@judge.command()
@click.argument("directory", type=PATH)
@click.option("--out", type=PATH, default=Path("labels.csv"), show_default=True, help="Where to write (.csv, .jsonl).")
@click.option("--measurement", default=None, help="Whose answers; by default the first that a judge graded.")
@click.option("--items", type=click.IntRange(1, 5000), default=60, show_default=True, help="Items, of both models.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the order within an item.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def sample(directory: Path, out: Path, measurement: str | None, items: int, seed: int, force: bool) -> None:
    """Write answers of the run in DIRECTORY for people to grade, without the models' names."""
    from ftgate.gate.label_sample import sample_answers
    from ftgate.judge.labels import write_labels
    from ftgate.measurements.labelled import LEAST_LABELLED

    if out.suffix.lower() not in (".csv", ".jsonl"):
        raise ConfigurationError(f"--out {out}: only .csv and .jsonl are written", hint="--out labels.csv")
    if out.exists() and not force:
        raise ConfigurationError(f"--out {out} exists, and its grades would be lost", hint="another --out, or --force")
    drawn = sample_answers(directory, measurement, items, seed)
    write_labels(drawn.labels, out)
    filled = sum(label.grade is not None for label in drawn.labels)
    click.echo(f"{out}: {len(drawn.labels)} answers to {drawn.items} items of {drawn.measurement}")
    if filled:
        click.echo(f"{filled} of them have the grade that the policy's labels gave them")
    if drawn.others:
        click.echo(f"a judge also graded {', '.join(drawn.others)}: --measurement {drawn.others[0]}")
    if drawn.items < LEAST_LABELLED:
        remedy = (
            f"--items {LEAST_LABELLED}" if drawn.items == items else "this run has no more that both models answered"
        )
        needed = f"that takes grades of both answers to {LEAST_LABELLED} items"
        click.echo(f"too few to correct {drawn.measurement}: {needed}; {remedy}")
    click.echo(SCALE)


@judge.command()
@click.option("--policy", type=PATH, default=Path(".github/ftgate.yml"), show_default=True)
@click.option("--labels", type=PATH, default=None, help="File with people's grades; by default the policy's.")
@click.option(
    "--out", type=PATH, default=Path("judge-check"), show_default=True, help="Folder for the judge's replies."
)
@click.option("--offline", is_flag=True, help="Use only cached files, no network.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check(policy: Path, labels: Path | None, out: Path, offline: bool, as_json: bool) -> None:
    """Say how well the policy's judge agrees with people, and whether it passes its fitness test."""
    from dataclasses import asdict

    from ftgate.artifacts.resolve import Resolver
    from ftgate.cli.common import real_stderr
    from ftgate.gate.judge_check import check_judge
    from ftgate.report.progress_bar import RichProgress
    from ftgate.report.schema import plain

    progress = RichProgress(real_stderr())
    result = check_judge(
        policy,
        labels,
        out,
        progress,
        lambda rules, folder: Resolver(rules.artifacts, folder, offline, progress.phase, progress.note),
    )
    if as_json:
        click.echo(json.dumps(plain(asdict(result)), indent=2))
        return
    for line in description(result):
        click.echo(line)


def description(result: JudgeCheck) -> Iterator[str]:
    """The check in lines of text."""
    from ftgate.report.escape import plain_line

    yield f"judge: {plain_line(result.judge, 200)}"
    blank = f", {result.blank} more rows have no grade" if result.blank else ""
    yield f"labels: {plain_line(result.labels, 200)}{blank}"
    yield f"agreement with people: {result.agreement.text} (90 % intervals; the scale of the bias is 0 to 1)"
    yield from _table(result.agreement)
    for name, test in result.fitness.items():
        yield f"fitness test on {name}: {'passed' if test.fit else 'failed'}: {plain_line(test.reason, 600)}"


def _table(agreed: Agreement) -> Iterator[str]:
    """People's grades in rows, the judge's nearest ones in columns."""
    if not agreed.table:
        return
    yield "people \\ judge" + "".join(f"{grade:6}" for grade in range(1, 6))
    for grade, row in enumerate(agreed.table, 1):
        yield f"{grade:14}" + "".join(f"{count:6}" for count in row)
