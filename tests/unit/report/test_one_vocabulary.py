"""One way of saying each thing, in every comment, page and terminal: titles, shares and points, code for names."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from unit.report import markdown, samples, test_escape
from unit.report.parts import forgetting, report
from unit.report.test_demo_comments import CANDIDATES, reports

from ftgate.report import escape
from ftgate.report.cautions import cautions
from ftgate.report.render import render_comment, render_html
from ftgate.report.schema import Report
from ftgate.report.terminal import print_report

SAMPLES = ("allowed", "blocked", "held", "warned")
KEYS = re.compile(r"\b(forgetting|calibration|tail|target)\b", re.IGNORECASE)
"""The policy's keys: a reader of sentences gets titles."""
NO_KEYS = ("expected calibration error", "perfect calibration", "overlap in tail")
NOT_CODE = re.compile(r"\b[\w./-]+\.(?:jsonl?|ya?ml)\b|\b(?:judge|evidence|engine|measurements)\.\w+|(?<!`)--\w+")


def of(name: str) -> Report:
    found: Report = reports()[name] if name in CANDIDATES else getattr(samples, name)()
    return found


def on_a_terminal(found: Report) -> str:
    console = Console(file=io.StringIO(), width=400, force_terminal=False)
    print_report(found, console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def sentences(text: str) -> str:
    """``text`` without code, the answers of models, and words that only look like keys."""
    kept = [line for line in text.splitlines() if not re.match(r"\s*- (`|base,|deployed,|candidate,)", line)]
    prose = re.sub(r"```.*?```|`[^`]*`", "", "\n".join(kept), flags=re.DOTALL).replace(escape.BREAK, "")
    for words in NO_KEYS:
        prose = prose.replace(words, "")
    return prose


@pytest.mark.parametrize("name", [*SAMPLES, *CANDIDATES])
def test_sentences_say_titles_and_not_the_policys_keys(name: str) -> None:
    for text in (render_comment(of(name)), on_a_terminal(of(name))):
        assert KEYS.findall(sentences(text)) == []


@pytest.mark.parametrize("name", [*SAMPLES, *CANDIDATES])
def test_names_of_files_and_fields_are_code(name: str) -> None:
    assert NOT_CODE.findall(sentences(render_comment(of(name)))) == []


@pytest.mark.parametrize("name", [*SAMPLES, *CANDIDATES])
def test_a_share_that_was_lost_never_stands_beside_a_score_in_percent(name: str) -> None:
    """Scores are out of 100; only a share of answers has a percentage of its own, and it says of what."""
    text = render_comment(of(name))
    rows = [line for line in text.splitlines() if line.startswith("| ") and "→" in line and ("lost" in line)]
    assert rows or name in ("useless", "unsafe")
    assert not any(re.search(r"→ [\d.]+ %[^|]*lost", row) for row in rows)
    assert "Scores are out of 100. A loss or gain in % is a share of the base's" in text
    assert "Scores are out of 100." in render_html(of(name))
    assert "Scores are out of 100." in on_a_terminal(of(name))
    assert not re.search(r"\d % (worse|better)|ECE [+-]?\d|drop \d", text + on_a_terminal(of(name)))


@pytest.mark.parametrize("trick", test_escape.TRICKS)
def test_prose_lets_nothing_act_whatever_stands_in_code_or_beside_it(trick: str) -> None:
    for text in (trick, f"see `{trick}` now", f"{escape.as_code(trick)}: {trick}", f"`{trick}"):
        shown = escape.prose(text, 400)
        kinds = set(markdown.kinds(shown)) - {"code_inline", "paragraph_open", "paragraph_close"}
        assert not kinds & {
            "link_open",
            "image",
            "html_inline",
            "html_block",
            "heading_open",
            "fence",
            "bullet_list_open",
        }
        assert markdown.linkable(shown) == []
        assert "|" not in shown
        assert "\n" not in shown
        page = escape.prose_html(text, 400)
        assert set(re.findall(r"<[^>]*>", page)) <= {"<code>", "</code>"}


def test_prose_shows_names_as_code() -> None:
    assert escape.prose("raise `n_max` in `a|b.yml`: @you_know", 100) == "raise `n_max` in `a∣b.yml`: @​you\\_know"
    assert escape.prose("- `x`") == "\\- `x`"
    assert escape.prose_html("raise `n_max` <b>", 100) == "raise <code>n_max</code> &lt;b&gt;"
    assert escape.as_code("a`b") == "`aˋb`"
    assert escape.as_code(" ") == " "
    assert escape.without_code("`a` lost") == "a lost"


def judged(kappa: float, alone: str = "block") -> Report:
    m = forgetting("pass", 0.242, 0.184, 0.05, (0.01, 0.09))
    m.details["people"] = {
        "corrected": True,
        "items": 60,
        "by_the_judge_alone": 0.308,
        "status_by_the_judge_alone": alone,
    }
    found = report("bot", "allow", ["ok"], forgetting=m)
    found.controls["judge_labels"] = {"ok": False, "kappa": kappa, "answers": 60, "reason": "kappa"}
    return found


def test_a_verdict_that_people_turned_round_says_that_the_judge_is_hardly_better_than_chance() -> None:
    (caution,) = cautions(judged(0.06))
    assert caution == (
        "The judge agrees with people hardly better than chance (kappa 0.06 on 60 answers). The verdict on general "
        "skills passes only by people's grades of 60 answers (`judge.labels`): by the judge alone it blocks."
    )
    comment, page = render_comment(judged(0.06)), render_html(judged(0.06))
    assert comment.index("⚠️ **The judge agrees") < comment.index("**What to do next (") < comment.index("| measurement")
    assert page.index("hardly better than chance") < page.index("<h2>")
    assert "hardly better than chance" in on_a_terminal(judged(0.06)).split("measurement")[0]
    (same,) = cautions(judged(0.06, "pass"))
    assert same.endswith("Do not rely on what it graded: use a stronger judge, or have people grade more answers.")
    assert cautions(judged(0.61)) == []
    assert cautions(samples.allowed()) == []
