"""The command line: click verbs. The only place that builds real effects and hands them to the gate."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ftgate import __version__
from ftgate.cli.failure import FailureFile
from ftgate.cli.github import VERBS
from ftgate.cli.init import NOWHERE, write_start
from ftgate.cli.tail import tail
from ftgate.errors import ConfigurationError, FtgateError

if TYPE_CHECKING:
    from rich.console import Console

    from ftgate.jobs.prepare import Resolvers
    from ftgate.progress import Progress

PATH = click.Path(path_type=Path)
VERIFY = click.option("--verify-cache", is_flag=True, help="Read the whole of every cached copy that is used.")
OFFLINE = click.option("--offline", is_flag=True, help="Ask no network: use only what is in the cache.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ftgate")
def cli() -> None:
    """ftgate: a merge gate for fine-tuned language models.

    Exit codes: 0 allow, 1 block, 2 usage or configuration, 3 the gate itself failed, 4 hold.
    """


@cli.command()
@click.option("--out", type=PATH, default=Path("out"), show_default=True, help="Folder for one report a candidate.")
@click.option("--world", type=PATH, default=None, help="A folder laid out like the embedded tiny world.")
@click.option("--only", multiple=True, help="Judge only this candidate (may be given again).")
@click.option("--resume", is_flag=True, help="Keep the answers of an earlier demo in --out.")
def demo(out: Path, world: Path | None, only: tuple[str, ...], resume: bool) -> None:
    """Run the whole gate on the embedded tiny models: one base, five candidates, real weights."""
    from ftgate.cli.demo import run_demo
    from ftgate.report.progress_bar import RichProgress

    console = real_stderr()
    run_demo(out, world, only, resume=resume, progress=RichProgress(console), console=_stdout())


@cli.command()
@click.option("--policy", "policy", type=PATH, default=Path(".github/ftgate.yml"), show_default=True)
@click.option("--manifest", type=PATH, required=True, help="The file that names base and candidate.")
@click.option("--out", type=PATH, default=Path("out"), show_default=True, help="Folder for report and answers.")
@click.option("--reuse", type=PATH, multiple=True, help="Output folder of an earlier run whose answers may be used.")
@OFFLINE
@VERIFY
def run(policy: Path, manifest: Path, out: Path, reuse: tuple[Path, ...], offline: bool, verify_cache: bool) -> None:
    """Ask both models, measure, decide. Run it again after a kill: no answered question is asked twice."""
    from ftgate.gate.evaluate import evaluate
    from ftgate.jobs.prepare import load_all
    from ftgate.preflight.check import require_preflight
    from ftgate.preflight.hardware import detect
    from ftgate.report.progress_bar import RichProgress
    from ftgate.report.terminal import print_report

    progress = RichProgress(real_stderr())
    _trust_no_copy(verify_cache)
    parts = load_all(policy, manifest, _resolvers(progress, offline))
    require_preflight(parts, detect())
    report = evaluate(parts.job(), out, progress, reuse=reuse)
    print_report(report, _stdout())
    _say_where(out)
    _leave_with(report.verdict)


@cli.command()
@click.argument("directory", type=PATH)
@click.option("--policy", type=PATH, default=None, help="Decide under this policy instead of the run's own.")
@click.option("--out", type=PATH, default=None, help="Write the new report here instead of over the old one.")
def decide(directory: Path, policy: Path | None, out: Path | None) -> None:
    """Decide again from the stored answers: new limits, no engine."""
    from ftgate.gate.evaluate import decide_again
    from ftgate.progress import SilentProgress
    from ftgate.report.terminal import print_report

    report = decide_again(directory, policy, out or directory, SilentProgress())
    print_report(report, _stdout())
    _leave_with(report.verdict)


@cli.command()
@click.option("--policy", type=PATH, default=Path(".github/ftgate.yml"), show_default=True)
@click.option("--manifest", type=PATH, required=True)
@OFFLINE
@VERIFY
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def check(policy: Path, manifest: Path, offline: bool, verify_cache: bool, as_json: bool) -> None:
    """Say all that would stop a run, how it would go and what it would need, without a GPU.

    Of what lies elsewhere, large weights are not fetched: their headers are enough.
    """
    from ftgate.jobs.prepare import load_all
    from ftgate.preflight.check import preflight
    from ftgate.preflight.hardware import detect
    from ftgate.preflight.view import preflight_json, print_preflight
    from ftgate.report.progress_bar import RichProgress

    _trust_no_copy(verify_cache)
    parts = load_all(policy, manifest, _resolvers(RichProgress(real_stderr()), offline, headers_only=True))
    found = preflight(parts, detect())
    if as_json:
        click.echo(preflight_json(found))
        click.get_current_context().exit(found.exit_code)
    print_preflight(found, _stdout())
    parts.problems.raise_any()


@cli.command()
@click.option("--policy", type=PATH, default=Path(".github/ftgate.yml"), show_default=True)
@click.option("--manifest", type=PATH, default=None, help="Says whether there is training data to find the tail with.")
@click.option("--out", type=PATH, default=None, help="Output folder of an earlier run, to learn from.")
@click.option(
    "--plot", "picture", type=PATH, default=None, help="Draw power against the number of items (.svg or .png)."
)
@OFFLINE
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(
    policy: Path, manifest: Path | None, out: Path | None, picture: Path | None, offline: bool, as_json: bool
) -> None:
    """Say how many items each measurement needs, what it could tell, and what a run costs, without a GPU."""
    from ftgate.planning.inputs import plan_run, write_picture
    from ftgate.planning.plot import draw_power
    from ftgate.planning.view import plan_json, print_plan
    from ftgate.report.progress_bar import RichProgress

    if picture is not None and picture.suffix not in (".svg", ".png"):
        raise ConfigurationError(
            f"--plot {picture}: only SVG and PNG are drawn", hint="give a name that ends in .svg or .png"
        )
    found = plan_run(policy, manifest, out, _resolvers(RichProgress(real_stderr()), offline))
    if picture is not None:
        write_picture(draw_power(found).content(picture.suffix), picture)
    if as_json:
        click.echo(plan_json(found))
    else:
        print_plan(found, _stdout())


@cli.command()
@click.argument("directory", type=PATH)
def report(directory: Path) -> None:
    """Render comment.md and report.html again from report.json."""
    from ftgate.report.render import write_rendered
    from ftgate.report.schema import read_report
    from ftgate.report.terminal import print_report

    found = read_report(directory / "report.json")
    write_rendered(found, directory)
    print_report(found, _stdout())


@cli.command()
@click.argument("kind", type=click.Choice(["policy", "manifest", "report"]))
def schema(kind: str) -> None:
    """Print the JSON Schema of a file, for editors and checks."""
    from ftgate.cli.schema import schema_of

    click.echo(schema_of(kind))


@cli.command()
@click.argument("folder", type=PATH, default=Path())
@click.option("--action", default=NOWHERE, help="ftgate's actions: owner/name@<commit>, all 40 digits.")
def init(folder: Path, action: str) -> None:
    """Write a policy, a manifest and the workflows to start from into FOLDER. What is there is kept."""
    for path, written in write_start(folder, action):
        click.echo(f"{'wrote' if written else 'kept '} {path}")
    if action == NOWHERE:
        click.echo(f"next: put the repository and commit of ftgate's actions in place of {NOWHERE} in the workflows")
    click.echo("next: name your suites and limits in .github/ftgate.yml, then set up the repository: docs/github.md")


for verb in (*VERBS, tail):
    cli.add_command(verb)


def entry() -> NoReturn:
    """The program: :func:`main`, then the end of the process at once.

    Inference libraries leave threads and children behind whose clean-up can hang or crash after all is said and done.
    """
    # Answers by the hundred thousand live as long as the process: looking for garbage among them only takes time.
    gc.set_threshold(100_000, 20, 20)
    code = 0
    try:
        main()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 3
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 3
    if "vllm" in sys.modules:
        os._exit(code)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code. A person never sees a bare traceback for bad input."""
    reason = FailureFile(os.environ)
    try:
        result = cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except FtgateError as error:
        reason.leave(error.message)
        _complain(f"{error.message}" + (f"\n  what to do: {error.hint}" if error.hint else ""))
        sys.exit(error.exit_code)
    except click.ClickException as error:
        reason.leave(error.format_message())
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted; the answers so far are kept: run the same command again to go on")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        reason.leave(f"internal error: {type(error).__name__}: {error}")
        _complain(f"internal error: {type(error).__name__}: {error}\n  what to do: {_keep_traceback()}")
        sys.exit(3)
    sys.exit(result if isinstance(result, int) else 0)


def _resolvers(progress: Progress, offline: bool, *, headers_only: bool = False) -> Resolvers:
    from ftgate.artifacts.resolve import Resolver

    return lambda policy, folder: Resolver(
        policy.artifacts, folder, offline, progress.phase, progress.note, headers_only
    )


def _trust_no_copy(verify: bool) -> None:
    """Say so for every cache that this process opens: that of merged weights as well."""
    if verify:
        os.environ["FTGATE_VERIFY_DAYS"] = "0"


def _leave_with(verdict: str) -> None:
    from ftgate.domain import Verdict

    click.get_current_context().exit(int(Verdict(verdict).exit_code))


def _complain(text: str) -> None:
    from ftgate.report.escape import plain_lines

    click.echo(f"ftgate: error: {plain_lines(text)}", err=True)


def _keep_traceback() -> str:
    """Keep the traceback of a defect in a file, out of the reader's way, and say where."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="ftgate-traceback-", suffix=".txt", delete=False) as file:
        file.write(traceback.format_exc())
    return f"this is a defect of ftgate; report it with {file.name}"


def _say_where(out: Path) -> None:
    click.echo(f"report: {out / 'report.json'}, {out / 'comment.md'}, {out / 'report.html'}")


def _stdout() -> Console:
    from rich.console import Console

    return Console()


def real_stderr() -> Console:
    """A console on a copy of stderr: engines redirect the original while they work, to keep their noise in a log."""
    from rich.console import Console

    try:
        stream = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigurationError(f"no standard error to write to: {error}", hint="do not close it") from None
    return Console(file=stream)
