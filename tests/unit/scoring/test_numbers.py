"""The last number of an answer, however it is written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.scoring.numbers import Number, last_number, number_in, read_two_ways, wanted_number

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
        ("$32,\\!348", 32348),
        ("3{,}14", 3.14),
        ("\\num{1250}", 1250),
        ("1/2", 0.5),
        ("1 1/2", 1.5),
        ("1⁄2", 0.5),
        ("8/10 of them", 0.8),
        ("1,000/4", 250),
        ("5/0", None),
        ("on 24/12/2024", 2024),
        ("the season 2020/21", 21),
        ("12 500", 12500),
        ("1 250 000,5", 1250000.5),
        ("5 10 100 200", 200),
        ("1.250,50", 1250.5),
        ("12.345.678", 12345678),
        ("1'250.5", 1250.5),
        ("12,34,567", 1234567),
        ("12,34,567.89", 1234567.89),
        ("1,5 kg", 1.5),
        ("the points (3,4)", 4),
        ("1,2,3", 3),
        ("100,5 und 2.000", 2000),
        ("2.5 and 1.250", 1.25),
        ("57 %", 57),
        ("€ 1.250,50", 1250.5),
        ("-$5", -5),
        ("- 5 apples", 5),
        ("−€ 5", -5),
        ("Rs.500", 500),
        ("R$ 1.234,56", 1234.56),
        ("minus 5", -5),
        ("10 minus 5", 5),
        ("答案是５。", 5),
        ("共有１，２５０个", 1250),
        ("١٢٫٥", 12.5),
        ("…5", 5),
        ("\\boxed{42}. Check: 3 steps", 42),
        ("\\boxed{A}, in 5 steps", 5),
        ("\\frac{\\sqrt{2}}{2}", math.sqrt(0.5)),
        ("2\\sqrt{3}", 2 * math.sqrt(3)),
        ("\\frac{\\pi}{4}", None),
        ("7 or \\frac{a_{1}}{4}", None),
        ("{3 \\over 4}", 0.75),
        ("0.1\\overline{6}", 1 / 6),
        ("1.\\bar{3}", 4 / 3),
        ("5 of \\binom{5}{2}", None),
        ("4\\pi", 4 * math.pi),
        ("2.5π", 2.5 * math.pi),
        ("4, using π", 4),
        ("2πr with r = 3", 3),
        ("2,5 × 10^3", 2500),
        ("2.5*10**3", 2500),
        ("**5** and **6**", 6),
        ("**Total: 5** 30", 30),
        ("10~300", None),
        ("–7", -7),
        ("10–20", None),
        ("20%-30%", None),
        ("5€-10€", None),
        ("$-5$", -5),
        ("-\u200e5", -5),
        ("minus five", -5),
        ("ten minus five", 5),
        ("9.8 ± 0.1 m/s²", 9.8),
        ("9.8 \\pm 0.1", 9.8),
        ("±5", 5),
        ("\\sqrt16", 4),
        ("1_000_000", 1000000),
        ("1010₂", 1010),
        ("42 (Python 3.10.2)", 42),
        ("at 192.168.0.1", None),
        ("am 15.03.2024", 2024),
    ],
)
def test_the_last_number_is_read_at_its_value(text: str, number: float | None) -> None:
    found = last_number(text)
    assert found is None if number is None else found is not None and math.isclose(found, number)


@pytest.mark.parametrize(
    ("reference", "said", "same"),
    [
        ("1,250", "1.250", True),
        ("1250", "1,250", True),
        ("1.25", "1,250", True),
        ("1.25", "1,250 of 1,000,000 or 2.5", False),
        ("250", "1{,}250", False),
        ("250", "1 250", False),
        ("4", "\\frac{3}{4}", False),
        ("4", "3/4", False),
        ("25", "1,25", False),
        ("50%", "0.5", True),
        ("50%", "50", True),
        ("50%", "0.5%", False),
        ("0.5", "50 percent", True),
        ("9/8", "1.125", True),
        ("9/8", "1125", False),
        ("3.142", "3142", False),
        ("5365013565", "5365013566", False),
        ("6.02e23", "6.02 × 10^{23}", True),
        ("1.6e-19", "9.1e-31", False),
        ("1.6 × 10⁻¹⁹", "1.6e-19 C", True),
        ("1/3", "0.3333333333", True),
        ("5,000,000", "5 million", True),
        ("5", "5 million", True),
        ("5 million", "5 billion", False),
        ("0.005 billion", "$5M", True),
        ("12000", "1.2万人", True),
        ("5", "5千克", True),
        ("2000000", "It is two million.", True),
        ("50%", "fifty percent", True),
        ("10", "10,000 km", False),
    ],
)
def test_an_answer_that_reads_two_ways_is_compared_with_the_reference(reference: str, said: str, same: bool) -> None:
    wanted = wanted_number(reference)
    assert wanted is not None
    assert wanted.equals(number_in(said)) is same


@pytest.mark.parametrize(
    ("reference", "ways"),
    [
        ("1.250", (1.25, 1250)),
        ("It is -3.142", (-3.142, -3142)),
        ("1,250", None),
        ("0.125", None),
        ("1.25", None),
        ("1250.500", None),
        ("1.250,00", None),
        ("1.250.000", None),
        ("2.5 times 0.5 is 1.250", None),
        ("\\frac{9}{8}", None),
        ("none", None),
    ],
)
def test_a_reference_with_a_point_before_three_digits_reads_two_ways(
    reference: str, ways: tuple[float, float] | None
) -> None:
    assert read_two_ways(reference) == ways


def printed(number: int, hundredths: int) -> list[str]:
    """A number with two decimals in every form in which countries and typesetters print it, worked out by itself."""
    whole, decimals = f"{number:,}", f"{hundredths:02}"
    forms = [f"{whole.replace(',', group)}{mark}{decimals}" for group, mark in GROUPS_AND_MARKS]
    head, tail = (str(number)[:-3], str(number)[-3:]) if number > 999 else ("", str(number))
    pairs = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)][::-1]
    forms.append(f"{','.join([*pairs, tail])}.{decimals}")
    forms += [form.translate(FULL_WIDTH) for form in forms[:2]]
    return [*forms, f"{number * 100 + hundredths}/100", f"\\frac{{{number * 100 + hundredths}}}{{100}}"]


GROUPS_AND_MARKS = [(",", "."), (".", ","), ("'", "."), ("’", "."), (" ", ","), ("\u00a0", ","), ("\u202f", ",")]
GROUPS_AND_MARKS += [("\u2009", "."), ("\\,", "."), ("{,}", "."), ("\\,", "{,}"), (",\\!", "."), ("", "."), ("", ",")]
FULL_WIDTH = str.maketrans("0123456789,.", "０１２３４５６７８９，．")


@given(st.integers(0, 10**7), st.integers(0, 99), st.sampled_from(["{}", "It is **{}**.", "$\\boxed{{{}}}$", "共{}元"]))
def test_a_number_is_the_same_in_all_printed_forms(number: int, hundredths: int, sentence: str) -> None:
    season = 1000 <= 100 * number + hundredths < 3000  # 2021/100 is no fraction to the reader
    for form in printed(number, hundredths)[: -2 if season else None]:
        found = number_in(sentence.format(form))
        assert Number((number + hundredths / 100,)).equals(found), (form, found)


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


@given(st.text(st.sampled_from("0123456789.,-−^{}\\fracsqtobxed/%²³½√ _×$e'\ue000x"), max_size=40))
def test_any_text_has_a_number_or_none(text: str) -> None:
    found = last_number(text)
    assert found is None or isinstance(found, float)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "part",
    [
        "1",
        "1,",
        "1,111",
        "^",
        "½",
        "1\\frac",
        "\\frac{1}{",
        "one ",
        "_{",
        "10^",
        "1 111 ",
        "1/",
        "{1\\over",
        "\\boxed{",
        "1.2.",
        "5 ± ",
        "1 million ",
    ],
)
def test_long_runs_of_digits_and_commands_take_no_long_time(part: str) -> None:
    found = last_number(part * 20_000)
    assert found is None or isinstance(found, float)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1億2000万", 1.2e8), ("3万5000", 35000), ("1억 2000만", 1.2e8), ("1亿2,000万3000元", 120003000), ("12万と5", 5)],
)
def test_numbers_in_parts_of_ten_thousand_are_read_whole(text: str, value: float) -> None:
    assert last_number(text) == value


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42 (see step 3)", 42),
        ("The answer is 72. (That is 48 + 24.)", 72),
        ("**60** mph (about 97 km/h).", 60),
        ("x = 5 (mod 7)", 5),
        ("60公里（约37英里）", 60),
        ("3 of 4 (75%)", 75),
        ("In 2 steps (3 + 4 = 7)", 7),
        ("Step 2: the sum (48 and 24)", 24),
        ("six (6)", 6),
        ("f (3)", 3),
        ("42.[1]", 42),
        ("**5**[^1]", 5),
        ("42[1][2]", 42),
        ("Answer: 12 [1]", 12),
        ("It is 12. [1]", 12),
        ("**12%** [1][2].", 12),
        ("The result for n=3 is [7]", 7),
        ("[1],[2],[3]", 3),
        ("x = [7]", 7),
        ("a[7]", 7),
    ],
)
def test_what_is_remarked_on_a_number_is_not_read_in_its_place(text: str, number: float) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "COVID-19",
        "Covid-19",
        "GPT-4",
        "ChatGPT-4",
        "an F-16",
        "555-1234",
        "in the 1990s",
        "at 2:14",
        "3–5",
        "3-5",
        "5kg-10kg",
        "2024-05-01",
        "a ratio of 3:2",
    ],
)
def test_a_name_a_range_a_date_and_a_time_are_no_number(text: str) -> None:
    assert last_number(text) is None


@pytest.mark.parametrize(("text", "number"), [("Answer-12", 12), ("Day-7", 7), ("x-5", 5)])
def test_a_hyphen_after_a_word_that_is_no_name_leaves_the_number(text: str, number: float) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("reference", "said", "same"),
    [
        ("97", "60 mph (about 97 km/h)", True),
        ("60", "60 mph (about 97 km/h)", True),
        ("60", "$60 (about €55)", True),
        ("55", "$60 (about €55)", True),
        ("180", "3 hours (= 180 minutes)", True),
        ("68", "20 °C (around 68 °F)", True),
        ("50", "40 km (about 50 km)", False),
        ("1", "3 (1 remains)", False),
        ("3", "3 (1 remains)", True),
        ("6", "5 (or 6)", False),
        ("50", "40 (about 50)", False),
        ("50", "40 left (about 50 right)", False),
        ("7", "14 (= 7)", False),
        ("8", "7.5 (about 8)", False),
        ("0.33", "1/3 (≈ 0.33)", True),
        ("0.5", "1/3 (≈ 0.5)", False),
        ("3", "42 (see step 3)", False),
        ("24", "72 (48 + 24)", False),
        ("1.41", "√2 (≈ 1.41)", True),
        ("5000", "5 K", True),
        ("300", "300 K", True),
        ("0.005", "5‰", True),
        ("5", "5 ‰", True),
        ("90", "GPT-4 scored 90", True),
        ("-5", "x=-5", True),
        ("5", "Step 3 - 5 apples", True),
        ("4", "In 3-5 days, so 4", True),
        ("1.5", "one and a half", True),
        ("1500", "It was fifteen hundred.", True),
        ("12", "a dozen", True),
        ("6", "half a dozen", True),
        ("24", "two dozen", True),
        ("100", "一百", True),
        ("3", "答案是三。", True),
        ("3", "三个", True),
        ("3", "星期三", False),
        ("3", "第三", False),
        ("1", "其中之一", False),
        ("1", "万一", False),
        ("205", "二百五", False),
        ("50%", "百分之五十", True),
        ("0.75", "四分之三", True),
        ("-20", "负二十", True),
        ("2024", "二〇二四", True),
        ("200", "两百", True),
    ],
)
def test_numbers_are_compared_as_a_person_would(reference: str, said: str, same: bool) -> None:
    wanted = wanted_number(reference)
    assert wanted is not None
    assert wanted.equals(number_in(said)) is same


def in_chinese(number: int) -> str:
    """A whole number below 100,000,000 in Chinese characters, worked out apart from the reader under test."""
    high, low = divmod(number, 10_000)
    if high:
        gap = "零" if 0 < low < 1000 else ""
        return f"{in_chinese(high)}万{gap}{in_chinese(low) if low else ''}"
    parts, gap = "", ""
    for place, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // place % 10
        parts += f"{gap}{'零一二三四五六七八九'[digit]}{name}" if digit else ""
        gap = "" if digit or not parts else "零"
    return parts or "零"


@given(st.integers(0, 99_999_999))
def test_numbers_in_chinese_characters_are_read(number: int) -> None:
    if number != 1:
        assert last_number(f"答案是{in_chinese(number)}。") == number
