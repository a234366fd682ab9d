"""Time and memory of searching 1,000,000 training rows for 2000 items, on random text.

The 50,000 words follow Zipf's law, so that common words are as common as in real text. A twentieth of the items is
planted, each in one row.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from random import Random

from ftgate.contamination.scan import scan_training_data
from ftgate.datasets import read_training_texts
from ftgate.domain import Item, Message, Suite
from ftgate.progress import SilentProgress

ROWS, ITEMS, PLANTED = 1_000_000, 2000, 100
WORDS = 50_000
MOST_SECONDS, MOST_BYTES = 180, 2 * 2**30


class _RandomText:
    """Random sentences."""

    def __init__(self, seed: int) -> None:
        self._draw = Random(seed)
        letters = "abcdefghijklmnopqrstuvwxyz"
        self._words = ["".join(self._draw.choices(letters, k=self._draw.randint(2, 9))) for _ in range(WORDS)]
        self._weights = list(accumulate(1 / rank for rank in range(1, WORDS + 1)))

    def text(self, fewest: int, most: int) -> str:
        """Between ``fewest`` and ``most`` words."""
        size = self._draw.randint(fewest, most)
        return " ".join(self._draw.choices(self._words, cum_weights=self._weights, k=size)).capitalize() + "."


def write(path: Path, rows: int, planted: Sequence[str], writer: _RandomText) -> None:
    """A chat file of ``rows`` rows of about 150 words each, with the ``planted`` texts in evenly spaced rows."""
    # Generating text is slow, so the rows are random combinations of a stock of texts.
    stock = [writer.text(20, 40) for _ in range(20_000)]
    draw = Random(1)
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            question, answer = " ".join(draw.choices(stock, k=2)), " ".join(draw.choices(stock, k=3))
            planted_index, offset = divmod(row, rows // len(planted))
            if offset == 7 and planted_index < len(planted):
                question = f"{question} {planted[planted_index]}"
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"messages": turns}) + "\n")


def main(rows: int = ROWS) -> None:
    """Print how long each step took and the largest memory of the process."""
    writer = _RandomText(0)
    prompts = [writer.text(8, 60) for _ in range(ITEMS)]
    items = tuple(Item(f"i{i}", (Message("user", prompt),)) for i, prompt in enumerate(prompts))
    suite = Suite("suite", items, "", "made up")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        write(path, rows, prompts[:PLANTED], writer)
        size, started = path.stat().st_size, time.perf_counter()
        training = read_training_texts(path)
        read, busy = time.perf_counter(), time.process_time()
        overlap = scan_training_data({"suite": suite}, training, SilentProgress())["suite"]
        seconds, busy = time.perf_counter() - read, time.process_time() - busy
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{rows:,} rows ({size / 1e9:.1f} GB), {ITEMS:,} items, {PLANTED} of them planted")
    print(f"{'read once (every run does)':<34}{read - started:>8.1f} s")
    print(f"{'compared with all items':<34}{seconds:>8.1f} s")
    print(f"{'  of processor time':<34}{busy:>8.1f} s   (bound {MOST_SECONDS} s; one thread)")
    print(f"{'largest memory of the process':<34}{memory / 2**20:>8.0f} MiB (bound {MOST_BYTES / 2**20:.0f} MiB)")
    print(f"{'found':<34}{len(overlap.contained):>8}     ({len(overlap.alike)} more look alike)")
    out_of_bounds = rows >= ROWS and (busy > MOST_SECONDS or memory > MOST_BYTES)
    if out_of_bounds or not {item.id for item in items[:PLANTED]} <= overlap.contained.keys():
        raise SystemExit("out of bounds, or a planted item was missed")
