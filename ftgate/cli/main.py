"""The command line (click). The only place that creates real effects and passes them to the gate."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from ftgate import __version__
from ftgate.cli.check import check
from ftgate.cli.common import (
    OFFLINE,
    PATH,
    CommandGroup,
    Interrupted,
    exit_with,
    print_paths,
    real_stderr,
    stdout,
)
from ftgate.cli.compare import compare
from ftgate.cli.docs import docs
from ftgate.cli.ending import CLOSED_PIPE, interruption_code, interruptions_kept
from ftgate.cli.export import export_run
from ftgate.cli.failure import FailureFile
from ftgate.cli.github import COMMANDS
from ftgate.cli.init import init
from ftgate.cli.judge import judge
from ftgate.cli.problem import print_error, show_problem
from ftgate.cli.run import run
from ftgate.cli.suite import suite
from ftgate.cli.tail import tail
from ftgate.errors import ConfigurationError

ASKING = frozenset(("run", "demo"))
"""Commands that ask models and keep each answer."""
COMPLETION = "_FTGATE_COMPLETE"
"""The variable by which a shell asks click to complete a command line."""


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ftgate")
def cli() -> None:
    """ftgate: a merge gate for fine-tuned language models.

    Exit codes: 0 allow, 1 block, 2 usage or configuration error, 3 the gate itself failed, 4 hold.
    """


@cli.command()
@click.option("--out", type=PATH, default=Path("out"), show_default=True, help="Folder for the reports.")
@click.option("--world", type=PATH, default=None, help="A folder with the same layout as the tiny world.")
@click.option("--only", multiple=True, help="Judge only this candidate (can be repeated).")
@click.option("--resume", is_flag=True, help="Keep the answers of an earlier demo in --out.")
def demo(out: Path, world: Path | None, only: tuple[str, ...], resume: bool) -> None:
    """Run the whole gate on tiny models with real weights: two bases, eight candidates. No GPU needed."""
    from ftgate.cli.demo import run_demo
    from ftgate.report.progress_bar import RichProgress

    console = real_stderr()
    run_demo(out, world, only, resume=resume, progress=RichProgress(console), console=stdout())


@cli.command()
@click.argument("directory", type=PATH, required=False)
@click.option("--policy", type=PATH, default=None, help="Use this policy instead of the run's own.")
@click.option(
    "--out",
    type=PATH,
    default=None,
    help="Folder for the new report; default: overwrite the old one, with --from: decided.",
)
@click.option(
    "--from",
    "logs",
    type=PATH,
    nargs=2,
    default=None,
    metavar="BASE CANDIDATE",
    help="Decide on logs of inspect_ai (.eval), lm-eval (samples_*.jsonl) or Every Eval Ever instead; needs --policy.",
)
@click.option("--measurement", default=None, help="With --from: what the logs decide, target or forgetting.")
@click.option("--metric", default=None, help="With --from: the score that counts; by default the log's first.")
def decide(
    directory: Path | None,
    policy: Path | None,
    out: Path | None,
    logs: tuple[Path, Path] | None,
    measurement: str | None,
    metric: str | None,
) -> None:
    """Decide again from the stored answers in DIRECTORY, for example with new limits. No models are run."""
    from ftgate.gate.evaluate import decide_again
    from ftgate.progress import SilentProgress
    from ftgate.report.terminal import print_report

    if logs is not None:
        if directory is not None or policy is None:
            raise ConfigurationError("--from takes the place of DIRECTORY and needs --policy", hint="give --policy")
        from ftgate.gate.decide_logs import decide_on_logs

        out = out or Path("decided")
        report = decide_on_logs(*logs, policy, out, measurement, metric)
        click.echo(f"decided on {report.checklist[1].evidence}")
        print_paths(out)
    elif directory is None or measurement or metric:
        text = "no DIRECTORY of a run" if directory is None else "--measurement and --metric are for --from"
        raise ConfigurationError(text, hint="ftgate decide out/NAME, or ftgate decide --from base.eval candidate.eval")
    else:
        report = decide_again(directory, policy, out or directory, SilentProgress())
    print_report(report, stdout())
    exit_with(report.verdict)


@cli.command()
@click.option("--policy", type=PATH, default=Path(".github/ftgate.yml"), show_default=True)
@click.option(
    "--manifest",
    "manifests",
    type=PATH,
    multiple=True,
    help="Shows whether there is training data to find the tail with (can be repeated).",
)
@click.option("--out", type=PATH, default=None, help="Output folder of an earlier run, to estimate from.")
@click.option(
    "--pilot",
    type=click.IntRange(1, 1000),
    default=None,
    help="Ask the base so many items of each suite first (20 are enough). Starts the engine; needs --manifest.",
)
@click.option("--plot", type=PATH, default=None, help="Draw power against the number of items (.svg or .png).")
@OFFLINE
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(
    policy: Path,
    manifests: tuple[Path, ...],
    out: Path | None,
    pilot: int | None,
    plot: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Estimate statistical power, the items that each measurement needs, and a run's cost.

    Needs no GPU, except for --pilot: it asks the base alone, and says whether the suites can decide for it.
    """
    from ftgate.gate.pilot import pilot_base
    from ftgate.jobs.prepare import load_base, resolvers_with
    from ftgate.planning.inputs import alike, plan_run, write_picture
    from ftgate.planning.plot import draw_power
    from ftgate.planning.view import plan_json, print_plan
    from ftgate.report.progress_bar import RichProgress

    if plot is not None and plot.suffix not in (".svg", ".png"):
        raise ConfigurationError(
            f"--plot {plot}: only SVG and PNG are supported", hint="use a name that ends in .svg or .png"
        )
    if len(manifests) > 1 and (pilot or plot or as_json):
        raise ConfigurationError(
            f"--pilot, --plot and --json work for one manifest, and {len(manifests)} are given",
            hint="plan each of them on its own",
        )
    progress, pilots = RichProgress(real_stderr()), None
    if pilot is not None:
        if not manifests:
            raise ConfigurationError("--pilot asks the base, which the manifest names", hint="give --manifest")
        pilots = pilot_base(load_base(policy, manifests[0], resolvers_with(progress, offline=offline)), pilot, progress)
    for group in alike(manifests):
        result = plan_run(policy, group[0] if group else None, out, resolvers_with(progress, offline=offline), pilots)
        if plot is not None:
            write_picture(draw_power(result).content(plot.suffix), plot)
        if as_json:
            click.echo(plan_json(result))
            continue
        if len(manifests) > 1:
            click.echo(f"for {', '.join(map(str, group[:5]))}{' …' if len(group) > 5 else ''} ({len(group)}):")
        print_plan(result, stdout())


@cli.command()
@click.argument("directory", type=PATH)
def report(directory: Path) -> None:
    """Render comment.md and report.html again from report.json and items.jsonl.gz."""
    from ftgate.cli.leftovers import rendered, without_leftovers
    from ftgate.jobs.checked_report import checked_report
    from ftgate.report.escape import plain_line
    from ftgate.report.items import read_items
    from ftgate.report.render import write_rendered
    from ftgate.report.terminal import print_report

    with without_leftovers(rendered(directory)):
        checked, items = checked_report(directory / "report.json"), read_items(directory)
    write_rendered(checked.report, directory, items, checked=checked.line)
    print_report(checked.report, stdout())
    click.echo(plain_line(checked.line, 600))


@cli.command()
@click.argument("kind", type=click.Choice(["policy", "manifest", "report", "ledger"]), required=False)
def schema(kind: str | None) -> None:
    """Print the JSON Schema of a file, for editors and validators. Without an argument, list the files."""
    from ftgate.cli.schema import FILES, schema_of

    if kind is None:
        for name, text in FILES.items():
            click.echo(f"ftgate schema {name:<9} {text}")
        return
    click.echo(schema_of(kind))


for command in (*COMMANDS, check, compare, docs, export_run, init, judge, run, suite, tail):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code. Bad input never ends in a bare traceback."""
    failure_file = FailureFile(os.environ)
    try:
        with interruptions_kept():
            result = cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except click.ClickException as error:
        failure_file.write(error.format_message())
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort) as error:
        failure_file.write("the job was stopped before it had a verdict")
        print_error(_what_is_kept(error, arguments or sys.argv[1:]))
        sys.exit(interruption_code(error))
    except SystemExit as stop:
        if COMPLETION in os.environ:  # click has answered the shell, and 1 would mean block
            sys.exit(0 if stop.code == 0 else 2)
        sys.exit(CLOSED_PIPE)  # on a closed pipe click and rich exit with 1, which would mean block
    except BrokenPipeError:
        sys.exit(CLOSED_PIPE)
    except Exception as error:
        sys.exit(show_problem(error, failure_file))
    sys.exit(result if isinstance(result, int) else 0)


def _what_is_kept(error: BaseException, arguments: Sequence[str]) -> str:
    """What an interrupted command has kept: what it says itself, or its answers, if it asks models."""
    for stop in (error, error.__cause__):  # the command's own may have been raised again as what interrupted it
        if isinstance(stop, Interrupted):
            return stop.text
    kept = "; the answers so far are kept: run the same command again to resume"
    return f"interrupted{kept if set(arguments[:1]) & ASKING else ''}"
