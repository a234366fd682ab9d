"""What a refusal advises: true for the rows it names, and followed it leads on."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from ftgate.cli.suite import columns_of
from ftgate.datasets import Needs, read_suite
from ftgate.domain import Suite
from ftgate.errors import DatasetError


def read(path: Path, content: str | bytes) -> Suite:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_suite("s", path, needs=Needs())


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def refusal(path: Path, content: str | bytes) -> str:
    with pytest.raises(DatasetError) as error:
        read(path, content)
    return str(error.value)


@pytest.mark.parametrize("answer", [["red", "blue"], [["red"], ["blue", "red"]]], ids=["flat", "nested"])
def test_a_list_of_answers_is_shown_as_the_check_to_write(tmp_path: Path, answer: list[Any]) -> None:
    path = tmp_path / "rows.jsonl"
    text = refusal(path, lines({"prompt": "Name a colour", "answer": answer}))
    advised = '"check": {"exact": ["red", "blue"]}'
    assert advised in text
    (item,) = read(path, '{"prompt": "Name a colour", ' + advised + "}\n").items
    assert item.check == {"exact": ["red", "blue"]}


def test_a_list_that_is_no_text_is_not_advised_as_a_check(tmp_path: Path) -> None:
    text = refusal(tmp_path / "rows.jsonl", lines({"prompt": "q", "answer": [1, 0, 0]}))
    assert "give the right answer as one text" in text
    assert "exact" not in text


def test_a_place_from_1_is_told_to_subtract_1(tmp_path: Path) -> None:
    text = refusal(tmp_path / "rows.csv", "question,option_a,option_b,answer\nq,w,x,2\n")
    assert "if the file counts from 1, subtract 1" in text


def test_the_fix_for_answers_unlike_their_choices_fits_all_of_them(tmp_path: Path) -> None:
    row = {"question": "q", "choices": ["Yes", "No"]}
    text = refusal(tmp_path / "rows.jsonl", lines({**row, "answer": "yes"}, {**row, "answer": "No "}))
    assert "with the same capitals and spaces" in text


def test_too_many_and_too_few_cells_are_two_faults(tmp_path: Path) -> None:
    text = refusal(tmp_path / "rows.csv", "prompt,answer\nq1,a1,extra\nq2\nq3,a3\n")
    assert "rows.csv:2: 3 cells, more than the 2 of the header" in text
    assert "rows.csv:3: 1 cell, fewer than the 2 of the header" in text


def test_a_table_without_a_header_is_told_so(tmp_path: Path) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([["What is 2+2?", "3", "4", "B"], ["Capital of Spain?", "Rome", "Madrid", "B"]])
    assert "the first line looks like a row" in refusal(tmp_path / "rows.csv", out.getvalue())
    assert "looks like a row" not in refusal(tmp_path / "rows.csv", "ask,say\nq,a\n")


def test_bars_and_the_separator_that_excel_names_are_understood(tmp_path: Path) -> None:
    (item,) = read(tmp_path / "rows.csv", "question|answer\nq|a\n").items
    assert (item.messages[0].content, item.answer) == ("q", "a")
    (item,) = read(tmp_path / "rows.csv", "sep=;\r\nquestion;answer\r\nq, r;a\r\n").items
    assert (item.messages[0].content, item.answer, item.line) == ("q, r", "a", 3)


def test_a_file_that_is_no_text_is_named_for_what_it_is(tmp_path: Path) -> None:
    text = refusal(tmp_path / "rows.jsonl", gzip.compress(lines({"prompt": "q"}).encode()))
    assert "the file is packed by gzip, and its name says .jsonl\n  -> rename it to rows.jsonl.gz" in text
    assert "rename it to rows.parquet" in refusal(tmp_path / "rows.csv", b"PAR1....PAR1")
    assert "save an .xlsx file as CSV" in refusal(tmp_path / "rows.csv", b"PK\x03\x04....")
    (item,) = read(tmp_path / "rows.csv", "PK,question,answer\n1,q,a\n").items
    assert item.answer == "a"


def test_options_with_another_separator_are_told_of_bars(tmp_path: Path) -> None:
    text = refusal(tmp_path / "rows.csv", "question,choices,answer\nq1,a;b;c,b\n")
    assert "found 1: ['a;b;c']\n  -> in a cell separate them by bars: a | b | c" in text


def test_maps_decimal_numbers_and_dates_of_parquet_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    options = pa.array([[("A", "x"), ("B", "y")]], type=pa.map_(pa.string(), pa.string()))
    parquet.write_table(pa.table({"question": ["q"], "options": options, "answer": ["B"]}), path)
    (item,) = read_suite("s", path, needs=Needs()).items
    assert (item.choices, item.answer) == (("x", "y"), "y")
    for value, text in ((Decimal("1.50"), "1.50"), (date(2024, 5, 1), "2024-05-01")):
        parquet.write_table(pa.table({"question": ["q"], "answer": [value]}), path)
        assert read_suite("s", path, needs=Needs()).items[0].answer == text


def test_a_log_with_messages_within_its_input_is_read(tmp_path: Path) -> None:
    row = {"name": "t", "input": {"messages": [{"role": "user", "content": "q"}]}, "output": {"content": "a model's"}}
    (item,) = read(tmp_path / "rows.jsonl", lines(row)).items
    assert (item.messages[0].content, item.answer) == ("q", None)


def test_a_context_that_is_an_object_is_mapped_by_the_advice(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    context = {"title": ["T", "U"], "sentences": [["Bob did it.", "He ran."], ["No."]]}
    text = refusal(path, lines({"question": "Who?", "answer": "Bob", "context": context}))
    template = "{{ context.sentences | map('join', ' ') | join(' ') }} {{ question }}"
    assert template in text
    columns = columns_of([f"prompt={template}", "answer=answer"])
    (item,) = read_suite("s", path, needs=Needs(), columns=columns).items
    assert item.messages[0].content == "Bob did it. He ran. No. Who?"
