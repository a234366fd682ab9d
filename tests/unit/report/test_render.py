"""The comment and the page as their readers get them: snapshots, size, hostile content."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from unit.report import markdown, samples, test_escape
from unit.report.parts import LIGHTHOUSE

from ftgate.report import calibration_curve, numbers, plots
from ftgate.report.links import DOCS_OF, CommentLinks
from ftgate.report.render import COMMENT_LIMIT, EXPENDABLE, MARKER, render_comment, render_html, write_rendered
from ftgate.report.schema import Report, SliceReport

SNAPSHOTS = Path(__file__).parent / "snapshots"
UPDATE = os.environ.get("FTGATE_UPDATE_SNAPSHOTS") == "1"
OUR_HTML = re.compile(r"</?details(?: open)?>|</?summary>|<!-- ftgate:comment -->")


@pytest.mark.parametrize("name", ["allowed", "blocked", "held", "warned"])
def test_the_comment_reads_as_before(name):
    """Set FTGATE_UPDATE_SNAPSHOTS=1 to accept a change, and read the difference before committing it."""
    shown = render_comment(getattr(samples, name)())
    path = SNAPSHOTS / f"{name}.md"
    if UPDATE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


def test_marker_and_verdict_come_first():
    lines = render_comment(samples.blocked()).splitlines()
    assert lines[0] == MARKER
    assert lines[1] == "## ❌ Do not merge: `reckless`"
    assert lines[3].startswith("**Why:** `reckless` lost 41.2 % of what the base had on general skills; a loss under")
    assert lines[5].startswith("**What was lost:** General skills: 84.7 → 49.8 of 100.")


def test_rendering_twice_gives_the_same_bytes():
    again = Report.model_validate_json(samples.blocked().model_dump_json())
    assert render_comment(samples.blocked()) == render_comment(again)
    assert render_html(samples.blocked()) == render_html(again)


def test_every_table_of_the_comment_has_its_columns():
    text = render_comment(samples.blocked())
    assert "\n\n\n" not in text
    assert markdown.kinds(text).count("table_open") == 6
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_a_huge_report_fits_and_says_what_was_left_out():
    text = render_comment(samples.huge())
    assert len(text) <= COMMENT_LIMIT
    assert text.startswith(MARKER)
    assert "| **❌ General skills** | 84.7 → 49.8: lost 41.2 % (35.0 to 47.3) | loss under 10 % |" in text


def test_sections_go_from_least_to_most_important_and_small_ones_come_back():
    report = samples.blocked()
    whole = len(render_comment(report))
    left_out = re.compile(r"_Left out to fit into a comment: (.*)\. Nothing is missing")
    for limit in range(1500, whole + 200, 500):
        text = render_comment(report, limit=limit)
        assert len(text) <= limit
        found = left_out.search(text)
        dropped = found[1].split(", ") if found else []
        assert dropped == [name for name in EXPENDABLE if name in dropped]
    assert "Left out" not in render_comment(report, limit=whole)


def test_one_large_section_goes_alone():
    report = samples.allowed()
    report.provenance["suites"] = {f"suite {i}": {"source": "x" * 290} for i in range(20)}
    text = render_comment(report, limit=7_000)
    assert "Left out to fit into a comment: provenance." in text
    assert "<summary>Controls: does the experiment itself work?</summary>" in text


@pytest.mark.parametrize("trick", test_escape.TRICKS)
def test_nothing_in_a_report_acts_in_the_comment(trick):
    text = render_comment(samples.hostile(trick))
    kinds = markdown.kinds(text)
    plain = markdown.kinds(render_comment(samples.hostile("harmless")))
    assert not {"link_open", "image", "s_open", "html_inline"} & set(kinds)
    # Same skeleton as with harmless words, but for the code span that an empty name does without.
    assert [k for k in kinds if k != "code_inline"] == [k for k in plain if k != "code_inline"] or not trick.strip()
    assert markdown.linkable(text) == []
    for token in markdown.tokens(text):
        if token.type == "html_block":
            assert "<" not in OUR_HTML.sub("", token.content)
    assert text.count(MARKER) == 1


class Page(HTMLParser):
    """Tags, attributes, and whether every element that opens inside the body is one of ours."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, tuple(name for name, _ in attrs)))

    def handle_comment(self, data):
        self.seen.append(("comment", (data,)))


@pytest.mark.parametrize("trick", test_escape.TRICKS)
def test_nothing_in_a_report_acts_in_the_page(trick):
    text = render_html(samples.hostile(trick))
    text.encode("utf-8")
    page, plain = Page(text), Page(render_html(samples.hostile("harmless")))
    # Backticks in a name can move where code begins; it holds nothing but text.
    seen, as_harmless = ([tag for tag in each.seen if tag != ("code", ())] for each in (page, plain))
    assert seen == as_harmless or not trick.strip()
    assert not {"script", "img", "a", "iframe", "link", "comment"} & {tag for tag, _ in page.seen}
    assert not any(
        name.startswith("on") or name in ("href", "src", "style") for _, names in page.seen for name in names
    )
    assert not set(text) & set("\x00\x1b\u202e\u200b")


def test_the_page_loads_nothing():
    text = render_html(samples.blocked())
    assert "default-src 'none'" in text
    assert re.findall(r"(?:https?:)?//[a-z.]+", re.sub(r'xmlns="[^"]*"', "", text)) == ["//org"]
    assert "url(" not in text
    assert "@import" not in text
    assert text.count("<svg") == 1


def test_the_page_survives_numbers_that_are_none():
    report = samples.blocked()
    for m in report.measurements.values():
        m.base = m.candidate = m.change = None
        m.interval = (None, None)
        m.details = {"base": {"bins": [None, {"low": "x"}, {"low": 0.1, "high": 0.2, "n": None}]}, "candidate": 3}
    assert "no estimate" in render_html(report)
    assert "| — | loss under 15 % |" in render_comment(report)


def test_a_report_without_measurements_still_renders():
    report = samples.held().model_copy(
        update={"measurements": {}, "reasons": ["nothing was measured"], "checklist": []}
    )
    text = render_comment(report)
    assert "**Why:** nothing was measured.\n\n**What was lost:** Not known: nothing was measured.\n" in text
    assert "nothing was measured" in render_html(report)


def test_the_chart_has_a_value_for_every_place_on_its_axis():
    source = calibration_curve.mermaid(calibration_curve.bins_of(samples.blocked()))
    lines = source.splitlines()
    assert lines[1] == "xychart-beta"
    lists = re.findall(r"\[(.*)\]", source)
    assert len({len(part.split(",")) for part in lists}) == 1
    assert len(lists) == 4


def test_a_chart_needs_two_bins_in_common():
    report = samples.blocked()
    bins = report.measurements["calibration"].details["candidate"]["bins"]
    for row in bins[:9]:
        row["n"] = 0
    assert calibration_curve.mermaid(calibration_curve.bins_of(report)) == ""
    assert "```mermaid" not in render_comment(report)
    assert len(calibration_curve.bins_of(report)) == 7


def test_both_files_are_written_whole(tmp_path):
    write_rendered(samples.held(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["comment.md", "plots", "report.html"]
    assert (tmp_path / "comment.md").read_text(encoding="utf-8") == render_comment(samples.held())


def test_a_picture_that_cannot_be_drawn_costs_only_the_pictures(tmp_path, monkeypatch):
    def fail(report):
        raise ImportError("no drawing library")

    monkeypatch.setitem(plots.DRAWN, "slices", fail)
    notes = []
    write_rendered(samples.blocked(), tmp_path, note=notes.append)
    assert notes == ["warning: the report has no pictures: ImportError: no drawing library"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render_html(samples.blocked())
    with pytest.raises(ImportError, match="no drawing library"):
        write_rendered(samples.blocked(), tmp_path)


def test_the_part_that_lost_most_is_named_where_one_lost_anything():
    report = samples.blocked()
    forgetting = report.measurements["forgetting"]
    hurt = SliceReport(name="co|de`", n=25, base=0.8, candidate=0.3, change=0.62, interval=(0.4, 0.8), status="beyond")
    forgetting.slices = [hurt]
    forgetting.details["worst_slice"] = {"name": "co|de`", "n": 25, "change": 0.62, "interval": [0.4, 0.8]}
    line = "lost 62.0 % (40.0 to 80.0) on 25 items"
    assert f"\nHardest hit: `` co∣de` ``, {line} (the slice that lost most, even at the" in render_comment(report)
    assert line in render_html(report)
    for nothing in ({"name": "gone"}, "code", None):
        forgetting.details["worst_slice"] = nothing
        assert "ardest hit" not in render_comment(report)
    forgetting.slices = [hurt.model_copy(update={"change": -0.1})]
    forgetting.details["worst_slice"] = {"name": "co|de`"}
    assert "ardest hit" not in render_comment(report)


def test_the_worst_answers_stand_open_and_the_rest_is_folded():
    report = samples.blocked()
    report.measurements["forgetting"].clearly_worse = 82
    text = render_comment(report)
    opened = text[: text.index("<details>")]
    assert "### What got worse: General skills\n82 of 200 answers are worse by 20 points or more, 3 shown:" in opened
    assert "- `general-017`: Explain in two sentences why lighthouses use Fresnel lenses." in opened
    assert "  - base, 91 of 100: A Fresnel lens bends" in opened
    assert "  - candidate, **8 of 100**: No" in opened
    assert "  - candidate, **0 of 100**: _(nothing)_" in opened
    assert "**What to do next (author):** " in opened
    titles = re.findall(r"<summary>(\S+) ([^:<]+)", text)
    assert [sign for sign, _ in titles if sign in "❌⏸️✅"] == ["❌", "❌", "⏸️", "✅"]


def test_an_allow_has_no_worst_answers_open():
    assert "What got worse" not in render_comment(samples.allowed())
    assert "**What to do next (reviewer):** Merge if you accept what was lost.\n" in render_comment(samples.warned())


def test_the_table_has_three_columns_so_that_it_fits_a_phone():
    for name in ("allowed", "blocked", "held", "warned"):
        heading = next(
            x for x in render_comment(getattr(samples, name)()).splitlines() if x.startswith("| measurement")
        )
        columns = [cell.strip() for cell in heading.strip("|").split("|")]
        assert columns == ["measurement", "base → candidate (90 % interval)", "limit"]


def test_checks_are_counted_and_those_that_failed_stand_open():
    report = samples.allowed()
    assert "<summary>2 of 3 checks OK, 1 not made</summary>" in render_comment(report)
    report.checklist[1].ok = False
    text = render_comment(report)
    assert "<summary>1 of 3 checks OK, 1 not made</summary>" in text
    caution = "(expected: the suite for its task is held out from the training data)"
    assert text.count(caution) == 1
    assert re.search(r"\n- For your information: 0 of 400 .*" + re.escape(caution), text)
    report.verdict = "hold"
    text = render_comment(report)
    assert text.count(caution) == 1
    assert "### 1 check not met\nThis says how far to trust the scores; what decided stands above.\n" in text
    assert re.search(r"\n- ⚠️ 0 of 400 .*" + re.escape(caution), text)
    assert "not met" not in render_comment(samples.allowed())


def test_a_multiple_choice_item_shows_its_options():
    report = samples.blocked()
    row = (
        report.measurements["forgetting"]
        .regressions[0]
        .model_copy(update={"options": ["tea", "milk"], "reference": "tea", "base_score": 1.0, "candidate_score": 0.0})
    )
    report.measurements["forgetting"].regressions = [row]
    text = render_comment(report)
    assert "Fresnel lenses. (A. tea · B. milk) → expected: tea" in text
    assert "  - base, right: " in text
    assert "  - candidate, **wrong**: " in text


def test_a_loss_of_confidence_is_a_wrong_answer_that_it_was_sure_of():
    report = samples.blocked()
    m = report.measurements["calibration"]
    m.regressions = [LIGHTHOUSE.model_copy(update={"base_score": 1.0, "candidate_score": 0.02})]
    assert "  - base, right: " in render_comment(report)
    assert "  - candidate, **wrong, 98 % sure**: " in render_comment(report)


@pytest.mark.parametrize("name", ["allowed", "blocked", "held", "warned"])
def test_links_are_shown_where_they_lead_somewhere(name):
    report = getattr(samples, name)()
    assert "](" not in render_comment(report)
    links = CommentLinks(
        run="https://host/run/1", docs="https://host/docs/", waive="https://host/docs/audit.md#waive-a-verdict"
    )
    text = render_comment(report, links=links)
    page = DOCS_OF[numbers.outcome(report)]
    assert f"[This run](https://host/run/1) · [What this verdict means](https://host/docs/{page})" in text
    assert ("[How to waive this verdict]" in text) == (report.verdict != "allow")
    assert "[Full report]" not in text


@pytest.mark.parametrize("trick", test_escape.TRICKS)
def test_a_link_leads_nowhere_else(trick):
    row = CommentLinks(run=f"https://host/{trick}", policy=trick).row("allow")
    assert row.count("](") == 1
    assert [t.type for t in markdown.tokens(row) if t.type in ("link_open", "image", "html_inline")] == ["link_open"]


def test_a_level_close_to_certainty_is_not_rounded_up():
    report = samples.allowed()
    for m in report.measurements.values():
        m.level = 0.9998
    text = render_comment(report)
    assert "| base → candidate (99.98 % interval) |" in text
    assert "100 % interval" not in text


def test_a_measurement_with_a_name_of_its_own_shows_it():
    report = samples.blocked()
    report.measurements["german"] = report.measurements.pop("forgetting").model_copy(update={"kind": "forgetting"})
    assert "**❌ german (general skills)**" in render_comment(report)
