"""`ftgate compare`: several runs side by side, or the releases in a ledger over time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ftgate.cli.common import PATH, Command, stdout
from ftgate.errors import ConfigurationError

if TYPE_CHECKING:
    from ftgate.github.audit.record import Record


@click.command(cls=Command)
@click.argument("directories", nargs=-1, type=PATH)
@click.option("--html", type=PATH, default=None, help="Write the comparison as a page, too.")
@click.option(
    "--ledger",
    default=None,
    metavar="OWNER/NAME",
    help="Instead of DIRECTORIES: the releases in this repository's ledger over time, or in a ledger.jsonl.",
)
@click.option(
    "--policy",
    type=PATH,
    default=Path(".github/ftgate.yml"),
    show_default=True,
    help="With --ledger: the policy that names the ledger's branch and who writes it.",
)
def compare(directories: tuple[Path, ...], html: Path | None, ledger: str | None, policy: Path) -> None:
    """Compare several runs: candidates, checkpoints, or a sweep. DIRECTORIES are their output folders."""
    if html is not None and html.is_dir():
        raise ConfigurationError(f"--html {html}: a folder", hint=f"name the page: --html {html / 'compare.html'}")
    if ledger is not None:
        if directories:
            raise ConfigurationError("--ledger takes the place of DIRECTORIES", hint="give one of the two")
        _compare_releases(ledger, policy, html)
        return
    from ftgate.cli.leftovers import own_page, without_leftovers
    from ftgate.planning.compare import compare_runs
    from ftgate.planning.compare_view import print_comparison, write_page

    # As `out/*` gives them: a page or a log beside the folders is no run, and a report stands for its folder.
    folders = (path.parent if path.name == "report.json" else path for path in directories)
    with without_leftovers(own_page(html)):
        comparison = compare_runs([folder for folder in folders if not folder.is_file()])
    print_comparison(comparison, stdout())
    if html is not None:
        write_page(comparison, html)
        click.echo(f"page: {html}")


def _compare_releases(ledger: str, policy: Path, html: Path | None) -> None:
    """Show the time line; exit 1 if the ledger is not intact, as `ftgate history` does."""
    from ftgate.cli.github import current_time
    from ftgate.github.audit.timeline import timelines
    from ftgate.github.audit.timeline_view import print_timelines, write_timelines
    from ftgate.report.escape import plain_line

    records, problems = _read_ledger(ledger, policy)
    lines = timelines(records, current_time())
    print_timelines(lines, stdout())
    if html is not None:
        write_timelines(lines, problems, html)
        click.echo(f"page: {html}")
    for problem in problems:
        click.echo(plain_line(f"problem: {problem}", 1000))
    click.echo(f"{len(records)} records, {f'{len(problems)} problems' if problems else 'the chain is intact'}")
    click.get_current_context().exit(1 if problems else 0)


def _read_ledger(ledger: str, policy: Path) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """The records and what is wrong with them. Of a file only the chain is checked; it holds no commit statuses."""
    from ftgate.cli.github import ledger_policy, open_repository
    from ftgate.github.audit.history import ledger_history
    from ftgate.github.audit.quotes import quotes_of
    from ftgate.github.audit.record import no_ledger, parse_ledger

    if Path(ledger).is_file():
        lines = Path(ledger).read_text(encoding="utf-8-sig", errors="replace").splitlines()
        if problem := no_ledger(lines):
            raise ConfigurationError(f"--ledger {ledger}: {problem}", hint="give owner/name, or a ledger.jsonl")
        chain = parse_ledger(lines)
        return chain.records, chain.problems
    if Path(ledger).is_dir():
        raise ConfigurationError(f"--ledger {ledger}: a folder", hint="give owner/name, or the ledger.jsonl in it")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", ledger):
        raise ConfigurationError(
            f"--ledger {ledger}: no such file, and not a repository", hint="give owner/name, or a ledger.jsonl"
        )
    settings, repository = ledger_policy(policy).publish, open_repository(ledger)
    history = ledger_history(repository, settings.branch, quoted=quotes_of(repository, settings))
    return history.ledger.records, history.problems
