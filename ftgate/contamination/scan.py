"""A scan of the training data for the items of all suites."""

from __future__ import annotations

from collections.abc import Mapping

from ftgate.contamination import Index, Overlap
from ftgate.datasets import TrainingData
from ftgate.domain import Suite
from ftgate.progress import Progress

VERSION = 1
"""Increase when the same data would give another result."""


def scan_training_data(suites: Mapping[str, Suite], training: TrainingData, progress: Progress) -> dict[str, Overlap]:
    """Overlap of each suite, in one pass over the training data; memory does not grow with the data."""
    owners = [(name, item) for name, suite in suites.items() for item in suite.items]
    index = Index([item.user_text for _, item in owners], [item.answer for _, item in owners])
    with progress.phase("compare items with training data", training.rows + training.skipped) as advance:
        number = 0
        for number, passage in enumerate(training.passages(), 1):
            index.add(passage.line, passage.turns, passage.texts)
            if number % 1000 == 0:
                advance(1000)
        advance(number % 1000)
    overlaps = {name: Overlap({}, {}) for name in suites}
    contained, alike = index.matches()
    for part, matches in (("contained", contained), ("alike", alike)):
        for i, match in matches.items():
            name, item = owners[i]
            getattr(overlaps[name], part)[item.id] = match
    return overlaps
