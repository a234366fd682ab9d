"""The language of an answer, by the classifier py3langid: for a check that asks for one."""

from __future__ import annotations

from functools import lru_cache

OLD_CODES = {"iw": "he", "in": "id", "ji": "yi", "nb": "no"}
"""Codes that others have for a language, with those of the classifier."""


def language_problem(value: object) -> str | None:
    """What is wrong with a code of a language (ISO 639-1); None if nothing."""
    languages = _languages()
    if isinstance(value, str) and _code(value) in languages:
        return None
    return f"must be a code such as de, one of {', '.join(sorted(languages))}, found {value!r}"


@lru_cache(maxsize=4096)
def is_in_language(code: str, text: str) -> bool:
    """Whether ``text`` is most likely in the language ``code``.

    By naive Bayes over byte n-grams (Lui and Baldwin 2012): the same text gives the same language always.
    """
    import py3langid

    return bool(text.strip()) and py3langid.classify(text)[0] == _code(code)


def _code(value: str) -> str:
    """The code of a language without its country: ``zh-cn`` is ``zh``."""
    code = value.lower().replace("_", "-").partition("-")[0]
    return OLD_CODES.get(code, code)


@lru_cache(maxsize=1)
def _languages() -> frozenset[str]:
    import py3langid

    return frozenset(code for code, _ in py3langid.rank(""))
