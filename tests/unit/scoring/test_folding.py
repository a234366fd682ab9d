"""Quotes, emphasis and LaTeX do not decide whether two texts are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.scoring.checks import meets
from ftgate.scoring.folding import folded, typography
from ftgate.scoring.text import normalized


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("“Paris”", '"Paris"'),
        ("It’s O’Neil.", "It's O'Neil."),
        ("**Paris** and *Rome*, `code`, ***all***", "Paris and Rome, code, all"),
        ("_so_ snake_case_name", "so snake_case_name"),
        ("2 * 3 * 4 = 24, 2*3*4, x**2 + y**2", "2 * 3 * 4 = 24, 2*3*4, x**2 + y**2"),
        ("f(*args, **kwargs)", "f(*args, **kwargs)"),
        ("* one\n* two", "* one\n* two"),
        ("$\\mathcal{O}(n\\log n)$", "$O(n log n)$"),
        ("\\boxed{\\text{Chi}}", "Chi"),
        ("57\\% < \\frac{4}{7} < \\frac{11}{19}", "57% < 4/7 < 11/19"),
        ("1\\frac{1}{4}", "1 1/4"),
        ("\\left( a \\right) \\times b \\leq c", "( a ) × b ≤ c"),
        ("CO₂ and log₂", "CO2 and log2"),
        ("log² n, 10³, m^{2}, 10⁻³", "log^2 n, 10^3, m^2, 10^-3"),
        ('__**Paris**__ and *"Rome"*', 'Paris and "Rome"'),
        ("「巴黎」 and ‹Rome›", "\"巴黎\" and 'Rome'"),
        ("１２，５！", "12,5!"),
        ("print('a\\n\\d+')", "print('a\\n\\d+')"),
    ],
)
def test_what_typography_adds_is_taken_away(text: str, plain: str) -> None:
    assert folded(text) == plain


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"contains": "O'Neil"}, "It’s O’Neil."),
        ({"contains": "O’Neil"}, "It's O'Neil."),
        ({"exact": "Paris"}, "“Paris”"),
        ({"exact": "Paris"}, "**Paris**"),
        ({"contains": "Indian Ocean"}, "the **Indian** Ocean"),
        ({"exact": "Paris"}, "**Paris.**\n"),
        ({"exact": "Paris"}, "# Paris"),
        ({"exact": "two lines"}, "**two\nlines**"),
        ({"regex": "O'Neil$"}, "It’s O’Neil"),
        ({"constraints": {"starts_with": "It's", "ends_with": '"'}}, "It’s “so”"),
        ({"constraints": {"excludes": ["don't"], "includes": ["can't"]}}, "I can’t"),
    ],
)
def test_typographic_text_meets_checks_in_plain_text(check: dict[str, object], said: str) -> None:
    assert meets(check, said)


@given(st.text(max_size=200))
def test_any_text_folds_and_plain_words_stay(text: str) -> None:
    assert isinstance(folded(text), str)
    assert typography(typography(text)) == typography(text)
    assert folded("plain words, 4 of them") == "plain words, 4 of them"
    assert len(folded(text).splitlines()) >= 0


@given(st.lists(st.sampled_from([*"aß5 .,*_`\"'“’‴½²#-。巴\n", "\\text{", "}", "# ", "**"]), max_size=12).map("".join))
def test_folding_what_is_folded_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)


FRAMES = st.sampled_from(["{}", "“{}”", "「{}」。", "{}!", "'{}'", "‹«{}»›"])


@given(
    st.lists(st.sampled_from(["Paris", "12,5", "巴黎", "it's", "a\nb"]), min_size=1, max_size=4).map(" ".join),
    FRAMES,
    st.sampled_from(["{}", "**{}**", "*{}*", "_{}_", "__*{}*__", "# {}", "## **{}**"]),
    FRAMES,
)
def test_what_is_put_around_a_text_is_no_part_of_it(text: str, inner: str, emphasis: str, outer: str) -> None:
    framed = outer.format(f" {emphasis.format(inner.format(text))}\n")
    assert normalized(framed) == normalized(text) == normalized(normalized(framed))


@given(
    st.lists(st.sampled_from(["rain", "4", "it's", "O(n)"]), min_size=1), st.sampled_from(["*", "**", "_", "`", "***"])
)
def test_emphasis_around_a_word_is_no_part_of_it(words: list[str], mark: str) -> None:
    assert folded(" ".join(f"{mark}{word}{mark}" for word in words)) == " ".join(words)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["`a ", "**a ", "\\text{", "\\frac{", "![", "{,}", "1\\frac", "_a"])
def test_marks_that_nothing_closes_take_no_long_time(part: str) -> None:
    assert folded(part * 20_000)


@pytest.mark.parametrize(
    ("reference", "same", "different"),
    [
        ("5!", ["5!", "**5!**", '"5!"'], ["5", "5!!"]),
        ("5", ["5!", "+5", "(5)", "5.", "5)", "\u0665"], ["-5", "5'", '5"', "[5]"]),
        ("n!", ["n!", "$n!$"], ["n"]),
        ("n", ["n.", "(n)"], ["n!"]),
        ("x'", ["x'", "x′", "`x'`", "'x''"], ["x", "x''"]),
        ("f''", ["f''", "`f''`"], ["f'", "f"]),
        ("5'", ["5'", "5′"], ['5"', "5"]),
        ("__init__", ["__init__", "`__init__`"], ["init", "_init_"]),
        ("init", ["init", "__init__", "**init**"], ["__main__"]),
        ("A", ["(A)", "A)", "A!", "'A'"], ["A'", "[A]", "(B)", "A+"]),
        ("(A)", ["A", "a.", "A)"], ["B"]),
        ("-5", ["(-5)", "–5"], ["(5)", "5"]),
        ("1/2", ["½", "1⁄2"], ["12", "1½"]),
        ("1½", ["1 1/2"], ["11/2"]),
        ("a-b", ["a–b", "a‐b"], ["ab", "a b"]),
        ("US", ["U.S.", "u.s."], ["U S"]),
        ("3:30 PM", ["3:30 p.m."], ["3:30 a.m."]),
        ("x=2", ["x = 2", "$x = 2$"], ["x = -2"]),
        ("Paris", ["Paris!", "'Paris", 'Paris"'], ["Parisx"]),
        ("أحمد", ["احمد", "أَحْمَد", "أحـمد"], ["محمد"]),
    ],
)
def test_marks_that_mean_something_count_and_others_do_not(
    reference: str, same: list[str], different: list[str]
) -> None:
    assert [text for text in same if not meets({"exact": reference}, text)] == []
    assert [text for text in different if meets({"exact": reference}, text)] == []


@given(st.integers(0, 999), st.sampled_from(["!", "'", '"', "''", "!!"]), FRAMES)
def test_a_mark_after_a_number_is_kept_in_any_frame(number: int, mark: str, frame: str) -> None:
    plain = f"{number}{mark}"
    assert normalized(plain) == plain
    assert not meets({"exact": plain}, str(number))
    if frame.startswith("{}"):
        return
    framed = frame.format(plain)
    assert meets({"exact": plain}, framed), framed
