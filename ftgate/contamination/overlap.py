"""Where suite items were found in the training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Match:
    """A match in the training data: the ``line`` of the row, and ``by`` which test it matched.

    ``likeness`` is the Jaccard similarity of the two word sets; 1 if the text itself occurs.
    """

    line: int
    by: str
    likeness: float = 1.0


@dataclass(frozen=True, slots=True)
class Overlap:
    """The overlap of a suite with the training data, by item id.

    Items in ``contained`` occur there and do not count; those in ``alike`` are near duplicates, for a person to review.
    """

    contained: Mapping[str, Match]
    alike: Mapping[str, Match]
