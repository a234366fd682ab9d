"""Several samples of an item count once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.reference import drop_bootstrap

from ftgate.stats.samples import average_samples
from ftgate.stats.seeding import generator


def test_by_hand() -> None:
    ids, means = average_samples([1.0, 0.0, 0.5, 0.25], ["b", "a", "b", "b"])
    assert ids == ("a", "b")
    assert means.tolist() == pytest.approx([0.0, 1.75 / 3])


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abcdef")), min_size=1), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows: list[tuple[float, str]], shuffle) -> None:
    moved = list(rows)
    shuffle.shuffle(moved)
    once, again = (average_samples(*map(list, zip(*table, strict=True))) for table in (rows, moved))
    assert once[0] == again[0]
    assert once[1].tolist() == again[1].tolist()


def test_five_rows_an_item_give_the_interval_of_one() -> None:
    draw = np.random.default_rng(4)
    base = draw.beta(6, 2, 80)
    candidate = base * draw.beta(8, 1, 80)
    names = [f"i{i:02}" for i in range(80)]
    rows = draw.permutation(np.repeat(np.arange(80), 5))
    averaged = [average_samples(scores[rows], [names[i] for i in rows]) for scores in (base, candidate)]
    assert averaged[0][0] == averaged[1][0] == tuple(names)
    once = drop_bootstrap(base, candidate, generator(1, "five"))
    five = drop_bootstrap(averaged[0][1], averaged[1][1], generator(1, "five"))
    assert (five.estimate, five.low, five.high) == pytest.approx((once.estimate, once.low, once.high))


@pytest.mark.parametrize(
    ("scores", "ids", "message"),
    [
        ([0.5, 0.5], ["a"], "item_ids has 1 entries for 2 scores"),
        ([0.5, 0.5], ["a", ""], r"item_ids\[1\] = ''"),
        ([0.5, 0.5], ["a", None], r"item_ids\[1\] = None"),
        ([0.5, math.nan], ["a", "b"], r"scores\[1\] = nan"),
        ([], [], "no scores"),
    ],
)
def test_bad_input_is_named(scores: list[float], ids: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        average_samples(scores, ids)
