"""What several commands share: options, consoles, and how a command ends."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ftgate.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console


PATH = click.Path(path_type=Path)
VERIFY = click.option("--verify-cache", is_flag=True, help="Check every cached file against its digest.")
BUNDLE = click.option(
    "--bundle", type=PATH, default=None, help="The ftgate-job.json of `ftgate fetch`, for `incumbent: last-allowed`."
)
FC = TypeVar("FC", bound=Callable[..., Any])
_REFERENCES = {
    "base": "Instead of a manifest: the base, a folder or hf://, s3:// and so on.",
    "candidate": "With --base: the fine-tuned model, an adapter or full weights.",
    "target": "With --base: questions about its task, with answers.",
    "training": "With --base: what it was trained on.",
    "queries": "With --base and --training: real queries, for the tail.",
    "choices": "With --base: multiple-choice questions, for calibration.  [default: --target]",
    "judge": "With --base: a third model, which grades free-form answers.",
}
OFFLINE = click.option("--offline", is_flag=True, help="Use only cached files, no network.")


class Command(click.Command):
    """A command that refuses an option given twice which has one value: click would take the last and say nothing."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's. Raises UsageError."""
        if ctx.resilient_parsing:  # a shell completes the line
            return super().parse_args(ctx, args)
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for parameter, number in Counter(order).items():
            if isinstance(parameter, click.Option) and number > 1 and not (parameter.multiple or parameter.is_flag):
                raise click.UsageError(f"{parameter.opts[0]} is given {number} times: give it once", ctx)
        return super().parse_args(ctx, args)


class CommandGroup(click.Group):
    """Commands that are all of class :class:`Command`."""

    command_class = Command


class Interrupted(click.Abort):
    """Ctrl-C or the end of input in a command that keeps no answers; ``text`` says what there is now."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def references(command: FC, *, several: bool = False) -> FC:
    """The options that name models and data in place of a manifest, and of a policy; perhaps ``several`` candidates."""
    command = click.option("--name", default=None, help="With --base: what reports call the candidate.")(command)
    for name, text in reversed(_REFERENCES.items()):
        repeated: dict[str, Any] = {"default": None}
        if several and name == "candidate":
            repeated, text = {"multiple": True}, f"{text} Can be repeated."
        command = click.option(f"--{name}", metavar="REFERENCE", help=text, **repeated)(command)
    return command


def verify_whole_cache(verify: bool) -> None:
    """Through the environment, because it applies to every cache in this process, including that of merged weights."""
    if verify:
        os.environ["FTGATE_VERIFY_DAYS"] = "0"


def exit_with(verdict: str) -> None:
    """Exit with the code of a verdict."""
    from ftgate.domain import Verdict

    click.get_current_context().exit(int(Verdict(verdict).exit_code))


def print_paths(out: Path) -> None:
    """Say where the report is."""
    click.echo(f"report: {out / 'report.json'}, {out / 'comment.md'}, {out / 'report.html'}")


def stdout() -> Console:
    """A console for results."""
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
