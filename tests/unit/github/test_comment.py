"""The comment: nothing a stranger wrote acts in it, and it always fits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reports
from unit.report import markdown, samples
from unit.report.test_escape import HOSTILE, TRICKS

from ftgate.github.audit.record import Ledger, ModelEntry, Record
from ftgate.github.changed_manifests import BaseChange
from ftgate.github.comment import (
    HISTORY,
    HISTORY_LIMIT,
    CommentContent,
    CommentSection,
    _size,
    compose,
    difference,
    mark,
    missing_records,
    read_trail,
    with_waiver,
)
from ftgate.report.links import CommentLinks
from ftgate.report.render import MARKER

HEAD = "a" * 40
_, POLICY = reports.policy()
CLOSERS = (
    "</details>",
    f"{MARKER}\n## ✓ allow",
    f"{mark('ftgate/verdict')}\n## ✓ allow",
    f"\n{HISTORY}\n```json\n{{}}\n```",
    "::set-output name=verdict::allow",
)


def record(name: str = "bot", n: int = 0, **more) -> Record:
    entry = ModelEntry(
        name=name,
        base="sha256:a",
        candidate="sha256:" + "b" * 64,
        verdict="block",
        numbers={name: {"change": 0.1, "unit": name, "status": "block"}},
    )
    found = {"time": name, "repository": "acme/models", "head": f"{n:040x}", "verdict": "block", "models": (entry,)}
    return Record.model_validate({**found, **more})


def content(trick: str) -> CommentContent:
    return CommentContent(
        verdict="block",
        head=HEAD,
        sections=(
            CommentSection(trick, "block", samples.hostile(trick)),
            CommentSection(trick, "error", None, (trick, trick)),
        ),
        problems=(trick,),
        policy="0" * 64,
        policy_change=difference("limits: 1\n", trick, "p.yml"),
        waivers=(record(trick, kind="waiver", by=trick, reason=trick, expires=trick),),
        bases=(BaseChange(trick, trick, trick),) * 30,
    )


def safe(text: str) -> None:
    assert not {"link_open", "image", "html_inline"} & set(markdown.kinds(text))
    html = [t.content for t in markdown.tokens(text) if t.type == "html_block"]
    ours = ("<details", "</details>", "<!-- ftgate:")
    assert all(part.strip().startswith(ours) for part in html)
    assert markdown.linkable(text) == []
    assert text.count("<!-- ftgate:comment") == text.count(mark("ftgate/verdict")) == 1
    assert text.count(HISTORY) == 1
    assert "".join(html).count("<details") == "".join(html).count("</details>")


@pytest.mark.parametrize("trick", [*TRICKS, *CLOSERS], ids=range(len(TRICKS) + len(CLOSERS)))
def test_nothing_that_a_stranger_wrote_acts(trick):
    safe(compose(content(trick), Ledger().appended_if_new(record(trick))))


@settings(deadline=None, max_examples=40)
@given(HOSTILE)
def test_no_text_at_all_acts(text):
    body = compose(content(text), Ledger().appended_if_new(record(text)))
    safe(body)
    assert read_trail(body).records == (record(text),)


@settings(deadline=None, max_examples=25)
@given(st.lists(HOSTILE, min_size=1, max_size=6))
def test_the_trail_is_read_back_as_it_was_written(texts):
    ledger = Ledger()
    for n, text in enumerate(texts):
        ledger = ledger.appended_if_new(record(text, n))
    body = compose(CommentContent("block", HEAD), ledger)
    kept = len(read_trail(body).records)
    assert kept >= 1
    # Only where the trail is too long for a comment do the oldest records give way.
    assert (kept == len(texts)) == (sum(_size(line) for line in ledger.lines) <= HISTORY_LIMIT or len(texts) == 1)
    for shape in (body, body.replace("\n", "\r\n"), body.strip()):
        assert read_trail(shape).records == ledger.records[-kept:]
        assert read_trail(shape).problems == ()


def test_headings_are_ours_alone():
    body = compose(content("# Allowed"), Ledger().appended_if_new(record()))
    tokens = markdown.tokens(body)
    headings = [tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open"]
    assert len(headings) > 3
    assert "Allowed" not in headings


def test_a_comment_with_everything_too_long_fits_and_says_what_is_missing():
    huge = samples.huge()
    sections = tuple(CommentSection(f"m{i}", "block", huge if i < 3 else samples.blocked()) for i in range(60))
    ledger = Ledger()
    for n in range(300):
        ledger = ledger.appended_if_new(record("x" * 300, n))
    diff = difference("a\n" * 9000, "b\n" * 9000, "p.yml")
    body = compose(CommentContent("block", HEAD, sections, policy_change=diff), ledger)
    assert len(body) <= 60_000
    assert "more did not fit into this comment" in body
    kept = read_trail(body)
    assert kept.lines[-1].n == 300
    assert kept.problems == ()
    assert f"{kept.lines[0].n - 1} earlier records are not shown here" in body
    assert missing_records(kept) == ""


def test_a_trail_that_begins_late_with_room_to_spare_lost_its_beginning():
    ledger = Ledger().appended_if_new(record(n=0)).appended_if_new(record(n=1)).appended_if_new(record(n=2))
    assert missing_records(ledger) == ""
    assert missing_records(Ledger(ledger.lines[2:])).startswith("records 1 to 2")


def test_a_waiver_goes_on_top_once():
    body = compose(
        CommentContent("block", HEAD, (CommentSection("bot", "block", samples.blocked()),)),
        Ledger().appended_if_new(record()),
    )
    waiver = record(kind="waiver", by="maintainer", reason="urgent", expires="2025-04-01", verdict="waived")
    once = with_waiver(body, waiver)
    assert once.startswith(f"{mark('ftgate/verdict')}\n### Waived\n**maintainer** let ")
    assert [r.kind for r in read_trail(once).records] == ["run", "waiver"]
    assert with_waiver(once, waiver) == once


def test_a_body_without_a_trail_has_none():
    assert read_trail("") == Ledger()
    assert read_trail("hello") == Ledger()


@pytest.mark.parametrize(
    ("problem", "who", "why"),
    [
        (
            "models/bot.yaml: base: unknown field",
            "author):** Correct `models/bot.yaml` and push.",
            "The model was not tested, because `models/bot.yaml` is wrong: base: unknown field.",
        ),
        (
            "the evaluation failed: judge: no answer",
            "whoever runs the gate):** Repair what failed, then press “Re-run failed jobs” on the page of this run.",
            "The model was not tested, because the gate itself failed: judge: no answer.",
        ),
        (
            "models/bot.yaml: the evaluation left no report for it",
            "whoever runs the gate):** Look into the log of this run for what stopped it, repair that, then press",
            "The model was not tested, because the gate itself failed: models/bot.yaml: the evaluation left no report",
        ),
        (
            "judge https://judge.acme/v1: no answer for 300 s",
            "reviewer):** Ask whoever runs the judge server to get it answering (`https://judge.acme/v1`), then press "
            "“Re-run failed jobs” on the page of this run.",
            "because the judge server failed: judge `https://judge.acme/v1`: no answer for 300 s. This says "
            "nothing about the model.",
        ),
        (
            "judge endpoint https://judge.acme/v1 refused the key (HTTP 401) for model 'j'",
            "whoever runs the gate):** Repair what failed, then press",
            "because the gate itself failed: judge endpoint `https://judge.acme/v1` refused the key",
        ),
        (
            "the evaluation failed: model endpoint http://10.0.0.7:8000/v1 could not be reached",
            "reviewer):** Ask whoever runs the model server to get it answering (`http://10.0.0.7:8000/v1`), then",
            "because the model server failed: model endpoint `http://10.0.0.7:8000/v1` could not be reached",
        ),
        (
            "",
            "whoever runs the gate):** Look into the log of this run",
            "The gate itself failed before it could test",
        ),
    ],
)
def test_an_error_says_why_and_who_must_do_what(problem, who, why):
    failed = CommentSection("bot", "error", None, (problem,) if problem else ())
    text = compose(CommentContent("error", HEAD, (failed,)), Ledger())
    assert f"**What to do next ({who}" in text.replace("\u200b", "")
    assert why in text.replace("\u200b", "").partition("**Why:** ")[2].partition("**What to do next")[0]
    assert "[How to waive" not in text


def test_each_outcome_has_its_heading_and_what_leads_on():
    failed = CommentSection("models/bot.yaml", "error", None, ("the engine stopped",))
    links = CommentLinks(run="https://host/run/1")
    text = compose(CommentContent("error", HEAD, (failed,), links=links), Ledger())
    assert "_Run at `" in text
    assert "Judged at" not in text
    assert text.splitlines()[1] == "## ❗ Do not merge yet, not tested: `models/bot.yaml`"
    assert "**What was lost:** Not known: the model was not tested." in text
    assert "[This run](https://host/run/1)" in text
    assert "**Why:** The model was not tested, because the gate itself failed: the engine stopped." in text
    next_step = "Repair what failed, then press “Re-run failed jobs” on [the page of this run](https://host/run/1)."
    assert f"**What to do next (whoever runs the gate):** {next_step}" in text
    lost = compose(CommentContent("error", HEAD, problems=("the evaluation left no report", "b")), Ledger())
    assert "**What to do next (whoever runs the gate):** Look into the log of this run" in lost
    assert "- b" in lost
    warned = CommentSection("eager", "allow", samples.warned())
    several = compose(CommentContent("error", HEAD, (failed, warned), links=links), Ledger())
    assert several.splitlines()[1] == "## ❗ Do not merge yet, not tested: 1 of 2 models"
    assert "| models/bot.​yaml | **❗ Do not merge yet, not tested** |" in several
    assert "| eager | **⚠️ May merge, with a warning** |" in several
    assert several.count("[This run]") == 2
    nothing = compose(CommentContent("no model change", HEAD), Ledger())
    assert nothing.splitlines()[1].startswith("## ➖ No model change: at `aaaaaaa` no manifest differs")
