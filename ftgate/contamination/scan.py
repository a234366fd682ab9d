"""A scan of the training data for the items of all suites."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

from ftgate.contamination import Index, Overlap, SharedText, row_text
from ftgate.datasets import TrainingData
from ftgate.domain import Suite
from ftgate.progress import Progress

VERSION = 4
"""Increase when the same data would give another result."""
SAMPLE_ROWS = 10_000
"""About as many rows are searched for shared text, beside all items."""


def scan_training_data(suites: Mapping[str, Suite], training: TrainingData, progress: Progress) -> dict[str, Overlap]:
    """Overlap of each suite, in two passes over the training data; memory does not grow with the data."""
    owners = [(name, item) for name, suite in suites.items() for item in suite.items]
    prompts, answers = [item.user_text for _, item in owners], [item.answer for _, item in owners]
    with progress.phase("look for text that rows share", None):
        items = (
            (prompt, *([answer] if answer else []))
            for prompt, answer in dict(zip(prompts, answers, strict=True)).items()
        )
        shared = SharedText.find(_sample(training), items)
    index = Index(prompts, answers, shared)
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


def _sample(training: TrainingData) -> Iterator[Sequence[str]]:
    """The texts of about SAMPLE_ROWS different rows, chosen by a hash of what tells rows apart: the same every time."""
    step = -(-training.rows // SAMPLE_ROWS)
    chosen: set[int] = set()
    for passage in training.passages():
        text = row_text(passage.turns, passage.texts)
        number = zlib.crc32(text.encode("utf-8", "surrogatepass"))
        if number % step == 0 and number not in chosen:
            chosen.add(number)
            yield (*passage.turns, "\n".join(passage.turns), *passage.texts)
