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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("&<>|\\`", "&amp;&lt;&gt;&#124;&#92;&#96;"),
        ("*a* _b_ [c] ~d~", "\\*a\\* \\_b\\_ \\[c\\] \\~d\\~"),
        ("# title", "\\# title"),
        *((f"{sign} item", f"\\{sign} item") for sign in "-+=:^"),
        *((sign, f"\\{sign}") for sign in "-+=:^"),
        ("-1 +2", "-1 +2"),
        ("-a", "\\-a"),
        ("12) two", "12\\) two"),
        ("123456. six digits", "123456\\. six digits"),
        ("3.5", "3.5"),
        ("GH-12 and gh-x", "GH\u200b-12 and gh-x"),
        ("http://a.b", "http:/\u200b/a.b"),
        ("WWW.x", "WWW\u200b.x"),
        ("evil.com", "evil.\u200bcom"),
        ("a :tada:", "a :\u200btada:"),
        ("mailto:x JavaScript:y", "mailto:\u200bx JavaScript:\u200by"),
        ("abcdef", "abcdef"),
        ("ABCDEF0", "ABCDEF\u200b0"),
    ],
)
def test_what_would_act_is_written_so_that_it_does_not(text, shown):
    assert escape.inline(text) == shown


HIDDEN = [
    *(0x00, 0x08, 0x0E, 0x1F, 0x7F, 0x84, 0x9F, 0xAD, 0x34F, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, 0x202A, 0x202C),
    *(0x202E, 0x2060, 0x2066, 0x206F, 0xFEFF, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, 0x2800, 0xFFF9, 0xFFFB),
    *(0xFFFC, 0xFFFE, 0xFFFF, 0xD800, 0xDABC, 0xDFFF, 0xE0000, 0xE0041, 0xE0FFF),
]


@pytest.mark.parametrize("code", HIDDEN, ids=hex)
def test_what_has_no_ink_is_seen_to_have_been_there(code):
    """Both ends and a middle of each range."""
    assert escape.clean(f"a{chr(code)}b") == f"a{escape.BAD}b"


@pytest.mark.parametrize(
    "code", [0x20, 0x7E, 0xA0, 0xAE, 0x2010, 0x202F, 0x205F, 0x2070, 0xFFFD, 0x1F600, 0xDFFFF], ids=hex
)
def test_what_has_ink_or_is_a_space_stays(code):
    assert escape.clean(f"a{chr(code)}b") == f"a{chr(code)}b"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\u200cb\u200dc", "abc"),
        ("a\r\nb\rc\vd\fe\x85f\u2028g\u2029h", "a\nb\nc\nd\ne\nf\ng\nh"),
        ("a\tb", "a    b"),
        ("a" + "\u0301" * 3, "a" + "\u0301" * 3),
        ("a" + "\u0301" * 9, "a" + "\u0301" * 3),
        ("\x1b[1;31mred\x1b[0m \x9b2Jx", "red x"),
        ("\x1b]0;title\x07x \x1b]8;;http://a\x1b\\y", "x y"),
        ("\x1bPq\x1b\\x \x1b_z\x07y \x1b^w\x1b\\v", "x y v"),
        ("\x1b(Bx \x1b7y", "x y"),
        ("x\x1b]0;never ends", "x"),
        ("x\x1b", "x\ufffd"),
    ],
)
def test_clean_examples(text, cleaned):
    assert escape.clean(text) == cleaned


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("a", "`a`"),
        ("a b", "`a b`"),
        ("`a", "`` `a ``"),
        ("a`", "`` a` ``"),
        ("a``b`c", "```a``b`c```"),
        ("a|b", "`a\u2223b`"),
        ("<!-- x", "`<!\u200b-- x`"),
    ],
)
def test_code_spans(text, shown):
    assert escape.code(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb  \n\n", "```text\na\nb\n```"),
        ("12345\n678", "```text\n12345\n6\n… (2 more characters)\n```"),
        ("1234567", "```text\n1234567\n```"),
        ("a\nb\nc\nd", "```text\na\nb\nc\n… (2 more characters)\n```"),
        ("``` `", "````text\n``` `\n````"),
        ("<!--", "```text\n<!\u200b--\n```"),
    ],
)
def test_blocks(text, shown):
    assert escape.block(text, 7, lines=3) == shown
    assert escape.block("x", language="json") == "```json\nx\n```"


def test_a_block_has_24_lines_at_most():
    assert escape.block("x\n" * 24).count("\nx") == 24
    assert "more" not in escape.block("x\n" * 24)
    assert "… (2 more characters)" in escape.block("x\n" * 25)


@pytest.mark.parametrize("cut", [escape.inline, escape.plain_line, escape.clip, escape.terminal])
def test_exactly_the_limit_is_shown_and_what_is_missing_is_counted(cut):
    assert cut("abcde", 5) == "abcde"
    assert cut("abcde", 4) == "abcd… (1 more characters)"
    assert cut("a" * 3000, 4) == "aaaa… (2,996 more characters)"


def test_commands_of_a_runner_are_broken_up_on_every_line():
    assert escape.plain_line("::error::x\n##[y]") == ": :error: :x # #[y]"
    assert escape.plain_lines("::a\n:::b\n##[c]") == ": :a\n: : :b\n# #[c]"


def test_a_backslash_at_the_end_escapes_nothing_that_follows():
    assert escape.terminal("a\\") == "a\\ "
    assert escape.terminal("[b]x") == "\\[b]x"
    assert escape.terminal("\\[B]") == "\\\\[B]"


@pytest.mark.parametrize("inside", ["b", "B", "#1", "/x", "@y", "1", "", "a[b", "^n"])
@pytest.mark.parametrize("before", ["", "\\", "\\\\", "x\\"])
def test_what_looks_like_a_tag_of_the_terminal_is_shown_as_it_is(before, inside):
    text = f"{before}[{inside}] z"
    assert Text.from_markup(escape.terminal(text), emoji=False).plain == text


def test_of_a_text_that_shows_nothing_only_so_much_is_looked_at():
    """Four times what may be shown and 200 more, so that a megabyte of codes is not cleaned to show one line."""
    assert escape.plain_line("\x1b[0m" * 300 + "abc", 10) == "… (963 more characters)"
    assert escape.plain_line("\x1b[0m" * 50 + "abc", 10) == "abc"
