"""docs/github-events.md: what is reported where, as jobs of every event left it on the platform."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.github import events, table

from ftgate.github.event import READERS, STATES

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "github-events.md"


def cells() -> list[tuple[str, ...]]:
    lines = DOCUMENT.read_text(encoding="utf-8").split("|---|---|---|---|---|---|\n", 1)[1].splitlines()
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def test_the_page_is_what_the_jobs_left_on_the_platform():
    assert DOCUMENT.read_text(encoding="utf-8") == table.document(), "run `make events`"


def test_every_event_and_every_outcome_is_on_the_page():
    assert {event.split()[0] for event, *_ in cells()} == set(READERS)
    assert {outcome for _, _, outcome, *_ in cells()} == {*STATES, table.SUPERSEDED, table.INSTALLS}


@pytest.mark.parametrize("event", table.FORKED)
def test_a_fork_has_rows_of_its_own(event):
    assert {fork for named, fork, *_ in cells() if named == event} == {"yes", "no"}
    assert set(events.PAYLOADS[event]) == {True, False}
