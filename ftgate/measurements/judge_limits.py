"""What a judge's test must show before its grades or labels count (methods: sections 6 and 11)."""

from __future__ import annotations

MIN_AUROC = 0.8
MIN_KNOWN_AUROC = 0.7
"""The same for known answers, where a single word may be what is wrong: above what comparing strings reaches."""
MIN_GAP = 0.5
MAX_RETEST_SHIFT = 0.02
MAX_UNPARSEABLE = 0.01
"""Largest share of first replies that are no grade: a judge that often needs a second question is not reliable."""
