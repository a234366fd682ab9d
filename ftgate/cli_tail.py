"""The verbs about the tail: building a suite of unusual queries from a log of real ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ftgate.engines.embedders import Embedder

PATH = click.Path(path_type=Path)
WAYS = ("format", "case", "typos", "two_intents")


@click.group()
def tail() -> None:
    """Work on the suite of unusual queries."""


@tail.command()
@click.option("--queries", type=PATH, required=True, help="Log of real queries (.jsonl, .csv or .parquet).")
@click.option("--training", type=PATH, required=True, help="The training data of the model.")
@click.option("--out", type=PATH, required=True, help="Where to write the suite (.jsonl).")
@click.option("--n", type=click.IntRange(1, 100_000), default=200, show_default=True, help="Items to pick.")
@click.option(
    "--perturb",
    type=click.Choice([*WAYS, "all"]),
    multiple=True,
    help="Make a quarter of them ordinary queries, changed in this way (may be given again).",
)
@click.option("--model", type=PATH, default=None, help="Embed with this local model's states instead of TF-IDF.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--force", is_flag=True, help="Write over an existing file.")
def build(
    queries: Path,
    training: Path,
    out: Path,
    n: int,
    perturb: tuple[str, ...],
    model: Path | None,
    seed: int,
    force: bool,
) -> None:
    """Pick unusual queries from a log, for you to review and to label.

    The rows hold no answers: add them, and remove the tag "unlabelled" from each row that you have checked.
    """
    import tempfile

    from ftgate.suite_building import Draft, build_tail_suite, require_writable, save_suite

    require_writable(out, force=force)
    ways = WAYS if "all" in perturb else perturb
    embedder = _embedder(model)
    with tempfile.TemporaryDirectory() as vectors:
        try:
            suite = build_tail_suite(Draft(queries, training, n, ways, seed), embedder, Path(vectors))
        finally:
            embedder.close()
    save_suite(suite, out)
    tags = Counter(tag for item in suite.items for tag in item.tags if ":" not in tag)
    few = f" ({n} were asked for; the log has no more that differ)" if len(suite.items) < n else ""
    click.echo(f"{out}: {len(suite.items)} items{few}, embedded by {embedder.name}")
    click.echo(", ".join(f"{count} {tag}" for tag, count in tags.items()))
    click.echo('No row has an answer yet: review each, add "answer" or "check", and remove its tag "unlabelled".')


def _embedder(model: Path | None) -> Embedder:
    from ftgate.engines.embedders import HashedTfidf

    if model is None:
        return HashedTfidf()
    from ftgate.artifacts.digest import take_snapshot
    from ftgate.artifacts.open import open_encoder
    from ftgate.engines.embedders import open_embedder

    return open_embedder("hidden_states", open_encoder("model", take_snapshot(model.resolve(), str(model))))
