"""What each scorer needs of a row and what it gives: the one place that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ftgate.scoring.task_requests import HARNESS, LIKELIHOOD

CHOICE = "choice"
JUDGE = "judge"
LABELS = "labels"
"""A judge that sorts answers into refusals, compliance and neither, instead of grading them."""
REFUSAL = "refusal"
"""The same by rule."""
JUDGED = frozenset((JUDGE, LABELS))
"""Scorers that ask a judge."""


class ScorerFacts(NamedTuple):
    """Facts about a scorer.

    It needs a row to have a reference (``answer``), one with a ``number``, ``choices``, or a ``check``. ``letters``: it
    asks rows with choices for the letter of an option; ``options``: it reads the probabilities of options instead of a
    text. ``graded``: it gives scores between 0 and 1. ``whole``: it may reject an answer that holds the reference.
    """

    answer: bool = False
    number: bool = False
    choices: bool = False
    check: bool = False
    letters: bool = False
    options: bool = False
    graded: bool = False
    whole: bool = False


_FACTS: Mapping[str, ScorerFacts] = {
    "auto": ScorerFacts(letters=True),
    "check": ScorerFacts(check=True, whole=True),
    CHOICE: ScorerFacts(answer=True, choices=True, letters=True, options=True),
    "exact": ScorerFacts(answer=True, whole=True),
    "contains": ScorerFacts(answer=True),
    "numeric": ScorerFacts(answer=True, number=True, whole=True),
    "math": ScorerFacts(answer=True, whole=True),
    "f1": ScorerFacts(answer=True, graded=True),
    "rouge": ScorerFacts(answer=True, graded=True),
    JUDGE: ScorerFacts(graded=True),
    LABELS: ScorerFacts(),
    REFUSAL: ScorerFacts(),
    LIKELIHOOD: ScorerFacts(options=True),
    HARNESS: ScorerFacts(),
}
"""By name; a task of the harness says for each document whether its metric is graded."""


def facts_of(scorer: str) -> ScorerFacts:
    """The facts about a scorer; a plugin needs nothing, and says itself whether it is graded."""
    return _FACTS.get(scorer, ScorerFacts())
