"""The last number of an answer, however it is written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.scoring.numbers import last_number

ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
ONES += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def spelled(number: int) -> str:
    """A whole number from 0 to 999,999 in English words, worked out apart from the reader under test."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10 - 2] + (f"-{ONES[number % 10]}" if number % 10 else "")
    if number < 1000:
        rest = f" and {spelled(number % 100)}" if number % 100 else ""
        return f"{ONES[number // 100]} hundred{rest}"
    rest = f" {spelled(number % 1000)}" if number % 1000 else ""
    return f"{spelled(number // 1000)} thousand{rest}"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The total is $\\boxed{1{,}250}$.", 1250),
        ("The total is \\(12\\,500\\).", 12500),
        ("1\u2009250\u2009000", 1250000),
        ("\\[ x = \\text{about } 7 \\]", 7),
        ("\\$18.40", 18.4),
        ("57\\%", 57),
        ("\\frac{3}{4}", 0.75),
        ("$-\\dfrac{3}{4}$", -0.75),
        ("\\frac34", 0.75),
        ("1\\frac{1}{4}", 1.25),
        ("\\frac{\\frac{1}{2}}{4}", 0.125),
        ("\\frac{1{,}000}{4}", 250),
        ("x\\frac{1}{2}", 0.5),
        ("I = \\frac{12\\text{ V}}{6\\,\\Omega} = 2\\,\\text{A}", 2),
        ("7 apples, \\frac{x}{4}", None),
        ("\\frac{1}{0}", None),
        ("a factor of 10³", 1000),
        ("10^3", 1000),
        ("$10^{3}$", 1000),
        ("10^{-3}", 0.001),
        ("10⁻³", 0.001),
        ("2.5 × 10^3", 2500),
        ("2.5 \\times 10^{3}", 2500),
        ("4.7·10² ", 470),
        ("-5^2", -25),
        ("50 m^2", 50),
        ("50 m²", 50),
        ("3 \\text{ m}^{2}", 3),
        ("50 kg·m²/s²", 50),
        ("4 mol of H_{2}O", 4),
        ("2 CO₂", 2),
        ("at 100^\\circ", 100),
        ("1½", 1.5),
        ("½", 0.5),
        ("12 / 6 = two", 2),
        ("One hundred and eighty.", 180),
        ("It takes **three hundred**", 300),
        ("a thousand", 1000),
        ("two thousand, one hundred", 2100),
        ("12, not this one", 12),
        ("5 million", 5),
        ("one point four", None),
        ("30 ten-year-olds", 30),
        ("ten metres", None),
        ("9 people; between ten and twenty", 20),
        ("No number", None),
    ],
)
def test_the_last_number_is_read_at_its_value(text: str, number: float | None) -> None:
    found = last_number(text)
    assert found is None if number is None else found is not None and math.isclose(found, number)


def test_a_power_beyond_all_bounds_is_infinite() -> None:
    assert last_number("9^9999") == math.inf
    assert last_number("0^-1") == math.inf


@given(st.integers(0, 999_999))
def test_number_words_at_the_end_are_read(number: int) -> None:
    said = f"Together that makes {spelled(number)}."
    assert last_number(said) == (None if number == 1 else number)
    assert last_number(said.replace("-", " ").replace(" and ", " ")) == (None if number == 1 else number)


@given(st.integers(0, 10**9), st.sampled_from([",", "{,}", "\\,", "\u202f", "\u2009", "'", "’"]))
def test_groups_of_three_digits_are_one_number(number: int, separator: str) -> None:
    assert last_number(f"It is ${number:,}$.".replace(",", separator)) == number


@given(st.integers(-999, 999), st.integers(1, 999), st.sampled_from(["frac", "dfrac", "tfrac"]))
def test_a_latex_fraction_has_its_value(over: int, under: int, command: str) -> None:
    found = last_number(f"The answer is \\({'-' if over < 0 else ''}\\{command}{{{abs(over)}}}{{{under}}}\\)")
    assert found is not None
    assert math.isclose(found, over / under)


@given(st.text(st.sampled_from("0123456789.,-−^{}\\frac²³½ _×$e'\ue000x"), max_size=40))
def test_any_text_has_a_number_or_none(text: str) -> None:
    found = last_number(text)
    assert found is None or isinstance(found, float)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["1", "1,", "1,111", "^", "½", "1\\frac", "\\frac{1}{", "one ", "_{", "10^"])
def test_long_runs_of_digits_and_commands_take_no_long_time(part: str) -> None:
    found = last_number(part * 20_000)
    assert found is None or isinstance(found, float)
