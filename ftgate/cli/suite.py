"""`ftgate suite`: shows how a data file is read, and converts it to ftgate's own rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from ftgate.cli.common import PATH, CommandGroup
from ftgate.errors import ConfigurationError

if TYPE_CHECKING:
    from ftgate.config.columns import Columns
    from ftgate.domain import Item, Suite, TaskRequest

COLUMN_HELP = "What a field is, as in the policy's `columns`; several fields: choices=a,b,c. Can be repeated."
COLUMN = click.option("--column", "pairs", multiple=True, metavar="PART=FIELD", help=COLUMN_HELP)
POLICY = click.option("--policy", type=PATH, default=None, help="Use this policy's download settings.")
SHOWN_ROWS, SHOWN_TAGS, SHOWN_PAIRS, SHOWN_CHARACTERS = 3, 20, 5, 600
_SEVERAL = ("choices", "tags")


@click.group(cls=CommandGroup)
def suite() -> None:
    """See how a data file is read, and convert it."""


@suite.command()
@click.argument("source")
@COLUMN
@POLICY
def show(source: str, pairs: tuple[str, ...], policy: Path | None) -> None:
    """Show how SOURCE is read as a suite: its shape, counts, three rows, tags, lengths and duplicates.

    SOURCE is a file, a reference, or a task of the lm-evaluation-harness: lm-eval:TASK, or a task file (YAML).
    """
    for line in description(_read(source, pairs, policy)):
        click.echo(line)


@suite.command("import")
@click.argument("source")
@click.option("--out", type=PATH, required=True, help="Where to write ftgate's own rows (.jsonl).")
@COLUMN
@POLICY
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def import_(source: str, out: Path, pairs: tuple[str, ...], policy: Path | None, force: bool) -> None:
    """Convert SOURCE, a file of any known shape or a task (lm-eval:TASK), to ftgate's own rows."""
    from ftgate.tail.build_suite import require_writable, save_suite

    require_writable(out, force=force)
    result = _read(source, pairs, policy)
    _require_rows(result)
    save_suite(result, out)
    for line in (*summary(result), f"{out}: {len(result.items):,} rows"):
        click.echo(line)


def _read(source: str, pairs: Sequence[str], policy: Path | None) -> Suite:
    from ftgate.config.lm_eval import is_task
    from ftgate.datasets import Needs, read_parts
    from ftgate.datasets.builtin import PREFIX, dataset_paths
    from ftgate.datasets.lm_eval import read_task
    from ftgate.tail.sources import CommandLineSources

    if is_task(source):
        if pairs:
            text = f"{source} is a task, which brings its own prompts and choices"
            raise ConfigurationError(text, hint="leave out --column, which is for files")
        return read_task(Path(source).name, source, Path(), None)
    if source.startswith(PREFIX):
        paths = dataset_paths(source, Path(), "SOURCE")
    else:
        paths = CommandLineSources.under(policy).files(source)
    return read_parts(Path(source).name, paths, needs=Needs(), columns=columns_of(pairs))


def _require_rows(result: Suite) -> None:
    """Refuse documents of a task that are no suite without it: the task itself scores what they are answered with."""
    from ftgate.scoring.task_requests import HARNESS, scorer_of

    scored = [item.request for item in result.items if item.request and scorer_of(item.request) == HARNESS]
    if scored:
        task, how = scored[0].task, f"metric {scored[0].metric}, filter {scored[0].filter or 'none'}"
        raise ConfigurationError(
            f"{result.source}: {len(scored):,} of {len(result.items):,} documents are answered with texts, which only "
            f"the task {task} can score ({how}): no row can say how",
            hint=f"name the task in the policy instead: dataset: lm-eval:{task}, or its YAML file",
        )


def columns_of(pairs: Sequence[str]) -> Columns | None:
    """The mapping that ``--column PART=FIELD`` options describe; None without any. Raises ConfigurationError."""
    from ftgate.config.columns import Columns
    from ftgate.config.strict import validate

    if not pairs:
        return None
    fields: dict[str, str | list[str]] = {}
    for pair in pairs:
        name, _, field = pair.partition("=")
        if not field:
            raise ConfigurationError(f"--column {pair}: no field", hint="write --column prompt=question")
        if name in fields:
            several = f"--column {name}=FIELD,FIELD" if name in _SEVERAL else "a template, {{ FIELD }} {{ FIELD }}"
            raise ConfigurationError(f"--column {name} is given twice", hint=f"name all its fields at once: {several}")
        fields[name] = field.split(",") if name in _SEVERAL and "{" not in field and "," in field else field
    if isinstance(fields.get("tags"), str):
        fields["tags"] = [str(fields["tags"])]
    return validate(Columns, fields, "--column")


def summary(result: Suite) -> Iterator[str]:
    """What was understood, in a few lines."""
    from ftgate.datasets.suites import repeats_text
    from ftgate.report.escape import plain_line

    rows = len(result.items) + len(result.repeats)
    yield f"{result.source}: {rows:,} {'row' if rows == 1 else 'rows'}, {len(result.items):,} distinct"
    for note in (*result.notes, repeats_text(result), *(f"warning: {text}" for text in result.warnings)):
        if note:
            yield f"  {plain_line(note, 800)}"


def description(result: Suite) -> Iterator[str]:
    """What ``suite show`` prints."""
    from ftgate.report.escape import plain_line

    items = result.items
    yield from summary(result)
    parts = {
        "choices": "choices",
        "answer": "a reference answer",
        "check": "a check",
        "cluster": "a cluster",
        "tools": "tools",
    }
    held = {text: sum(bool(getattr(item, name)) for item in items) for name, text in parts.items()}
    yield f"with {', '.join(f'{text}: {count:,}' for text, count in held.items())}"
    lengths = sorted(
        len(item.request.prompt) if item.request else sum(len(message.text) for message in item.messages)
        for item in items
    )
    yield f"prompts in characters: shortest {lengths[0]:,}, median {median(lengths):,.0f}, longest {lengths[-1]:,}"
    tags = Counter(tag for item in items for tag in item.tags)
    shown = ", ".join(f"{plain_line(tag, 60)} {count:,}" for tag, count in tags.most_common(SHOWN_TAGS))
    yield f"tags: {shown or 'none'}" + (f" and {len(tags) - SHOWN_TAGS} more" if len(tags) > SHOWN_TAGS else "")
    yield near_duplicates_text(items)
    for item in items[:: max(1, len(items) // SHOWN_ROWS)][:SHOWN_ROWS]:
        yield from _row(item)


def near_duplicates_text(items: Sequence[Item]) -> str:
    """How many prompts nearly equal an earlier one, and the first of them by line (or id, in several files)."""
    from ftgate.datasets.similar import SimilarTexts

    similar = SimilarTexts()
    pairs = [
        (item, items[other])
        for number, item in enumerate(items)
        if (other := similar.add(number, _asked(item))) is not None
    ]
    one_file = len({item.line for item in items}) == len(items)
    names = [tuple(str(item.line) if one_file else item.id for item in pair) for pair in pairs[:SHOWN_PAIRS]]
    shown = ", ".join(f"{later} like {earlier}" for later, earlier in names) + (
        ", ..." if len(pairs) > len(names) else ""
    )
    return f"near duplicates: {len(pairs):,}" + (f" ({'lines' if one_file else 'ids'} {shown})" if pairs else "")


def _asked(item: Item) -> str:
    return "\n".join((*(message.text for message in item.messages), *item.choices))


def _row(item: Item) -> Iterator[str]:
    """A row as the model will see it, but for its chat template, and what its answer is compared with."""
    from ftgate.report.escape import clip, plain_line
    from ftgate.scoring.choice import LETTERS, choice_messages

    if item.request is not None:
        yield from _document(item, item.request)
        return
    lettered = bool(item.choices) and item.check is None and len(item.choices) <= len(LETTERS)
    yield f"\nline {item.line}, id {plain_line(item.id, 60)}"
    for message in choice_messages(item) if lettered else item.messages:
        yield f"  {message.role}: " + clip(message.text, SHOWN_CHARACTERS).replace("\n", "\n    ")
    if item.tools:
        yield f"  tools: {plain_line(', '.join(tool['function']['name'] for tool in item.tools), SHOWN_CHARACTERS)}"
    if item.answer is not None:
        yield "  reference: " + clip(item.answer, SHOWN_CHARACTERS).replace("\n", "\n    ")
    if item.check is not None:
        yield f"  check: {plain_line(str(dict(item.check)), SHOWN_CHARACTERS)}"


def _document(item: Item, request: TaskRequest) -> Iterator[str]:
    """A document of a task: the prompt as the model continues it, what is compared or where an answer ends."""
    from ftgate.report.escape import clip, plain_line

    yield f"\ndocument {item.line}, id {plain_line(item.id, 60)}"
    for prompt in request.prompts or (request.prompt,):
        # The document's own text comes last, after the worked examples.
        shown = prompt if len(prompt) <= SHOWN_CHARACTERS else f"…{prompt[-SHOWN_CHARACTERS:]}"
        yield "  prompt: " + clip(shown, SHOWN_CHARACTERS + 1).replace("\n", "\n    ")
    for place, text in enumerate(request.continuations):
        right = "right" if place in request.gold else "wrong"
        yield f"  {right} continuation: {plain_line(repr(text), SHOWN_CHARACTERS)}"
    if not request.continuations:
        stops = ", ".join(map(repr, request.until)) or "nothing"
        yield f"  generated up to {plain_line(stops, SHOWN_CHARACTERS)}, at most {request.max_tokens:,} tokens"
        if item.answer is not None:
            yield "  reference: " + clip(item.answer, SHOWN_CHARACTERS).replace("\n", "\n    ")
    yield f"  scored by {request.metric}" + (f", filter {request.filter}" if request.filter else "")
