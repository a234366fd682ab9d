"""Distances of queries from training rows, scaled down, and what that means for the largest that are supported.

Time grows with (queries + ``MOST_OWN``) x training rows; memory does not grow with either. The rows lie in files, as
they do in a run; the memory is what Python and numpy allocate.
"""

from __future__ import annotations

import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

from ftgate.engines.vector_files import VectorFiles
from ftgate.stats.neighbours import MOST_OWN, distances

LARGEST = (1_000_000, 100_000)
WIDTH = 64
MOST_BYTES = 250_000_000
"""What the docstring of :func:`ftgate.stats.neighbours.distances` promises, with room for rows' marks."""
BLOCK = 50_000


def written(folder: Path, name: str, rows: int, rng: np.random.Generator) -> VectorFiles:
    """Random vectors in files, ``BLOCK`` rows in each."""
    paths = []
    for start in range(0, rows, BLOCK):
        paths.append(folder / f"{name}-{start}.npy")
        np.save(paths[-1], rng.normal(size=(min(BLOCK, rows - start), WIDTH)).astype(np.float32))
    return VectorFiles(paths)


def measure(training: int, queries: int) -> tuple[float, float, int, float]:
    """Wall and processor seconds, peak bytes, and the share of queries that were found to lie outside."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        rows, asked = (written(Path(folder), *size, rng) for size in (("training", training), ("queries", queries)))
        tracemalloc.start()
        wall, processor = time.perf_counter(), time.process_time()
        found = distances(asked, rows, rng=rng)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return wall, processor, peak, float(np.mean(found.outside_p < 0.05))


def main(training: int = 200_000, queries: int = 10_000) -> None:
    """Print time and memory of a smaller size and of the largest; leave with an error where memory is not bounded."""
    wall, processor, peak, outside = measure(training, queries)
    pairs = (queries + min(MOST_OWN, training)) * training
    most = (LARGEST[1] + MOST_OWN) * LARGEST[0]
    print(f"{training:,} training rows, {queries:,} queries, {WIDTH} dimensions: {wall:.0f} s")
    print(f"  {pairs / wall / 1e6:.0f} million pairs a second, {pairs / processor / 1e6:.0f} a second of one core")
    print(f"  peak memory {peak / 1e6:.0f} MB beside the files; outside fraction {outside:.3f} (0.03 to 0.07 expected)")
    print(f"{LARGEST[0]:,} rows, {LARGEST[1]:,} queries at that pace: {most * wall / pairs / 60:.0f} min")
    if peak > MOST_BYTES or not 0.03 <= outside <= 0.07:
        sys.exit(f"not as promised: at most {MOST_BYTES / 1e6:.0f} MB and an outside fraction of 0.03 to 0.07")


if __name__ == "__main__":
    main()
