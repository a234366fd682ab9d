"""Progress in a log and on a terminal, with a clock that the test moves."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ftgate.progress import Progress, SilentProgress
from ftgate.report.progress_bar import RichProgress


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def log(width=80):
    stream, clock = io.StringIO(), Clock()
    return RichProgress(Console(file=stream, width=width, force_terminal=False), clock), stream, clock


def test_silent_progress_adds_up_phases_of_the_same_name():
    clock = Clock()
    progress: Progress = SilentProgress(clock)
    for spent in (2.0, 3.5):
        with progress.phase("ask", 10) as advance:
            advance(10)
            clock.now += spent
    progress.note("nothing")
    assert progress.seconds == {"ask": 5.5}


def test_a_log_has_a_line_at_the_start_one_every_ten_seconds_and_one_at_the_end():
    progress, stream, clock = log()
    with progress.phase("answer questions", 400) as advance:
        for _ in range(400):
            clock.now += 0.125
            advance(1)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "answer questions: started, 400 to do"
    assert lines[1] == "answer questions: 80 of 400 (20 %), 8.0/s, 10 s, about 40 s left"
    assert lines[-1] == "answer questions: done, 400 of 400 in 50 s (8.0/s)"
    assert len(lines) == 7
    assert progress.seconds["answer questions"] == pytest.approx(50.0)


def test_a_log_in_colour_is_still_a_log(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    with RichProgress(Console(file=stream, width=80)).phase("ask", None):
        pass
    assert stream.getvalue().splitlines()[0] == "ask: started"


def test_a_phase_of_unknown_length():
    progress, stream, clock = log()
    with progress.phase("start engine", None):
        clock.now += 61
    assert stream.getvalue().splitlines() == ["start engine: started", "start engine: done in 1 min 01 s"]


def test_a_phase_that_fails_says_how_far_it_came():
    progress, stream, clock = log()

    def work():
        with progress.phase("ask", 10) as advance:
            advance(3)
            clock.now += 2
            raise ValueError

    with pytest.raises(ValueError):
        work()
    assert stream.getvalue().splitlines()[-1] == "ask: stopped, 3 of 10 in 2.0 s (1.5/s)"
    assert progress.seconds == {"ask": 2.0}


def test_a_log_line_is_not_wrapped_and_obeys_nothing():
    progress, stream, _ = log(width=30)
    progress.note("::error::[red]" + "word " * 30 + "\x1b[31m\nnext")
    assert stream.getvalue().count("\n") == 1
    assert "::" not in stream.getvalue()
    assert "[red]" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_more_steps_than_announced_do_no_harm():
    progress, stream, clock = log()
    with progress.phase("ask", 0) as advance:
        clock.now += 11
        advance(5)
    assert "5 of 0" in stream.getvalue()


def test_bars_on_a_terminal_may_be_nested():
    stream, clock = io.StringIO(), Clock()
    progress = RichProgress(Console(file=stream, width=100, force_terminal=True), clock, live=True)
    with progress.phase("outer [x]", 2) as outer:
        outer(1)
        with progress.phase("inner", None):
            progress.note("a note")
            clock.now += 1
    with progress.phase("again", 1) as advance:
        advance(1)
    text = stream.getvalue()
    assert all(words in text for words in ("outer [x]", "inner", "a note", "again", "1/2"))
    assert set(progress.seconds) == {"outer [x]", "inner", "again"}


def test_a_failing_bar_leaves_the_terminal_usable():
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True)
    progress = RichProgress(console, live=True)
    with pytest.raises(KeyError), progress.phase("ask", 3):
        raise KeyError
    assert stream.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in stream.getvalue()
    with progress.phase("ask", 3):
        pass
    assert progress.seconds["ask"] > 0


def test_a_log_says_how_much_of_the_whole_run_is_done_and_how_long_it_takes_at_most():
    progress, stream, clock = log()
    progress.expect(1000)
    with progress.phase("answer questions", 200) as advance:
        for _ in range(200):
            clock.now += 0.0625
            advance(1)
            progress.step(1)
    assert stream.getvalue().splitlines()[1].endswith("; whole run: 15 %, at most 53 s left")
    progress.expect(0)
    with progress.phase("again", 200) as advance:
        clock.now += 11
        advance(1)
    assert "whole run" not in stream.getvalue().splitlines()[-2]


def test_a_terminal_has_one_bar_for_the_whole_run_above_those_of_the_phases():
    stream, clock = io.StringIO(), Clock()
    progress = RichProgress(Console(file=stream, width=120, force_terminal=True), clock, live=True)
    progress.expect(100)
    for name in ("base against itself", "answer questions"):
        with progress.phase(name, 10) as advance:
            for _ in range(25):
                clock.now += 1
                advance(1)
                progress.step(1)
    progress.step(1000)
    text = stream.getvalue()
    assert "whole run: 25 %, at most 1 min 15 s left" in text
    assert "whole run: 50 %, at most 50 s left" in text
