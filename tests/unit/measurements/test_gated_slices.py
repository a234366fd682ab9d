"""Slices that gate: what blocks, at which level, what a slice of a size can show, and how often they err."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Item, Message, Pair, Status
from ftgate.measurements.base import Evidence
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.gated_slices import WAITS, shared_levels, slice_powers
from ftgate.measurements.looks import looks
from ftgate.measurements.paired import score_test
from ftgate.measurements.tail import Tail
from ftgate.scoring.rules import bounded
from ftgate.verdict import assess

RULES = EvidenceSettings()
SLICE = "safety"


def measurement(limit: float = 0.05, **others: float) -> Forgetting:
    gates = {tag: {"block_drop": drop} for tag, drop in {SLICE: limit, **others}.items()}
    return Forgetting.model_validate({"dataset": "d", "scorer": "exact", "gate_slices": gates})


def items(n: int, tagged: int) -> tuple[Item, ...]:
    """``n`` items, of which the first ``tagged`` are in the slice."""
    return tuple(Item(f"i{i}", (Message("user", str(i)),), tags=(SLICE,) if i < tagged else ()) for i in range(n))


def evidence(base: np.ndarray, candidate: np.ndarray, tagged: int, *, binary: bool = True, **more: object) -> Evidence:
    rows = items(len(base), tagged)
    sides = [[(float(score), float(score)) for score in side] for side in (base, candidate)]
    pairs = tuple(Pair(item, (), ()) for item in rows)
    return Evidence(pairs, bounded(rows, *sides, binary=binary), 0.05, 500, **more)  # type: ignore[arg-type]


def lost(n: int, tagged: int, wrong: int) -> Evidence:
    """A base that is right on everything, and a candidate that is wrong on ``wrong`` items of the slice alone."""
    return evidence(np.ones(n), (np.arange(n) >= wrong).astype(float), tagged)


def test_a_slice_that_is_lost_blocks_what_the_whole_would_pass() -> None:
    estimate = measurement().compare(lost(200, 20, 10), np.random.default_rng(0))
    assert estimate.interval[1] < 0.1, "the whole lost 5 %, and would pass"
    finding = assess(estimate, RULES)
    assert finding.status is Status.BLOCK
    assert "slice safety: lost 50.0 % of what the base had (at least " in finding.reason
    assert "on 20 items; a loss under 5 % is allowed there" in finding.reason


def test_without_a_loss_it_passes_and_the_slices_forbid_no_pass() -> None:
    for tagged in (0, 3, 20):
        finding = assess(measurement().compare(lost(200, tagged, 0), np.random.default_rng(0)), RULES)
        assert finding.status is Status.PASS


def test_the_point_rule_compares_the_slice_alone() -> None:
    estimate = measurement().compare(lost(200, 20, 2), np.random.default_rng(0))
    assert assess(estimate, RULES).status is Status.PASS
    assert assess(estimate, EvidenceSettings(rule="point")).status is Status.BLOCK


@pytest.mark.parametrize(
    ("tagged", "binary", "gates"), [(4, True, False), (12, True, True), (19, False, False), (20, False, True)]
)
def test_a_slice_with_too_few_items_is_shown_and_does_not_gate(tagged: int, binary: bool, gates: bool) -> None:
    n = 200
    candidate = np.where(np.arange(n) < tagged, 0.0, 1.0 if binary else 0.9)
    base = np.full(n, 1.0 if binary else 0.9)
    estimate = measurement().compare(evidence(base, candidate, tagged, binary=binary), np.random.default_rng(0))
    (part,) = estimate.gates
    assert part.n == tagged
    assert (part.interval is not None) is gates
    assert (assess(estimate, RULES).status is Status.BLOCK) is gates


def test_the_whole_has_half_of_alpha_and_the_slices_share_the_rest() -> None:
    (only,) = looks(EvidenceSettings(early_stopping="none"))
    assert shared_levels(RULES, 1.0, only, 0) is None
    for slices in (1, 2, 5):
        whole, each = shared_levels(RULES, 1.0, only, slices)  # type: ignore[misc]
        assert whole + slices * each == pytest.approx(RULES.alpha)
    last = looks(RULES)[-1]
    whole, each = shared_levels(RULES, 1.0, last, 2)  # type: ignore[misc]
    assert whole == looks(EvidenceSettings(alpha=0.025))[-1].alpha
    assert each == looks(EvidenceSettings(alpha=0.0125))[-1].alpha
    gated, plain = measurement(), Forgetting(dataset="d", scorer="exact")
    both = [m.compare(lost(200, 20, 10), np.random.default_rng(0)).interval for m in (gated, plain)]
    assert both[0][0] < both[1][0], "the lower bound, which blocks, is at half of alpha"
    assert both[0][1] == both[1][1], "the upper bound, which passes, is not touched"


def test_it_cannot_pass_before_all_planned_items() -> None:
    early = lost(200, 20, 0)
    waiting = measurement().compare(evidence(np.ones(200), np.ones(200), 20, early=True), np.random.default_rng(0))
    assert waiting.cannot_pass == (WAITS,)
    assert measurement().compare(early, np.random.default_rng(0)).cannot_pass == ()
    plain = Forgetting(dataset="d", scorer="exact")
    assert (
        plain.compare(evidence(np.ones(200), np.ones(200), 20, early=True), np.random.default_rng(0)).cannot_pass == ()
    )


@pytest.mark.parametrize(("trained", "far"), [(True, 20), (False, 0)])
def test_of_a_slice_of_the_tail_only_the_rows_in_the_tail_count(trained: bool, far: int) -> None:
    """A fifth of 100 rows by distance, where there are training data, and 10 that are tagged as edge cases."""
    near = items(100, 100)
    edge = tuple(replace(item, id=f"e{i}", tags=(SLICE, "ambiguous")) for i, item in enumerate(items(10, 10)))
    gates = {SLICE: {"block_drop": 0.05}}
    tail = Tail.model_validate({"dataset": "d", "scorer": "exact", "tail_fraction": 0.2, "gate_slices": gates})
    (power,) = slice_powers(tail, (*near, *edge), RULES, trained=trained)
    assert power.items == 10 + far


@given(st.integers(0, 60), st.floats(0.02, 0.5), st.floats(0.3, 1.0))
def test_the_smallest_drop_is_the_first_that_blocks(tagged: int, limit: float, base: float) -> None:
    (power,) = slice_powers(measurement(limit), items(200, tagged), RULES, base)
    right = round(base * tagged)
    rows = (np.arange(tagged) < right).astype(float)

    def blocks(wrong: int) -> bool:
        low = score_test(absolute=False)(rows, rows * (np.arange(tagged) >= wrong)).interval(RULES.alpha / 2).low
        return bool(low > limit)

    if power.drop is None:
        assert tagged < 5 or right < 1 or not blocks(right)
        assert "add rows with this tag" in str(power)
    else:
        wrong = round(power.drop * right)
        assert blocks(wrong)
        assert wrong == 1 or not blocks(wrong - 1)
        assert f"the slice safety has {tagged} items: the smallest drop it can show is" in str(power)


@cache
def lower_bound(both: int, base_only: int, candidate_only: int, neither: int, alpha: float) -> float:
    counts = (both, base_only, candidate_only, neither)
    base, candidate = (np.repeat(np.array(side, float), counts) for side in ((1, 1, 0, 0), (1, 0, 1, 0)))
    return score_test(absolute=False)(base, candidate).interval(alpha).low


@pytest.mark.slow
@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("n", [12, 60])
@pytest.mark.parametrize("early", [False, True])
def test_a_candidate_with_everything_on_its_limit_is_blocked_no_more_often_than_alpha(
    slices: int, n: int, early: bool
) -> None:
    """Whole and slices lie on the limit of 10 %: the worst case for false blocks, of all together at all looks."""
    limit, base, runs, whole = 0.10, 0.8, 2500, 200
    rng = np.random.default_rng(n + slices)
    losses, gains = limit + 0.05, 0.05 * base / (1 - base)
    shares = [base * (1 - losses), base * losses, (1 - base) * gains, (1 - base) * (1 - gains)]
    schedule = looks(RULES if early else EvidenceSettings(early_stopping="none"))
    blocked = 0
    for _ in range(runs):
        parts = [rng.choice(4, size=n, p=shares) for _ in range(slices)]
        rest = rng.choice(4, size=whole - n * slices, p=shares)
        for look in schedule:
            levels = shared_levels(RULES, 1.0, look, slices)
            assert levels is not None
            seen = [part[: round(look.fraction * len(part))] for part in (*parts, rest)]
            bounds = [(levels[1], part) for part in seen[:-1] if len(part) >= 5]
            bounds.append((levels[0], np.concatenate(seen)))
            if any(lower_bound(*np.bincount(p, minlength=4).tolist(), level) > limit for level, p in bounds):
                blocked += 1
                break
    assert blocked / runs <= RULES.alpha + 3 * np.sqrt(RULES.alpha * (1 - RULES.alpha) / runs)
