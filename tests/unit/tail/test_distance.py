"""From texts to the tail map: what must not matter, and what must be found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.world import write_rows

from ftgate.datasets import TrainingData, read_training_texts
from ftgate.domain import Item, Message, Model, Suite, digest_of
from ftgate.embeddings.base import Embedder, HashedTfidf
from ftgate.errors import DatasetError, EngineError
from ftgate.gate.journal import Journal
from ftgate.measurements.tail import Tail
from ftgate.measurements.tail_map import TailMap
from ftgate.progress import SilentProgress
from ftgate.tail.distance import TailInputs, build_tail_map, without_shared_affixes

TAIL = Tail(dataset="q", scorer="exact", embedding="tfidf")
WORDS = ["billing", "refund", "invoice", "card", "payment", "address", "order", "parcel", "return", "account"]
FOREIGN = ["planet", "orbit", "comet", "galaxy", "nebula"]


def sentence(rng: np.random.Generator, words: list[str]) -> str:
    return " ".join(rng.choice(words, 8).tolist())


def data(path: Path, texts: list[str]) -> TrainingData:
    return read_training_texts(write_rows(path, [{"prompt": text} for text in texts]))


def mapped(
    tmp_path: Path,
    queries: list[str],
    training: list[str],
    log: list[str] | None = None,
    embedder: Embedder | None = None,
) -> TailMap:
    items = tuple(Item(f"q{i}", (Message("user", text),)) for i, text in enumerate(queries))
    suite = Suite("tail", items, digest_of(queries), "given")
    base = Model("base", tmp_path, "sha256:0")
    logged = data(tmp_path / "log.jsonl", log) if log else None
    around = TailInputs(suite, data(tmp_path / "train.jsonl", training), logged, base, None, 0)
    with Journal(tmp_path / "answers.jsonl") as journal:
        return build_tail_map(
            TAIL.distances,
            around,
            journal.fact,
            SilentProgress(),
            lambda _: embedder or HashedTfidf(),
            tmp_path / "vectors",
        )


@pytest.fixture
def texts() -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(0)
    return [sentence(rng, WORDS) for _ in range(120)], [sentence(rng, WORDS) for _ in range(400)]


def test_a_planted_foreign_topic_is_the_tail(tmp_path: Path, texts: tuple[list[str], list[str]]) -> None:
    rng = np.random.default_rng(1)
    queries, training = texts
    found = mapped(tmp_path, [*queries, *(sentence(rng, FOREIGN) for _ in range(30))], training)
    farthest = np.argsort(found.distance)[-30:]
    assert np.mean(farthest >= 120) >= 0.95
    assert found.details["told_from_training"]["auc"] > 0.55  # a fifth of the queries can be told
    assert "coverage" not in found.details


def test_a_template_around_every_text_changes_nothing(tmp_path: Path, texts: tuple[list[str], list[str]]) -> None:
    queries, training = texts
    plain = mapped(tmp_path / "a", queries, training)
    dressed = [[f"<|user|>\n{text}<|end|>\n<|assistant|>" for text in part] for part in texts]
    assert mapped(tmp_path / "b", *dressed).distance == plain.distance


def test_a_template_around_training_rows_alone_changes_nothing_either(
    tmp_path: Path, texts: tuple[list[str], list[str]]
) -> None:
    queries, training = texts
    plain = mapped(tmp_path / "a", queries, training)
    dressed = mapped(tmp_path / "b", queries, [f"<|im_start|>user\n{text}<|im_end|>\n" for text in training])
    assert dressed.distance == plain.distance


@given(st.lists(st.text(max_size=12), min_size=1, max_size=6), st.sampled_from(["", "[INST] ", "<|user|>\n", "Q: "]))
def test_what_is_cut_is_what_all_share(texts: list[str], front: str) -> None:
    half = len(texts) // 2
    plain = without_shared_affixes([texts[:half], texts[half:]])
    dressed = without_shared_affixes([[f"{front}{t}" for t in part] for part in (texts[:half], texts[half:])])
    assert dressed == plain
    for text, cut in zip(texts, [t for part in plain for t in part], strict=True):
        assert cut in text


def test_repeated_training_rows_count_once(tmp_path: Path, texts: tuple[list[str], list[str]]) -> None:
    queries, training = texts
    once, twice = mapped(tmp_path / "a", queries, training), mapped(tmp_path / "b", queries, training + training[:100])
    assert once.n_train == twice.n_train == len(set(training))
    assert once.distance == twice.distance


def test_identical_queries_and_few_rows_are_defined(tmp_path: Path) -> None:
    found = mapped(tmp_path, ["the same"] * 90, ["one thing", "another thing", "a third"])
    assert (found.k, len(set(found.distance)), found.topics) == (2, 1, ())


def test_training_rows_that_are_all_the_same_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="only 1 distinct training rows"):
        mapped(tmp_path, ["a", "b"], ["same"] * 20)


class Broken(HashedTfidf):
    def embed(self, texts, on_progress=None):  # type: ignore[no-untyped-def]
        table = super().embed(texts, on_progress)
        table[3] = np.nan
        return table


def test_an_embedding_that_is_not_finite_is_named(tmp_path: Path, texts: tuple[list[str], list[str]]) -> None:
    with pytest.raises(EngineError, match=r"text 4 contains NaN or infinity: '\w+"):
        mapped(tmp_path, *texts, embedder=Broken())
    assert not list((tmp_path / "vectors").glob("*")), "nothing broken is kept"


class Counting(HashedTfidf):
    embedded = 0

    def embed(self, texts, on_progress=None):  # type: ignore[no-untyped-def]
        self.embedded += len(texts)
        return super().embed(texts, on_progress)


def test_nothing_is_embedded_twice(tmp_path: Path, texts: tuple[list[str], list[str]]) -> None:
    first, second = Counting(), Counting()
    one = mapped(tmp_path, *texts, embedder=first)
    (tmp_path / "answers.jsonl").unlink()
    assert mapped(tmp_path, *texts, embedder=second) == one
    assert (first.embedded, second.embedded) == (120 + len(set(texts[1])), 0)
    assert mapped(tmp_path, *texts, embedder=Counting()) == one


def test_a_log_is_compared_with_the_suite(tmp_path: Path, texts: tuple[list[str], list[str]]) -> None:
    rng = np.random.default_rng(2)
    queries, training = texts
    strange = [sentence(rng, FOREIGN) for _ in range(40)]
    missing = mapped(tmp_path, queries, training, queries[:100] + strange).details["coverage"]
    there = mapped(tmp_path, queries + strange[:20], training, queries[:100] + strange[20:]).details["coverage"]
    assert missing["covered"] < there["covered"]
    assert any(word in missing["gaps"][0]["examples"][0] for word in FOREIGN)
