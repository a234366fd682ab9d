"""`ftgate docs`: the page about an error's code. docs/errors.md is written from it (make reference)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import click

from ftgate import errors
from ftgate.cli.common import Command
from ftgate.errors import ConfigurationError, FtgateError


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """What an error of one code means, what to do about it, and the pages of the documentation that say more."""

    meaning: str
    remedy: str
    pages: tuple[str, ...] = ()


PAGES = {
    "configuration": ErrorPage(
        "The policy, the manifest or an option cannot be used as written.",
        "The message names the file, the field and the value. `ftgate schema` lists the schemas for editors, and "
        "`ftgate check` reads everything without running a model.",
        ("policy", "preflight"),
    ),
    "several": ErrorPage(
        "Several problems were found, and all are listed.",
        "Repair each as its own line says. The exit code is 2 if any of them is one of configuration.",
        ("preflight",),
    ),
    "dataset": ErrorPage(
        "A suite, the training data or a log is missing, cannot be read, or has a bad row.",
        "The message names file and line. `ftgate suite show FILE` shows how a file is read, and `columns` in the "
        "policy says which fields hold what.",
        ("suites",),
    ),
    "artifact": ErrorPage(
        "A model is missing, not allowed by the policy, unsafe to load, or no match for its base.",
        "The policy's `artifacts.allow` says what may be loaded; weights must be safetensors, and a reference to a hub "
        "names a commit of 40 digits.",
        ("sources", "policy"),
    ),
    "download": ErrorPage(
        "A file could not be fetched or stored. It says nothing about the model.",
        "Check the network, the credentials and the disk, then run the same command again: it resumes.",
        ("sources", "resuming"),
    ),
    "engine": ErrorPage(
        "The inference engine did not start, or did not answer. It says nothing about the model.",
        "Read engine.log in the output folder. Less memory: a smaller `engine.max_model_len`, or more GPUs with "
        "`engine.tensor_parallel_size`. Then run again: answers are kept.",
        ("preflight", "serving", "resuming"),
    ),
    "control": ErrorPage(
        "A control that every verdict rests on failed: a model computes NaN, or the candidate changes no answer.",
        "Check how the candidate was saved, and that it is the one that you mean.",
        ("methods", "reading-a-report"),
    ),
    "changed": ErrorPage(
        "A file changed after it was hashed, so what was measured is not what would be judged.",
        "Wait until nothing writes to it any more, or copy it elsewhere; then run again.",
        ("resuming",),
    ),
    "store": ErrorPage(
        "A file of the run cannot be read or written, such as its journal.",
        "Check the disk, the permissions, and that no other run uses the same output folder.",
        ("resuming",),
    ),
    "publish": ErrorPage(
        "GitHub could not be reached, or refused what was asked of it.",
        "Check the token's permissions with `ftgate doctor`, then run the job again: publishing twice is safe.",
        ("github", "audit"),
    ),
    "gate": ErrorPage(
        "The gate itself failed. It says nothing about the model.",
        "Do as the message says, then run the same command again: it resumes.",
        ("resuming",),
    ),
}


def exit_codes() -> dict[str, int]:
    """The exit code of every error code."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FtgateError)]
    return {kind.code: kind.exit_code for kind in kinds}


def page() -> str:
    """docs/errors.md."""
    return "\n".join(_page_lines()) + "\n"


def _page_lines() -> Iterator[str]:
    codes = exit_codes()
    yield "# Errors"
    yield ""
    yield "Every error names what was wrong, where, and what to do; its last line names its code. `ftgate docs CODE`"
    yield "prints what is below. None of them is a verdict: exit code 2 is for something to repair in your files or"
    yield "options, 3 for a gate that could not do its work."
    for code, each in PAGES.items():
        links = " \u00b7 ".join(f"[{name}]({name}.md)" for name in each.pages)
        yield f"\n## {code}\n"
        yield from textwrap.wrap(f"{each.meaning} Exit code {codes[code]}.", 118)
        yield ""
        yield from textwrap.wrap(each.remedy, 118)
        yield f"\nMore: {links}"


@click.command(cls=Command)
@click.argument("code", required=False)
def docs(code: str | None) -> None:
    """Explain an error by its CODE, which stands in its last line. Without one, list them."""
    codes = exit_codes()
    if code is None:
        for name, each in PAGES.items():
            click.echo(f"{name:<14} {each.meaning}")
        return
    if code not in PAGES:
        raise ConfigurationError(f"no error has the code {code!r:.60}", hint=f"known are {', '.join(PAGES)}")
    each = PAGES[code]
    text = f"{each.meaning}\n{each.remedy}\nexit code {codes[code]}"
    for line in text.splitlines():
        click.echo(textwrap.fill(line, 100))
    click.echo("more: " + ", ".join(f"docs/{name}.md" for name in ("errors", *each.pages)))
