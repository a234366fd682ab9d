"""Resamples: the same draws in however many blocks, and sums over them as if each were drawn by itself."""

from __future__ import annotations

import numpy as np
import pytest

from ftgate.stats import resampling
from ftgate.stats.resampling import resampled_sums


@pytest.mark.parametrize("cells", [1, 50, 1000, 250_000])
def test_sums_are_those_of_the_drawn_rows_in_blocks_of_any_size(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "_CELLS", cells)
    columns, drawn = np.random.default_rng(1).random((30, 5)), np.random.default_rng(2)
    index = drawn.integers(0, 30, size=(70, 30))
    used = np.random.default_rng(2)
    sums = resampled_sums(columns, used, 70)
    assert sums == pytest.approx(columns[index].sum(axis=1))
    assert used.integers(1000) == drawn.integers(1000), "what is drawn afterwards does not depend on the blocks"
