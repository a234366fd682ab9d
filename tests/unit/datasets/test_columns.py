from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftgate.config.columns import Columns
from ftgate.config.strict import validate
from ftgate.datasets import Needs, read_suite
from ftgate.domain import Item
from ftgate.errors import ConfigurationError, DatasetError

ROW = {"question": "q", "a": "x", "b": "y", "label": 1, "subject": "law", "uid": 7, "meta": {"doc": "d", "level": 3}}


def items(folder: Path, columns: dict[str, Any], *rows: dict[str, Any]) -> tuple[Item, ...]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows or (ROW,)))
    return read_suite("s", path, needs=Needs(), columns=Columns(**columns)).items


def test_fields_are_mapped_by_name(tmp_path: Path) -> None:
    columns = {"prompt": "question", "answer": "label", "choices": ["a", "b"], "tags": ["subject"], "id": "uid"}
    (item,) = items(tmp_path, columns)
    assert (item.id, item.messages[0].content, item.choices, item.answer) == ("7", "q", ("x", "y"), "y")
    assert (item.tags, item.cluster) == (("law",), None)


def test_a_field_within_another_and_a_template_of_several(tmp_path: Path) -> None:
    template = "{{ subject | upper }}: {{ question }}{% if meta.level > 2 %}!{% endif %}"
    (item,) = items(
        tmp_path, {"prompt": template, "cluster": "meta.doc", "tags": ["meta.level"], "answer": "{{ row['a'] }}"}
    )
    assert (item.messages[0].content, item.cluster, item.tags, item.answer) == ("LAW: q!", "d", ("3",), "x")


@pytest.mark.parametrize("label", ["b", "B", "y"])
def test_an_answer_may_name_its_field_its_letter_or_its_text(tmp_path: Path, label: str) -> None:
    columns = {"prompt": "question", "answer": "label", "choices": ["a", "b"]}
    assert items(tmp_path, columns, {**ROW, "label": label})[0].answer == "y"


def test_a_template_may_count_an_answer_from_0(tmp_path: Path) -> None:
    row = {"sentence": "s", "option1": "x", "option2": "y", "answer": "2"}
    columns = {"prompt": "sentence", "choices": ["option1", "option2"], "answer": "{{ answer | int - 1 }}"}
    assert items(tmp_path, columns, row)[0].answer == "y"
    assert items(tmp_path, {**columns, "choices": "all"}, {**row, "all": ["x", "y"]})[0].answer == "y"


def test_conversations_and_checks_are_mapped(tmp_path: Path) -> None:
    row = {"talk": [{"from": "human", "value": "q"}], "rule": {"exact": "x"}}
    (item,) = items(tmp_path, {"messages": "talk", "check": "rule"}, row)
    assert (item.messages[0].role, item.messages[0].content, item.check) == ("user", "q", {"exact": "x"})


@pytest.mark.parametrize("written", [list, json.dumps])
def test_tools_are_mapped_by_name(tmp_path: Path, written: Any) -> None:
    function = {"name": "weather", "description": "", "parameters": {"city": {"type": "str", "description": "where"}}}
    schema = {"type": "object", "properties": {"city": {"description": "where", "type": "string"}}}
    row = {"q": "Oslo?", "apis": written([function])}
    (item,) = items(tmp_path, {"prompt": "q", "tools": "apis"}, row)
    assert item.tools == (
        {"type": "function", "function": {**function, "parameters": {**schema, "required": ["city"]}}},
    )
    (item,) = items(tmp_path, {"prompt": "q"}, {"q": "Oslo?", "tools": [function]})
    assert item.tools == ({"type": "function", "function": function},), "a field of that name needs no entry"
    with pytest.raises(DatasetError, match="tools must be a list"):
        items(tmp_path, {"prompt": "q", "tools": "apis"}, {"q": "a", "apis": 3})


def test_a_table_with_letters_for_answers_needs_a_mapping_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("Question,A,B,C,D,Answer\nq,8,2,24,120,B\nr,1,2,3,4,D\n")
    columns = Columns(prompt="Question", choices=("A", "B", "C", "D"), answer="Answer")
    suite = read_suite("s", path, needs=Needs(choices=True, answer=True), columns=columns)
    assert [item.answer for item in suite.items] == ["2", "4"]
    assert suite.notes == ("read as rows mapped by columns",)


def test_a_column_that_no_row_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        items(tmp_path, {"prompt": "question", "tags": ["topic"], "answer": "{{ gold }}"})
    assert "columns names `gold`, `topic`, and the file has `question`, `a`, `b`" in caught.value.message
    assert "fails: UndefinedError: 'gold' is undefined" in caught.value.message


@pytest.mark.parametrize(
    "template", ["{{ question.__class__.__mro__ }}", "{{ ''.format_map(row) }}{{ [].__class__ }}", "{{ 1 / 0 }}"]
)
def test_a_template_reads_values_and_nothing_else(tmp_path: Path, template: str) -> None:
    with pytest.raises(DatasetError, match=r"the template .* fails: "):
        items(tmp_path, {"prompt": template})


def test_templates_in_rows_are_text(tmp_path: Path) -> None:
    row = {"question": "{{ 7 * 7 }}"}
    assert items(tmp_path, {"prompt": "Say {{ question }}"}, row)[0].messages[0].content == "Say {{ 7 * 7 }}"


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({}, "give either prompt or messages"),
        ({"prompt": "a", "messages": "b"}, "give either prompt or messages"),
        ({"prompt": "{{ a"}, "is not a valid template"),
        ({"prompt": "a", "questions": "b"}, "questions"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(columns: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        validate(Columns, columns, "policy p")


def test_a_template_writes_nothing_for_null_and_says_how_to_allow_a_missing_field(tmp_path: Path) -> None:
    columns = {"prompt": "{{ passage }}{{ question }}"}
    assert items(tmp_path, columns, {"passage": None, "question": "q"})[0].messages[0].content == "q"
    optional = {"prompt": "{{ row.get('passage') }}{{ question }}"}
    assert items(tmp_path, optional, {"question": "q"})[0].messages[0].content == "q"
    with pytest.raises(DatasetError, match=r"rows.jsonl:2: the template .* fails: .*'passage' is undefined") as caught:
        items(tmp_path, columns, {"passage": "p", "question": "q"}, {"question": "r"})
    assert "write {{ row.get('FIELD') }}" in (caught.value.hint or "")


def test_the_reply_that_ends_a_mapped_conversation_is_the_reference(tmp_path: Path) -> None:
    row = {"talk": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "gold": "b"}
    (item,) = items(tmp_path, {"messages": "talk"}, row)
    assert ([message.content for message in item.messages], item.answer) == (["q"], "a")
    assert items(tmp_path, {"messages": "talk", "answer": "gold"}, row)[0].answer == "b"


def test_a_row_without_the_mapped_prompt_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"rows.jsonl:2: 'meta.text', which `columns` names, is empty or missing"):
        items(tmp_path, {"prompt": "meta.text"}, {"meta": {"text": "q"}}, {"meta": {}})


def test_whole_numbers_of_a_column_with_gaps_are_places(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("question,choices,answer\nq,x | y,1.0\nr,x | y,\ns,1.0 | 2.0,1.0\n")
    assert [item.answer for item in read_suite("s", path, needs=Needs()).items] == ["y", None, "1.0"]


def test_columns_are_named_as_the_file_names_them(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("Question,Answer,Category Name\nred?,blue,x\ngreen?,grey,y\n")
    suite = read_suite("target", path, needs=Needs())
    assert [item.answer for item in suite.items] == ["blue", "grey"]
    assert "`Category Name` is not used; map what matters with `columns`" in suite.notes
    mapping = Columns(prompt="Question", answer="Answer", tags=("Category Name",))
    assert read_suite("target", path, needs=Needs(), columns=mapping).items[1].tags == ("y",)


@pytest.mark.parametrize(
    ("header", "row", "text"),
    [
        ("Body Text,Kind", "red?,x", "among the fields ['Body Text', 'Kind']"),
        ("Prompt,Anwser", "red?,x", "unknown field 'Anwser': did you mean 'answer'?"),
        ("Question,Answer,Image", "red?,x,a.png", "the row has `Image`, and only text can be asked"),
    ],
)
def test_faults_name_columns_as_the_file_does(header: str, row: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"{header}\n{row}\n")
    with pytest.raises(DatasetError) as refused:
        read_suite("target", path, needs=Needs())
    assert text in str(refused.value)
