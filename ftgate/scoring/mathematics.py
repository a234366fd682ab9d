"""Whether two mathematical expressions are equal, by the package math-verify (an optional extra)."""

from __future__ import annotations

import importlib.util
import threading
from typing import Any

import regex

from ftgate.errors import ConfigurationError
from ftgate.scoring.folding import folded, powers, typography
from ftgate.scoring.numbers import boxed
from ftgate.scoring.text import UnscorableError, same_text

SECONDS = 5
"""Time limit of reading one expression and of comparing two: simplifying can take forever."""
_DELIMITED = regex.compile(r"(?<!\\)\$|\\\(|\\\[|\\boxed|\\begin\{(?:equation|align|gather|math|displaymath)")
_SCIENTIFIC = regex.compile(r"(?<![\w.])(\d+\.\d+)[eE]([-+]?\d{1,3})(?!\w)")
_WORDS = regex.compile(r"\p{Lu}|\p{L}{2,}(?:[ '-]\p{L}+)*")
_STATED = regex.compile(r"(?i:answer|option|choice)\W+(?:is\W+)?(?P<stated>[^\n]{1,80}?)\W*\Z")
_MATHEMATICAL = regex.compile(r"[\d\\=+*/^<>_]")
_FUNCTIONS = "sin cos tan cot sec csc arcsin arccos arctan log exp sqrt inf infinity max min gcd lcm mod"
_WORD = regex.compile(rf"\b(?!(?:{_FUNCTIONS.replace(' ', '|')})\b)\p{{L}}{{3,}}", regex.IGNORECASE)


def require_math_verify() -> None:
    """Raise ConfigurationError, with what to install, if math-verify is not there."""
    if importlib.util.find_spec("math_verify") is None:
        raise ConfigurationError(
            "scorer: math needs the package math-verify, which is not installed",
            hint="install it: pip install 'finetune-gate[math]'",
        )


def is_expression(reference: str) -> bool:
    """Whether a reference is an expression that math-verify can read.

    It reads the letters of a word as a product of variables, so that words alone are none: ``north`` would equal
    ``thorn``.
    """
    words = not _MATHEMATICAL.search(reference) and _WORD.search(reference)
    return not words and bool(_parsed(_delimited(reference)))


def same_value(reference: str, answer: str) -> bool:
    """Whether the answer's expression, the last boxed one before others, equals the reference's.

    Raises UnscorableError if the reference cannot be read or the comparison takes too long.
    """
    words = folded(reference.strip().strip("$")).strip()
    if _WORDS.fullmatch(words) and ((same := _same_words(words, answer)) or _WORD.search(words)):
        return same
    wanted = _parsed(_delimited(reference))
    if not wanted:
        raise UnscorableError(f"math-verify reads no expression in the reference {reference[:60]!r}")
    if _verified(wanted, answer):
        return True
    return answer.count("\\boxed{") > 1 and _verified(wanted, f"$\\boxed{{{boxed(answer)}}}$")


def _same_words(words: str, answer: str) -> bool:
    """Whether a reference in words, such as a name or the letter of an option, is the answer or what it ends with."""
    final = _STATED.search(answer[-200:])
    return same_text(words, boxed(answer) or answer) or (final is not None and same_text(words, final["stated"]))


def _verified(wanted: list[Any], answer: str) -> bool:
    from math_verify import verify
    from math_verify.errors import TimeoutException

    try:
        return bool(verify(wanted, _parsed(answer), timeout_seconds=_limit(), raise_on_error=True))
    except TimeoutException:
        raise UnscorableError(f"math-verify took over {SECONDS} s to compare an answer with the reference") from None
    except Exception:  # whatever sympy raises on an answer, it shows no equality
        return False


def _parsed(text: str) -> list[Any]:
    from math_verify import parse
    from math_verify.errors import TimeoutException

    plain = _SCIENTIFIC.sub(r"\1 \\times 10^{\2}", typography(powers(text)).replace("{,}", ","))
    plain = plain if _DELIMITED.search(plain) else plain.replace("\\%", "%")
    try:
        expressions: list[Any] = parse(plain, parsing_timeout=_limit(), raise_on_error=True)
    except TimeoutException:
        raise UnscorableError(f"math-verify took over {SECONDS} s to read {text[:60]!r}") from None
    except Exception:  # as above
        return []
    return expressions


def _delimited(reference: str) -> str:
    """A bare expression between dollar signs, where math-verify looks for LaTeX."""
    return reference if _DELIMITED.search(reference) else f"${reference}$"


def _limit() -> int | None:
    """The time limit; none outside the main thread, where there are no signals to keep it."""
    return SECONDS if threading.current_thread() is threading.main_thread() else None
