"""What a text is written in: told for prose in many languages, and left open for what is no prose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.answers import LAYOUTS, PROSE

from ftgate.scoring.writing import UNBROKEN, names, writing_of

BY_COMMON_WORDS = [language for language in PROSE if language not in ("ko", "th", "ar", "he", "hi", "el")]
SCRIPTS = {
    "ru": {"Cyrillic"},
    "uk": {"Cyrillic"},
    "zh": {"Han"},
    "ja": {"Han", "Kana"},
    "ko": {"Hangul"},
    "th": {"Thai"},
    "ar": {"Arabic"},
    "he": {"Hebrew"},
    "hi": {"Devanagari"},
    "el": {"Greek"},
}


@pytest.mark.parametrize("language", BY_COMMON_WORDS)
def test_the_language_of_prose_is_told(language: str) -> None:
    assert writing_of(PROSE[language]).language == language


@pytest.mark.parametrize("language", PROSE)
def test_the_script_of_prose_is_told(language: str) -> None:
    writing = writing_of(PROSE[language])
    assert writing.scripts == SCRIPTS.get(language, {"Latin"})
    assert sum(writing.shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("language", PROSE)
def test_half_of_a_text_is_in_no_other_language(language: str) -> None:
    words = PROSE[language].split()
    for part in (words[: len(words) // 2], words[len(words) // 2 :]):
        assert writing_of(" ".join(part)).language in ("", language)


@pytest.mark.parametrize("name", ["python", "sql", "html", "json", "csv", "formula", "chess", "multiplication table"])
def test_what_is_no_prose_has_no_language(name: str) -> None:
    assert writing_of(LAYOUTS[name]).language == ""


def test_a_few_words_tell_nothing() -> None:
    for text in ("", "42", "Yes, it is.", "no", "de la", "the the the the the the the the the the the the the"):
        assert writing_of(text).language == ""
    assert writing_of("Paris").scripts == frozenset()


def test_fenced_code_does_not_tell_the_language() -> None:
    comments = "```python\n# this is the first of the two that are in it, and it is not for you\n```"
    assert writing_of(f"{PROSE['fr']}\n{comments}").language == "fr"


def test_letters_in_a_row_count_where_words_are_spaced() -> None:
    bare = PROSE["en"].replace(" ", "")
    assert writing_of(bare).unbroken > len(bare) / 2
    assert writing_of(PROSE["zh"]).unbroken == writing_of(PROSE["th"]).unbroken == writing_of(PROSE["ja"]).unbroken == 0
    assert writing_of("a" * (UNBROKEN - 1)).unbroken == 0
    assert writing_of("a" * UNBROKEN).unbroken == UNBROKEN


def test_a_prompt_may_name_a_language_or_a_script() -> None:
    assert names("Translate into German: the lamp", "de")
    assert names("Sag es auf Deutsch.", "de")
    assert names("How is this written in Japanese?", "Han")
    assert not names("How far can a lamp be seen?", "de")


@given(st.text())
def test_any_text_has_a_writing(text: str) -> None:
    writing = writing_of(text)
    assert 0 <= writing.unbroken <= writing.letters or not writing.shares
    assert all(0 < share <= 1 for share in writing.shares.values())
    assert writing.scripts <= set(writing.shares)
