"""Rows that can be read in two ways, or whose reading would leave out what matters, are refused or warned about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.cli.suite import columns_of
from ftgate.config.columns import Columns
from ftgate.datasets import Needs, read_suite
from ftgate.datasets.problems import BadRowError
from ftgate.datasets.references import lettered
from ftgate.domain import Suite
from ftgate.errors import ConfigurationError, DatasetError


def read(path: Path, text: str, columns: Columns | None = None) -> Suite:
    path.write_text(text, encoding="utf-8")
    return read_suite("s", path, needs=Needs(), columns=columns)


def read_rows(folder: Path, *rows: Any, columns: Columns | None = None) -> Suite:
    return read(folder / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows), columns)


def refusal(folder: Path, *rows: Any) -> str:
    with pytest.raises(DatasetError) as error:
        read_rows(folder, *rows)
    return f"{error.value}\n{error.value.hint}"


LETTERS = {"question": "Vitamin?", "choices": ["B", "C", "A"], "answer": "A"}


def test_a_letter_that_is_also_another_choice_is_refused_in_every_shape(tmp_path: Path) -> None:
    apart = {"question": "q", "A": "B", "B": "C", "C": "A", "answer": "A"}
    for row in (LETTERS, apart, {"input": "q", "target": "A", "choices": ["B", "C", "A"]}):
        text = refusal(tmp_path, row)
        assert "the answer 'A' is ambiguous: it names the choice 'B', and a choice reads 'A'" in text
    with pytest.raises(DatasetError, match="ambiguous"):
        read(tmp_path / "rows.csv", "question,A,B,C,answer\nVitamin?,B,C,A,A\n")


def test_the_place_that_the_refusal_asks_for_settles_it(tmp_path: Path) -> None:
    (item,) = read_rows(tmp_path, {**LETTERS, "answer": 0}).items
    assert item.answer == "B"
    (item,) = read(tmp_path / "rows.csv", "question,A,B,C,answer\nVitamin?,B,C,A,0\n").items
    assert item.answer == "B"
    columns = Columns(prompt="question", choices="choices", answer="{{ 'ABCD'.index(answer) }}")
    (item,) = read_rows(tmp_path, LETTERS, columns=columns).items
    assert item.answer == "B"


@given(choices=st.lists(st.sampled_from("ABCDEF"), min_size=2, max_size=6, unique=True), answer=st.sampled_from("ABC"))
def test_a_letter_is_read_only_where_its_two_readings_agree(choices: list[str], answer: str) -> None:
    place = "ABC".index(answer)
    read_as = lettered(answer, choices)
    if place >= len(choices):
        assert read_as == answer
    elif answer in choices and choices[place] != answer:
        assert isinstance(read_as, BadRowError)
    else:
        assert read_as == place


def test_two_fields_that_name_different_choices_are_refused(tmp_path: Path) -> None:
    row = {"question": "q", "choices": ["a", "b"], "answer": "A", "label": 1}
    text = refusal(tmp_path, row)
    assert "the right choice 'a', and its `label` is 1, which is 'b'" in text
    assert "columns: {prompt: question, choices: choices, answer: label}" in text
    (item,) = read_rows(tmp_path, {**row, "label": 0}).items
    assert item.answer == "a"
    assert "`label` is" in refusal(tmp_path, {"question": "q", "A": "a", "B": "b", "answer": "b", "label": 0})


def test_a_reply_beside_the_reference_is_not_taken_for_it(tmp_path: Path) -> None:
    azure = {"query": "q?", "response": "a model's", "context": "C", "ground_truth": "truth"}
    text = refusal(tmp_path, azure)
    assert 'the row has `ground_truth` besides the answer "a model\'s"' in text
    assert 'columns: {prompt: "{{ context }} {{ query }}", answer: ground_truth}' in text
    assert "`reference`" in refusal(tmp_path, {"prompt": "q?", "response": "a model's", "reference": "truth"})
    ragas = {"question": "q?", "answer": "a model's", "contexts": ["C"], "ground_truths": ["the truth"]}
    assert 'answer: "{{ ground_truths | first }}"' in refusal(tmp_path, ragas)
    (item,) = read_rows(tmp_path, {"prompt": "q?", "response": "It is 42.", "reference": 42}).items
    assert item.answer == "It is 42."


def test_options_called_answers_are_not_right_answers(tmp_path: Path) -> None:
    row = {"context": "C.", "question": "Which?", "answers": ["a", "b", "c"], "label": 2}
    text = refusal(tmp_path, row)
    assert "`answers` holds 3 texts, and `label` is 2" in text
    assert 'columns: {prompt: "{{ context }} {{ question }}", choices: answers, answer: label}' in text
    columns = columns_of(["prompt={{ context }} {{ question }}", "choices=answers", "answer=label"])
    (item,) = read_rows(tmp_path, row, columns=columns).items
    assert (item.choices, item.answer) == (("a", "b", "c"), "c")


def test_an_unread_field_that_a_prompt_may_need_is_a_warning(tmp_path: Path) -> None:
    suite = read_rows(tmp_path, {"code": "def f(x): return x", "input": "1", "output": "1"})
    assert suite.warnings[0].startswith("`code` is not used: does the prompt or the answer need it?")
    assert read_rows(tmp_path, {"code": None, "input": "1", "output": "1"}).warnings == ()


def test_a_second_reply_is_named_as_not_used(tmp_path: Path) -> None:
    suite = read_rows(tmp_path, {"question": "q", "answer": "a", "response": "x"})
    assert "`response` is not used" in suite.notes[1]
    assert len(read_rows(tmp_path, {"question": "q", "answer": "a", "response": None}).notes) == 1


def test_hints_name_all_that_is_asked(tmp_path: Path) -> None:
    logiqa = {"context": "C.", "query": "Which?", "options": ["a", "b"], "correct_option": 1}
    assert 'prompt: "{{ context }} {{ query }}", choices: options' in refusal(tmp_path, logiqa)
    copa = {"premise": "It rained.", "choice1": "wet", "choice2": "dry", "question": "effect", "label": 0}
    assert 'prompt: "{{ premise }} {{ question }}", choices: [choice1, choice2]' in refusal(tmp_path, copa)


def test_options_ans0_to_ans2_are_options(tmp_path: Path) -> None:
    row = {"context": "C.", "question": "Who?", "ans0": "a", "ans1": "b", "ans2": "Unknown", "label": 2}
    (item,) = read_rows(tmp_path, row).items
    assert (item.choices, item.answer, item.messages[0].content) == (("a", "b", "Unknown"), "Unknown", "C.\n\nWho?")


def test_what_pandas_prints_of_squad_is_read_as_its_answers(tmp_path: Path) -> None:
    cell = "{'text': array(['Paris', \"it's array(x)\"], dtype=object), 'answer_start': array([0, 7])}"
    suite = read(tmp_path / "rows.csv", 'context,question,answers\nC.,q?,"' + cell.replace('"', '""') + '"\n')
    assert suite.items[0].check == {"contains": ["Paris", "it's array(x)"]}
    assert suite.items[0].answer == "Paris"


def test_a_part_mapped_twice_on_the_command_line_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--column choices is given twice") as error:
        columns_of(["prompt=q", "choices=a", "choices=b"])
    assert error.value.hint == "name all its fields at once: --column choices=FIELD,FIELD"
    columns = columns_of(["prompt=q", "choices=a,b"])
    assert columns is not None
    assert columns.choices == ("a", "b")


def test_an_answer_that_names_a_numbered_column_is_that_option(tmp_path: Path) -> None:
    (item,) = read(tmp_path / "rows.csv", "question,option1,option2,option3,answer\nq?,a,b,c,option2\n").items
    assert item.answer == "b"
    (item,) = read(tmp_path / "rows.csv", "question,option1,option2,option3,answer\nq?,30,1,2,30\n").items
    assert item.answer == "30"
