"""The gain of the best of several candidates: measured where it was not chosen, it is right on average."""

from __future__ import annotations

import numpy as np
import pytest

from ftgate.planning.confirm import LEAST_ITEMS, Confirmation, TargetItem, confirm

RUNS = 400
ITEMS = 120


def drawn(rng: np.random.Generator, rates: dict[str, float], clusters: int = 0) -> dict[str, dict[str, TargetItem]]:
    """Right or wrong answers of a base that is right in 60 % and of candidates that are right in ``rates``.

    With ``clusters`` the items of one are all alike.
    """
    units = clusters or ITEMS
    at = np.repeat(np.arange(units), ITEMS // units)
    base = (rng.random(units) < 0.6)[at]
    scores = {name: (rng.random(units) < rate)[at] for name, rate in rates.items()}
    names = [f"c{unit}" if clusters else "" for unit in at]
    return {
        name: {f"i{i}": TargetItem(float(base[i]), float(own[i]), names[i]) for i in range(ITEMS)}
        for name, own in scores.items()
    }


@pytest.mark.parametrize("clusters", [0, 60])
def test_the_confirmed_gain_is_unbiased_where_that_of_the_choice_is_not(clusters: int) -> None:
    """Ten checkpoints that hardly differ: the winner is mostly the luckiest."""
    rng = np.random.default_rng(20)
    rates = {f"checkpoint-{i}": 0.64 + 0.005 * i for i in range(10)}
    chosen, confirmed, covered = [], [], 0
    for seed in range(RUNS):
        best = confirm(drawn(rng, rates, clusters), seed)
        assert isinstance(best, Confirmation)
        true = rates[best.name] - 0.6
        chosen.append(best.chosen_gain - true)
        confirmed.append(best.gain - true)
        covered += best.low <= true <= best.high
    error = np.std(confirmed) / np.sqrt(RUNS)
    assert abs(np.mean(confirmed)) < 3 * error
    assert np.mean(chosen) > 10 * error  # the winner's curse, which the other half does not have
    assert 0.86 < covered / RUNS < 0.94  # of intervals at 90 %


def test_no_cluster_is_in_both_halves() -> None:
    """The first candidate is right exactly in the clusters that choose it: none of them confirms it."""
    rng = np.random.default_rng(1)
    lots = drawn(rng, {"one": 0.5, "other": 0.5}, clusters=60)
    best = confirm(lots, 0)
    assert isinstance(best, Confirmation)
    assert best.n == ITEMS // 2
    alike = {name: {i: TargetItem(0.0, float(int(row.cluster[1:]) % 2), row.cluster) for i, row in items.items()}
             for name, items in lots.items()}  # fmt: skip
    halves = confirm(alike, 0)
    assert isinstance(halves, Confirmation)
    assert halves.chosen_gain + halves.gain == pytest.approx(1.0)  # each cluster counts in one half, as a whole


def test_too_few_items_or_candidates_confirm_nothing() -> None:
    rng = np.random.default_rng(2)
    lots = drawn(rng, {"one": 0.7, "other": 0.7})
    assert "fewer than two" in str(confirm({"one": lots["one"]}, 0))
    few = {name: dict(list(items.items())[: LEAST_ITEMS - 1]) for name, items in lots.items()}
    assert f"they share {LEAST_ITEMS - 1} items" in str(confirm(few, 0))
    grouped = drawn(rng, {"one": 0.7, "other": 0.7}, clusters=30)
    assert "they share 30 clusters of items" in str(confirm(grouped, 0))
