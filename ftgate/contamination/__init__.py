"""Finding suite items in training data: word n-grams and near duplicates, one passage at a time. Pure.

The items of the suites are indexed and the training data stream past the index, so that memory does not grow with the
training data. What many rows share, such as an instruction around every message, is found in a sample and masked.
"""

from ftgate.contamination.index import Index, row_text
from ftgate.contamination.normalize import segments, words
from ftgate.contamination.overlap import Match, Overlap
from ftgate.contamination.shared_text import SharedText

__all__ = ["Index", "Match", "Overlap", "SharedText", "row_text", "segments", "words"]
