"""Suites that come with ftgate: their names, their parts, and a copy of ftgate that lacks one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftgate.datasets import Needs, builtin, dataset_paths, read_parts, read_suite
from ftgate.errors import ConfigurationError, DatasetError

FREE = Needs()


def rows(path: Path, *ids: str) -> Path:
    path.write_text("".join(json.dumps({"id": i, "prompt": f"What is {i}?"}) + "\n" for i in ids), encoding="utf-8")
    return path


def test_a_file_of_ones_own_lies_beside_the_policy(tmp_path: Path) -> None:
    assert dataset_paths("evals/rows.jsonl", tmp_path, "x") == (tmp_path / "evals/rows.jsonl",)


def test_no_data_file_is_forgotten() -> None:
    known = ("-answers", "-labelled")
    shipped = {path.name for path in builtin.FOLDER.glob("*.jsonl") if not path.stem.endswith(known)}
    assert shipped <= {part for parts in builtin.PARTS.values() for part in parts}


def test_every_suite_has_a_part_that_is_read() -> None:
    for name in ("builtin:general-200", "builtin:general-easy-200"):
        assert len(read_parts("general", dataset_paths(name, Path(), "x"), needs=FREE).items) == 200
    for name, size in (("builtin:safety-250", 250), ("builtin:tools-120", 120)):
        assert len(read_parts("s", dataset_paths(name, Path(), "x"), needs=FREE).items) == size


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown built-in suite 'builtin:general-200-answers'") as caught:
        dataset_paths("builtin:general-200-answers", tmp_path, "measurements.forgetting.dataset")
    assert "builtin:general-200, builtin:general-800, builtin:general-easy-200" in (caught.value.hint or "")


def test_a_missing_part_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "FOLDER", tmp_path)
    rows(tmp_path / "general-200.jsonl", "a")
    rows(tmp_path / "general-easy-200.jsonl", "b")
    with pytest.raises(ConfigurationError) as caught:
        dataset_paths("builtin:general-800", tmp_path, "measurements.forgetting.dataset")
    missing = "general-800-main.jsonl, general-800-multilingual.jsonl"
    assert f"measurements.forgetting.dataset: builtin:general-800 lacks {missing}" in caught.value.message
    assert "install ftgate again" in (caught.value.hint or "")


def test_parts_follow_each_other_and_their_order_counts(tmp_path: Path) -> None:
    one, two = rows(tmp_path / "one.jsonl", "a", "b"), rows(tmp_path / "two.jsonl", "c")
    suite = read_parts("s", (one, two), needs=FREE)
    assert [item.id for item in suite.items] == ["a", "b", "c"]
    assert suite.source == f"{one}, {two}"
    assert suite.sha256 == read_suite("s", rows(tmp_path / "all.jsonl", "a", "b", "c"), needs=FREE).sha256
    assert suite.sha256 != read_parts("s", (two, one), needs=FREE).sha256


def test_one_part_is_read_as_a_suite_of_its_own(tmp_path: Path) -> None:
    one = rows(tmp_path / "one.jsonl", "a", "b")
    assert read_parts("s", (one,), needs=FREE) == read_suite("s", one, needs=FREE)


def test_an_id_in_two_parts_is_refused(tmp_path: Path) -> None:
    one, two = rows(tmp_path / "one.jsonl", "a", "b"), rows(tmp_path / "two.jsonl", "b")
    with pytest.raises(DatasetError, match=r"id 'b' occurs in more than one of .*one\.jsonl, .*two\.jsonl") as caught:
        read_parts("s", (one, two), needs=FREE)
    assert caught.value.hint
