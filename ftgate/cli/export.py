"""`ftgate export`: a run's results for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ftgate.cli.common import PATH, Command

if TYPE_CHECKING:
    from ftgate.config.policy import ExportName

TARGETS = ("junit", "model-card", "eval-results", "inspect", "mlflow", "wandb")
"""Keys of EXPORTS, which only the command itself imports."""
WHOLE = ("junit", "eval-results")
"""Those whose file holds nothing else: a model card has others' text, too."""


@click.command("export", cls=Command)
@click.argument("directory", type=PATH)
@click.option("--to", "targets", type=click.Choice(TARGETS), multiple=True, required=True, help="Can be repeated.")
@click.option(
    "--out", type=PATH, default=None, help="The file to write (inspect: folder); by default one in DIRECTORY."
)
def export_run(directory: Path, targets: tuple[ExportName, ...], out: Path | None) -> None:
    """Write the results in DIRECTORY for another tool.

    junit: one test case a measurement. model-card: `model-index` in a model card, which keeps the rest. eval-results:
    `.eval_results` of the Hub. inspect: logs for `inspect view`. mlflow, wandb: one run, to the server that their own
    environment variables name.
    """
    from ftgate.cli.leftovers import without_leftovers
    from ftgate.exports import EXPORTS, export, read_results

    if out is not None and len(targets) > 1:
        raise click.UsageError("--out names one file, and --to is given several times: leave one of them out")
    whole = [out or directory / EXPORTS[target].default for target in targets if target in WHOLE]
    with without_leftovers(whole if (directory / "report.json").is_file() else []):
        read_results(directory)
    for target in targets:
        click.echo(f"{target}: {export(directory, target, out)}")
