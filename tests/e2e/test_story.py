"""The story that the README tells, and that `make story` prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{':'.join(p for p in sys.path if p)}")


def test_the_second_candidate_is_released_and_the_first_is_not(tmp_path: Path) -> None:
    from examples.pullrequest.__main__ import play

    found = play(tmp_path)
    comments = found.pop("comments")
    assert found == {
        "bad: pending": (0, "pending"),
        "bad: published": (1, "failure"),
        "better: pending": (0, "pending"),
        "better: published": (0, "success"),
        "history": 0,
        "release of the better": 0,
        "release of the bad": 1,
        "invalid": [],
    }
    assert isinstance(comments, list)
    assert len(comments) == 1
    assert "History: 2 records" in comments[0]
    statement = json.loads((tmp_path / "out-2" / "statement.json").read_text(encoding="utf-8"))
    assert statement["predicate"]["result"] == "PASSED"
