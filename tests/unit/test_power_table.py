"""The published power of the documented set-up: the table is what the command gives, and it says what is promised."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from benchmarks import power
from benchmarks.error_rates import DOCUMENT, section
from benchmarks.power import (
    BASE,
    DROPS,
    GAIN,
    HARMED,
    MARKERS,
    ROWS,
    RUNS,
    measure,
    parse,
    render,
)

ROOT = Path(__file__).resolve().parents[2]
TEXT = DOCUMENT.read_text(encoding="utf-8")
COMMITTED = section(TEXT, MARKERS)
TABLE = parse(COMMITTED)
GATE = "whole gate: forgetting and tail"
LIMITS = {"target": 0.0, "forgetting": 0.10, "tail": 0.15, "calibration": 0.05}


def cell(name: str, drop: float) -> tuple[int, ...]:
    """Pass, hold and block of one row at one drop, in percent."""
    return TABLE[name][DROPS.index(drop)]


def test_the_committed_table_has_every_row_and_column() -> None:
    assert set(TABLE) == {*ROWS, *HARMED}
    assert all(len(TABLE[name]) == len(DROPS) for name in TABLE)
    assert f"{RUNS} runs each" in COMMITTED
    assert all(abs(sum(shares) - 100) <= 1 for row in TABLE.values() for shares in row)


def test_a_harmless_candidate_is_allowed_and_a_small_loss_mostly() -> None:
    assert cell(GATE, 0.0)[0] >= 90
    assert cell(GATE, 0.02)[0] >= 75


@pytest.mark.parametrize("name", [name for name in HARMED if name != GATE])
def test_a_loss_of_thirty_percent_in_one_measurement_is_blocked(name: str) -> None:
    assert cell(name, 0.30)[2] >= 95


@pytest.mark.parametrize(("name", "limit"), LIMITS.items())
def test_both_errors_at_the_limit_are_rare(name: str, limit: float) -> None:
    _, measurements = power.setup()
    assert measurements[name].limit == limit
    allowed, _, blocked = cell(name, limit)
    assert max(allowed, blocked) <= (10 if name == "calibration" else 7)


@pytest.mark.slow
def test_the_command_gives_the_committed_table_but_for_chance() -> None:
    found, runs = parse(render(measure(runs=20))), 20
    for name, row in found.items():
        for shares, published in zip(row, TABLE[name], strict=True):
            for share, expected in zip(shares, published, strict=True):
                p = min(max(expected / 100, 0.02), 0.98)
                spread = math.sqrt(p * (1 - p) * (1 / runs + 1 / RUNS))
                assert abs(share - expected) / 100 <= 4 * spread + 0.01, (name, shares, published)


def test_one_run_of_each_plays_and_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "DROPS", (0.0, 0.30))
    first = render(measure(runs=1, processes=1))
    assert render(measure(runs=1, processes=1)) == first
    found = parse(first)
    assert all(sorted(shares) == [0, 0, 100] for name in (*ROWS, *HARMED) for shares in found[name])
    assert found["whole gate: forgetting"][1] == (0, 0, 100)


def test_the_documents_state_the_set_up_that_is_simulated() -> None:
    """Policy, README and statistics page agree; n and n_max are rows that are there."""
    _, measurements = power.setup()
    for document in (ROOT / "README.md", ROOT / "ftgate" / "starter" / "policy.yml"):
        text = document.read_text(encoding="utf-8")
        assert '{dataset: "builtin:general-800", scorer: judge, n: 200, n_max: 800,' in text
        assert "rotations: 1, n: 1000, n_max: 2000," in text
    assert measurements["forgetting"].n_max == ROWS["forgetting"] == 800
    assert measurements["calibration"].n_max == ROWS["calibration"]
    for name in ("target", "forgetting", "tail"):
        assert f"{BASE[name]:g} right" in TEXT
    assert f"gains {100 * GAIN:.0f} points" in TEXT


def test_the_headline_in_the_readme_is_that_of_the_table() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    match = re.search(r"(\d+) % of the candidates that gained 15 points and lost nothing are allowed", readme)
    assert match is not None
    assert int(match[1]) == cell(GATE, 0.0)[0]
    match = re.search(r"a loss of 30 % in one measurement is blocked in (\d+) % or more", readme)
    assert match is not None
    assert int(match[1]) == min(cell(name, 0.30)[2] for name in HARMED)
