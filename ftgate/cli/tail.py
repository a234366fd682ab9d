"""The verbs about the tail: building a suite of unusual queries from a log of real ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ftgate.embeddings.base import Embedder
    from ftgate.tail.sources import CommandLineSources

PATH = click.Path(path_type=Path)
WAYS = ("format", "case", "typos", "two_intents")


@click.group()
def tail() -> None:
    """Work on the suite of unusual queries."""


@tail.command()
@click.option("--queries", required=True, help="Log of real queries (.jsonl, .csv or .parquet), here or elsewhere.")
@click.option("--training", required=True, help="The training data of the model.")
@click.option("--out", type=PATH, required=True, help="Where to write the suite (.jsonl).")
@click.option("--n", type=click.IntRange(1, 100_000), default=200, show_default=True, help="Items to pick.")
@click.option(
    "--perturb",
    type=click.Choice([*WAYS, "all"]),
    multiple=True,
    help="Make a quarter of them ordinary queries, changed in this way (may be given again).",
)
@click.option("--model", default=None, help="Embed with this model (a folder, hf://, s3://, ...) instead of TF-IDF.")
@click.option("--policy", type=PATH, default=None, help="Fetch as this policy says: which files to skip, which hosts.")
@click.option(
    "--max-train-rows",
    type=click.IntRange(2, 1_000_000),
    default=20_000,
    show_default=True,
    help="Compare with a sample of larger training data.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--force", is_flag=True, help="Write over an existing file.")
def build(
    queries: str,
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
    """Pick unusual queries from a log, for you to review and to label.

    The rows hold no answers: add them, and remove the tag "unlabelled" from each row that you have checked.
    """
    import tempfile

    from ftgate.tail.build_suite import SuiteRequest, build_tail_suite, require_writable, save_suite
    from ftgate.tail.sources import CommandLineSources

    require_writable(out, force=force)
    ways = WAYS if "all" in perturb else perturb
    named = CommandLineSources.under(policy)
    log, trained = named.file(queries), named.file(training)
    embedder = _embedder(model, named)
    with tempfile.TemporaryDirectory() as vectors:
        try:
            suite = build_tail_suite(SuiteRequest(log, trained, n, ways, seed, max_train_rows), embedder, Path(vectors))
        finally:
            embedder.close()
    save_suite(suite, out)
    tags = Counter(tag for item in suite.items for tag in item.tags if ":" not in tag)
    few = f" ({n} were asked for; the log has no more that differ)" if len(suite.items) < n else ""
    click.echo(f"{out}: {len(suite.items)} items{few}, embedded by {embedder.name}")
    click.echo(", ".join(f"{count} {tag}" for tag, count in tags.items()))
    click.echo('No row has an answer yet: review each, add "answer" or "check", and remove its tag "unlabelled".')


def _embedder(model: str | None, named: CommandLineSources) -> Embedder:
    from ftgate.embeddings.base import HashedTfidf, open_embedder

    if model is None:
        return HashedTfidf()
    opened, kind = named.model(model)
    return open_embedder(kind, opened, opened)
