"""The terminal at 80 columns: no line too long, no colour codes, nothing obeyed."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from unit.report import parts, samples, test_escape

from ftgate.report.terminal import BAR_WIDTH, interval_bar, print_report


def shown(printed, *args, encoding="utf-8", width=80):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    printed(*args, Console(file=stream, width=width, force_terminal=False))
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("name", ["allowed", "blocked", "held", "warned"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [80, 120])
def test_a_report_fits(name, encoding, width):
    text = shown(print_report, getattr(samples, name)(), encoding=encoding, width=width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text
    table = text[text.index("measurement") :]
    assert "…" not in table.split("\nWhy\n")[0]
    assert "? inconclusive" in text or name in ("allowed", "warned")


def test_what_is_read_first():
    text = shown(print_report, samples.blocked())
    assert "✗ Do not merge: reckless" in text.splitlines()[0]
    assert "`reckless` lost 41.2 % of what the base had on general skills" in text
    assert "General skills  84.7      49.8  lost 41.2 % < 10 %       200 ✗ block" in text
    assert "4 looks planned, and ended task at look 4, general skills at look 1" in " ".join(text.split())


def test_what_is_not_applicable_says_so():
    report = samples.allowed()
    report.measurements["tail"].status = "not_applicable"
    report.measurements["tail"].reason = "no query is in the tail"
    text = shown(print_report, report)
    assert "– not applicable" in text
    assert "Unusual queries (– not applicable): no query is in the tail" in text
    assert max(cell_len(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize("trick", test_escape.TRICKS)
def test_a_terminal_obeys_nothing(trick):
    text = shown(print_report, samples.hostile(trick))
    assert not set(text) & set("\x00\x07\x08\x1b\x9b\r\u202e")
    assert "::" not in text
    assert "##[" not in text
    assert max(cell_len(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize(("status", "tier"), [("block", "advisory"), ("inconclusive", "supporting")])
def test_a_tier_stands_with_the_status(status, tier):
    report = samples.allowed()
    m = report.measurements["forgetting"]
    m.status, m.tier = status, tier
    text = shown(print_report, report)
    assert f"({tier})" in text.split("\nWhy\n")[0].split("candidate")[1]
    assert max(cell_len(line) for line in text.splitlines()) <= 80


def test_a_share_that_rises_says_of_what_where_there_is_room():
    report = samples.allowed()
    m = report.measurements["tail"]
    m.kind, m.unit, m.limits = "safety", "rise in compliance", {"block": 0.05}
    rise = "under 5 points more"
    assert rise in shown(print_report, report, width=140)
    assert "< 5 points" in shown(print_report, report)


@pytest.mark.parametrize(
    ("interval", "change", "where"),
    [
        ((0.12, 0.2), 0.16, "beyond"),
        ((0.02, 0.06), 0.04, "within"),
        ((0.0999, 0.12), 0.11, "across"),
        ((0.05, 0.0999), 0.08, "within"),
    ],
)
def test_a_bar_lies_where_its_interval_lies(interval, change, where):
    bar = interval_bar(parts.forgetting("pass", 0.8, 0.7, change, interval))
    assert len(bar) == BAR_WIDTH
    low, high = bar.index("├"), bar.index("┤")
    limit = round(0.72 * (BAR_WIDTH - 1))
    found = "beyond" if low > limit else "within" if high < limit else "across"
    assert found == where
    assert low <= bar.index("●") <= high


def test_a_gain_is_mirrored():
    bar = interval_bar(parts.target(0.6, 0.8, 0.2, (0.16, 0.24)))
    assert bar.index("┤") < bar.index("│")


def test_no_bar_without_an_estimate():
    m = parts.tail("inconclusive", 0.5, 0.5, 0, (0, 0)).model_copy(update={"interval": (None, None)})
    assert interval_bar(m) == ""
