"""Building a tail suite from a query log: queries far from the training data, of every kind, to be labelled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from ftgate.config.columns import Columns
from ftgate.datasets import TrainingData, read_training_texts, user_text, write_suite
from ftgate.datasets.similar import SimilarTexts
from ftgate.datasets.training import Conversation
from ftgate.domain import Item, Message, Role, Suite, digest_of
from ftgate.embeddings.base import Embedder
from ftgate.embeddings.vector_cache import embed_to_files
from ftgate.errors import ConfigurationError, DatasetError
from ftgate.measurements.tail import CHOSEN
from ftgate.stats.neighbours import distances
from ftgate.stats.seeding import generator
from ftgate.stats.sequential import look_size
from ftgate.stats.space import IndexArray, space_of
from ftgate.tail import coverage
from ftgate.tail.distance import MAX_LOG_QUERIES, sample_conversations, sample_texts, without_shared_affixes
from ftgate.tail.perturb import perturb_queries

PERTURBED_SHARE = 0.25
"""Share of perturbed queries in the suite, all kinds together, if any are requested."""
UNLABELLED = "unlabelled"
"""Tag of a row without a reference answer."""


@dataclass(frozen=True, slots=True)
class SuiteRequest:
    """What to build: ``n`` items of the files ``log``, by distance from ``training``, some perturbed (``perturb``).

    A log of more than ``MAX_LOG_QUERIES`` and a training file of more than ``max_train_rows`` are sampled.
    """

    log: tuple[Path, ...]
    training: tuple[Path, ...]
    n: int
    perturb: tuple[str, ...] = ()
    seed: int = 0
    max_train_rows: int = 20_000
    columns: Columns | None = None
    """What the fields of the log are, if they have no known shape."""


def build_tail_suite(request: SuiteRequest, embedder: Embedder, vectors: Path) -> Suite:
    """A suite of ``n`` items, or of as many as there are.

    Both files are read row by row; only the rows in use are in memory, and their vectors in files. Of the log the
    farthest fifth is used, or more if that has too few queries. Near duplicates are left out (MinHash; Broder 1997),
    the rest is grouped by k-means, and each group contributes its share (:func:`shares`), from its centre to its edge.
    A query that ends a conversation keeps it and its tools; distances are those of the user's text. The perturbed
    queries come from the nearer half, without conversations and tools. No answers are generated: every row is tagged
    ``unlabelled``. The same files, numbers and embedding give the same suite. Raises DatasetError for unusable files.
    """
    training_texts = dict.fromkeys(
        sample_texts(read_training_texts(*request.training), request.max_train_rows, request.seed)
    )
    read = read_training_texts(*request.log, what="query log", columns=request.columns)
    log = _conversations(read, request.seed)
    log_texts = list(log)
    stripped_training, stripped_log = without_shared_affixes([list(training_texts), log_texts])
    embedder.fit(stripped_training)
    training, queries = (embed_to_files(texts, embedder, vectors) for texts in (stripped_training, stripped_log))
    rng = generator(request.seed, "tail suite")
    try:
        space = space_of(training)
        distance = distances(queries, training, rng=rng, space=space).query
    except ValueError as error:
        raise DatasetError(f"{request.training[0]}: {error}", hint="give more training data") from None
    order = np.argsort(-distance, kind="stable")
    n_perturbed = round(PERTURBED_SHARE * request.n) if request.perturb else 0
    pool = _without_near_duplicates(
        order.tolist(), log_texts, max(request.n - n_perturbed, look_size(coverage.LOG_TAIL_SHARE, len(log_texts)))
    )
    items = [
        _item(log_texts[pool[i]], (CHOSEN, f"topic:{group}"), log)
        for group, i in _stratified_picks(space.unit(queries[np.array(pool)]), request.n - n_perturbed, rng)
    ]
    nearer_half = [log_texts[i] for i in order[len(order) // 2 :] if _is_bare(log[log_texts[i]])]
    items += [
        _item(query.text, (query.tag, f"perturbed:{query.kind}"))
        for query in perturb_queries(nearer_half, request.perturb, n_perturbed, request.seed)
    ]
    items = list({item.id: item for item in items}.values())
    source = ", ".join(map(str, request.log))
    return Suite("tail", tuple(items), digest_of([item.id for item in items]), source, notes=(read.reading(),))


def require_writable(out: Path, *, force: bool) -> None:
    """Raise ConfigurationError unless ``out`` may be written. Overwriting, perhaps labels, needs ``force``."""
    if out.suffix != ".jsonl":
        raise ConfigurationError(f"--out {out}: only JSON lines can be written", hint="use a name that ends in .jsonl")
    if out.exists() and not force:
        raise ConfigurationError(
            f"--out {out} exists", hint="it may hold labels: name another file, or use --force to overwrite it"
        )


def save_suite(suite: Suite, out: Path) -> None:
    """Write the suite atomically."""
    try:
        write_suite(suite, out)
    except OSError as error:
        raise ConfigurationError(f"--out {out}: {error.strerror or error}", hint="name another file") from None


def _conversations(log: TrainingData, seed: int) -> dict[str, Conversation]:
    """The first conversation with each user text, up to its last user turn; roles that nobody can be asked in go."""
    conversations: dict[str, Conversation] = {}
    for messages, tools in sample_conversations(log, MAX_LOG_QUERIES, seed):
        askable = tuple(m for m in messages if m.role in get_args(Role))
        conversations.setdefault(user_text(messages), Conversation(askable, tools))
    return conversations


def _is_bare(conversation: Conversation) -> bool:
    """Whether a query says all by itself: one user turn, and no tools to call."""
    return not conversation.tools and sum(message.role == "user" for message in conversation.messages) == 1


def _item(text: str, tags: tuple[str, ...], log: Mapping[str, Conversation] | None = None) -> Item:
    """The item of a query: with ``log`` in the conversation that it comes from, with the tools of that."""
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    messages, tools = log[text] if log is not None else Conversation((Message("user", text),))
    return Item(f"tail-{name}", messages, tags=(*tags, UNLABELLED), tools=tools)


def _without_near_duplicates(order: Iterable[int], texts: Sequence[str], limit: int) -> list[int]:
    """The first ``limit`` indices in ``order`` whose text is no near duplicate of an earlier one."""
    similar, kept = SimilarTexts(), list[int]()
    for i in order:
        if len(kept) == limit:
            break
        if similar.add(i, texts[i]) is None:
            kept.append(i)
    return kept


def shares(sizes: IndexArray, total: int) -> IndexArray:
    """How many of ``total`` picks each group of these ``sizes`` contributes: in proportion, at most its size.

    Rounded by largest remainders (Hare-Niemeyer), so within one of the exact share. Of equal remainders the earlier
    group's counts first.
    """
    total = min(total, int(sizes.sum()))
    counts, remainders = np.divmod(total * sizes, max(1, int(sizes.sum())))
    counts[np.argsort(-remainders, kind="stable")[: total - int(counts.sum())]] += 1
    return counts


def _stratified_picks(vectors: coverage.Vectors, total: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """(group, index) of up to ``total`` vectors, largest group first: each its share, evenly by centrality."""
    label, centres = coverage.clusters(
        vectors, max(1, min(coverage.MAX_CLUSTERS, len(vectors) // coverage.QUERIES_PER_CLUSTER)), rng
    )
    squared_distances = coverage.squared_distances(vectors, centres)
    sizes = np.bincount(label, minlength=len(centres))
    order = np.argsort(-sizes, kind="stable")
    for number, (group, count) in enumerate(zip(order, shares(sizes[order], total), strict=True), 1):
        members = np.flatnonzero(label == group)
        members = members[np.argsort(squared_distances[members, group], kind="stable")]
        yield from ((number, int(members[pick * len(members) // count])) for pick in range(count))
