"""Building a tail suite: what is held in memory, and what each group gives."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.world import write_rows

from ftgate.embeddings.base import HashedTfidf
from ftgate.tail.build_suite import SuiteRequest, build_tail_suite, shares

WORDS = ["billing", "refund", "invoice", "card", "payment", "address", "order", "parcel", "return", "account"]
FOREIGN = (["planet", "orbit", "comet", "galaxy", "nebula"], ["recipe", "flour", "oven", "yeast", "sugar"])


class Counting(HashedTfidf):
    embedded = 0

    def embed(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None):  # type: ignore[no-untyped-def]
        self.embedded += len(texts)
        return super().embed(texts, on_progress)


def sentences(rng: np.random.Generator, words: list[str], n: int, length: int = 9) -> list[dict[str, str]]:
    return [{"prompt": " ".join(row)} for row in rng.choice(words, (n, length)).tolist()]


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40), st.integers(0, 3000))
def test_each_group_gives_its_share_to_within_one_and_no_more_than_it_has(sizes: list[int], most: int) -> None:
    counts = shares(np.array(sizes), most)
    total = sum(sizes)
    assert counts.sum() == min(most, total)
    assert (counts <= sizes).all()
    assert all(
        abs(count - min(most, total) * size / max(1, total)) < 1 for count, size in zip(counts, sizes, strict=True)
    )


def test_shares_by_hand() -> None:
    assert shares(np.array([60, 30, 10]), 10).tolist() == [6, 3, 1]
    assert shares(np.array([5, 3, 2]), 4).tolist() == [2, 1, 1]  # 2.0, 1.2, 0.8: the last seat goes to the 0.8
    assert shares(np.array([1, 1, 1]), 2).tolist() == [1, 1, 0]


def test_a_suite_has_of_each_topic_what_the_tail_of_the_log_has_and_is_the_same_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    log = [*sentences(rng, WORDS, 400), *sentences(rng, FOREIGN[0], 75), *sentences(rng, FOREIGN[1], 25)]
    write_rows(tmp_path / "train.jsonl", sentences(rng, WORDS, 400))
    for name, order in (("log", np.arange(500)), ("other", rng.permutation(500))):
        write_rows(tmp_path / f"{name}.jsonl", [log[i] for i in order])

    def built(name: str) -> list[str]:
        draft = SuiteRequest((tmp_path / f"{name}.jsonl",), (tmp_path / "train.jsonl",), 40)
        return [item.user_text for item in build_tail_suite(draft, HashedTfidf(), tmp_path / "vectors").items]

    texts = built("log")
    assert built("log") == texts
    for found in (texts, built("other")):  # whatever the order of the log
        by_topic = [sum(set(text.split()) <= set(words) for text in found) for words in FOREIGN]
        assert by_topic == pytest.approx([30, 10], abs=1), "three to one; near copies may have been left out"


def test_a_training_file_larger_than_the_sample_is_never_held(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = sentences(rng, WORDS, 5000, length=900)
    path = write_rows(tmp_path / "train.jsonl", rows)
    write_rows(tmp_path / "log.jsonl", sentences(rng, FOREIGN[0], 60))
    size = path.stat().st_size
    del rows
    embedder = Counting()
    draft = SuiteRequest((tmp_path / "log.jsonl",), (path,), 10, max_train_rows=50)
    tracemalloc.start()
    suite = build_tail_suite(draft, embedder, tmp_path / "vectors")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(suite.items) == 10
    assert embedder.embedded == 50 + 60
    assert size > 30e6 > 20e6 > peak
