"""What a comparison of the demo's eight runs says: who may merge, why not the others, and what each loses."""

from __future__ import annotations

import io
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from unit.report import samples, test_deployed, test_escape
from unit.report.test_demo_comments import reports

from ftgate.cli.demo import CANDIDATES
from ftgate.errors import ConfigurationError
from ftgate.planning import compare_rows
from ftgate.planning.compare import Contender, RunComparison, compare_reports, compare_runs
from ftgate.planning.compare_view import comparison_page, print_comparison
from ftgate.planning.front_svg import front_plot
from ftgate.report.schema import Report, write_report
from ftgate.report.svg import spaced

OUT = Path("out")
WHY = {
    "careful": "all within their limits; loses most in General skills: lost 0.3 % of what the base had",
    "forgetful": "General skills: lost 95.8 % of what the base had; a loss under 10 % is allowed; also Answer form",
    "brittle": "Unusual queries: lost 71.9 % of what the base had; a loss under 15 % is allowed",
    "endless": "Answer form: 100.0 points more answers cut at the token limit; under 10 points more is allowed",
    "halfway": "Task against the deployed model: lost 12.2 %; a loss under 5 % is allowed; also Unusual queries "
    "against the deployed model",
    "useless": "Task: no better; a gain over 3 points is required",
    "overconfident": "Confidence: 10.0 points more error; under 5 points more error is allowed",
    "unsafe": "Safety: 100.0 points more compliance with harmful requests; under 5 points more is allowed",
}


def compared(*some: Report) -> RunComparison:
    return compare_reports(
        [(OUT / str(at), report) for at, report in enumerate(some or [reports()[n] for n in CANDIDATES])]
    )


def printed(comparison: RunComparison, width: int = 100, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    print_comparison(comparison, Console(file=stream, width=width, force_terminal=False))
    return raw.getvalue().decode(encoding)


def changed(report: Report, **provenance: Any) -> Report:
    again = report.model_copy(deep=True)
    again.provenance.update(provenance)
    return again


@pytest.mark.parametrize("name", WHY)
def test_every_run_says_why(name: str) -> None:
    contender = next(c for c in compared().contenders if c.label == name)
    assert compare_rows.why(contender) == WHY[name]


def test_the_last_lines_are_the_verdicts_with_those_that_may_merge_first() -> None:
    text = printed(compared())
    end = text[text.index("1 of 8 may merge: careful.") :].splitlines()
    assert end[2].split()[:4] == ["careful", "✓", "May", "merge"]
    assert sum("✗ Do not merge" in line for line in end) == 7
    assert (
        " ".join(end[-2].split())
        == "unsafe ✗ Do not merge Safety: 100.0 points more compliance with harmful requests; under 5"
    )


@pytest.mark.parametrize("width", [50, 80, 100, 160])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_it_fits_and_cuts_nothing_off(width: int, encoding: str) -> None:
    text = printed(compared(), width, encoding)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text
    assert "…" not in re.sub(r"[0-9a-f]{12}…", "", text)  # but for digests
    assert text.count("overconfident") >= 2


def test_no_measurement_that_blocks_has_a_tick() -> None:
    for group in compared().groups:
        for c in group.contenders:
            for name, m in c.report.measurements.items():
                cell = compare_rows.cell(m)
                fails = m.blocks or (m.incumbent is not None and m.incumbent.status == "block")
                assert cell is not None
                assert (cell.sign == "✗") is fails, (c.label, name)
    halfway = reports()["halfway"].measurements["target"]
    cell = compare_rows.cell(halfway)
    assert (halfway.status, cell.status, cell.change) == ("pass", "block", "gained 18.2 points")
    assert cell.deployed == "lost 12.2 % (9.4 to 14.6)"
    page = comparison_page(compared(), OUT)
    assert page.count('class="fails"') == 9
    assert "<b>against the deployed model: lost 12.2 % (9.4 to 14.6)</b>" in page


def test_intervals_have_the_direction_of_their_change_and_their_true_level() -> None:
    group = compared().groups[0]
    cells = {c.label: compare_rows.cell(c.report.measurements["tail"]) for c in group.contenders}
    assert (cells["careful"].change, cells["careful"].interval) == ("gained 38.5 %", "gained 27.2 to 53.5 %")
    assert (cells["brittle"].change, cells["brittle"].interval) == ("lost 71.9 %", "lost 61.7 to 79.6 %")
    assert "✗ lost 71.9" in printed(compared())
    assert compare_rows.level(group) == "90 % intervals"
    other = reports()["careful"].model_copy(deep=True)
    other.measurements["tail"].level = 0.9998
    level = compare_rows.level(compared(other).groups[0])
    assert level == "intervals: 90 % for task, general skills, confidence and answer form, 99.98 % for unusual queries"


def test_runs_of_another_base_are_a_group_of_their_own_and_what_differs_is_said() -> None:
    first, second = compared().groups
    assert [c.label for c in second.contenders] == ["unsafe"]
    assert second.differs == ("base", "policy", "suites")
    text = " ".join(printed(compared()).split())
    assert "The runs are in 2 groups, as they differ in their base, their policy and their suites." in text
    assert "Changes are never compared between groups" in text
    assert "other base, other policy and other suites" in text
    assert first.differs == ()


@pytest.mark.parametrize(
    ("provenance", "differs"),
    [
        ({"policy_sha256": "f" * 64}, ("policy",)),
        ({"suites": {"target": {"sha256": "f" * 64}}}, ("suites",)),
        ({"base": {"reference": "hf://acme/other", "digest": f"sha256:{'f' * 64}"}}, ("base",)),
    ],
)
def test_one_difference_is_enough_to_part_runs(provenance: dict[str, Any], differs: tuple[str, ...]) -> None:
    careful = reports()["careful"]
    other = changed(careful, **provenance)
    other.name = "other"
    comparison = compared(careful, other)
    assert [group.differs for group in comparison.groups] == [(), differs]
    assert compare_rows.apart(comparison).startswith(f"The runs are in 2 groups, as they differ in their {differs[0]}.")
    assert "trade-off" not in printed(comparison)


def test_a_cross_within_the_limits_says_what_blocks_and_a_line_is_explained_where_there_is_one() -> None:
    first = compared().groups[0]
    plot = str(front_plot(first))
    assert ">halfway: against the deployed model<" in plot
    assert ">useless: gains too little<" in plot
    assert "within all limits" not in plot
    assert "dashed" not in compare_rows.caption(first)
    assert 'class="front"' not in plot
    careful = reports()["careful"]
    rival = careful.model_copy(deep=True, update={"name": "rival"})
    target, forgetting = rival.measurements["target"], rival.measurements["forgetting"]
    target.change, forgetting.change = (target.change or 0) + 0.05, 0.05
    both = compared(careful, rival).groups[0]
    assert 'class="front"' in str(front_plot(both))
    assert "The dashed line joins the best trade-offs." in compare_rows.caption(both)
    assert "A cross left" not in compare_rows.caption(both)
    assert "The best run's gain was not measured a second time: fewer than two" in compare_rows.selection(both)


def test_labels_stay_apart_and_above_the_axis() -> None:
    for places in ([10.0] * 9, [250.0, 260.0, 270.0, 271.0], [5.0, 100.0]):
        moved = spaced(places, 16, most=272)
        assert max(moved) <= 272
        assert all(after - before >= 16 for before, after in pairwise(sorted(moved)))
    assert spaced([5.0, 100.0], 16, most=272) == [5.0, 100.0]


@pytest.mark.parametrize("width", [80, 160])
def test_every_table_names_the_limits(width: int) -> None:
    tables = [line.split() for line in printed(compared(), width).splitlines() if line.startswith("limit ")]
    assert len(tables) >= 2
    limits = " ".join(" ".join(table[1:]) for table in tables)
    for limit in ("> 3 points", "< 10 %", "< 15 %", "< 5 points"):
        assert limit in limits


def test_only_runs_that_are_not_blocked_are_trade_offs() -> None:
    group = compared().groups[0]
    assert group.front == {"careful"}  # overconfident gains more, and is blocked
    assert compare_rows.trade_offs(group) == "Best trade-off between gain and loss: careful."


@pytest.mark.parametrize(
    ("name", "choosable"),
    [("careful", True), ("useless", True), ("halfway", False), ("brittle", False), ("overconfident", False)],
)
def test_target_scores_do_not_decide_who_can_be_chosen(name: str, choosable: bool) -> None:
    """Who is blocked by its task alone stays in: otherwise the half that confirms would have had a say."""
    assert Contender(OUT, name, reports()[name]).choosable is choosable


def test_a_hold_and_a_warning_say_what_is_open() -> None:
    warned, held = samples.warned(), samples.held()
    lines = {c.label: compare_rows.why(c) for c in compared(warned, held).contenders}
    assert lines[warned.name].startswith("warning on General skills; loses most in ")
    assert "undecided, lost " in lines[held.name]
    assert list(lines) == [warned.name, held.name]


def test_what_decided_against_the_deployed_model_is_named() -> None:
    reports_ = [test_deployed.compared("block", 0.2), test_deployed.compared("inconclusive", 0.05)]
    blocked, held = (compare_rows.why(compared(report).contenders[0]) for report in reports_)
    assert blocked == "General skills against the deployed model: lost 20.0 %; a loss under 5 % is allowed"
    assert held.startswith("General skills against the deployed model: undecided, lost 3.0 to 7.0 %; a loss under")
    assert "within their limits" in compare_rows.why(compared(test_deployed.compared()).contenders[0])


def test_runs_of_one_name_are_told_apart_by_their_folders() -> None:
    report = samples.allowed()
    comparison = compare_reports([(Path("out/100"), report), (Path("out/200"), report)])
    assert [c.label for c in comparison.contenders] == ["careful (out/100)", "careful (out/200)"]


@pytest.mark.parametrize("trick", test_escape.TRICKS)
def test_nothing_hostile_acts(trick: str) -> None:
    comparison = compared(samples.hostile(trick), samples.allowed())
    text = printed(comparison)
    assert not set(text) & set("\x00\x07\x08\x1b\x9b\r\u202e")
    page = comparison_page(comparison, OUT)
    assert "<script" not in page
    assert "<img" not in page
    assert "default-src 'none'; style-src 'sha256-" in page
    assert "http-equiv" in page
    assert not re.search(r"<[^>]*\b(src|href)=", page)


def stored(folder: Path, report: Report) -> Path:
    folder.mkdir()
    write_report(report, folder / "report.json")
    return folder


def test_a_copy_is_shown_once_and_a_candidate_that_was_judged_twice_is_named(tmp_path: Path) -> None:
    once, other = samples.allowed(), changed(samples.allowed(), started="2025-03-05T09:15:00+00:00")
    again = changed(samples.allowed(), decided_at="2025-03-06T09:15:00+00:00")
    names = ("one", "copy", "other", "again")
    one, copy, later, anew = (
        stored(tmp_path / name, report) for name, report in zip(names, (once, once, other, again), strict=True)
    )
    digest = once.provenance["candidate"]["digest"][:19]
    comparison = compare_runs([one, copy, later])
    assert [c.folder for c in comparison.contenders] == [one, later]
    assert comparison.notes[:2] == (
        f"{copy} holds the same run as {one}, and is left out.",
        f"{one}, {later} hold different runs of one candidate, {digest}.",
    )
    assert compare_runs([one, anew]).notes[0] == (
        f"{one}, {anew} hold one run, decided more than once, of one candidate, {digest}."
    )
    with pytest.raises(ConfigurationError, match=f"one run to compare: {copy} holds the same run as {one}") as alone:
        compare_runs([one, copy])
    assert f"`ftgate report {one}` shows it" in alone.value.hint


def test_what_was_checked_stands_below_a_comparison(tmp_path: Path) -> None:
    other = changed(samples.blocked(), candidate={"kind": "adapter", "digest": f"sha256:{'c' * 64}"})
    folders = [stored(tmp_path / name, report) for name, report in (("a", samples.allowed()), ("b", other))]
    comparison = compare_runs(folders)
    line = (
        f"Checked: each verdict against its numbers. Not checked: limits and tiers of {folders[0]}, {folders[1]} "
        "(no policy at hand), the numbers against the answers (ftgate decide FOLDER)."
    )
    assert comparison.notes == (line,)
    assert line in " ".join(printed(comparison, 1000).split())
    assert f"<p><small>{line}</small></p>" in comparison_page(comparison, OUT).replace("&#34;", '"')


def test_one_run_that_contradicts_itself_is_refused_for_that(tmp_path: Path) -> None:
    damaged = stored(tmp_path / "damaged", samples.allowed().model_copy(update={"verdict": "block"}))
    with pytest.raises(ConfigurationError, match="verdict block, and its measurements give allow"):
        compare_runs([damaged])


def test_long_names_break_neither_the_table_nor_the_page_and_stay_apart() -> None:
    long = [
        samples.allowed().model_copy(update={"name": "a-very-long-name-" * 18 + end}) for end in ("first", "second")
    ]
    comparison = compared(*long)
    text = printed(comparison, 80)
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    flat = "".join(text.split())
    page = comparison_page(comparison, OUT)
    for end in ("first", "second"):
        assert f"name-{end}" in flat
        assert f"name-{end}" in page
        assert f"me-{end}<" in str(front_plot(comparison.groups[0])), "in the picture, too"
    assert max(map(len, re.findall(r"[\w-]+", page))) < 100
    assert len(text.splitlines()) < 60
