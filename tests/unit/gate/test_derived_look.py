"""How the looks of a measurement that asks nothing share its error rate."""

from __future__ import annotations

import pytest

from ftgate.gate.derived_run import EARLY_SHARE, derived_look


@pytest.mark.parametrize(("of", "taken"), [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4), (7, 5), (7, 7)])
def test_all_looks_together_spend_no_more_than_the_error_rate(of: int, taken: int) -> None:
    """However many are taken before the last one, which is last because the others are done."""
    levels = [derived_look(number, of, 0.05, last=number == taken).alpha for number in range(1, taken + 1)]
    assert sum(levels) <= 0.05 + 1e-12
    assert (sum(levels) == pytest.approx(0.05)) == (taken == of), "and if all are taken, all of it"
    assert levels[-1] >= (1 - EARLY_SHARE) * 0.05, "the last look, which decides whether it passes, has nearly all"


def test_a_single_look_has_the_whole_error_rate() -> None:
    assert derived_look(1, 1, 0.05, last=True).alpha == 0.05


def test_early_looks_are_equally_strict() -> None:
    assert len({derived_look(number, 4, 0.05, last=False).alpha for number in (1, 2, 3)}) == 1
