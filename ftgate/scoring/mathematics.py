"""Whether two mathematical expressions are equal, by the package math-verify (an optional extra)."""

from __future__ import annotations

import importlib.util
import threading
from typing import Any

import regex

from ftgate.errors import ConfigurationError
from ftgate.scoring.folding import typography
from ftgate.scoring.text import UnscorableError

SECONDS = 5
"""Time limit of reading one expression and of comparing two: simplifying can take forever."""
_DELIMITED = regex.compile(r"\$|\\\(|\\\[|\\boxed|\\begin")


def require_math_verify() -> None:
    """Raise ConfigurationError, with what to install, if math-verify is not there."""
    if importlib.util.find_spec("math_verify") is None:
        raise ConfigurationError(
            "scorer: math needs the package math-verify, which is not installed",
            hint="install it: pip install 'finetune-gate[math]'",
        )


def is_expression(reference: str) -> bool:
    """Whether math-verify can read a reference."""
    return bool(_parsed(_delimited(reference)))


def same_value(reference: str, answer: str) -> bool:
    """Whether the answer's expression, the last boxed one before others, equals the reference's.

    Raises UnscorableError if the reference cannot be read or the comparison takes too long.
    """
    from math_verify import verify
    from math_verify.errors import TimeoutException

    wanted = _parsed(_delimited(reference))
    if not wanted:
        raise UnscorableError(f"math-verify reads no expression in the reference {reference[:60]!r}")
    try:
        return bool(verify(wanted, _parsed(answer), timeout_seconds=_limit(), raise_on_error=True))
    except TimeoutException:
        raise UnscorableError(f"math-verify took over {SECONDS} s to compare an answer with the reference") from None
    except Exception:  # whatever sympy raises on an answer, it shows no equality
        return False


def _parsed(text: str) -> list[Any]:
    from math_verify import parse
    from math_verify.errors import TimeoutException

    try:
        expressions: list[Any] = parse(
            typography(text).replace("{,}", ","), parsing_timeout=_limit(), raise_on_error=True
        )
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
