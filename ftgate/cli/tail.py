"""`ftgate tail`: builds a suite of unusual queries from a log of real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ftgate.cli.common import PATH, CommandGroup
from ftgate.cli.suite import COLUMN, columns_of

if TYPE_CHECKING:
    from ftgate.domain import Suite
    from ftgate.embeddings.base import Embedder
    from ftgate.tail.sources import CommandLineSources

PERTURBATIONS = ("format", "case", "typos", "two_intents")


@click.group(cls=CommandGroup)
def tail() -> None:
    """Build the tail suite: unusual queries."""


@tail.command()
@click.option("--queries", required=True, help="Log of real queries (.jsonl, .csv or .parquet), local or remote.")
@COLUMN
@click.option("--training", required=True, help="The model's training data, local or remote.")
@click.option("--out", type=PATH, required=True, help="Where to write the suite (.jsonl).")
@click.option("--n", type=click.IntRange(1, 100_000), default=300, show_default=True, help="Items to pick.")
@click.option(
    "--perturb",
    type=click.Choice([*PERTURBATIONS, "all"]),
    multiple=True,
    help="Make a quarter of the items ordinary queries, perturbed in this way (can be repeated).",
)
@click.option("--model", default=None, help="Embed with this model (a folder, hf://, s3://, ...) instead of TF-IDF.")
@click.option("--policy", type=PATH, default=None, help="Use this policy's download settings (artifacts section).")
@click.option(
    "--max-train-rows",
    type=click.IntRange(2, 1_000_000),
    default=20_000,
    show_default=True,
    help="Compare with a random sample of at most this many training rows.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def build(
    queries: str,
    pairs: tuple[str, ...],
    training: str,
    out: Path,
    n: int,
    perturb: tuple[str, ...],
    model: str | None,
    policy: Path | None,
    max_train_rows: int,
    seed: int,
    force: bool,
) -> None:
    """Pick unusual queries from a log, for you to review and label.

    The rows have no answers: add them, and remove the tag "unlabelled" from each row that you have checked.
    """
    import tempfile

    from ftgate.tail.build_suite import SuiteRequest, build_tail_suite, require_writable, save_suite
    from ftgate.tail.sources import CommandLineSources

    columns = columns_of(pairs)
    require_writable(out, force=force)
    perturbations = PERTURBATIONS if "all" in perturb else perturb
    sources = CommandLineSources.under(policy)
    log, training_files = sources.files(queries), sources.files(training)
    embedder = _embedder(model, sources)
    with tempfile.TemporaryDirectory() as vectors:
        try:
            suite = build_tail_suite(
                SuiteRequest(log, training_files, n, perturbations, seed, max_train_rows, columns),
                embedder,
                Path(vectors),
            )
        finally:
            embedder.close()
    save_suite(suite, out)
    for line in _summary(suite, out, n, embedder.name):
        click.echo(line)


def _summary(suite: Suite, out: Path, n: int, embedder: str) -> Iterator[str]:
    """What was built of ``n`` items requested, how the log was read, and what is left to do."""
    from ftgate.report.escape import plain_line

    tags = Counter(tag for item in suite.items for tag in item.tags if ":" not in tag)
    few = f" (of {n} requested: the log has no more distinct ones)" if len(suite.items) < n else ""
    yield f"{out}: {len(suite.items)} items{few}, embedded by {embedder}"
    for note in suite.notes:
        yield f"query log: {plain_line(note, 800)}"
    yield ", ".join(f"{count} {tag}" for tag, count in tags.items())
    yield 'No row has an answer yet: review each, add "answer" or "check", and remove the tag "unlabelled".'


def _embedder(model: str | None, sources: CommandLineSources) -> Embedder:
    from ftgate.embeddings.base import HashedTfidf, open_embedder

    if model is None:
        return HashedTfidf()
    model_path, kind = sources.model(model)
    return open_embedder(kind, model_path, model_path)
