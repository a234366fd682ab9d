"""Vectors in files: read like an array, never written half, never trusted when damaged."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftgate.embeddings import vector_cache
from ftgate.embeddings.vector_cache import embed_to_files, prune
from ftgate.errors import StoreError
from ftgate.stats.neighbours import distances


class Lengths:
    """Two numbers that follow from a text."""

    name = "lengths"
    identity = "lengths 1"
    calls = 0

    def fit(self, texts: Any) -> None: ...

    def close(self) -> None: ...

    def embed(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> np.ndarray:
        self.calls += 1
        return np.array([[len(text), sum(map(ord, text)) % 97] for text in texts], dtype=float).reshape(-1, 2)


TEXTS = [f"text {i} {'x' * (i % 17)}" for i in range(25)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_cache, "batches", lambda texts: vector_cache.__dict__["_real"](texts, 10))
    from ftgate.embeddings.base import batches

    monkeypatch.setitem(vector_cache.__dict__, "_real", batches)


def test_it_reads_like_the_table_that_it_is(tmp_path: Path) -> None:
    table = Lengths().embed(TEXTS).astype(np.float32)
    found = embed_to_files(TEXTS, Lengths(), tmp_path)
    assert found.shape == table.shape
    assert len(list(tmp_path.glob("*.npy"))) == 3
    for index in (slice(None), slice(8, 23), np.array([24, 0, 9, 10, 9]), np.arange(25) % 2 == 0):
        np.testing.assert_array_equal(found[index], table[index])
    queries = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_array_equal(distances(queries, found).query, distances(queries, table).query)


def test_blocks_are_kept_and_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    embed_to_files(TEXTS, Lengths(), tmp_path)
    again, seen = Lengths(), []
    embed_to_files(TEXTS, again, tmp_path, seen.append)
    assert (again.calls, sum(seen)) == (0, 25)
    damaged = sorted(tmp_path.glob("*.npy"))[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    embed_to_files(TEXTS, again, tmp_path)
    assert again.calls == 1
    changed = Lengths()
    embed_to_files([*TEXTS[:24], "other"], changed, tmp_path)
    assert changed.calls == 1, "only the block that changed"


@pytest.mark.parametrize("position", [3, 90, 130, 150, -33, -1])
def test_a_block_with_one_flipped_bit_is_made_again(tmp_path: Path, position: int) -> None:
    table = Lengths().embed(TEXTS).astype(np.float32)
    embed_to_files(TEXTS, Lengths(), tmp_path)
    damaged, again = sorted(tmp_path.glob("*.npy"))[1], Lengths()
    content = bytearray(damaged.read_bytes())
    content[position] ^= 4
    damaged.write_bytes(content)
    np.testing.assert_array_equal(embed_to_files(TEXTS, again, tmp_path)[:], table)
    assert again.calls == 1


def test_no_texts_are_an_empty_table(tmp_path: Path) -> None:
    assert embed_to_files([], Lengths(), tmp_path).shape == (0, 0)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot write"):
        embed_to_files(TEXTS, Lengths(), tmp_path / "file" / "vectors")


def test_the_oldest_blocks_go_first(tmp_path: Path) -> None:
    for age, name in enumerate("abc"):
        path = tmp_path / f"{name}.npy"
        path.write_bytes(bytes(100))
        os.utime(path, (1000 - age, 1000 - age))
    prune(tmp_path, 250)
    assert sorted(p.stem for p in tmp_path.glob("*.npy")) == ["a", "b"]


def test_a_block_that_another_run_removes_meanwhile_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "here.npy").write_bytes(bytes(100))
    (tmp_path / "gone.npy").symlink_to(tmp_path / "removed")  # listed, and not there to be looked at
    prune(tmp_path, 250)
    assert (tmp_path / "here.npy").exists()
