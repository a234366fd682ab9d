"""The comparison with the deployed model as readers get it."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from unit.report import markdown, samples, test_escape

from ftgate.report import deployed
from ftgate.report.advice.next_steps import next_steps
from ftgate.report.explanation import explanation
from ftgate.report.render import render_comment, render_html
from ftgate.report.schema import ExampleReport, IncumbentReport, Report
from ftgate.report.statement import statement
from ftgate.report.terminal import print_report

DEPLOYED_DIGEST = "sha256:" + "7c" * 32


def part(status: str = "pass", change: float | None = 0.01, reason: str = "because") -> IncumbentReport:
    interval = (None, None) if change is None else (change - 0.02, change + 0.02)
    return IncumbentReport(
        status=status, score=0.8, candidate=0.79, change=change, unit="relative drop", worse="up",
        interval=interval, level=0.9, n=200, limit=0.05, reason=reason,
    )  # fmt: skip


def compared(status: str = "pass", change: float | None = 0.01, reason: str = "because") -> Report:
    """The allowed report, compared with a deployed model; forgetting comes to ``status``."""
    found = samples.allowed()
    for name, m in found.measurements.items():
        m.incumbent = part(status, change, reason) if name == "forgetting" else part()
    found.provenance["incumbent"] = {**found.provenance["candidate"], "digest": DEPLOYED_DIGEST}
    found.verdict = {"block": "block", "inconclusive": "hold"}.get(status, "allow")
    return found


def shown(report: Report, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    print_report(report, console)
    text = console.file.getvalue()
    return re.sub(r"\s+", " ", text)


def test_a_report_without_one_has_no_column() -> None:
    for text in (render_comment(samples.allowed()), render_html(samples.allowed()), shown(samples.allowed())):
        assert "deployed" not in text
    assert "incumbent" not in samples.allowed().model_dump_json()


def test_the_column_has_change_interval_and_status() -> None:
    found = compared("block", 0.2)
    comment = render_comment(found).replace("\u00a0", " ")
    assert "| measurement | deployed → candidate (90 % interval) | limit |" in comment
    assert "| **❌ General skills** | 80.0 → 79.0: lost 20.0 % (18.0 to 22.0) | loss under 5 % |" in comment
    assert "✗ block</span><br>lost 20.0 % (18.0 to 22.0), limit 5 %" in render_html(found).replace("\u00a0", " ")
    text = shown(found)
    assert "deployed" in text
    assert "✗ lost 20.0 %" in text
    for table in re.findall(r"(?:^\|.*\n)+", render_comment(found), re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table
    assert Report.model_validate_json(found.model_dump_json()) == found


def test_the_sentence_says_what_the_candidate_lost() -> None:
    assert explanation(compared("block", 0.2)) == (
        "`careful` is worse than the model deployed today on general skills: its score is 20.0 % lower; a loss under "
        "5 % is allowed. Passing against the base is not enough."
    )
    assert explanation(compared("inconclusive", 0.05)) == "`careful` is undecided on general skills: because."
    assert explanation(compared()).endswith(" It is as good as the model deployed today within every limit.")


def test_an_allow_names_what_is_advisory_and_worse_than_the_deployed_model() -> None:
    found = compared("block", 0.2, "worse than it")
    found.verdict = "allow"
    found.measurements["forgetting"].tier = "advisory"
    assert (
        "within every limit that gates. Advisory, and worse than the model deployed today: general skills."
        in explanation(found)
    )
    assert "General skills against the deployed model (✗ block (advisory)): worse than it" in shown(found, 160)
    found.measurements["forgetting"].incumbent = part("inconclusive", 0.05)
    assert " Advisory, and not shown to be as good as the model deployed today: general skills." in explanation(found)
    for m in found.measurements.values():
        m.tier = "advisory"
    assert "It is as good as" not in explanation(found)


def test_a_wide_limit_is_no_claim_to_be_as_good() -> None:
    found = compared()
    for m in found.measurements.values():
        assert m.incumbent is not None
        m.incumbent.limit = 0.5
    assert explanation(found).endswith(" Against the model deployed today it stays within the limit of 50.0 %.")


def test_a_block_against_the_base_comes_first() -> None:
    found = samples.blocked()
    for m in found.measurements.values():
        m.incumbent = part("block", 0.3)
    assert explanation(found) == explanation(samples.blocked())


@pytest.mark.parametrize("width", [80, 100])
def test_a_terminal_cuts_no_number(width: int) -> None:
    found = samples.held()
    for m in found.measurements.values():
        m.incumbent = part("inconclusive", 0.123)
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    print_report(found, console)
    text = console.file.getvalue()
    table = text[text.index("measurement") : text.index("This verdict does not cover")]
    assert "…" not in table
    assert "? lost 12.3 %" in table
    assert max(len(line) for line in text.splitlines()) <= width


def test_what_to_do_is_named() -> None:
    assert any(
        step == "Compare the training data with the deployed model's, and add what is missing for general skills."
        for step in next_steps(compared("block", 0.2))
    )
    assert any("incumbent.block_drop" in step for step in next_steps(compared("inconclusive", 0.05)))
    rise = compared("inconclusive", 0.05)
    for m in rise.measurements.values():
        m.incumbent = m.incumbent and m.incumbent.model_copy(update={"unit": "rise in compliance"})
    assert not any("incumbent.block_drop" in step for step in next_steps(rise))


def test_the_statement_leaves_out_what_is_advisory_against_the_deployed_model_too() -> None:
    found = compared("block", 0.2)
    named = "forgetting against the deployed model"
    assert named in statement(found)["predicate"]["failedTests"]
    found.measurements["forgetting"].tier = "advisory"
    assert named not in statement(found)["predicate"]["failedTests"]


def test_what_the_end_of_the_run_left_undecided_is_no_concern() -> None:
    found = compared("inconclusive", 0.05)
    cut = found.measurements["forgetting"].incumbent
    assert cut is not None
    cut.cut_short_by = "target"
    assert deployed.failing(found) == []


def test_a_comparison_without_an_estimate_has_its_status_alone() -> None:
    assert deployed.cell(compared("not_applicable", None).measurements["forgetting"]) == ""
    assert deployed.cell(samples.allowed().measurements["forgetting"]) == ""


@pytest.mark.parametrize("trick", test_escape.TRICKS)
def test_nothing_in_a_reason_acts_in_comment_or_page(trick: str) -> None:
    text = render_comment(compared("block", 0.2, trick))
    plain = render_comment(compared("block", 0.2, "harmless"))
    kinds, as_harmless = ([k for k in markdown.kinds(t) if k != "code_inline"] for t in (text, plain))
    assert kinds == as_harmless or not trick.strip()
    assert markdown.linkable(text) == []
    page = render_html(compared("block", 0.2, trick))
    assert "<script" not in page
    assert "<img" not in page


@pytest.mark.parametrize("trick", [trick for trick in test_escape.TRICKS if trick.strip()])
def test_nothing_in_an_answer_that_the_deployed_model_gave_better_acts(trick: str) -> None:
    def answered(text: str) -> Report:
        found = compared("block", 0.2)
        rival = found.measurements["forgetting"].incumbent
        assert rival is not None
        rival.clearly_worse, rival.clearly_better = 1, 0
        rival.regressions = [
            ExampleReport(
                item=text, prompt=text, reference=text, base_answer=text, candidate_answer=text, base_score=1.0,
                candidate_score=0.0, options=[text],
            )
        ]  # fmt: skip
        return found

    text, page = render_comment(answered(trick)), render_html(answered(trick))
    assert "### What got worse: General skills, against the deployed model" in text
    assert markdown.kinds(text) == markdown.kinds(render_comment(answered("harmless")))
    assert markdown.linkable(text) == []
    assert "<script" not in page
    assert "<img" not in page
