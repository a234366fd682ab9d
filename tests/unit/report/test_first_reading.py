"""What a reader must see at the first look: what was lost, against what, and what to do; nothing is cut off."""

from __future__ import annotations

import re

from unit.report import samples
from unit.report.test_deployed import compared

from ftgate.report.advice.next_steps import next_steps
from ftgate.report.forest_svg import forest
from ftgate.report.items import AnswerSide, ItemRow
from ftgate.report.render import render_comment, render_html
from ftgate.report.schema import SliceReport
from ftgate.verdict import SMOKE_TEST

WIDEST_LETTER = 7.0
"""Pixels of a letter of small text in the plot, on average at most."""


def test_no_text_of_the_plot_is_cut_off_or_covers_a_bar() -> None:
    found = samples.blocked()
    for m in found.measurements.values():
        m.unit, m.limits, m.change, m.interval = "rise in malformed answers", {"block": 0.1}, 1.0, (-1.0, 1.0)
        m.base = None  # else the interval would end where the share would be 0 or 1
    drawn = forest(found)
    width = float(re.search(r'width="(\d+)" height', drawn)[1])  # type: ignore[index]
    bars = min(float(x) for x in re.findall(r'class="bar [^"]*" x1="([\d.]+)"', drawn))
    texts = re.findall(r'class="small" x="([\d.]+)" y="[\d.]+">([^<]+)<', drawn)
    assert any("(100.0 fewer to 100.0 more)" in text for _, text in texts)
    for x, text in texts:
        assert float(x) + WIDEST_LETTER * len(text) <= (bars if x == "0" else width), text


def test_a_smoke_test_asks_for_the_real_run_and_not_for_more_items() -> None:
    found = samples.held()
    assert "Raise `measurements.forgetting.n_max`" in " ".join(next_steps(found))
    found.notes = [SMOKE_TEST.format(20)]
    steps = next_steps(found)
    assert steps[0].startswith("Run again on all items, without `--limit`")
    assert "n_max" not in " ".join(steps)


def test_slices_that_lost_nothing_are_not_listed_as_lost() -> None:
    found = samples.blocked()
    better = [(m, part) for m in found.measurements.values() for part in m.slices]
    assert better
    for m, part in better:
        part.change, part.limit = (0.2 if "min_gain" in m.limits else -0.2), None
    comment = render_comment(found)
    assert "No slice lost anything. The full report lists them all." in comment
    assert "| measurement | slice |" not in comment


def test_the_comparisons_with_base_and_deployed_model_are_told_apart() -> None:
    comment, page = render_comment(compared("block", 0.2)), render_html(compared("block", 0.2))
    assert comment.index("| deployed → candidate (") < comment.index("| base → candidate (")
    assert "deployed → candidate" not in render_comment(samples.allowed())
    assert '<th scope="col">against the base<th scope="col">against the deployed model' in page
    assert '<span class="status t-block">✗ block</span><br>' in page
    assert "Each bar is an interval against the base" in page
    assert '<th scope="col">status<th scope="col">measurement' in render_html(samples.allowed())


def test_an_answer_that_goes_on_with_white_space_does_not_look_complete() -> None:
    found = samples.blocked().model_copy(deep=True)
    example = next(m.regressions[0] for m in found.measurements.values() if m.regressions)
    example.candidate_answer = "the sum is 7" + "\n" * 11
    example.base_answer = "the sum is 7\n"
    comment = render_comment(found)
    assert "the sum is 7 _(then 11 characters of white space)_" in comment
    assert comment.count("characters of white space") == 1


def test_page_and_comment_head_the_next_steps_alike() -> None:
    for found, doer, begins in (
        (samples.blocked(), "author", "Train again at a learning rate of 1e-4 or lower"),
        (samples.warned(), "reviewer", "Merge if you accept what was lost."),
        (
            samples.held(),
            "owner of `.github/ftgate.yml`",
            "Test on more items: general skills 200 → 410, confidence 240 → 500.",
        ),
        (samples.allowed(), "reviewer", "You may merge: every measurement passed."),
    ):
        assert f"**What to do next ({doer}):** {begins}" in render_comment(found).replace("\u200b", "")
        page = render_html(found)
        shown = re.sub(r"`(.*)`", r"<code>\1</code>", doer)
        assert f"<b>What to do next ({shown}):</b> {begins}" in page
        assert page.index("What to do next") < page.index("<h2>Measurements</h2>")


def test_a_row_that_is_undecided_inside_its_limit_says_why() -> None:
    found = samples.held()
    comment = render_comment(found)
    assert "| **⏸️ Confidence (undecided, too few items: 240 of 500)** |" in comment
    assert "| **⏸️ General skills (undecided)** |" in comment  # its interval contains the limit
    m = found.measurements["calibration"]
    m.least_n = None  # as in older reports
    assert "(undecided: 240 items are too few to pass)" in render_comment(found)
    m.cut_short_by = "forgetting"
    assert "| **⏸️ Confidence (not finished)** |" in render_comment(found)
    m.cut_short_by, m.reason = None, "x" * 500
    assert "| **⏸️ Confidence (undecided)** |" in render_comment(found)


def test_worse_is_defined_where_it_is_counted() -> None:
    found = samples.blocked()
    assert "are worse by 20 points or more, 3 shown:" in render_comment(found)
    item = ItemRow(
        measurement="forgetting", item="q1", outcome="worse", messages=[("user", "hi")],
        base=AnswerSide(score=1.0, answers=[]), candidate=AnswerSide(score=0.0, answers=[]),
    )  # fmt: skip
    assert "Worse and better: by 20 points or more. Same: by less." in render_html(found, items=[item])


def test_the_hardest_hit_slice_says_how_it_was_chosen() -> None:
    found = samples.blocked()
    part = SliceReport(name="sums", n=25, base=0.8, candidate=0.3, change=0.62, interval=(0.4, 0.8), status="beyond")
    found.measurements["forgetting"].slices = [part]
    found.measurements["forgetting"].details["worst_slice"] = {"name": "sums"}
    rule = "the slice that lost most, even at the better end of its interval"
    assert rule in render_comment(found)
    assert rule in render_html(found)
