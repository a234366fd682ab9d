"""Distances of queries from training rows: time and memory, and what is found, at the largest size or scaled down.

``python -m benchmarks.distance [ROWS [QUERIES [WIDTH]]]``: 1000000 100000 measures the largest that are supported; with
fewer queries, their time is worked out. It grows with (queries + ``MOST_OWN``) x rows, and what is done once for the
rows grows with these. Memory does not grow with the queries. The rows lie in files, as they do in a run; the memory is
what Python and numpy allocate. The rows are of 200 topics; of the queries one in ten is of another.
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


class Found(NamedTuple):
    """Seconds for the rows once and for all queries, bytes, and what was found about the queries."""

    once: float
    search: float
    peak: int
    outside: float
    recall: float


def written(
    folder: Path, name: str, topics: NDArray[np.float32], chosen: NDArray[np.int64], rng: np.random.Generator
) -> VectorFiles:
    """Vectors about the ``chosen`` of ``topics`` in files, ``BLOCK`` rows in each."""
    paths = []
    for start in range(0, len(chosen), BLOCK):
        some = topics[chosen[start : start + BLOCK]]
        paths.append(folder / f"{name}-{start}.npy")
        np.save(paths[-1], some + SCATTER * rng.standard_normal(some.shape, dtype=np.float32))
    return VectorFiles(paths)


def measure(training: int, queries: int, width: int) -> Found:
    """Time, memory, the share of native queries found outside, and of the foreign ones among the farthest."""
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((TOPICS + 1, width), dtype=np.float32)
    foreign = round(FOREIGN_SHARE * queries)
    asked = np.append(rng.integers(TOPICS, size=queries - foreign), np.full(foreign, TOPICS))
    with tempfile.TemporaryDirectory() as folder:
        rows = written(Path(folder), "training", topics, rng.integers(TOPICS, size=training), rng)
        log = written(Path(folder), "queries", topics, asked, rng)
        tracemalloc.start()
        started = time.perf_counter()
        space = space_of(rows)
        known = time.perf_counter() - started
        nearest(log[:1], rows, space, rows=space.distinct)
        once = time.perf_counter() - started
        found = distances(log, rows, rng=rng, space=space)
        # The rows were made ready a second time, but not the space.
        search = time.perf_counter() - started - once - (once - known)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    farthest = np.argsort(-found.query, kind="stable")[:foreign]
    native = found.outside_p[: queries - foreign]
    return Found(once, search, peak, float(np.mean(native < 0.05)), float(np.mean(farthest >= queries - foreign)))


def main(training: int = 1_000_000, queries: int = 1_000, width: int = 384) -> None:
    """Print time, memory and what was found; leave with an error where it is not as promised."""
    found = measure(training, queries, width)
    pairs = (queries + min(MOST_OWN, training)) * training
    most = (LARGEST[1] + MOST_OWN) * LARGEST[0]
    whole = found.once * LARGEST[0] / training + found.search * most / pairs
    print(f"{training:,} training rows, {queries:,} queries, {width} dimensions:")
    pace = pairs / found.search / 1e6
    print(f"  {found.once:.0f} s for the rows, {found.search:.0f} s to compare: {pace:.0f} million pairs a second")
    print(f"  peak memory {found.peak / 1e6:.0f} MB beside the files")
    print(
        f"  outside fraction {found.outside:.3f} (0.03 to 0.07 expected), {found.recall:.3f} of the foreign topic found"
    )
    print(f"{LARGEST[0]:,} rows, {LARGEST[1]:,} queries at that pace: {whole / 60:.0f} min")
    if found.peak > MOST_BYTES or not 0.03 <= found.outside <= 0.07 or found.recall < 0.95:
        sys.exit(f"not as promised: {MOST_BYTES / 1e6:.0f} MB, an outside fraction of 0.03 to 0.07, a recall of 0.95")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
