"""The comparison with other tools runs, from a few rows to its table, with the real engine and without lm-eval."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

pytest.importorskip("vllm")

from benchmarks.peers.__main__ import BARE, OURS, SECOND_OF_OURS, compare, table


def test_ftgate_is_measured_beside_its_own_requests_put_to_vllm_at_once(tmp_path: Path) -> None:
    options = argparse.Namespace(rounds=1, without_harness=True, harness=tmp_path)
    sides = compare(tmp_path / "20", 20, options, {})
    assert list(sides) == [OURS, SECOND_OF_OURS, BARE]
    first, second, bare = sides.values()
    assert (first.asked, first.graded) == (bare.asked, bare.graded), "what ftgate asked, no more and no less"
    assert 0 < second.asked.requests < first.asked.requests, "the base's answers are not asked for again"
    # Four suites of 20 rows and two models, choices in two orders; and the controls.
    assert first.asked.requests >= 2 * (20 + 20 + 20 + 2 * 20)
    assert all(side.cpu > 1 for side in sides.values())
    assert len(table(20, sides)) == 2 + len(sides) + 2
