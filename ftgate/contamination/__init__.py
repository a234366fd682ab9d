"""Finding suite items in training data: word n-grams and near duplicates, one passage at a time. Pure.

The items of the suites are indexed and the training data stream past the index, so that memory does not grow with the
training data.
"""

from ftgate.contamination.index import Index
from ftgate.contamination.normalize import segments, words
from ftgate.contamination.overlap import Match, Overlap

__all__ = ["Index", "Match", "Overlap", "segments", "words"]
