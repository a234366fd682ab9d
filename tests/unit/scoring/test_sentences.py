"""How many sentences a text has, with abbreviations, initials, quotes and lists in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.scoring.sentences import sentences


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("...", 0),
        ("No mark at the end", 1),
        ("It is 2.5. Good!", 2),
        ("I barked until Mrs. Ellery came in. She said nothing.", 2),
        ("Dr. Okonjo and Prof. Lee are away.", 1),
        ("It opens at 9 a.m. and closes at 5 p.m. every day.", 1),
        ("It closes at 5 p.m. Bring tea.", 2),
        ("Bring fruit, e.g. apples, i.e. what grows here.", 1),
        ("Apples, pears, etc. are fruit. Leeks are not.", 2),
        ("J. R. Hartley wrote it. He was old.", 2),
        ("She takes vitamin C. It helps.", 2),
        ("The U.S. team won. We cheered in the U.S. Everyone did.", 3),
        ("See no. 5 and fig. 2. They differ.", 2),
        ("Is it wet? No. It is dry.", 3),
        ('"Stop!" he said. Then he left.', 2),
        ("“Stop!” He left.", 2),
        ("Wait... what? Yes.", 2),
        ("It got dark… Nobody came.", 2),
        ("use room-temperature water. empty the saucer.", 2),
        ("1. Fold it.\n2. Turn it.", 2),
        ("It was built in 1999. It still stands.", 2),
        ("**Done.** Really?! Yes!!!", 3),
        ("今天下雨。明天晴！好吗？", 3),
        ("下雨。好！走!再见。「好。」他说。", 6),
        ("「行こう。」と言った。「はい。」彼は来た。", 3),
        ("Das gilt z. B. am 3. Oktober. Gut.", 2),
        ("हाँ। ठीक है।", 2),
        ("هل؟ نعم.", 2),
        ("វាល្អ។ បាទ។", 2),
        ("Jan. 5 was cold, Smith et al. say. Solve for x. Then stop.", 3),
        ("Monday: the day after tomorrow (see p. 4).", 1),
    ],
)
def test_sentences_are_counted_as_a_reader_would(text: str, count: int) -> None:
    assert sentences(text) == count


WORDS = st.sampled_from(
    ["Mrs. Ellery", "J. Toll", "e.g. tea", "St. Ives", "3.5 litres", "no. 7", "rain", "etc. and so on"]
)


@given(st.lists(st.tuples(st.lists(WORDS, min_size=1, max_size=4), st.sampled_from(".!?")), max_size=6))
def test_abbreviations_within_sentences_do_not_add_to_them(parts: list[tuple[list[str], str]]) -> None:
    text = " ".join(f"They saw {' and '.join(words)} twice{mark}" for words, mark in parts)
    assert sentences(text) == len(parts)


@given(st.text(max_size=100), st.text(max_size=100))
def test_any_text_has_a_number_of_sentences(one: str, other: str) -> None:
    assert 0 <= sentences(one) <= max(1, len(one))
    assert sentences(f"{one}\n\n{other}") <= sentences(one) + sentences(other) + 1


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["!", "a.", "!a", "。", '"', ". "])
def test_long_runs_of_marks_take_no_long_time(part: str) -> None:
    assert sentences(part * 50_000) <= 50_000
