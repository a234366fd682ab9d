"""Rows as well-known data sets have them: read right, or refused with a mapping that works; never read in part."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from ftgate.config.columns import Columns
from ftgate.datasets import Needs, read_suite, read_training_texts
from ftgate.errors import DatasetError
from ftgate.scoring.checks import meets

FOUR = {"A": "w", "B": "x", "C": "y", "D": "z"}
COPA = {"premise": "The man fell.", "choice1": "He slipped.", "choice2": "He flew.", "question": "cause", "label": 0}
BELEBELE = {
    "flores_passage": "p",
    "question": "q",
    "correct_answer_num": "3",
    **{f"mc_answer{number}": text for number, text in enumerate("wxyz", 1)},
}
OASST = [
    {"message_id": "a", "parent_id": None, "text": "Hello?", "role": "prompter", "lang": "en"},
    {"message_id": "b", "parent_id": "a", "text": "Hi.", "role": "assistant", "lang": "en"},
    {"message_id": "c", "parent_id": "b", "text": "And then?", "role": "prompter", "lang": "en"},
]


def jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "asked", "answer", "choices"),
    [
        ({"Question": "q", **FOUR, "Answer": "C", "Unnamed: 0": 0}, "q", "y", 4),  # CMMLU
        ({"ID": "2024-I-1", "Problem": "q", "Solution": "s", "Answer": 33}, "q", "33", 0),  # AIME
        ({"ID": "c", "Body": "p", "Question": "q", "Answer": "4.0", "Type": "Sum"}, "p\n\nq", "4.0", 0),  # SVAMP
        (
            {"id": "1", "question": "q", "opa": "w", "opb": "x", "opc": "y", "opd": "z", "cop": 3},
            "q",
            "z",
            4,
        ),  # MedMCQA
        ({"question": "q", "options": ["A)1", "B)2"], "rationale": "r", "correct": "B"}, "q", "B)2", 2),  # AQuA
        ({"narrative": "p", "question": "q", "choices": "['w', 'x']", "answer_index": 1}, "p\n\nq", "x", 2),  # MuSR
        ({"question": "q", "possible_answers": '["a", "b"]', "obj": "a"}, "q", "a", 0),  # PopQA
        ({"question": "q", "answer": None, "answer_number": 18}, "q", "18", 0),  # MGSM
        ({"question": "q", "solution": "144", "cot_type": "math"}, "q", "144", 0),  # s1K
        ({"query": "q", "response": "a", "type": "GSM_Rephrased"}, "q", "a", 0),  # MetaMathQA
        ({"system_prompt": "", "question": "q", "response": "a", "id": "niv.1"}, "q", "a", 0),  # OpenOrca
        ({"question": "q", "contexts": ["p", "r"], "answer": "b", "ground_truth": "a"}, "p\n\nr\n\nq", "a", 0),  # Ragas
        ({"goal": "q", "sol1": "w", "sol2": "x", "label": 0}, "q", "w", 2),  # PIQA
    ],
)
def test_a_row_is_read_whole(tmp_path: Path, row: Any, asked: str, answer: str, choices: int) -> None:
    path = jsonl(tmp_path, row)
    (item,) = read_suite("s", path, needs=Needs()).items
    assert (item.messages[-1].content, item.answer, len(item.choices)) == (asked, answer, choices)
    assert list(read_training_texts(path).texts()) == [asked]


COUNTED_FROM_1 = "{{ %s | int - 1 }}"


@pytest.mark.parametrize(
    ("row", "problem", "columns", "answer"),
    [
        (COPA, "the question may be about it", {"prompt": "{{ premise }} Why?", "answer": "label"}, "He slipped."),
        (
            BELEBELE,
            "the option numbered so, or a place",
            {
                "prompt": "{{ flores_passage }} {{ question }}",
                "choices": [f"mc_answer{number}" for number in range(1, 5)],
                "answer": COUNTED_FROM_1 % "correct_answer_num",
            },
            "y",
        ),
        (
            {"article": "p", "question": "q", "options": ["w", "x"], "gold_label": 2},
            "`gold_label` looks like one",
            {"prompt": "{{ article }} {{ question }}", "choices": "options", "answer": COUNTED_FROM_1 % "gold_label"},
            "x",
        ),  # QuALITY
        (
            {"text": "p", "question": "q", "options": ["w", "x"], "answer": 1, "type": {}},
            "the row has `text`",
            {"prompt": "{{ text }} {{ question }}", "choices": "options", "answer": "answer"},
            "x",
        ),  # LogiQA 2
        (
            {"context": "p", "query": "q", "options": ["w", "x"], "correct_option": 1},
            "the row has `options`",
            {"prompt": "{{ context }} {{ query }}", "choices": "options", "answer": "correct_option"},
            "x",
        ),  # LogiQA
        (
            {"context": "p", "question": "q", "answerA": "w", "answerB": "x", "answerC": "y", "label": "2"},
            "is not among the choices",
            {
                "prompt": "{{ context }} {{ question }}",
                "choices": ["answerA", "answerB", "answerC"],
                "answer": COUNTED_FROM_1 % "label",
            },
            "x",
        ),  # Social IQa
        (
            {"question": "q", **FOUR, "answer": 4},
            "is no place among the choices",
            {"prompt": "question", "choices": list("ABCD"), "answer": COUNTED_FROM_1 % "answer"},
            "z",
        ),  # KMMLU
        (
            {"question": "q", "context": "p", "orig_answer": {"text": "a"}},
            "`orig_answer` looks like one",
            {"prompt": "{{ context }} {{ question }}", "answer": "orig_answer.text"},
            "a",
        ),  # QuAC
        (
            {"user_input": "q", "retrieved_contexts": ["p"], "response": "b", "reference": "a"},
            "the row has `retrieved_contexts`",
            {"prompt": "{{ retrieved_contexts | join(' ') }} {{ user_input }}", "answer": "reference"},
            "a",
        ),  # Ragas
        ({"document": "d", "summary": "s"}, "neither prompt nor", {"prompt": "document", "answer": "summary"}, "s"),
        (
            {"inputs": "q", "targets": ["w"], "multiple_choice_targets": ["w", "x"]},
            "the row has `multiple_choice_targets`",
            {"prompt": "inputs", "choices": "multiple_choice_targets", "answer": "{{ targets[0] }}"},
            "w",
        ),  # BIG-bench
        (
            {"question_id": 81, "turns": ["q", "r"], "category": "writing", "reference": []},
            "turns holds 2 questions",
            {"prompt": "{{ turns[0] }}"},
            None,
        ),  # MT-Bench
        (
            {"prompt": ["q", "r"], "reference": ["a", "b"]},
            "prompt holds 2 questions",
            {"prompt": "{{ prompt[0] }}", "answer": "{{ reference[0] }}"},
            "a",
        ),
    ],
)
def test_a_row_that_cannot_be_read_whole_is_refused_and_can_be_mapped(
    tmp_path: Path, row: Any, problem: str, columns: Any, answer: str | None
) -> None:
    path = jsonl(tmp_path, row)
    with pytest.raises(DatasetError, match=problem) as refused:
        read_suite("s", path, needs=Needs())
    assert "columns: {" in refused.value.hint
    given = {"choices": ["choice1", "choice2"], **columns} if row is COPA else columns
    (item,) = read_suite("s", path, needs=Needs(), columns=Columns(**given)).items
    assert item.answer == answer


def test_replies_in_a_file_of_messages_are_nobodys_questions(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *OASST)
    suite = read_suite("s", path, needs=Needs())
    assert [(item.id, item.user_text) for item in suite.items] == [("a", "Hello?")]
    assert "goes on with a conversation" in suite.notes[-1]
    data = read_training_texts(path)
    assert (list(data.texts()), data.skipped) == (["Hello?", "And then?"], 1)


def test_questions_in_turn_are_all_text_of_the_user(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"turns": ["q", "r"], "category": "writing"})
    assert list(read_training_texts(path).texts()) == ["q\nr"]


def test_training_data_of_no_known_shape_name_the_ways_to_map_them(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"document": "d", "summary": "s"})
    with pytest.raises(DatasetError, match="no user text") as refused:
        read_training_texts(path)
    assert "training_data: {columns: {prompt: FIELD}}" in refused.value.hint
    assert list(read_training_texts(path, columns=Columns(prompt="document")).texts()) == ["d"]


def test_truthful_qa_with_two_right_choices_is_named(tmp_path: Path) -> None:
    row = {"question": "q", "mc1_targets": {"choices": ["a", "b"], "labels": [1, 1]}}
    with pytest.raises(DatasetError, match="mc1_targets has 2 right choices"):
        read_suite("s", jsonl(tmp_path, row), needs=Needs())


@pytest.mark.parametrize("written", [json.dumps, str], ids=["json", "python"])
def test_lists_in_the_cells_of_a_table_are_lists_where_the_column_always_holds_one(
    tmp_path: Path, written: Any
) -> None:
    path = tmp_path / "rows.csv"
    cells = {"question": "q", "options": written(["w", "x"]), "answer": "B"}
    write_csv(path, cells)
    (item,) = read_suite("s", path, needs=Needs()).items
    assert (item.choices, item.answer) == (("w", "x"), "x")
    write_csv(path, {"prompt": "q", "instruction_id_list": written(["punctuation:no_comma"]), "kwargs": written([{}])})
    (item,) = read_suite("s", path, needs=Needs()).items
    assert item.check is not None
    assert meets(item.check, "no comma")
    assert not meets(item.check, "one, two")


@pytest.mark.parametrize("written", [json.dumps, str], ids=["json", "python"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("answer", ["A", "B"]),
        ("answer", {"value": "A", "aliases": ["A", "B"]}),
        ("context", {"sentences": ["s"]}),
        ("question", [[{"role": "user", "content": "q"}]]),
    ],
)
def test_a_cell_that_may_be_a_list_or_the_text_of_one_is_refused(
    tmp_path: Path, written: Any, name: str, value: Any
) -> None:
    path = tmp_path / "rows.csv"
    write_csv(path, {"question": "q", "answer": "a", name: written(value)})
    with pytest.raises(
        DatasetError, match=f"the cell `{name}` holds a list or an object, or the text of one"
    ) as refused:
        read_suite("s", path, needs=Needs())
    assert "write the rows as JSON lines" in refused.value.hint
    columns = Columns(prompt="question", answer="answer")
    (item,) = read_suite("s", path, needs=Needs(), columns=columns).items
    assert item.answer == (written(value) if name == "answer" else "a")


def write_csv(path: Path, row: Any) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([row.keys(), row.values()])
