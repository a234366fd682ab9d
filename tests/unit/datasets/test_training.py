from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftgate.config.columns import Columns
from ftgate.config.manifest import TrainingSource
from ftgate.datasets import read_training_texts
from ftgate.errors import DatasetError


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"prompt": "p", "completion": "c"}, "p"),
        ({"prompt": [{"role": "user", "content": "p"}], "completion": []}, "p"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "a"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "c"}]}, "a\nc"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "a"),
        ({"instruction": "do", "input": "this", "output": "done"}, "do\nthis"),
        ({"instruction": "do", "input": "", "output": "done"}, "do"),
        ({"question": "why?"}, "why?"),
        ({"text": "all of it", "extra": 1}, "all of it"),
    ],
)
def test_the_user_text_of_each_common_form(tmp_path: Path, row: Any, text: str) -> None:
    assert list(read_training_texts(write(tmp_path, row)).texts()) == [text]


def test_bad_rows_are_counted(tmp_path: Path) -> None:
    data = read_training_texts(write(tmp_path, {"text": "a"}, 3, {}, {"text": " "}, {"text": "\ud800"}, {"text": "b"}))
    assert (list(data.texts()), data.rows, data.skipped) == (["a", "b"], 2, 4)


def test_no_usable_row_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"train.jsonl:1: no user text in the fields 'body'") as caught:
        read_training_texts(write(tmp_path, {"body": "a"}))
    assert "instruction" in caught.value.hint
    with pytest.raises(DatasetError, match="empty"):
        read_training_texts(write(tmp_path))
    with pytest.raises(DatasetError, match="no such file"):
        read_training_texts(tmp_path / "none.jsonl")


def test_a_file_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(b'text\nfine\n"cut off\n')
    with pytest.raises(DatasetError, match=r"train.csv:3: not valid CSV"):
        read_training_texts(path)


def test_the_fingerprint_is_that_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, {"text": "a"}, {"text": "b"})
    assert read_training_texts(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_passage_has_its_line_its_users_turns_and_every_text(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    path = write(tmp_path, {"messages": turns}, 3, {"body": {"deep": ["d", {"er": "e"}], "n": 1}})
    path.write_text(path.read_text() + "\n" + json.dumps({"prompt": "f", "completion": "g"}) + "\n")
    first, second, third = read_training_texts(path).passages()
    assert (first.line, first.turns, first.texts) == (1, ("a", "c"), ("user", "a", "assistant", "b", "user", "c"))
    assert (second.line, second.turns, second.texts) == (3, (), ("d", "e"))
    assert (third.line, third.turns, third.texts) == (5, ("f",), ("f", "g"))


@pytest.mark.parametrize("suffix", ["jsonl", "json", "json.gz", "csv.zst"])
def test_a_large_file_is_not_held_in_memory(tmp_path: Path, suffix: str) -> None:
    texts = [f"{i} " + "x" * 10_000 for i in range(3000)]
    content = {
        "jsonl": "".join(json.dumps({"text": text}) + "\n" for text in texts),
        "json": json.dumps([{"text": text} for text in texts]),
        "csv": "text\n" + "\n".join(texts),
    }[suffix.partition(".")[0]].encode()
    if suffix.endswith((".gz", ".zst")):
        content = pa.compress(content, codec={"gz": "gzip", "zst": "zstd"}[suffix.partition(".")[2]], asbytes=True)
    path = tmp_path / f"train.{suffix}"
    path.write_bytes(content)
    del texts, content
    tracemalloc.start()
    data = read_training_texts(path)
    assert sum(len(text) for text in data.texts()) > 30_000_000
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_csv_and_lists_in_cells(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text('messages\n"[{""role"": ""user"", ""content"": ""hi""}]"\nnot a list\n')
    data = read_training_texts(path)
    assert (list(data.texts()), data.skipped) == (["hi"], 1)


@given(
    content=st.binary(max_size=200), suffix=st.sampled_from(["jsonl", "json", "tsv", "csv.gz", "json.zst", "parquet"])
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_bytes_raise_anything_else(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(content)
    try:
        read_training_texts(path)
    except DatasetError as error:
        str(error).encode()


def test_fields_are_mapped_as_those_of_a_suite(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"frage": "what?", "antwort": "that"}\n{"frage": "where?", "antwort": "there"}\n')
    with pytest.raises(DatasetError, match="no user text"):
        read_training_texts(path)
    data = read_training_texts(path, columns=Columns(prompt="frage", answer="antwort"))
    assert list(data.texts()) == ["what?", "where?"]
    assert data.reading() == "2 rows, read as rows mapped by columns"
    assert [passage.texts for passage in data.passages()] == [("what?", "that"), ("where?", "there")]


def test_a_manifest_maps_by_names_alone() -> None:
    source = {"source": "train.jsonl", "columns": {"prompt": "frage"}}
    assert TrainingSource.model_validate(source).columns == Columns(prompt="frage")
    with pytest.raises(ValueError, match="is a template, and a manifest may only name fields"):
        TrainingSource.model_validate({**source, "columns": {"prompt": "{{ frage }}"}})
