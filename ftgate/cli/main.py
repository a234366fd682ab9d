"""The command line (click). The only place that creates real effects and passes them to the gate."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ftgate import __version__
from ftgate.cli.ending import (
    CLOSED_PIPE,
    FAILED,
    end,
    end_on_signals,
    exit_code_of,
    interruption_code,
    interruptions_kept,
)
from ftgate.cli.failure import FailureFile
from ftgate.cli.github import COMMANDS
from ftgate.cli.init import NO_COMMIT, write_starter_files
from ftgate.cli.suite import suite
from ftgate.cli.tail import tail
from ftgate.errors import ConfigurationError, FtgateError
from ftgate.files import operating_system_error

if TYPE_CHECKING:
    from rich.console import Console

    from ftgate.jobs.prepare import Resolvers
    from ftgate.progress import Progress

PATH = click.Path(path_type=Path)
VERIFY = click.option("--verify-cache", is_flag=True, help="Check every cached file against its digest.")
OFFLINE = click.option("--offline", is_flag=True, help="Use only cached files, no network.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
    """Run the whole gate on tiny models with real weights: one base, five candidates. No GPU needed."""
    from ftgate.cli.demo import run_demo
    from ftgate.report.progress_bar import RichProgress

    console = real_stderr()
    run_demo(out, world, only, resume=resume, progress=RichProgress(console), console=_stdout())


@cli.command()
@click.option("--policy", "policy", type=PATH, default=Path(".github/ftgate.yml"), show_default=True)
@click.option("--manifest", type=PATH, required=True, help="The file that names base and candidate.")
@click.option("--out", type=PATH, default=Path("out"), show_default=True, help="Folder for report and answers.")
@click.option("--reuse", type=PATH, multiple=True, help="Reuse the answers in this earlier output folder.")
@OFFLINE
@VERIFY
def run(policy: Path, manifest: Path, out: Path, reuse: tuple[Path, ...], offline: bool, verify_cache: bool) -> None:
    """Run base and candidate on the suites, measure and decide. After an interruption, run it again to resume."""
    from ftgate.gate.evaluate import evaluate
    from ftgate.jobs.prepare import load_all
    from ftgate.preflight.check import require_preflight
    from ftgate.preflight.hardware import detect
    from ftgate.report.progress_bar import RichProgress
    from ftgate.report.terminal import print_report

    progress = RichProgress(real_stderr())
    _verify_whole_cache(verify_cache)
    draft = load_all(policy, manifest, _resolvers(progress, offline))
    for warning in require_preflight(draft, detect()).warnings:
        progress.note(f"warning: {warning}")
    report = evaluate(draft.job(), out, progress, reuse=reuse)
    print_report(report, _stdout())
    _print_paths(out)
    _exit_with(report.verdict)


@cli.command()
@click.argument("directory", type=PATH, required=False)
@click.option("--policy", type=PATH, default=None, help="Use this policy instead of the run's own.")
@click.option("--out", type=PATH, default=None, help="Folder for the new report; default: overwrite the old one.")
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

        report = decide_on_logs(*logs, policy, out or Path("out"), measurement, metric)
    elif directory is None or measurement or metric:
        text = "no DIRECTORY of a run" if directory is None else "--measurement and --metric are for --from"
        raise ConfigurationError(text, hint="ftgate decide out, or ftgate decide --from base.eval candidate.eval")
    else:
        report = decide_again(directory, policy, out or directory, SilentProgress())
    print_report(report, _stdout())
    _exit_with(report.verdict)


@cli.command()
@click.option("--policy", type=PATH, default=Path(".github/ftgate.yml"), show_default=True)
@click.option("--manifest", type=PATH, required=True)
@OFFLINE
@VERIFY
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check(policy: Path, manifest: Path, offline: bool, verify_cache: bool, as_json: bool) -> None:
    """Check configuration, data and weights, and estimate memory. No GPU needed.

    Of large remote weights only the headers are downloaded.
    """
    from ftgate.jobs.prepare import load_all
    from ftgate.preflight.check import preflight
    from ftgate.preflight.hardware import detect
    from ftgate.preflight.view import preflight_json, print_preflight
    from ftgate.report.progress_bar import RichProgress

    _verify_whole_cache(verify_cache)
    draft = load_all(policy, manifest, _resolvers(RichProgress(real_stderr()), offline, headers_only=True))
    result = preflight(draft, detect())
    if as_json:
        click.echo(preflight_json(result))
        click.get_current_context().exit(result.exit_code)
    print_preflight(result, _stdout())
    draft.problems.raise_any()


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
    from ftgate.jobs.prepare import load_base
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
        pilots = pilot_base(load_base(policy, manifests[0], _resolvers(progress, offline)), pilot, progress)
    for group in alike(manifests):
        result = plan_run(policy, group[0] if group else None, out, _resolvers(progress, offline), pilots)
        if plot is not None:
            write_picture(draw_power(result).content(plot.suffix), plot)
        if as_json:
            click.echo(plan_json(result))
            continue
        if len(manifests) > 1:
            click.echo(f"for {', '.join(map(str, group[:5]))}{' …' if len(group) > 5 else ''} ({len(group)}):")
        print_plan(result, _stdout())


@cli.command()
@click.argument("directory", type=PATH)
def report(directory: Path) -> None:
    """Render comment.md and report.html again from report.json."""
    from ftgate.report.render import write_rendered
    from ftgate.report.schema import read_report
    from ftgate.report.terminal import print_report

    result = read_report(directory / "report.json")
    write_rendered(result, directory)
    print_report(result, _stdout())


@cli.command()
@click.argument("kind", type=click.Choice(["policy", "manifest", "report"]))
def schema(kind: str) -> None:
    """Print the JSON Schema of a file, for editors and validators."""
    from ftgate.cli.schema import schema_of

    click.echo(schema_of(kind))


@cli.command()
@click.argument("folder", type=PATH, default=Path())
@click.option("--action", default=NO_COMMIT, help="Where ftgate's actions are: owner/name@<commit>, all 40 digits.")
def init(folder: Path, action: str) -> None:
    """Write a starter policy, manifest and workflows into FOLDER. Existing files are kept."""
    for path, written in write_starter_files(folder, action):
        click.echo(f"{'wrote' if written else 'kept '} {path}")
    if action == NO_COMMIT:
        click.echo(f"next: in the workflows, replace {NO_COMMIT} with the repository and commit of ftgate's actions")
    click.echo("next: set your suites and limits in .github/ftgate.yml, then set up the repository: docs/github.md")


for command in (*COMMANDS, suite, tail):
    cli.add_command(command)


def entry() -> NoReturn:
    """The program: :func:`main`, ended so that only a verdict exits with the code of a verdict."""
    # Hundreds of thousands of answers live as long as the process, so garbage collection among them only costs time.
    gc.set_threshold(100_000, 20, 20)
    end_on_signals()
    end(exit_code_of(main))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code. Bad input never ends in a bare traceback."""
    failure_file = FailureFile(os.environ)
    try:
        with interruptions_kept():
            result = cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except FtgateError as error:
        failure_file.write(error.message)
        _print_problem(error)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        failure_file.write(error.format_message())
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort) as error:
        failure_file.write("the job was stopped before it had a verdict")
        _print_error("interrupted; the answers so far are kept: run the same command again to resume")
        sys.exit(interruption_code(error))
    except (BrokenPipeError, SystemExit):  # on a closed pipe click and rich exit with 1, which would mean block
        sys.exit(CLOSED_PIPE)
    except OSError as error:
        problem = operating_system_error(error)
        failure_file.write(problem.message)
        _print_problem(problem)
        sys.exit(FAILED)
    except MemoryError:
        failure_file.write("out of memory")
        _print_error("out of memory\n  what to do: free memory or raise its limit; answers so far are kept")
        sys.exit(FAILED)
    except Exception as error:
        failure_file.write(f"internal error: {type(error).__name__}: {error}")
        _print_error(f"internal error: {type(error).__name__}: {error}\n  what to do: {_write_traceback()}")
        sys.exit(FAILED)
    sys.exit(result if isinstance(result, int) else 0)


def _resolvers(progress: Progress, offline: bool, *, headers_only: bool = False) -> Resolvers:
    from ftgate.artifacts.resolve import Resolver

    return lambda policy, folder: Resolver(
        policy.artifacts, folder, offline, progress.phase, progress.note, headers_only
    )


def _verify_whole_cache(verify: bool) -> None:
    """Through the environment, because it applies to every cache in this process, including that of merged weights."""
    if verify:
        os.environ["FTGATE_VERIFY_DAYS"] = "0"


def _exit_with(verdict: str) -> None:
    from ftgate.domain import Verdict

    click.get_current_context().exit(int(Verdict(verdict).exit_code))


def _print_problem(error: FtgateError) -> None:
    _print_error(f"{error.message}" + (f"\n  what to do: {error.hint}" if error.hint else ""))


def _print_error(text: str) -> None:
    from ftgate.report.escape import plain_lines

    click.echo(f"ftgate: error: {plain_lines(text)}", err=True)


def _write_traceback() -> str:
    """Write the traceback of a bug to a file. Returns the hint that names it."""
    import tempfile
    import traceback

    trace = traceback.format_exc()
    try:
        with tempfile.NamedTemporaryFile("w", prefix="ftgate-traceback-", suffix=".txt", delete=False) as file:
            file.write(trace)
    except OSError:
        return f"this is a bug in ftgate; report it with these lines:\n{trace}"
    return f"this is a bug in ftgate; report it and attach {file.name}"


def _print_paths(out: Path) -> None:
    click.echo(f"report: {out / 'report.json'}, {out / 'comment.md'}, {out / 'report.html'}")


def _stdout() -> Console:
    from rich.console import Console

    return Console()


def real_stderr() -> Console:
    """A console on a copy of stderr: engines redirect the original to their log while they work."""
    from rich.console import Console

    try:
        stream = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigurationError(f"no standard error to write to: {error}", hint="do not close it") from None
    return Console(file=stream)
