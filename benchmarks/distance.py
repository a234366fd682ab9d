"""Distances of queries from training rows: time, memory and recall, at the largest size or scaled down.

``python -m benchmarks.distance [ROWS [QUERIES [WIDTH]]]``: 1000000 100000 measures the largest supported size; with
fewer queries its time is extrapolated. Time grows with (queries + ``MOST_OWN``) x rows, plus a part that only depends
on the rows. Memory does not grow with the queries. The rows are in files, as in a run; memory is what Python and numpy
allocate. The rows have 200 topics; one query in ten has a different topic.
"""

from __future__ import annotations

import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftgate.embeddings.vector_cache import VectorFiles
from ftgate.stats.neighbours import MOST_OWN, distances, nearest
from ftgate.stats.space import space_of

LARGEST = (1_000_000, 100_000)
MOST_BYTES = 800_000_000
"""What the docstring of :func:`ftgate.stats.neighbours.distances` promises up to 1024 dimensions."""
BLOCK = 50_000
TOPICS, FOREIGN_SHARE, SCATTER = 200, 0.1, 1.0


class Result(NamedTuple):
    """Seconds for the rows and for all queries, peak bytes, the outside fraction, and the recall of foreign queries."""

    once: float
    search: float
    peak: int
    outside: float
    recall: float


def write_vectors(
    folder: Path, name: str, topics: NDArray[np.float32], chosen: NDArray[np.int64], rng: np.random.Generator
) -> VectorFiles:
    """Vectors about the ``chosen`` of ``topics`` in files, ``BLOCK`` rows in each."""
    paths = []
    for start in range(0, len(chosen), BLOCK):
        some = topics[chosen[start : start + BLOCK]]
        paths.append(folder / f"{name}-{start}.npy")
        np.save(paths[-1], some + SCATTER * rng.standard_normal(some.shape, dtype=np.float32))
    return VectorFiles(paths)


def measure(training: int, queries: int, width: int) -> Result:
    """Time, memory, the share of native queries found outside, and of the foreign ones among the farthest."""
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((TOPICS + 1, width), dtype=np.float32)
    foreign = round(FOREIGN_SHARE * queries)
    query_topics = np.append(rng.integers(TOPICS, size=queries - foreign), np.full(foreign, TOPICS))
    with tempfile.TemporaryDirectory() as folder:
        rows = write_vectors(Path(folder), "training", topics, rng.integers(TOPICS, size=training), rng)
        log = write_vectors(Path(folder), "queries", topics, query_topics, rng)
        tracemalloc.start()
        started = time.perf_counter()
        space = space_of(rows)
        space_seconds = time.perf_counter() - started
        nearest(log[:1], rows, space, rows=space.distinct)
        once = time.perf_counter() - started
        result = distances(log, rows, rng=rng, space=space)
        # The rows were prepared a second time, but not the space.
        search = time.perf_counter() - started - once - (once - space_seconds)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    farthest = np.argsort(-result.query, kind="stable")[:foreign]
    native = result.outside_p[: queries - foreign]
    return Result(once, search, peak, float(np.mean(native < 0.05)), float(np.mean(farthest >= queries - foreign)))


def main(training: int = 1_000_000, queries: int = 1_000, width: int = 384) -> None:
    """Print time, memory, outside fraction and recall; exit with an error if one is out of bounds."""
    result = measure(training, queries, width)
    pairs = (queries + min(MOST_OWN, training)) * training
    largest_pairs = (LARGEST[1] + MOST_OWN) * LARGEST[0]
    largest_seconds = result.once * LARGEST[0] / training + result.search * largest_pairs / pairs
    print(f"{training:,} training rows, {queries:,} queries, {width} dimensions:")
    pace = pairs / result.search / 1e6
    print(f"  {result.once:.0f} s for the rows, {result.search:.0f} s to compare: {pace:.0f} million pairs a second")
    print(f"  peak memory {result.peak / 1e6:.0f} MB beside the files")
    print(
        f"  outside fraction {result.outside:.3f} (0.03 to 0.07 expected), "
        f"{result.recall:.3f} of the foreign topic found"
    )
    print(f"{LARGEST[0]:,} rows, {LARGEST[1]:,} queries at that pace: {largest_seconds / 60:.0f} min")
    if result.peak > MOST_BYTES or not 0.03 <= result.outside <= 0.07 or result.recall < 0.95:
        sys.exit(f"not as promised: {MOST_BYTES / 1e6:.0f} MB, an outside fraction of 0.03 to 0.07, a recall of 0.95")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
