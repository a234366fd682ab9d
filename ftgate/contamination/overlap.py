"""Where texts were found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Match:
    """A place in the training data: the ``line`` of a row, and ``by`` what a text was told in it.

    ``likeness`` is the Jaccard similarity of the two sets of words, 1 where the text itself stands there.
    """

    line: int
    by: str
    likeness: float = 1.0


@dataclass(frozen=True, slots=True)
class Overlap:
    """What the training data holds of a suite, by item id.

    Items in ``contained`` occur in it and do not count; those in ``alike`` are nearly the same as something in it, for
    a person to look at.
    """

    contained: Mapping[str, Match]
    alike: Mapping[str, Match]
