"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# An example may not fail for being late by the clock: on a busy machine any may be. Hypothesis cannot count processor
# time, and has no limit where the variable CI is set. Tests of speed count processor time themselves.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
