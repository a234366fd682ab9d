"""What each scorer asks of every row of its suite: a row that it could not score stops the job before models load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.world import write_rows

from ftgate.artifacts.resolve import Resolver
from ftgate.config.policy import ArtifactSettings
from ftgate.domain import Suite
from ftgate.errors import DatasetError
from ftgate.jobs.prepare import sampled_suite, suite_of
from ftgate.measurements.forgetting import Forgetting

CHOICES = ["red", "green", "blue"]


def suite(folder: Path, scorer: str, *rows: dict[str, Any], seed: int = 0, **settings: Any) -> Suite:
    write_rows(folder / "suite.jsonl", [{"id": f"r{i}", "prompt": f"Say {i}", **row} for i, row in enumerate(rows)])
    measurement = Forgetting(dataset="suite.jsonl", scorer=scorer, **settings)  # type: ignore[arg-type]
    return sampled_suite(measurement, Resolver(ArtifactSettings(), folder), seed)


def test_a_slice_without_rows_is_refused_for_a_task_as_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The harness, which would read the task, is not installed here."""
    rows = suite(tmp_path, "exact", {"answer": "a", "tags": ["first"]})
    monkeypatch.setattr("ftgate.jobs.prepare.read_task", lambda *_: rows)
    for tag in ("first", "second"):
        gates = {tag: {"block_drop": 0.1}}
        task = Forgetting.model_validate({"dataset": "lm-eval:arc_easy", "gate_slices": gates})
        if tag == "first":
            assert suite_of(task, Resolver(ArtifactSettings(), tmp_path)) is rows
            continue
        with pytest.raises(DatasetError, match=r"gate_slices\.second: no row of lm-eval:arc_easy has this tag"):
            suite_of(task, Resolver(ArtifactSettings(), tmp_path))


@pytest.mark.parametrize(
    ("scorer", "row", "lacks"),
    [
        ("choice", {"choices": CHOICES, "answer": "red"}, "choices"),
        ("choice", {"choices": CHOICES, "answer": "red"}, "answer"),
        ("exact", {"answer": "red"}, "answer"),
        ("contains", {"answer": "red"}, "answer"),
        ("numeric", {"answer": "7"}, "answer"),
        ("math", {"answer": "x^2"}, "answer"),
        ("f1", {"answer": "red"}, "answer"),
        ("rouge", {"answer": "red"}, "answer"),
        ("check", {"check": {"contains": "red"}}, "check"),
    ],
)
def test_a_row_that_cannot_be_scored_is_named(tmp_path: Path, scorer: str, row: dict[str, Any], lacks: str) -> None:
    assert len(suite(tmp_path, scorer, row, row).items) == 2
    without = {key: value for key, value in row.items() if key != lacks}
    with pytest.raises(DatasetError, match=r"suite\.jsonl:2"):
        suite(tmp_path, scorer, row, without)


def test_a_judge_needs_no_answer(tmp_path: Path) -> None:
    assert [item.answer for item in suite(tmp_path, "judge", {}, {"answer": "red"}).items] == [None, "red"]


def test_a_reference_that_is_no_number_is_named_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"suite\.jsonl:2: .*'unknown'"):
        suite(tmp_path, "numeric", {"answer": "7"}, {"answer": "unknown"}, {"answer": "8"})


def test_a_sample_is_fixed_by_the_seed_and_has_a_digest_of_its_own(tmp_path: Path) -> None:
    rows = [{"answer": str(i)} for i in range(30)]
    whole = suite(tmp_path, "exact", *rows)
    same = suite(tmp_path, "exact", *rows, n=30)
    some, again, more, other = (
        suite(tmp_path, "exact", *rows, n=n, seed=seed) for n, seed in ((10, 0), (10, 0), (11, 0), (10, 1))
    )
    assert (same.items, same.sha256) == (whole.items, whole.sha256)
    assert (some.items, some.sha256) == (again.items, again.sha256)
    assert [len(part.items) for part in (some, more, other)] == [10, 11, 10]
    assert some.items != other.items
    assert len({part.sha256 for part in (whole, some, more, other)}) == 4
    assert [item.id for item in whole.items if item in some.items] == [item.id for item in some.items]
    assert len(suite(tmp_path, "exact", *rows, n=10, n_max=20).items) == 20
    assert {part.source for part in (whole, some)} == {"suite.jsonl"}
