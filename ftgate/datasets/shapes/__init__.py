"""The shapes of rows that are read: a table of recognisers, one file of rows being of one shape."""

from __future__ import annotations

from collections.abc import Sequence

from ftgate.datasets.shapes.benchmarks import BENCHMARKS, WINOGRANDE
from ftgate.datasets.shapes.conversations import CONVERSATIONS, OWN, OWN_WITHOUT_REFERENCE, QUERIES, SPECIFIC
from ftgate.datasets.shapes.dialogues import DIALOGUES
from ftgate.datasets.shapes.options import OPTIONS
from ftgate.datasets.shapes.questions import APART, QUESTIONS
from ftgate.datasets.shapes.shape import LEFT_OUT, Fields, Shape

SHAPES = (
    *SPECIFIC,
    *DIALOGUES,
    WINOGRANDE,
    OPTIONS,
    OWN,
    *APART,
    *BENCHMARKS,
    *CONVERSATIONS,
    *QUESTIONS,
    OWN_WITHOUT_REFERENCE,
    *QUERIES,
)
"""Every shape; of several that fit a file the first counts."""

__all__ = ["LEFT_OUT", "OWN", "SHAPES", "Shape", "recognise"]


def recognise(rows: Sequence[Fields], *, suite: bool) -> Shape:
    """The shape of a file by its first ``rows``: the first that fits half of them, or else the one that fits the most.

    ftgate's own where nothing fits. ``suite``: whether the rows are to be asked, not only read for their text.
    """
    shapes = [shape for shape in SHAPES if shape.suites or not suite]
    counts = [sum(map(shape.fits, rows)) for shape in shapes]
    enough = min(max(counts), (len(rows) + 1) // 2)
    return next(shape for shape, count in zip(shapes, counts, strict=True) if count >= enough) if enough else OWN
