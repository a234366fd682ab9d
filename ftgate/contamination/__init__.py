"""Which of a few texts occur in many: word n-grams and near duplicates, one passage at a time. Pure.

The texts that are looked for (the items of a suite) are indexed, and the many (training data) stream past the index, so
that memory does not grow with them.
"""

from ftgate.contamination.index import Index
from ftgate.contamination.normalize import segments, words
from ftgate.contamination.overlap import Match, Overlap

__all__ = ["Index", "Match", "Overlap", "segments", "words"]
