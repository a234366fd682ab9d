from __future__ import annotations

import gc
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ftgate.datasets import Needs, read_suite, write_suite
from ftgate.datasets.suites import distinct_items, repeats_text
from ftgate.domain import Item, Message, Suite
from ftgate.errors import DatasetError

FREE = Needs()
CHOICE = Needs(choices=True, answer=True)
NUMBER = Needs(answer=True, number=True)
CHECKED = Needs(check=True)


def refusal(path: Path, needs: Needs = FREE) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        read_suite("s", path, needs=needs)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


def jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


GOOD: dict[str, Any] = {"id": "a", "prompt": "p", "choices": ["x", "y"], "answer": "x"}


def without(*names: str, **fields: Any) -> dict[str, Any]:
    return {**{k: v for k, v in GOOD.items() if k not in names}, **fields}


def turns(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": "hello"} for role in roles]


BAD_ROWS: dict[str, tuple[Any, Needs, list[str]]] = {
    "no id": (without("id"), FREE, ["no id"]),
    "null id": ({**GOOD, "id": None}, FREE, ["no id"]),
    "empty id": ({**GOOD, "id": " "}, FREE, ["id is empty"]),
    "truth as id": ({**GOOD, "id": True}, FREE, ["id must be", "boolean", "True"]),
    "fraction as id": ({**GOOD, "id": 1.5}, FREE, ["id must be", "1.5"]),
    "neither prompt nor messages": (without("prompt"), FREE, ["neither prompt nor messages"]),
    "both": ({**GOOD, "messages": turns("user")}, FREE, ["both prompt and messages"]),
    "empty prompt": ({**GOOD, "prompt": " \n"}, FREE, ["prompt is empty"]),
    "prompt as a list": ({**GOOD, "prompt": ["p"]}, FREE, ["prompt must be text", "a list"]),
    "no turns": (without("prompt", messages=[]), FREE, ["empty list"]),
    "messages as text": (without("prompt", messages="hi"), FREE, ["messages must be a list", "text"]),
    "turn as text": (without("prompt", messages=["hi"]), FREE, ["message 1 must be an object"]),
    "other role": (without("prompt", messages=turns("robot", "user")), FREE, ["message 1", "'robot'"]),
    "role that is a list": (without("prompt", messages=[{"role": [], "content": "a"}]), FREE, ["role is []"]),
    "answered already": (without("prompt", messages=turns("user", "assistant")), FREE, ["last message", "move"]),
    "empty user text": (
        without("prompt", messages=[{"role": "user", "content": ""}]),
        FREE,
        ["message 1: content is empty"],
    ),
    "picture": (
        without("prompt", messages=[{"role": "user", "content": [{"type": "image"}]}]),
        FREE,
        ["message 1 holds an 'image' part", "only text"],
    ),
    "one choice": ({**GOOD, "choices": ["x"]}, FREE, ["at least two", "found 1"]),
    "equal choices": ({**GOOD, "choices": ["x", "y", "x "]}, FREE, ["choices 1 and 3 are the same"]),
    "empty choice": ({**GOOD, "choices": ["x", ""]}, FREE, ["choice 2 is empty"]),
    "choices as text": ({**GOOD, "choices": "x|y"}, FREE, ["choices must be a list", "'x|y'"]),
    "choices without the answer": ({**GOOD, "answer": "z"}, FREE, ["the answer 'z' is not among the choices", "'y'"]),
    "a place beyond the choices": (
        {**GOOD, "answer": 9},
        FREE,
        ["the answer 9 is no place among the choices ['x', 'y']", "counted from 0", 'write "answer": "9"'],
    ),
    "a place below the choices": ({**GOOD, "answer": -1}, FREE, ["the answer -1 is no place"]),
    "place or text": (
        {**GOOD, "choices": [1, 0], "answer": 1},
        FREE,
        ["the answer 1 is ambiguous", "at place 1, counted from 0, is '0', and a choice reads '1'", '"answer": "1"'],
    ),
    "53 letters": (
        {**GOOD, "choices": [f"intent {i}" for i in range(53)], "answer": 0},
        replace(CHOICE, letters=True),
        ["53 choices, and there are 52 option letters", "use scorer exact or contains, or fewer choices"],
    ),
    "a list of answers": (
        {**GOOD, "choices": None, "answer": ["Paris", "Paname"]},
        FREE,
        ["answer must be one text, found a list", '"check": {"exact": ["Paris", "Paname"]}'],
    ),
    "an object of choices": (
        {**GOOD, "choices": {"A": "x", "B": "y"}},
        FREE,
        ["choices must be a list, found an object", 'as a list: ["x", "y"]'],
    ),
    "a place as text": (
        {**GOOD, "answer": "0"},
        FREE,
        ["the answer '0' is not among the choices", "its place counted from 0"],
    ),
    "letter for an answer": (
        {**GOOD, "answer": "B"},
        FREE,
        ["the answer 'B' is not among the choices", "text of the right choice"],
    ),
    "nearly the answer": (
        {**GOOD, "answer": "X "},
        FREE,
        ["as its choice is written, with the same capitals and spaces: 'x'"],
    ),
    "empty answer": ({**GOOD, "answer": ""}, FREE, ["answer is empty"]),
    "truth as answer": ({**GOOD, "answer": False}, FREE, ["answer must be text", "False"]),
    "no choices": (without("choices"), CHOICE, ["no choices, but this measurement needs them"]),
    "no answer": (without("answer"), CHOICE, ["no answer, but this measurement needs one"]),
    "no check": (GOOD, CHECKED, ["no check, but this measurement needs one"]),
    "two numbers": (
        without("choices", answer="about 1.250"),
        NUMBER,
        ["can be read as 1.25 or 1250", 'write "1.2500" or "1250"'],
    ),
    "a time": (without("choices", answer="at 14:30"), NUMBER, ["'at 14:30' is a time or a ratio", "write one number"]),
    "a version": (without("choices", answer="3.10.2"), NUMBER, ["no number in the answer '3.10.2'"]),
    "no number": (GOOD, NUMBER, ["no number in the answer 'x'"]),
    "no rule": ({**GOOD, "check": {"words": 3}}, FREE, ["check: unknown kind 'words'", "numeric"]),
    "two rules": ({**GOOD, "check": {"exact": "x", "numeric": 1}}, FREE, ["check: 2 kinds at once"]),
    "its own check fails": ({**GOOD, "check": {"exact": "y"}}, FREE, ["'x' does not pass the row's own check"]),
    "check that explodes": (
        without("choices", answer="a" * 40_000, check={"regex": r"^(a|aa|aaa|a*)*\d$(?<!b)\1"}),
        FREE,
        ["check: the pattern", "took over"],
    ),
    "tags as text": ({**GOOD, "tags": "a"}, FREE, ["tags must be a list"]),
    "misspelt": (without("answer", anwser="x"), FREE, ["unknown field 'anwser': did you mean 'answer'?"]),
    "capital": (without("id", iD="x"), FREE, ["unknown field 'iD': did you mean 'id'?"]),
    "lone surrogate": (b'{"id": "a", "prompt": "x\\ud800"}', FREE, ["lone surrogate ('\\ud800')", "position 2"]),
    "NUL": ({**GOOD, "prompt": "ab\0"}, FREE, ["NUL", "position 3"]),
    "not an object": ([1], FREE, ["must be a JSON object", "a list"]),
    "null": (None, FREE, ["must be a JSON object", "null"]),
    "broken": (b'{"id": "a",', FREE, ["not valid JSON", "column"]),
    "field twice": (b'{"id": "a", "id": "b", "prompt": "p"}', FREE, ["'id' occurs twice"]),
    "not a number": (b'{"id": "a", "prompt": "p", "answer": NaN}', FREE, ["NaN is not valid JSON"]),
    "too deep": (b"[" * 100_000, FREE, ["not valid JSON"]),
    "too many digits": (b'{"id": ' + b"9" * 5000 + b"}", FREE, ["not valid JSON"]),
    "infinite number": (b'{"id": "a", "prompt": "p", "answer": 1e999}', FREE, ["answer must be text", "inf"]),
    "Latin-1": (b'{"id": "a", "prompt": "caf\xe9"}', FREE, ["not UTF-8", "0xe9", "position 27"]),
    "UTF-16": ("\ufeff{}".encode("utf-16"), FREE, ["not UTF-8"]),
    "ten megabytes": (b'{"id": "' + b"a" * 10_000_001 + b'"}', FREE, ["longer than 10,000,000 bytes"]),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, case: str) -> None:
    row, needs, named = BAD_ROWS[case]
    path = jsonl(tmp_path, {**GOOD, "id": "first", "choices": ["3", "x"], "answer": "3", "check": {"numeric": 3}}, row)
    error = refusal(path, needs)
    assert f"{path}:2: " in error.message
    for part in named:
        assert part in str(error)
    assert str(error).isprintable() or "\n" in str(error)
    str(error).encode()


def test_the_same_fault_of_many_rows_is_told_once(tmp_path: Path) -> None:
    error = refusal(jsonl(tmp_path, *({"id": i} for i in range(45))))
    assert error.message.count("rows.jsonl:") == 1
    assert "45 bad rows\n" in error.message
    assert (
        "rows.jsonl:1: neither prompt nor messages among the fields ['id'] (45 rows: lines 1, 2, 3, 4, 5, ...)"
        in error.message
    )
    assert error.hint.count("or a list of messages") == 1, "the same advice once"


def test_all_faults_of_a_row_are_named_each_with_its_own_remedy(tmp_path: Path) -> None:
    bad = {"id": True, "prompt": 3, "choices": ["x"], "answer": ["x", "y"], "tags": "t", "check": {"words": 1}}
    message = refusal(jsonl(tmp_path, bad, {**GOOD, "answer": "z"})).message
    assert "2 bad rows" in message
    for fault in ("id must be", "prompt must be text", "choices must be at least", "tags must be", "unknown kind"):
        assert message.count(f"rows.jsonl:1: {fault}") + message.count(f"rows.jsonl:1: check: {fault}") == 1
    assert "rows.jsonl:2: the answer 'z' is not among" in message
    assert message.count("what to do: ") == 6


def test_at_most_twenty_faults_are_listed(tmp_path: Path) -> None:
    fields = ["anwser", "answr", "aswer", "anser", "answe", "nswer", "annswer", "ansswer", "answwer", "answeer"]
    rows = [{"prompt": f"p{i}", field + end: "x"} for i, field in enumerate(fields) for end in ("", "r", "s")]
    message = refusal(jsonl(tmp_path, *rows)).message
    assert message.count("rows.jsonl:") == 20
    assert "more faults" in message


def test_a_name_of_two_words_is_no_misspelling(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"messages": turns("user"), "prompt_id": "x", "answer_key": "y", "cluster.2": 1})
    assert len(read_suite("s", path, needs=FREE).items) == 1


def test_rows_without_ids_get_stable_ones_and_repeats_are_left_out(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "answer": "x"}, {"prompt": "b"}, {"prompt": "a", "answer": "x"}]
    suite = read_suite("s", jsonl(tmp_path, *rows), needs=FREE)
    assert suite.repeats == (3,)
    again = read_suite("s", jsonl(tmp_path, rows[1], {**rows[0], "note": 1}), needs=FREE)
    assert [item.id for item in again.items] == [item.id for item in suite.items][::-1]
    assert all(len(item.id) == len("row-") + 16 for item in suite.items)


def test_a_repeated_id_names_both_lines(tmp_path: Path) -> None:
    error = refusal(jsonl(tmp_path, {"id": 7, "prompt": "a"}, b"", {"id": "7", "prompt": "b"}))
    assert "rows.jsonl:3: id '7' is already used at line 1" in error.message


def test_marks_and_blank_lines_and_line_endings_do_not_matter(tmp_path: Path) -> None:
    rows = [json.dumps({**GOOD, "id": i, "prompt": f"p{i}"}) for i in range(2)]
    plain, odd = tmp_path / "plain.jsonl", tmp_path / "odd.jsonl"
    plain.write_text("\n".join(rows))
    odd.write_bytes(b"\xef\xbb\xbf" + "\r\n \r\n\r\n".join(rows).encode() + b"\r\n\r\n")
    one, other = (read_suite("s", path, needs=FREE) for path in (plain, odd))
    assert one.sha256 == other.sha256
    assert [item.line for item in one.items] == [1, 2]
    assert [item.line for item in other.items] == [1, 4]


@pytest.mark.parametrize(
    ("name", "named"),
    [("none.jsonl", "no such file"), ("rows.txt", ".jsonl, .json, .csv, .tsv, .parquet"), ("rows", "no suffix")],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, named: str) -> None:
    assert named in str(refusal(tmp_path / name))


def test_a_folder_an_empty_file_and_an_impossible_name(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    assert "not a file" in str(refusal(tmp_path / "folder.jsonl"))
    for suffix in ("jsonl", "csv"):
        (tmp_path / f"empty.{suffix}").write_text("\n")
        assert "is empty" in str(refusal(tmp_path / f"empty.{suffix}"))
    assert "NUL" in str(refusal(tmp_path / "a\0.jsonl"))


def test_fields_that_are_not_ours_are_ignored(tmp_path: Path) -> None:
    row = {**GOOD, "source": "x", "answers": ["x"], "idx": 4, "metadata": {"a": [1]}, "tags": None}
    assert read_suite("s", jsonl(tmp_path, row), needs=CHOICE).items[0].answer == "x"


def test_numbers_become_text(tmp_path: Path) -> None:
    row = {"id": 3, "prompt": "p", "choices": [1, 2.5], "answer": 2.5, "cluster": 10**400}
    item = read_suite("s", jsonl(tmp_path, row), needs=CHOICE).items[0]
    assert (item.id, item.choices, item.answer, item.cluster) == ("3", ("1", "2.5"), "2.5", "1" + "0" * 400)


def test_a_number_or_letter_may_be_the_answer_where_it_is_a_choice(tmp_path: Path) -> None:
    row = {"id": "a", "prompt": "p", "choices": ["A", "B", "0"], "answer": "B"}
    assert read_suite("s", jsonl(tmp_path, row), needs=CHOICE).items[0].answer == "B"


TABLE = [
    Item("1", (Message("user", "What, then?"),), ("x, y", "z"), "z", ("ambiguous", "multi_intent"), "c", 2),
    Item("2", (Message("user", "two\nlines"),), ("left", "right"), "left", ("odd",), None, 3),
    Item("3", (Message("system", "s"), Message("user", "u")), line=5),
]


def table_csv(path: Path) -> None:
    path.write_text(
        "id,prompt,choices,answer,tags,cluster,messages,note\n"
        '1,"What, then?","[""x, y"", ""z""]",z,"ambiguous, multi_intent",c,,n\n'
        '2,"two\nlines",left | right,left,odd|,,,\n'
        '3,,,,,,"[{""role"": ""system"", ""content"": ""s""}, {""role"": ""user"", ""content"": ""u""}]",\n',
        encoding="utf-8-sig",
    )


def table_parquet(path: Path) -> None:
    rows = [
        {
            "id": int(item.id),
            "prompt": item.messages[0].content if len(item.messages) == 1 else None,
            "messages": [{"role": m.role, "content": m.content} for m in item.messages]
            if len(item.messages) > 1
            else None,
            "choices": list(item.choices) or None,
            "answer": item.answer,
            "tags": list(item.tags),
            "cluster": item.cluster,
            "embedding": [0.5],
        }
        for item in TABLE
    ]
    parquet.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize(
    ("name", "write", "lines"), [("t.csv", table_csv, [2, 3, 5]), ("t.parquet", table_parquet, [1, 2, 3])]
)
def test_all_formats_say_the_same(tmp_path: Path, name: str, write: Callable[[Path], None], lines: list[int]) -> None:
    write(tmp_path / name)
    suite = read_suite("s", tmp_path / name, needs=FREE)
    assert [item.line for item in suite.items] == lines
    write_suite(Suite("s", tuple(TABLE), "", ""), tmp_path / "same.jsonl")
    assert suite.sha256 == read_suite("s", tmp_path / "same.jsonl", needs=FREE).sha256


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"id,prompt\n1,a\n2,b,c\n", ["rows.csv:3: 3 cells, more than the 2 of the header"]),
        (b"id;prompt\n1;a\n2;b;c\n", ["rows.csv:3: 3 cells, more than the 2 of the header"]),
        (b"id,prompt\r1,a\r", ["rows.csv:1: not valid CSV: lines end with a carriage return alone"]),
        (b"id,prompt,id\n1,a,2\n", ["rows.csv:1", "'id' occurs twice"]),
        (b'id,prompt\n1,a\n2,"b\n3,c\n', ["rows.csv:3: not valid CSV"]),
        (b"id,prompt\n1,caf\xe9\n", ["rows.csv:2: not UTF-8"]),
        (b"id,prompt\n1,a\x00b\n", ["rows.csv:2", "NUL"]),
        (b'id,prompt\n1,"a\nb"\n2,\n', ["rows.csv:4: neither"]),
        (b'id,prompt,choices\n1,a,"[1, "\n', ["rows.csv:2: choices is not a JSON list"]),
        (b"id,messages\n1,hello\n", ["rows.csv:2: messages is not a JSON list"]),
        (b"id,promt\n1,hello\n", ["rows.csv:2", "did you mean 'prompt'?"]),
    ],
)
def test_bad_csv_is_named_by_the_line_where_the_row_starts(tmp_path: Path, text: bytes, named: list[str]) -> None:
    (tmp_path / "rows.csv").write_bytes(text)
    error = refusal(tmp_path / "rows.csv")
    for part in named:
        assert part in error.message


def test_bad_parquet(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 not at all")
    assert "not readable as Parquet" in str(refusal(path))
    parquet.write_table(pa.table({"id": ["a", "b"], "prompt": [b"bytes", None]}), path)
    error = refusal(path)
    assert "rows.parquet:1: prompt must be text, found bytes" in error.message
    assert "rows.parquet:2: neither" in error.message
    assert "no such file" in str(refusal(tmp_path / "none.parquet"))


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
labels = st.lists(text.map(str.strip).filter(bool), max_size=3, unique=True).map(tuple)


@st.composite
def items(draw: st.DrawFn, number: int) -> Item:
    early = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), text)
    choices = draw(st.one_of(st.just(()), st.lists(text, min_size=2, max_size=5, unique_by=str.strip).map(tuple)))
    return Item(
        id=f"{number} {draw(text)}",
        messages=(*draw(st.lists(early, max_size=3)), Message("user", draw(text))),
        choices=choices,
        answer=draw(st.one_of(st.none(), st.sampled_from(choices) if choices else text)),
        tags=draw(labels),
        cluster=draw(st.one_of(st.none(), text)),
        line=number + 1,
    )


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_written_is_read_back(tmp_path: Path, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 5))
    distinct = distinct_items([data.draw(items(i)) for i in range(count)])
    suite = Suite("s", tuple(replace(item, line=line) for line, item in enumerate(distinct, 1)), "", "")
    path = tmp_path / "deep" / "suite.jsonl"
    write_suite(suite, path)
    once = read_suite("s", path, needs=FREE)
    assert once.items == suite.items
    write_suite(once, path)
    assert read_suite("s", path, needs=FREE) == once


def item(number: int, prompt: str, **fields: Any) -> Item:
    return Item(f"i{number}", (Message("user", prompt),), **fields)


def test_a_repeated_row_is_left_out_whatever_its_id_and_leaves_its_tags(tmp_path: Path) -> None:
    rows = [item(0, "a", answer="x", tags=("one",)), item(1, "b"), item(2, "a", answer="x", tags=("two", "one"))]
    write_suite(Suite("s", tuple(rows), "", ""), tmp_path / "s.jsonl")
    suite = read_suite("s", tmp_path / "s.jsonl", needs=FREE)
    assert [(i.id, i.tags, i.cluster) for i in suite.items] == [("i0", ("one", "two"), None), ("i1", (), None)]
    assert suite.repeats == (3,)
    assert repeats_text(suite) == f"1 row repeats another one and is left out (line 3 of `{tmp_path / 's.jsonl'}`)"
    write_suite(Suite("s", suite.items, "", ""), tmp_path / "distinct.jsonl")
    assert read_suite("s", tmp_path / "distinct.jsonl", needs=FREE).sha256 == suite.sha256


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "A"},
        {"prompt": "a", "choices": ("y", "x")},
    ],
)
def test_a_row_that_differs_is_no_repeat(other: dict[str, Any]) -> None:
    rows = (item(0, "a", choices=("x", "y")), item(1, **{"choices": ("x", "y"), **other}))
    assert distinct_items(rows) == rows


@given(prompts=st.lists(st.sampled_from(["a", "a b", "a\nb"]), min_size=1, max_size=6), data=st.data())
def test_white_space_at_the_ends_makes_no_other_row(prompts: list[str], data: st.DataObject) -> None:
    space = st.text(" \n\t", max_size=3)

    def spaced(text: str) -> str:
        return data.draw(space) + text + data.draw(space)

    rows = [item(i, spaced(prompt), answer=spaced("x"), choices=(spaced("y"),)) for i, prompt in enumerate(prompts)]
    assert distinct_items(rows) == tuple(rows[prompts.index(prompt)] for prompt in dict.fromkeys(prompts))


def test_rows_with_one_prompt_and_several_references_are_one_cluster() -> None:
    same = {"check": {"numeric": 1}}
    rows = [item(0, "a", answer="x"), item(1, "a", answer="y"), item(2, "b"), item(3, "a", answer="x", **same)]
    distinct = distinct_items([*rows, item(4, "a", answer="x", **same)])
    assert [i.id for i in distinct] == ["i0", "i1", "i2", "i3"]
    shared = "the prompt of i0"
    assert [i.cluster for i in distinct] == [shared, shared, None, shared]
    assert distinct_items(distinct) == distinct


def test_a_cluster_of_its_own_makes_no_repeat_another_row() -> None:
    """Otherwise the same rows under other ids and clusters would be more evidence."""
    rows = [item(0, "a", answer="x", cluster="one"), item(1, "a", answer="x", cluster="two"), item(2, "a", answer="x")]
    assert distinct_items(rows) == tuple(rows[:1])


def test_rows_with_one_prompt_join_the_cluster_that_one_of_them_names() -> None:
    rows = [item(0, "a", answer="x"), item(1, "a", answer="y", cluster="one"), item(2, "a", answer="z", cluster="two")]
    distinct = distinct_items([*rows, item(3, "b", cluster="one")])
    assert [i.cluster for i in distinct] == ["one", "one", "two", "one"]


@given(copies=st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_of_repeats_the_first_of_each_is_kept_in_order(copies: list[int]) -> None:
    distinct = distinct_items([item(i, f"prompt {kind}", answer=f"{kind}") for i, kind in enumerate(copies)])
    assert [i.answer for i in distinct] == [f"{kind}" for kind in dict.fromkeys(copies)]


names = st.one_of(
    st.sampled_from(["id", "prompt", "messages", "choices", "answer", "tags", "cluster", "role", "content", "anwser"]),
    st.text(max_size=5),
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["user", "a|b"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=6)),
    max_leaves=12,
)


@given(rows=st.lists(json_values, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_no_json_line_raises_anything_else(tmp_path: Path, rows: list[Any]) -> None:
    try:
        read_suite("s", jsonl(tmp_path, *rows), needs=FREE)
    except DatasetError as error:
        str(error).encode()


@given(
    content=st.binary(max_size=200),
    suffix=st.sampled_from(["jsonl", "json", "csv", "tsv", "parquet", "jsonl.gz", "json.zst"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_no_bytes_raise_anything_else(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(content)
    with pytest.raises(DatasetError):
        read_suite("s", path, needs=FREE)


def test_the_fingerprint_follows_content_and_order(tmp_path: Path) -> None:
    rows = [{**GOOD, "id": i, "prompt": f"p{i}", "tags": ["t"], "cluster": "c"} for i in range(2)]
    fingerprint = read_suite("s", jsonl(tmp_path, *rows), needs=FREE).sha256
    changes: list[dict[str, Any]] = [
        {"id": 9},
        {"prompt": "q"},
        {"choices": ["x", "z"]},
        {"choices": ["y", "x"]},
        {"answer": "y"},
        {"tags": []},
        {"cluster": None},
    ]
    others = [[{**rows[0], **change}, rows[1]] for change in changes] + [rows[::-1], rows[:1]]
    seen = {read_suite("s", jsonl(tmp_path, *other), needs=FREE).sha256 for other in others}
    assert len(seen | {fingerprint}) == len(others) + 1
    asked = {k: v for k, v in rows[0].items() if k != "prompt"}
    same = [{**asked, "messages": [{"role": "user", "content": "p0"}], "note": 1}, rows[1]]
    assert read_suite("renamed", jsonl(tmp_path, b"", *same), needs=FREE).sha256 == fingerprint


def test_a_hundred_thousand_rows_are_read_in_seconds(tmp_path: Path) -> None:
    rows = [
        {"id": f"r{i}", "prompt": f"question {i} " * 10, "choices": ["x", "y", "z"], "answer": "y", "tags": ["t"]}
        for i in range(100_000)
    ]
    path = jsonl(tmp_path, *rows)
    began = time.process_time()
    assert len(read_suite("s", path, needs=CHOICE).items) == 100_000
    assert time.process_time() - began < 6, "about 4.5 s are usual"


def test_reading_leaves_garbage_collection_as_it_was(tmp_path: Path) -> None:
    good, bad = jsonl(tmp_path, GOOD), tmp_path / "bad.jsonl"
    bad.write_text("{}\n")
    assert gc.isenabled()
    read_suite("s", good, needs=FREE)
    with pytest.raises(DatasetError):
        read_suite("s", bad, needs=FREE)
    assert gc.isenabled()
    gc.disable()
    try:
        read_suite("s", good, needs=FREE)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_pyarrow_is_imported_for_parquet_alone(tmp_path: Path) -> None:
    path = jsonl(tmp_path, GOOD)
    code = (
        "import sys\nfrom pathlib import Path\nfrom ftgate.datasets import Needs, read_suite\n"
        f"read_suite('s', Path({str(path)!r}), needs=Needs())\n"
        "assert not {'pyarrow', 'torch', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("choices", "answer", "expected"),
    [
        (["red", "blue"], 1, "blue"),
        (["red", "blue"], 0, "red"),
        (["1", "2", "3", "4"], 1, "2"),
        (["1", "0"], 1, "0"),
        (["8", "2", "24", "120"], 1, "2"),
        ([0, 1], 1, "1"),
        ([10, 20], 1, "20"),
        (["1", "2", "3", "4"], "1", "1"),
        (["red", "blue"], "blue", "blue"),
        (["1984", "Good Night"], 1, "Good Night"),
    ],
)
def test_an_integer_is_always_the_place_of_the_right_choice(
    tmp_path: Path, choices: list[object], answer: object, expected: str
) -> None:
    path = jsonl(tmp_path, {"id": "a", "prompt": "p", "choices": choices, "answer": answer})
    assert read_suite("target", path, needs=CHOICE).items[0].answer == expected


@pytest.mark.parametrize(
    ("choices", "answer", "expected"),
    [("red|blue", "1", "blue"), ("1|2", "2", "2"), ("0|1", "1", "1"), ("1|0", "1", ""), ("1|2|3", "1", "")],
)
def test_a_cell_gives_a_place_where_it_cannot_be_a_text(
    tmp_path: Path, choices: str, answer: str, expected: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"prompt,choices,answer\np,{choices},{answer}\n")
    if expected:
        assert read_suite("target", path, needs=CHOICE).items[0].answer == expected
    else:
        assert "rows.csv:2: the answer 1 is ambiguous" in str(refusal(path, CHOICE))


@pytest.mark.parametrize(
    ("places", "asks"), [([1, 2, 3, 1], True), ([0, 1, 2, 3], False), ([1, 3, 1], False), ([1, 3] * 10, True)]
)
def test_answers_that_look_counted_from_1_are_questioned(tmp_path: Path, places: list[int], asks: bool) -> None:
    rows = [{"prompt": f"p{i}", "choices": ["a", "b", "c", "d"], "answer": place} for i, place in enumerate(places)]
    warnings = read_suite("target", jsonl(tmp_path, *rows), needs=CHOICE).warnings
    assert any("counted from 1?" in warning for warning in warnings) == asks


def test_more_choices_than_letters_are_fine_where_no_letter_is_asked_for(tmp_path: Path) -> None:
    row = {"prompt": "p", "choices": [f"intent {i}" for i in range(77)], "answer": 76}
    assert read_suite("s", jsonl(tmp_path, row), needs=Needs(answer=True)).items[0].answer == "intent 76"
    checked = {**row, "check": {"exact": "intent 76"}}
    assert read_suite("s", jsonl(tmp_path, checked), needs=Needs(letters=True)).items


def formats(rows: list[dict[str, Any]]) -> dict[str, bytes]:
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    table = "prompt\tanswer\n" + "".join(f"{row['prompt']}\t{row['answer']}\n" for row in rows)
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    plain = {
        "jsonl": lines,
        "json": json.dumps(rows, indent=2).encode(),
        "tsv": table.encode(),
        "csv": table.replace("\t", ",").encode(),
        "parquet": sink.getvalue().to_pybytes(),
    }
    return {
        **plain,
        **{f"{name}.gz": gzip.compress(data) for name, data in plain.items()},
        **{f"{name}.zst": pa.compress(data, codec="zstd", asbytes=True) for name, data in plain.items()},
    }


def test_every_format_packed_or_not_says_the_same(tmp_path: Path) -> None:
    rows = [{"prompt": f"question {i} " + "x" * 200, "answer": f"answer {i}"} for i in range(400)]
    seen = set()
    for suffix, content in formats(rows).items():
        (tmp_path / f"rows.{suffix}").write_bytes(content)
        suite = read_suite("s", tmp_path / f"rows.{suffix}", needs=FREE)
        assert len(suite.items) == 400, suffix
        seen.add(suite.sha256)
    assert len(seen) == 1


@pytest.mark.parametrize("suffix", ["jsonl.gz", "json.gz", "csv.gz", "parquet.gz", "jsonl.zst", "csv.zst"])
def test_a_damaged_packed_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    whole = formats([{"prompt": f"question {i}", "answer": "a"} for i in range(50)])[suffix]
    for content in (b"not packed", whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert "cannot be unpacked" in str(refusal(path))


def test_a_packed_file_cannot_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftgate.datasets.files.MAX_UNPACKED", 1_000_000)
    path = tmp_path / "rows.parquet.gz"
    path.write_bytes(gzip.compress(bytes(4_000_000)))
    assert "cannot be unpacked: more than 1,000,000 bytes" in str(refusal(path))


def test_a_list_in_a_file_of_lines_is_told_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps([{"prompt": "p"}], indent=1))
    error = refusal(path)
    assert "rows.jsonl:1: the file is one JSON list" in error.message
    assert error.hint == "rename it to rows.json"
    path.rename(tmp_path / "rows.json")
    assert len(read_suite("s", tmp_path / "rows.json", needs=FREE).items) == 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[{"prompt": "p"}', "rows.json:2: not valid JSON at line 1: the list has no end"),
        ('[{"prompt": "p"},\n{"prompt": ]', "rows.json:2: not valid JSON at line 2"),
        ('[\n\n{"prompt": "p"}, 3]', "rows.json:2: a row must be a JSON object, found a number"),
        ('[{"prompt": "p"}] x', "text after the end of the list"),
        ('{"prompt": "p", "prompt": "q"}', "'prompt' occurs twice"),
    ],
)
def test_bad_json_is_named_by_line(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "rows.json").write_text(text)
    assert named in refusal(tmp_path / "rows.json").message


def test_rows_on_one_line_are_told_apart(tmp_path: Path) -> None:
    rows = [{"id": 1, "prompt": "a"}, {"id": 2, "prompt": "a"}, {"id": 3, "prompt": "b"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    assert read_suite("s", tmp_path / "rows.json", needs=FREE).repeats == (2,)
    (tmp_path / "rows.json").write_text(json.dumps([*rows, {"id": 3, "prompt": "c"}]))
    assert "rows.json:4: id '3' is already used at line 3" in refusal(tmp_path / "rows.json").message


@pytest.mark.parametrize("cell", ["['a x', 'b']", "['a x' 'b']", "[\"a x\"\n 'b']"])
def test_lists_as_programs_print_them_are_lists(tmp_path: Path, cell: str) -> None:
    quoted = '"' + cell.replace('"', '""') + '"'
    (tmp_path / "rows.csv").write_text(f"prompt,choices,answer\np,{quoted},b\n")
    assert read_suite("s", tmp_path / "rows.csv", needs=CHOICE).items[0].choices == ("a x", "b")


def test_json_objects_one_after_the_other_are_rows_too(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('{"prompt": "a"}\n\n{"prompt":\n "b"}')
    assert [item.line for item in read_suite("s", tmp_path / "rows.json", needs=FREE).items] == [1, 2]


def test_a_number_that_reads_two_ways_as_text_reads_one_way_as_a_json_number(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a", "prompt": "p", "answer": 3.142}\n{"id": "b", "prompt": "q", "answer": "1,250"}\n')
    assert [item.answer for item in read_suite("numbers", path, needs=NUMBER).items] == ["3.142", "1,250"]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_table_of_a_spreadsheet_may_have_other_separators(tmp_path: Path, mark: str) -> None:
    text = f'\ufeffid{mark}prompt{mark}answer\r\n1{mark}"a{mark} b, c"{mark}3,5\r\n\r\n'
    (tmp_path / "rows.csv").write_bytes(text.encode())
    (item,) = read_suite("s", tmp_path / "rows.csv", needs=FREE).items
    assert (item.id, item.messages[0].content, item.answer) == ("1", f"a{mark} b, c", "3,5")


@pytest.mark.parametrize(
    ("name", "text", "fault", "hint"),
    [
        ("rows.jsonl", '{\n "prompt": "a"\n}\n', "rows.jsonl:1: a JSON object spans several", "rename it to rows.json"),
        ("rows.jsonl", '{"prompt": "a"},\n', "rows.jsonl:1: lines end with a comma", "rename it to rows.json"),
        ("rows.json", '{"data": [{"prompt": "a"}]}', "the rows are in the field `data`", "jq .data FILE"),
        ("rows.json", '{"prompt": {"0": "a", "1": "b"}}', "written by columns", "orient='records', lines=True"),
        ("rows.tsv", "id,prompt\n1,a\n", "rows.tsv:1: the header 'id,prompt' has no tabs", "name the file .csv"),
    ],
)
def test_a_file_in_another_form_is_refused_once_with_what_to_do(
    tmp_path: Path, name: str, text: str, fault: str, hint: str
) -> None:
    (tmp_path / name).write_text(text)
    error = refusal(tmp_path / name)
    assert fault in error.message
    assert hint in (error.hint or "")


def test_utf_16_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_bytes('[{"prompt": "a"}]'.encode("utf-16"))
    assert "not UTF-8: byte 0xff (the file looks like UTF-16)" in refusal(tmp_path / "rows.json").message
