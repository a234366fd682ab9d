"""One pass over the training data for the items of every suite."""

from __future__ import annotations

from collections.abc import Mapping

from ftgate.contamination import Index, Overlap
from ftgate.datasets import TrainingData
from ftgate.domain import Suite
from ftgate.progress import Progress

VERSION = 1
"""Changes when the same data would be compared with another result."""


def search(suites: Mapping[str, Suite], training: TrainingData, progress: Progress) -> dict[str, Overlap]:
    """One pass over the training data for the items of all suites. Memory does not grow with the training data."""
    owners = [(name, item) for name, suite in suites.items() for item in suite.items]
    index = Index([item.user_text for _, item in owners], [item.answer for _, item in owners])
    with progress.phase("compare items with training data", training.rows + training.skipped) as advance:
        number = 0
        for number, passage in enumerate(training.passages(), 1):
            index.add(passage.line, passage.turns, passage.texts)
            if number % 1000 == 0:
                advance(1000)
        advance(number % 1000)
    found = {name: Overlap({}, {}) for name in suites}
    contained, alike = index.found()
    for part, sightings in (("contained", contained), ("alike", alike)):
        for i, sighting in sightings.items():
            name, item = owners[i]
            getattr(found[name], part)[item.id] = sighting
    return found
