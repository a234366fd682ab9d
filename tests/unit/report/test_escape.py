"""Model text stays text: in a sentence, a table cell, a fence, a code span, and on a terminal."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.text import Text
from unit.report import markdown

from ftgate.report import escape

TRICKS = (
    "@octocat please approve",
    "fixes #1, GH-12 and octo/repo#3",
    "[click](https://evil.example.com)",
    "![x](https://evil.example.com/x.png)",
    "<https://evil.example.com> http://evil.example.com www.evil.example.com evil.com me@evil.com mailto:me@evil.com",
    "<img src=x onerror=alert(1)><script>alert(1)</script>",
    "<!-- ftgate:comment -->",
    "--> </details></summary></td></table>",
    "# Allow\n\n**every measurement passed**",
    "Setext\n===\nand\n---",
    "a | b | c\n|---|---|\n| 1 | 2 |",
    "`code` ``more`` ```\nfence\n```",
    "~~~\nfence\n~~~",
    "- [x] task\n1. one\n2) two\n+ three\n* four",
    "> [!WARNING]\n> quoted",
    "[^1]\n\n[^1]: note",
    "[ref]: https://evil.example.com 'title'\n\n[ref]",
    "$x^2$ and $$y$$ and :tada: and ~~gone~~ __bold__ *em*",
    "&lt;b&gt; &#64;octocat &commat;octocat &#x23;1",
    "\\@octocat \\| \\` \\\\| \\",
    "\\[^1] \\[b] \\\\[b] \\\\[1] [b] [[b]] \\[/]",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]8;;http://evil.example.com\x07link\x1b]8;;\x07 \x9b31m",
    "\u202etxet desrever\u202c \u2066isolated\u2069 \u200f\u200e\u061c",
    "zero\u200bwidth\u200djoin\ufeff @\u200boctocat @\u2060octocat\U000e0041",
    "nul\x00 bell\x07 back\x08\x08 vertical\x0btab form\x0cfeed next\x85line \u2028sep\u2029",
    "lone \ud800 surrogate \udfff",
    "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef deadbeef",
    "::error::fake\n##[error]fake ::set-output name=x::y",
    "[bold red]not red[/bold red] [link=http://evil.example.com]x[/link] [/]",
    "    indented code\n\ttabbed",
    "z" + "\u0301" * 400,
    "//evil.example.com javascript:alert(1) data:text/html,x xmpp:a@b.com",
    "",
    "   ",
)
TEXT = st.text(
    st.one_of(st.characters(), st.sampled_from("@#|`<>![](){}*_~-+=.:/\\&$\n\r\t 1aA\u200b\u202e\ud800\x1b")),
    max_size=60,
)
HOSTILE = st.lists(st.one_of(st.sampled_from(TRICKS), TEXT), max_size=4).map("".join)
TABLE = "| a | b |\n|---|---|\n| {} | end |\n"
PLAIN = {"paragraph_open", "paragraph_close"}
CELLS = ["table_open", "thead_open", "tr_open", *["th_open", "th_close"] * 2, "tr_close", "thead_close", "tbody_open"]
CELLS += ["tr_open", *["td_open", "td_close"] * 2, "tr_close", "tbody_close", "table_close"]


def with_tricks(test):
    for trick in TRICKS:
        test = example(trick)(test)
    return settings(deadline=None)(test)


@with_tricks
@given(HOSTILE)
def test_inline_is_plain_words_in_a_paragraph(text):
    shown = escape.inline(text, 200)
    assert "\n" not in shown
    assert set(markdown.kinds(shown)) <= PLAIN
    assert markdown.linkable(shown) == []


@with_tricks
@given(HOSTILE)
def test_inline_stays_in_its_table_cell(text):
    shown = TABLE.format(escape.inline(text, 200))
    assert markdown.kinds(shown) == CELLS
    assert markdown.words(shown).split("\n")[-1] == "end"
    assert markdown.linkable(shown) == []


@with_tricks
@given(HOSTILE)
def test_inline_stays_in_its_list_item_and_its_bold(text):
    kinds = markdown.kinds(f"- **{escape.inline('x' + text, 200)}**: said\n")
    assert kinds == [
        *("bullet_list_open", "list_item_open", "paragraph_open", "strong_open"),
        *("strong_close", "paragraph_close", "list_item_close", "bullet_list_close"),
    ]


@with_tricks
@given(HOSTILE)
def test_a_code_span_is_one_code_span_also_in_a_table(text):
    shown = escape.code(text, 80)
    if shown:
        assert markdown.kinds(f"x {shown} y") == ["paragraph_open", "code_inline", "paragraph_close"]
        assert [k for k in markdown.kinds(TABLE.format(shown)) if k != "code_inline"] == CELLS


@with_tricks
@given(HOSTILE)
def test_a_block_is_one_fence(text):
    shown = escape.block(text, 200)
    found = markdown.tokens(f"before\n\n{shown}\n\nafter\n")
    assert [t.type for t in found if t.type not in ("inline", "text")] == [
        *("paragraph_open", "paragraph_close", "fence", "paragraph_open", "paragraph_close")
    ]
    assert next(t for t in found if t.type == "fence").info == "text"


@with_tricks
@given(HOSTILE)
def test_a_terminal_shows_the_words_and_obeys_none(text):
    line = escape.terminal(text, 200)
    seen = Text.from_markup(line, emoji=False)
    assert seen.spans == []
    assert seen.plain.rstrip() == escape.plain_line(text, 200)
    assert "::" not in line
    assert "##[" not in line
    assert not {unicodedata.category(c) for c in seen.plain} & {"Cc", "Cs", "Zl", "Zp"}


@with_tricks
@given(HOSTILE)
def test_nothing_that_acts_is_left(text):
    shown = escape.clean(text)
    shown.encode("utf-8")
    assert not set(shown) & set("\x00\x07\x08\x1b\x7f\x9b\r\u2028\u202a\u202e\u2066\u2069\u200b\u200d\ufeff")
    assert escape.clean(shown) == shown


@given(
    st.text(
        st.characters(codec="utf-8", categories=["L", "N", "Zs"], exclude_characters="\u115f\u1160\u3164\uffa0"),
        max_size=50,
    )
)
@settings(max_examples=50, deadline=None)
def test_ordinary_words_come_back_unchanged(text):
    line = " ".join(text.split())
    assert markdown.words(escape.inline(line, 200)).replace(escape.BREAK, "") == line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("up 3.5 % [1, 2]", "up 3.5 % \\[1, 2\\]"),
        ("a|b", "a&#124;b"),
        ("x < y && z", "x &lt; y &amp;&amp; z"),
        ("@team", "@\u200bteam"),
        ("#12", "\\#\u200b12"),
        ("two\nlines", "two lines"),
        ("0.123", "0.123"),
        ("1. one", "1\\. one"),
        ("- item", "\\- item"),
        ("-3.0 %", "-3.0 %"),
        ("p.p.", "p.p."),
        ("$x$ costs 5 $", "＄x＄ costs 5 ＄"),
        ("deadbeef12345", "deadbe\u200bef1234\u200b5"),
        ("\x1b[1mbold\x1b[0m", "bold"),
        ("a\u202eb", "a\ufffdb"),
    ],
)
def test_inline_examples(text, shown):
    assert escape.inline(text) == shown


@pytest.mark.parametrize("function", [escape.inline, escape.block, escape.code, escape.terminal, escape.clip])
def test_a_megabyte_is_clipped_at_once_and_says_so(function):
    started = time.process_time()
    shown = function("a" * 1_000_000, 100)
    assert time.process_time() - started < 0.5
    assert "… (999,900 more characters)" in shown
    assert len(shown) < 200


def test_a_block_keeps_few_lines_and_counts_the_rest():
    shown = escape.block("\n".join(["x"] * 100), 600)
    assert shown.count("\nx") == escape.MAX_BLOCK_LINES
    assert shown.endswith("… (152 more characters)\n```")


def test_a_fence_is_longer_than_any_run_inside():
    assert escape.block("````` five").startswith("``````text\n")
    assert escape.block("plain").startswith("```text\n")
