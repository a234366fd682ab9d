"""ftgate's own work grows with the rows, not with their square: nothing but the models makes a large suite slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import own_work


@pytest.mark.parametrize(
    "sizes", [(200, 800), pytest.param((800, 3200), marks=pytest.mark.slow)], ids=["quick", "at length"]
)
def test_four_times_the_rows_take_at_most_five_times_as_long(sizes: tuple[int, int], tmp_path: Path) -> None:
    seconds = own_work.measure(tmp_path, sizes)
    assert not own_work.too_steep(seconds), seconds


def test_a_step_that_is_too_steep_is_named() -> None:
    assert own_work.too_steep({200: 1.0, 800: 5.1, 3200: 20.0}) == ["200 rows 1.0 s, 800 rows 5.1 s"]
    assert own_work.too_steep({200: 1.0, 1600: 50.0}) == []
