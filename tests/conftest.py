"""What holds for every test."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Generator

import pytest
from hypothesis import settings

from ftgate.preflight.head_sizes import CPU_HEAD_SIZES
from ftgate.report import render

# An example may not fail for being late by the clock: on a busy machine any may be. Hypothesis cannot count processor
# time, and has no limit where the variable CI is set. Tests of speed count processor time themselves.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# Tests count what is asked: an answer of another test may not take a question away. Tests of the store turn it on.
os.environ["FTGATE_ANSWERS"] = "off"

# Less often than by default, as the program does for itself (ftgate/__main__.py). Not as seldom: thousands of tests
# leave gigabytes to one look.
gc.set_threshold(20_000, 20, 10)


@pytest.fixture(autouse=True)
def _small_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worlds' models, whose heads have 8 numbers, pass for such as vLLM has attention for on a CPU."""
    monkeypatch.setattr("ftgate.preflight.head_sizes.CPU_HEAD_SIZES", CPU_HEAD_SIZES | {8})


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Have no look at what is imported and collected, neither meanwhile nor later: it lives as long as the session."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


# Libraries that count their objects at the end find them. Not before: pytest has two last looks at what is left.
atexit.register(gc.unfreeze)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without pictures, for tests of what is asked and decided, which only the numbers of a report show.

    Pictures are drawn from the report alone and take a third of the time of a run as small as these. Runs in
    tests/integration/test_tail_run.py and those of commands have them.
    """
    monkeypatch.setattr(render, "pictures", lambda report: {})
