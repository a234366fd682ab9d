"""Every number as a reader sees it: one table a function."""

from __future__ import annotations

import math

import pytest

from ftgate.report import numbers
from ftgate.scoring import amounts


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.412, "41.2 %"),
        (-0.123, "-12.3 %"),
        (0.0, "0.0 %"),
        (-0.0, "0.0 %"),
        (-0.0001, "0.0 %"),
        (1.0, "100.0 %"),
        (None, "—"),
        (math.nan, "—"),
        (math.inf, "—"),
        (1e300, "1.0e+302 %"),
    ],
)
def test_percent(value, shown):
    assert numbers.percent(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.123, "+12.3 points"), (-0.04, "-4.0 points"), (-0.0001, "+0.0 points"), (None, "—")]
)
def test_points(value, shown):
    assert numbers.points(value) == shown


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.139, "absolute gain", "gained 13.9 points"),
        (-0.02, "absolute gain", "lost 2.0 points"),
        (0.412, "relative drop", "lost 41.2 %"),
        (1.014, "relative drop", "lost 100.0 %"),
        (-2.4, "relative drop", "gained 240.0 %"),
        (-0.0001, "relative drop", "no change"),
        (0.788, "rise in malformed answers", "78.8 points more"),
        (-0.02, "rise in malformed answers", "2.0 points fewer"),
        (-0.479, "relative drop", "gained 47.9 %"),
        (0.04, "absolute drop", "lost 4.0 points"),
        (0.0811, "ECE increase", "8.1 points more error"),
        (-0.01, "ECE increase", "1.0 points less error"),
        (0.25, "seconds", "0.250"),
        (None, "relative drop", "—"),
        (None, "ECE increase", "—"),
    ],
)
def test_change(value, unit, shown):
    assert numbers.change(value, unit) == shown


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.847, "relative drop", "84.7"),
        (0.642, "absolute gain", "64.2"),
        (0.0381, "ECE increase", "3.8"),
        (0.788, "rise in malformed answers", "78.8 %"),
        (2.5, "x", "2.500"),
    ],
)
def test_score(value, unit, shown):
    assert numbers.score(value, unit) == shown


@pytest.mark.parametrize(
    ("bounds", "unit", "shown"),
    [
        ((0.35, 0.473), "relative drop", "lost 35.0 to 47.3"),
        ((-0.012, 0.039), "relative drop", "gained 1.2 to lost 3.9"),
        ((-0.012, 0.039), "absolute gain", "lost 1.2 to gained 3.9"),
        ((-0.006, 0.028), "ECE increase", "0.6 less to 2.8 more"),
        ((-0.016, 0.011), "rise in malformed answers", "1.6 fewer to 1.1 more"),
        ((-1.3, 0.2), "absolute gain", "lost 100.0 to gained 20.0"),
        ((None, None), "relative drop", "—"),
    ],
)
def test_an_interval_where_there_is_little_room(bounds, unit, shown):
    assert amounts.brief(numbers.interval(bounds, unit), unit) == shown


@pytest.mark.parametrize(
    ("change", "bounds", "unit", "shown"),
    [
        (-0.479, (-0.649, -0.349), "relative drop", "34.9 to 64.9"),
        (0.004, (-0.0001, 0.022), "relative drop", "0.0 to 2.2"),
        (0.013, (-0.012, 0.039), "relative drop", "gained 1.2 to lost 3.9"),
        (0.182, (0.153, 0.212), "absolute gain", "15.3 to 21.2"),
        (0.0, (-0.005, 0.012), "absolute gain", "lost 0.5 to gained 1.2"),
        (0.02, (0.007, 0.032), "ECE increase", "0.7 to 3.2"),
        (0.0, (-0.016, 0.011), "rise in malformed answers", "1.6 fewer to 1.1 more"),
        (None, (None, None), "relative drop", "—"),
        (0.1, None, "relative drop", "—"),
    ],
)
def test_an_interval_has_the_direction_of_the_change_that_it_stands_beside(change, bounds, unit, shown):
    assert amounts.beside(change, bounds, unit) == shown


@pytest.mark.parametrize(
    ("limits", "unit", "shown"),
    [
        ({"min_gain": 0.03}, "absolute gain", "gain over 3 points"),
        ({"min_gain": 0.0}, "absolute gain", "any gain"),
        ({"block": 0.1}, "rise in malformed answers", "under 10 points more malformed answers"),
        ({"min_gain": -0.01}, "absolute gain", "loss under 1 point"),
        ({"block": 0.10, "warn": 0.08}, "relative drop", "loss under 10 % (warns from 8 %)"),
        ({"block": 0.15}, "relative drop", "loss under 15 %"),
        ({"block": 0.15}, "absolute drop", "loss under 15 points"),
        ({"block": 0.05}, "ECE increase", "under 5 points more error"),
        ({"block": 0.5}, "toxicity", "change under 0.500"),
        ({}, "relative drop", "—"),
    ],
)
def test_limit(limits, unit, shown):
    assert numbers.limit(limits, unit) == shown


@pytest.mark.parametrize(
    ("limits", "unit", "shown"),
    [
        ({"min_gain": 0.03}, "absolute gain", "a gain over 3 points is required"),
        ({"min_gain": 0.0}, "absolute gain", "a gain is required"),
        ({"min_gain": -0.02}, "absolute gain", "a loss under 2 points is allowed"),
        ({"block": 0.10, "warn": 0.08}, "relative drop", "a loss under 10 % is allowed"),
        ({"block": 0.05}, "ECE increase", "under 5 points more error is allowed"),
        ({"block": 0.1}, "rise in malformed answers", "under 10 points more is allowed"),
    ],
)
def test_what_is_allowed_as_a_clause(limits, unit, shown):
    assert amounts.allowed(limits, unit) == shown


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        ("relative drop", "69.2 → 6.8 of 100"),
        ("absolute gain", "69.2 → 6.8 of 100"),
        ("ECE increase", "off by 69.2 → 6.8 points"),
        ("rise in malformed answers", "69.2 → 6.8 %"),
    ],
)
def test_both_scores_say_what_they_count(unit, shown):
    assert amounts.scores(0.692, 0.068, unit) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.9, "90 %"),
        (0.95, "95 %"),
        (0.975, "97.5 %"),
        (0.9998, "99.98 %"),
        (1 - 1e-9, "over 99.999 %"),
        (1.0, "100 %"),
    ],
)
def test_level(value, shown):
    assert numbers.level(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(7, "7"), (1200, "1,200"), (10**4000, "over 10^12")])
def test_count(value, shown):
    assert numbers.count(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.04, "0.0 s"),
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
        (None, "—"),
        (math.inf, "—"),
    ],
)
def test_duration(value, shown):
    assert numbers.duration(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (15 * 2**30, "15.0 GiB"), (2**52, "4096.0 TiB")],
)
def test_size(value, shown):
    assert numbers.size(value) == shown


@pytest.mark.parametrize(
    ("done", "seconds", "shown"), [(120, 10, "12.0/s"), (5000, 10, "500/s"), (1, 0, "—"), (0, 5, "0.0/s")]
)
def test_rate(done, seconds, shown):
    assert numbers.rate(done, seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("sha256:" + "ab" * 32, "sha256:abababababab…"),
        ("0123456789abcdef" * 4, "0123456789ab…"),
        ("hf://Qwen/Qwen2.5-7B-Instruct", "hf://Qwen/Qwen2.5-7B-Instruct"),
        ("abc123", "abc123"),
    ],
)
def test_digest(value, shown):
    assert numbers.digest(value) == shown


def test_significant():
    assert [numbers.significant(x) for x in (0.0, 2.41371, 1e-9, None)] == ["0", "2.41", "1e-09", "—"]


@pytest.mark.parametrize("status", ["pass", "warn", "block", "inconclusive", "error", "allow", "hold"])
def test_a_badge_reads_without_colour_and_survives_ascii(status):
    symbol, word = numbers.badge(status).split()
    assert word == status
    assert len(symbol) == 1
    assert numbers.ascii_only(numbers.badge(status)).isascii()


def test_an_unknown_status_gets_no_symbol():
    assert numbers.badge("odd") == "odd"


@pytest.mark.parametrize("value", [True, "1", None, math.nan, math.inf, 10**400, [1]])
def test_what_is_no_number_is_not_drawn(value):
    assert numbers.finite(value) is None


def test_symbols_have_a_likeness_in_ascii():
    assert numbers.ascii_only("├═●═┤─│ ✓✗ — … drop → €") == "[=o=]-| vx - ... drop -> ?"


@pytest.mark.parametrize(
    ("bounds", "unit", "shown"),
    [
        ((0.939, 0.976), "relative drop", "lost 93.9 to 97.6 %"),
        ((-0.649, -0.349), "relative drop", "gained 34.9 to 64.9 %"),
        ((-0.012, 0.039), "relative drop", "gained 1.2 to lost 3.9 %"),
        ((0.947, 1.015), "relative drop", "lost 94.7 to 100.0 %"),
        ((0.277, 0.339), "absolute gain", "gained 27.7 to 33.9 points"),
        ((-0.03, -0.01), "absolute gain", "lost 1.0 to 3.0 points"),
        ((0.731, 0.828), "rise in malformed answers", "73.1 to 82.8 points more"),
        ((0.009, 0.037), "ECE increase", "0.9 to 3.7 points more error"),
        ((None, 0.1), "relative drop", "— to lost 10.0 %"),
        ((-0.0001, 0.022), "relative drop", "lost 0.0 to 2.2 %"),
        (None, "relative drop", "—"),
    ],
)
def test_an_interval_in_words(bounds, unit, shown):
    assert numbers.interval(bounds, unit) == shown


@pytest.mark.parametrize(
    ("limits", "unit", "shown"),
    [
        ({"min_gain": 0.03}, "absolute gain", "> 3 points"),
        ({"block": 0.1, "warn": 0.08}, "relative drop", "< 10 %"),
        ({"block": 0.125}, "absolute drop", "< 12.5 points"),
        ({"block": 0.05}, "ECE increase", "< 5 points"),
        ({}, "relative drop", "—"),
    ],
)
def test_a_limit_where_there_is_little_room(limits, unit, shown):
    assert numbers.compact_limit(limits, unit) == shown


@pytest.mark.parametrize(
    ("name", "kind", "shown", "inside"),
    [
        ("forgetting", "forgetting", "General skills", "general skills"),
        ("german", "forgetting", "german (general skills)", "`german`"),
        ("toxicity", "", "Toxicity", "`toxicity`"),
    ],
)
def test_a_name_of_its_own_stays_visible(name, kind, shown, inside):
    assert numbers.title(name, kind) == shown
    assert numbers.in_sentence(name) == inside


def test_every_verdict_has_a_headline():
    shown = [numbers.headline(verdict) for verdict in ("allow", "warn", "block", "hold", "error", "odd")]
    assert shown == [
        "✅ May merge",
        "⚠️ May merge, with a warning",
        "❌ Do not merge",
        "⏸️ Do not merge yet, more evidence needed",
        "❗ Do not merge yet, not tested",
        "odd",
    ]


@pytest.mark.parametrize(
    ("bounds", "base", "unit", "within"),
    [
        ((-0.016, 0.011), 0.0, "rise in malformed answers", (0.0, 0.011)),
        ((-0.1, 0.3), 0.8, "rise in cut answers", (-0.1, 0.2)),
        ((-0.1, None), None, "rise in cut answers", (-0.1, None)),
        ((None, math.inf), 0.5, "rise in cut answers", (None, math.inf)),
        ((-0.1, 0.3), 0.0, "relative drop", (-0.1, 0.3)),
    ],
)
def test_a_share_neither_falls_below_nothing_nor_rises_above_everything(bounds, base, unit, within):
    shown = amounts.within_reach(bounds, base, unit)
    assert shown == pytest.approx(within) if None not in within else shown == within
