"""A tail suite from a query log: queries far from the training data, some of each kind, for a person to label."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ftgate.datasets import read_training_texts, write_suite
from ftgate.domain import Item, Message, Suite, digest_of
from ftgate.embeddings.base import Embedder
from ftgate.embeddings.vector_cache import embed_to_files
from ftgate.errors import ConfigurationError, DatasetError
from ftgate.stats.neighbours import distances
from ftgate.stats.seeding import generator
from ftgate.stats.sequential import look_size
from ftgate.stats.space import IndexArray, space_of
from ftgate.tail import coverage
from ftgate.tail.distance import MOST_LOGGED, sampled, without_affixes
from ftgate.tail.perturb import perturbed

ALIKE = 0.8
"""Two queries whose sets of five letters in a row overlap this much (Jaccard) count as one."""
HASHES = 64
PERTURBED_SHARE = 0.25
"""The share of the suite that is changed queries, in all ways together, where any are asked for."""
UNLABELLED = "unlabelled"
"""The tag of a row without a reference answer."""


@dataclass(frozen=True, slots=True)
class SuiteRequest:
    """What to build: ``n`` items from ``log``, by distance from ``training``, some of them changed (``perturb``).

    Of either file a sample counts where it is larger than ``MOST_LOGGED``, or than ``max_train_rows``.
    """

    log: Path
    training: Path
    n: int
    perturb: tuple[str, ...] = ()
    seed: int = 0
    max_train_rows: int = 20_000


def build_tail_suite(draft: SuiteRequest, embedder: Embedder, vectors: Path) -> Suite:
    """A suite of ``n`` items, or of as many as there are.

    Both files are read row by row: in memory are the rows that count, and their vectors in files. Of the log the
    farthest fifth counts, or more where that holds too few. Near duplicates are left out (MinHash finds them; Broder
    1997), the rest is grouped by k-means, and each group gives its share (:func:`shares`), from its centre to its edge.
    The changed queries come from the nearer half. No answer is made up: every row is tagged ``unlabelled``. The same
    files, numbers and embedding give the same suite. Raises DatasetError for files that cannot be used.
    """
    known = dict.fromkeys(sampled(read_training_texts(draft.training), draft.max_train_rows, draft.seed))
    said = list(dict.fromkeys(sampled(read_training_texts(draft.log, "query log"), MOST_LOGGED, draft.seed)))
    trained, asked = without_affixes([list(known), said])
    embedder.fit(trained)
    training, queries = (embed_to_files(texts, embedder, vectors) for texts in (trained, asked))
    draw = generator(draft.seed, "tail suite")
    try:
        space = space_of(training)
        far = distances(queries, training, rng=draw, space=space).query
    except ValueError as error:
        raise DatasetError(f"{draft.training}: {error}", hint="give more training data") from None
    order = np.argsort(-far, kind="stable")
    changed = round(PERTURBED_SHARE * draft.n) if draft.perturb else 0
    pool = _distinct(order.tolist(), said, max(draft.n - changed, look_size(coverage.LOG_TAIL, len(said))))
    items = [
        _item(said[pool[i]], ("tail", f"topic:{group}"))
        for group, i in _stratified(space.unit(queries[np.array(pool)]), draft.n - changed, draw)
    ]
    near = [said[i] for i in order[len(order) // 2 :]]
    items += [
        _item(c.text, (c.tag, f"perturbed:{c.kind}")) for c in perturbed(near, draft.perturb, changed, draft.seed)
    ]
    items = list({item.id: item for item in items}.values())
    return Suite("tail", tuple(items), digest_of([item.id for item in items]), str(draft.log))


def require_writable(out: Path, *, force: bool) -> None:
    """Raise ConfigurationError unless ``out`` may be written; an existing file needs ``force``: it may be labelled."""
    if out.suffix != ".jsonl":
        raise ConfigurationError(f"--out {out}: only JSON lines are written", hint="give a name that ends in .jsonl")
    if out.exists() and not force:
        raise ConfigurationError(
            f"--out {out} exists", hint="it may hold labels: name another file, or give --force to write over it"
        )


def save_suite(suite: Suite, out: Path) -> None:
    """Write the suite whole or not at all."""
    try:
        write_suite(suite, out)
    except OSError as error:
        raise ConfigurationError(f"--out {out}: {error.strerror or error}", hint="name another file") from None


def _item(text: str, tags: tuple[str, ...]) -> Item:
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Item(f"tail-{name}", (Message("user", text),), tags=(*tags, UNLABELLED))


def _distinct(order: Iterable[int], texts: Sequence[str], most: int) -> list[int]:
    """The first ``most`` places of ``order`` whose text nearly equals none before it."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=ALIKE, num_perm=HASHES)
    kept: list[int] = []
    known: dict[int, frozenset[str]] = {}
    for i in order:
        if len(kept) == most:
            break
        said = _shingles(texts[i])
        mark = MinHash(num_perm=HASHES, seed=1)
        mark.update_batch([part.encode("utf-8") for part in sorted(said)])
        if any(len(said & known[j]) >= ALIKE * len(said | known[j]) for j in index.query(mark)):
            continue
        index.insert(i, mark)
        known[i] = said
        kept.append(i)
    return kept


def _shingles(text: str) -> frozenset[str]:
    plain = " ".join(text.casefold().split())
    return frozenset(plain[i : i + 5] for i in range(max(1, len(plain) - 4)))


def shares(sizes: IndexArray, most: int) -> IndexArray:
    """How many of ``most`` picks each group of these ``sizes`` gives: in proportion, and no more than it has.

    Rounded by largest remainders (Hare-Niemeyer), in whole numbers: within one of the exact share. Of equal remainders
    the earlier group's counts first.
    """
    most = min(most, int(sizes.sum()))
    counts, rest = np.divmod(most * sizes, max(1, int(sizes.sum())))
    counts[np.argsort(-rest, kind="stable")[: most - int(counts.sum())]] += 1
    return counts


def _stratified(vectors: coverage.Vectors, most: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """(group, place) of up to ``most`` vectors, the largest group first: of each its share, evenly by centrality."""
    label, centres = coverage.clusters(
        vectors, max(1, min(coverage.MOST_CLUSTERS, len(vectors) // coverage.PER_CLUSTER)), rng
    )
    squared_distances = coverage.squared_distances(vectors, centres)
    sizes = np.bincount(label, minlength=len(centres))
    order = np.argsort(-sizes, kind="stable")
    for number, (group, count) in enumerate(zip(order, shares(sizes[order], most), strict=True), 1):
        members = np.flatnonzero(label == group)
        members = members[np.argsort(squared_distances[members, group], kind="stable")]
        yield from ((number, int(members[pick * len(members) // count])) for pick in range(count))
