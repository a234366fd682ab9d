from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ftgate.datasets import Needs, read_suite, read_training_texts
from ftgate.datasets.reader import ShapedFile
from ftgate.datasets.rows import read_item
from ftgate.datasets.shapes import LEFT_OUT, OWN, SHAPES, recognise
from ftgate.datasets.tables import FileRow
from ftgate.domain import Item, Message
from ftgate.errors import DatasetError
from ftgate.scoring.checks import meets


def jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def chat(
    *texts: str, names: tuple[str, str] = ("user", "assistant"), keys: tuple[str, str] = ("role", "content")
) -> Any:
    return [{keys[0]: names[i % 2], keys[1]: text} for i, text in enumerate(texts)]


SHAREGPT = {"names": ("human", "gpt"), "keys": ("from", "value")}
GEMINI = [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}]
XLAM = json.dumps([{"name": "f", "description": "d", "parameters": {"a": {"description": "n", "type": "int"}}}])
XLAM_CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
Q = ("q",)
"""The texts of a conversation with one question."""

ROWS: Mapping[str, list[tuple[dict[str, Any], tuple[str, ...], dict[str, Any]]]] = {
    "ftgate rows": [
        ({"prompt": "q", "answer": "a"}, Q, {"answer": "a"}),
        ({"messages": chat("q", "r", "s"), "check": {"exact": "a"}}, ("q", "r", "s"), {"check": {"exact": "a"}}),
        ({"prompt": "q"}, Q, {}),
        ({"prompt": chat("q"), "answer": "a"}, Q, {"answer": "a"}),
        ({"prompt": "q", "system": "s", "answer": "a"}, ("s", "q"), {"answer": "a"}),
        ({"messages": chat("q"), "system": [{"text": "s"}]}, ("s", "q"), {}),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
            ("a\nb",),
            {},
        ),
    ],
    "Gemini rows": [
        ({"contents": GEMINI}, Q, {"answer": "a"}),
        ({"contents": GEMINI, "systemInstruction": {"parts": [{"text": "s"}]}}, ("s", "q"), {"answer": "a"}),
    ],
    "Braintrust export": [
        ({"input": "q", "expected": "a", "output": "b", "metadata": {"k": 1}}, Q, {"answer": "a"}),
        ({"input": {"question": "q"}, "expected": {"answer": "a"}}, Q, {"answer": "a"}),
    ],
    "LangSmith export": [
        ({"inputs": {"topic": "q"}, "outputs": {"answer": "a"}}, Q, {"answer": "a"}),
        ({"inputs": {"messages": chat("q")}, "outputs": "a"}, Q, {"answer": "a"}),
    ],
    "MT-Bench rows": [
        (
            {"question_id": 81, "category": "math", "turns": ["q"], "reference": ["a"]},
            Q,
            {"answer": "a", "id": "81", "tags": ("math",)},
        ),
        ({"turns": [{"content": "q"}], "category": "math"}, Q, {"tags": ("math",)}),
    ],
    "LIMA rows": [
        ({"conversations": ["q", "a"], "source": "s"}, Q, {"answer": "a"}),
        ({"conversations": ["q", "r", "s", "a"]}, ("q", "r", "s"), {"answer": "a"}),
    ],
    "XTuner rows": [
        ({"conversation": [{"input": "q", "output": "a"}]}, Q, {"answer": "a"}),
        (
            {"conversation": [{"system": "s", "input": "q", "output": "r"}, {"input": "t", "output": "a"}]},
            ("s", "q", "r", "t"),
            {"answer": "a"},
        ),
        ({"conversation": [{"human": "q", "assistant": "a"}]}, Q, {"answer": "a"}),
    ],
    "OpenAssistant messages": [
        ({"message_id": "m", "text": "q", "role": "prompter", "lang": "en"}, Q, {"id": "m"}),
    ],
    "rows with the right option apart": [
        (
            {"question": "q", "distractor1": "b", "distractor2": "c", "correct_answer": "z", "support": "s"},
            Q,
            {"choices": ("b", "c", "z"), "answer": "z"},
        ),
        (
            {"question": "q", "correct_answer": "b", "incorrect_answers": ["c", "a"], "category": "History"},
            Q,
            {"choices": ("a", "b", "c"), "answer": "b", "tags": ("History",)},
        ),
        (
            {"Question": "q", "Correct Answer": "b", "Incorrect Answer 1": "a", "Subdomain": "Optics"},
            Q,
            {"choices": ("a", "b"), "answer": "b", "tags": ("Optics",)},
        ),
    ],
    "TruthfulQA rows": [
        (
            {"question": "q", "mc1_targets": {"choices": ["t", "f", "g"], "labels": [1, 0, 0]}},
            Q,
            {"choices": ("f", "g", "t"), "answer": "t"},
        ),
    ],
    "rows with a ground truth": [
        ({"messages": chat("q"), "ground_truth": "4", "dataset": "gsm8k"}, Q, {"answer": "4"}),
        ({"prompt": chat("q"), "ground_truth": 4}, Q, {"answer": "4"}),
        ({"prompt": "q", "ground_truth": '["a", "b"]'}, Q, {"answer": "a", "check": {"contains": ["a", "b"]}}),
    ],
    "inputs and targets rows": [
        ({"inputs": "q", "targets": "a", "language": "English"}, Q, {"answer": "a"}),
        ({"inputs": "q", "targets": ["a"]}, Q, {"answer": "a"}),
    ],
    "user_input and reference rows": [({"user_input": "q", "reference": "a", "response": "b"}, Q, {"answer": "a"})],
    "input_text and output_text rows": [({"input_text": "q", "output_text": "a"}, Q, {"answer": "a"})],
    "WinoGrande rows": [
        (
            {"sentence": "The _ ran.", "option1": "cat", "option2": "stone", "answer": "2"},
            ("The _ ran.",),
            {"choices": ("cat", "stone"), "answer": "stone"},
        ),
    ],
    "DROP rows": [
        (
            {"passage": "p", "question": "q", "answers_spans": {"spans": ["3", "three"], "types": ["number", "span"]}},
            ("p\n\nq",),
            {"answer": "3", "check": {"contains": ["3", "three"]}},
        ),
    ],
    "xLAM function calling rows": [
        (
            {"query": "q", "tools": XLAM, "answers": json.dumps([{"name": "f", "arguments": {"a": 1}}]), "id": 1},
            Q,
            {"check": {"tool_call": [{"name": "f", "arguments": {"a": 1}}]}, "id": "1", "answer": XLAM_CALL},
        ),
    ],
    "OpenAI chat rows": [
        ({"messages": chat("q", "a")}, Q, {"answer": "a"}),
        ({"messages": chat("q", "r", "s", "a"), "id": 7}, ("q", "r", "s"), {"answer": "a", "id": "7"}),
        ({"messages": chat("q", "a"), "label": True}, Q, {"answer": "a"}),
        ({"messages": chat("q", "a", names=("User", "Chatbot"))}, Q, {"answer": "a"}),
        ({"messages": chat("q", "a"), "system": "s"}, ("s", "q"), {"answer": "a"}),
        ({"messages": json.dumps(chat("q", "a"))}, Q, {"answer": "a"}),
        (
            {"messages": [{"role": "system", "content": "s"}, *chat("q", "a")], "system": "s"},
            ("s", "q"),
            {"answer": "a"},
        ),
        ({"messages": chat("q", "bad"), "label": False}, Q, {}),
        ({"messages": chat("q", "steps, so 3"), "answer": "3", "problem": "q"}, Q, {"answer": "3"}),
        ({"messages": [{"role": "system", "content": "s"}, *chat("q", "a")]}, ("s", "q"), {"answer": "a"}),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, *chat("", "a")[1:]]},
            Q,
            {"answer": "a"},
        ),
    ],
    "requests to Anthropic or Gemini": [
        (
            {"custom_id": "r1", "params": {"model": "m", "max_tokens": 9, "system": "s", "messages": chat("q")}},
            ("s", "q"),
            {"id": "r1"},
        ),
        (
            {"key": "r2", "request": {"contents": GEMINI[:1], "system_instruction": {"parts": [{"text": "s"}]}}},
            ("s", "q"),
            {"id": "r2"},
        ),
        ({"request": {"messages": chat("q"), "model": "m"}, "response": {"id": 1}, "status": 200}, Q, {}),
    ],
    "OpenAI batch requests": [
        (
            {"custom_id": "r1", "method": "POST", "url": "/v1/x", "body": {"model": "m", "messages": chat("q")}},
            Q,
            {"id": "r1"},
        )
    ],
    "ShareGPT rows": [
        ({"conversations": chat("q", "a", **SHAREGPT)}, Q, {"answer": "a"}),  # type: ignore[arg-type]
        ({"conversations": chat("q", "a", **SHAREGPT), "system": "s"}, ("s", "q"), {"answer": "a"}),  # type: ignore[arg-type]
    ],
    "Alpaca rows": [
        ({"instruction": "do", "input": "this", "output": "a"}, ("do\nthis",), {"answer": "a"}),
        ({"instruction": "do", "input": "", "output": "a", "history": [["x", "y"]]}, ("x", "y", "do"), {"answer": "a"}),
    ],
    "OpenAI preference rows": [
        (
            {
                "input": {"messages": chat("q"), "tools": []},
                "preferred_output": chat("", "a")[1:],
                "non_preferred_output": chat("", "b")[1:],
            },
            Q,
            {"answer": "a"},
        )
    ],
    "Dolly rows": [
        (
            {"instruction": "do", "context": "c", "response": "a", "category": "qa"},
            ("do\nc",),
            {"answer": "a", "tags": ("qa",)},
        )
    ],
    "LMSYS rows": [({"conversation_id": "c1", "conversation": chat("q", "r"), "model": "m"}, Q, {"id": "c1"})],
    "ms-swift rows": [
        ({"query": "q", "response": "a"}, Q, {"answer": "a"}),
        (
            {"query": "q", "response": "a", "history": [["x", "y"]], "system": "s"},
            ("s", "x", "y", "q"),
            {"answer": "a"},
        ),
        ({"query": "q", "response": "a", "history": chat("x", "y")}, ("x", "y", "q"), {"answer": "a"}),
    ],
    "preference rows (DPO)": [
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, Q, {"answer": "a"}),
        ({"chosen": chat("q", "a"), "rejected": chat("q", "b")}, Q, {"answer": "a"}),
        ({"prompt": chat("q"), "chosen": chat("q", "a")[1:], "rejected": chat("q", "b")[1:]}, Q, {"answer": "a"}),
        (
            {"chosen": "\n\nHuman: q\n\nAssistant: r\n\nHuman: s\n\nAssistant: a", "rejected": "x"},
            ("q", "r", "s"),
            {"answer": "a"},
        ),
        ({"system": "s", "question": "q", "chosen": "a", "rejected": "b"}, ("s", "q"), {"answer": "a"}),
        ({"instruction": "do", "input": "this", "chosen": "a", "rejected": "b"}, ("do\nthis",), {"answer": "a"}),
        (
            {
                "conversations": [{"from": "human", "value": "q"}],
                "chosen": {"from": "gpt", "value": "a"},
                "rejected": "b",
            },
            Q,
            {"answer": "a"},
        ),
        ({"input": "q", "chosen": "a", "rejected": "b"}, Q, {"answer": "a"}),
    ],
    "verl rows": [({"prompt": chat("q"), "reward_model": {"style": "rule", "ground_truth": "a"}}, Q, {"answer": "a"})],
    "KTO rows": [
        ({"prompt": "q", "completion": "a", "label": True}, Q, {"answer": "a"}),
        ({"prompt": "q", "completion": "b", "label": False}, Q, {}),
    ],
    "prompt and completion rows": [
        ({"prompt": "q", "completion": "a"}, Q, {"answer": "a"}),
        ({"prompt": chat("q"), "completion": chat("q", "a")[1:]}, Q, {"answer": "a"}),
    ],
    "prompt and response rows": [({"prompt": "q", "response": "a"}, Q, {"answer": "a"})],
    "question and answer rows": [
        ({"question": "q", "answer": "a"}, Q, {"answer": "a"}),
        ({"question": "q"}, Q, {}),
        ({"question": "q", "answers": ["a", "b"]}, Q, {"answer": "a", "check": {"contains": ["a", "b"]}}),
        (
            {"question": "q", "answer": {"value": "a", "aliases": ["b", "a"]}},
            Q,
            {"answer": "a", "check": {"contains": ["a", "b"]}},
        ),
        ({"system_prompt": "s", "question": "q", "response": "a"}, ("s", "q"), {"answer": "a"}),
        ({"context": "c", "question": "q", "answer": "a"}, ("c\n\nq",), {"answer": "a"}),
    ],
    "problem and solution rows": [
        ({"problem": "q", "solution": "so 4", "answer": "4"}, Q, {"answer": "4"}),
        ({"problem": "q", "solution": "so 4"}, Q, {"answer": "so 4"}),
    ],
    "OpenAI evals rows": [
        ({"input": chat("q"), "ideal": "a"}, Q, {"answer": "a"}),
        ({"input": "q", "ideal": ["a", "b"]}, Q, {"answer": "a", "check": {"contains": ["a", "b"]}}),
    ],
    "inspect samples": [
        ({"input": "q", "target": "a", "id": 1}, Q, {"answer": "a", "id": "1"}),
        ({"input": "q", "target": "B", "choices": ["x", "y"]}, Q, {"answer": "y", "choices": ("x", "y")}),
        ({"input": "q", "target": ["a"]}, Q, {"answer": "a"}),
    ],
    "input and output rows": [({"input": "q", "output": "a"}, Q, {"answer": "a"})],
    "MMLU rows": [
        (
            {"question": "q", "choices": ["x", "y"], "answer": 1, "subject": "law"},
            Q,
            {"choices": ("x", "y"), "answer": "y", "tags": ("law",)},
        ),
        (
            {"question": "q", "choices": ["1", "2", "3", "4"], "answer": 1.0, "subject": "maths"},
            Q,
            {"choices": ("1", "2", "3", "4"), "answer": "2", "tags": ("maths",)},
        ),
    ],
    "MMLU-Pro rows": [
        (
            {"article": "c", "question": "q", "options": ["x", "y"], "answer": "A"},
            ("c\n\nq",),
            {"choices": ("x", "y"), "answer": "x"},
        ),
        ({"question": "q", "options": ["x", "y"], "answer": "B"}, Q, {"choices": ("x", "y"), "answer": "y"}),
        (
            {
                "question_id": 70,
                "question": "q",
                "options": ["x", "y"],
                "answer": "B",
                "answer_index": 1,
                "category": "law",
            },
            Q,
            {"id": "70", "choices": ("x", "y"), "answer": "y", "tags": ("law",)},
        ),
        (
            {"question": "q", "options": {"A": "x", "B": "y"}, "answer": "y", "answer_idx": "B"},
            Q,
            {"choices": ("x", "y"), "answer": "y"},
        ),
        (
            {"question": "q", "options": ["x", "y"], "label": "B", "answer": None},
            Q,
            {"choices": ("x", "y"), "answer": "y"},
        ),
    ],
    "ARC rows": [
        (
            {"id": "a1", "question": "q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"},
            Q,
            {"id": "a1", "choices": ("x", "y"), "answer": "y"},
        ),
        (
            {"question": "q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "1"},
            Q,
            {"choices": ("x", "y"), "answer": "x"},
        ),
        (
            {
                "id": "a1",
                "question": {"stem": "q", "choices": [{"text": "x", "label": "A"}, {"text": "y", "label": "B"}]},
                "answerKey": "A",
            },
            Q,
            {"id": "a1", "choices": ("x", "y"), "answer": "x"},
        ),
    ],
    "SQuAD rows": [
        (
            {
                "id": "s",
                "question": "who?",
                "context": "c",
                "answers": {"text": ["a", "b", "a"], "answer_start": [1, 2, 3]},
            },
            ("c\n\nwho?",),
            {"id": "s", "answer": "a", "check": {"contains": ["a", "b"]}},
        ),
        ({"question": "who?", "context": "c", "answers": {"text": ["a"]}}, ("c\n\nwho?",), {"answer": "a"}),
    ],
    "HellaSwag rows": [
        (
            {"ctx": "q", "endings": ["x", "y"], "label": "1", "source_id": "video", "ind": 3},
            Q,
            {"choices": ("x", "y"), "answer": "y", "cluster": "video"},
        )
    ],
    "GSM8K rows": [
        (
            {"question": "q", "answer": "2 + 2 = <<2+2=4>>4\n#### 1,250"},
            Q,
            {"answer": "1250", "check": {"numeric": 1250.0}},
        ),
        ({"question": "q", "answer": "#### 3,5"}, Q, {"answer": "3,5", "check": {"numeric": 3.5}}),
    ],
    "IFEval rows": [
        (
            {
                "key": 1000,
                "prompt": "q",
                "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
                "kwargs": [{}, {"relation": "at least", "num_words": 300}],
            },
            Q,
            {"id": "1000", "check": {"constraints": {"raw_patterns": [r"\A(?=\s*\S)[^,]*\Z"], "words": [300, None]}}},
        )
    ],
    "BoolQ rows": [
        (
            {"question": "is it", "passage": "p", "answer": True, "title": "t"},
            ("p\n\nis it?",),
            {"choices": ("no", "yes"), "answer": "yes"},
        ),
        (
            {"question": "is it?", "passage": "p", "label": 0},
            ("p\n\nis it?",),
            {"choices": ("no", "yes"), "answer": "no"},
        ),
    ],
    "no_robots or UltraChat rows": [
        (
            {"prompt": "q", "prompt_id": "p1", "messages": chat("q", "a"), "category": "Coding"},
            Q,
            {"id": "p1", "answer": "a", "tags": ("Coding",)},
        )
    ],
    "Langfuse export": [
        ({"id": "i", "input": "q", "expectedOutput": "a", "metadata": {}}, Q, {"id": "i", "answer": "a"}),
        ({"id": "i", "input": {"messages": chat("q")}, "expectedOutput": {"content": "a"}}, Q, {"answer": "a"}),
        ({"id": "t", "input": chat("q"), "output": {"content": "r"}, "traceId": "x"}, Q, {"id": "t"}),
    ],
    "rows with a column for each option": [
        (
            {"question": "q", "A": "x", "B": "y", "answer": "B", "subject": "law"},
            Q,
            {"choices": ("x", "y"), "answer": "y", "tags": ("law",)},
        ),
        ({"prompt": "q", "A": "x", "B": "y", "C": "", "answer": "a"}, Q, {"choices": ("x", "y"), "answer": "x"}),
        (
            {"question": "q", "option_a": "x", "option_b": "y", "correct": "option_b"},
            Q,
            {"choices": ("x", "y"), "answer": "y"},
        ),
        ({"question": "q", "opa": "x", "opb": "y", "cop": 1}, Q, {"choices": ("x", "y"), "answer": "y"}),
        ({"goal": "q", "sol1": "x", "sol2": "y", "label": 0}, Q, {"choices": ("x", "y"), "answer": "x"}),
        (
            {"context": "c", "question": "q", "answerA": "x", "answerB": "y", "label": "B"},
            ("c\n\nq",),
            {"choices": ("x", "y"), "answer": "y"},
        ),
    ],
    "queries": [({"query": "q"}, Q, {})],
    "instructions": [({"instruction": "q"}, Q, {})],
}

CASES = [(name, *case) for name, cases in ROWS.items() for case in cases]


@pytest.mark.parametrize(("name", "row", "texts", "rest"), CASES)
def test_rows_of_each_shape_are_read(
    tmp_path: Path, name: str, row: dict[str, Any], texts: tuple[str, ...], rest: dict[str, Any]
) -> None:
    path = jsonl(tmp_path, row)
    suite = read_suite("s", path, needs=Needs())
    (item,) = suite.items
    assert suite.notes[0] == f"read as {name}"
    assert tuple(message.content for message in item.messages) == texts
    assert {f: getattr(item, f) for f in ("choices", "answer", "tags", "cluster", "check")} == {
        "choices": (),
        "answer": None,
        "tags": (),
        "cluster": None,
        "check": None,
        **{field: value for field, value in rest.items() if field != "id"},
    }
    assert item.id == rest["id"] if "id" in rest else item.id
    assert item.messages[-1].role == "user"
    training = read_training_texts(path)
    assert (training.shape, training.rows) == (name, 1)
    assert list(training.texts()) == ["\n".join(m.content for m in item.messages if m.role == "user")]


def test_every_shape_has_rows_that_are_tried() -> None:
    assert {shape.name for shape in SHAPES if shape.suites} == set(ROWS)


@pytest.mark.parametrize("name", [name for name in ROWS if name not in ("ftgate rows", "Langfuse export")])
def test_each_shape_is_recognised_in_tables_too(tmp_path: Path, name: str) -> None:
    row, texts, _ = ROWS[name][0]
    (tmp_path / "rows.csv").write_text(csv_of(row))
    parquet.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    for suffix in ("csv", "parquet"):
        suite = read_suite("s", tmp_path / f"rows.{suffix}", needs=Needs())
        assert suite.notes[0] == f"read as {name}", suffix
        assert tuple(message.content for message in suite.items[0].messages) == texts


def csv_of(row: Mapping[str, Any]) -> str:
    cells = [value if isinstance(value, str) else json.dumps(value) for value in row.values()]
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    return ",".join(row) + "\n" + ",".join(quoted) + "\n"


def test_a_row_of_another_shape_is_named_not_guessed(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": f"x\n#### {i}"} for i in range(5)]
    path = jsonl(tmp_path, *rows, {"question": "q", "answer": "plain 7"}, {"instruction": "do", "output": "x"})
    with pytest.raises(DatasetError) as caught:
        read_suite("s", path, needs=Needs())
    assert "rows.jsonl:6: the answer ends with no number after ####" in caught.value.message
    assert "rows.jsonl:7: no `question` and no `answer`, and the file is read as GSM8K rows" in caught.value.message


def test_a_conversation_without_a_reply_is_named_among_those_with_one(tmp_path: Path) -> None:
    rows = [{"messages": chat(f"q{i}", "a")} for i in range(3)]
    path = jsonl(tmp_path, *rows, {"messages": chat("q")})
    with pytest.raises(DatasetError, match=r"rows.jsonl:4: the last message is not from the assistant"):
        read_suite("s", path, needs=Needs())
    assert read_training_texts(path).rows == 4, "its text is training text all the same"


def test_images_are_refused_by_name_and_counted_in_training_data(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "x"}}
    rows = [{"messages": [{"role": "user", "content": [image, {"type": "text", "text": "what?"}]}, *chat("", "a")[1:]]}]
    path = jsonl(tmp_path, *({"messages": chat(f"q{i}", "a")} for i in range(2)), *rows)
    with pytest.raises(DatasetError, match=r"rows.jsonl:3: message 1 holds an 'image_url' part"):
        read_suite("s", path, needs=Needs())
    training = read_training_texts(path)
    assert (training.rows, training.skipped) == (2, 1)
    assert training.reading() == (
        "2 of 3 rows have user text, read as OpenAI chat rows; of the others: "
        "message 1 holds an 'image_url' part, and only text can be asked"
    )


def test_content_parts_among_plain_texts_are_read_alike(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "what is in picture 1?"}]
    rows = [{"messages": [{"role": "user", "content": c}, *chat("", "x")[1:]]} for c in ("plain question", parts) * 20]
    training = read_training_texts(jsonl(tmp_path, *rows))
    assert training.reading() == "40 rows, read as OpenAI chat rows"
    assert list(training.texts())[:2] == ["plain question", "what is in picture 1?"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"question": "q", "option1": "x", "option2": "y", "answer": "2"}, "'2' can be the option numbered so, or"),
        ({"question": "q", "context": {"contexts": ["c"]}, "answer": "a"}, "a context that is an object"),
        ({"question": "q", "choices": {"text": ["x"], "label": ["A"]}, "answerKey": "C"}, "answerKey 'C' is none of"),
        ({"instruction": "q", "output": "a", "history": [["x"]]}, "history is no list of pairs or turns"),
        ({"messages": chat("<image> q", "a"), "images": ["a.png"]}, "the row has `images`, and only text can be asked"),
        ({"query": "q", "options": ["x", "y"], "label": 1}, "the row has `options`, which queries do not have"),
        ({"query": "q", "choices": ["x", "y"], "gold": 1}, "the row has `choices`, which queries do not have"),
        ({"prompt": "q", "messages": chat("q"), "system": "s"}, "both prompt and messages"),
        (
            {"messages": [{"role": "system", "content": "s"}, *chat("q", "a")], "system": "t"},
            "two different system texts",
        ),
        ({"messages": chat("q", "a"), "answer": "b"}, "the last message is from assistant, and the answer 'b' is not"),
    ],
)
def test_a_fault_of_the_reference_is_none_of_training_data(tmp_path: Path, row: dict[str, Any], fault: str) -> None:
    path = jsonl(tmp_path, row)
    with pytest.raises(DatasetError) as caught:
        read_suite("s", path, needs=Needs())
    assert fault in caught.value.message
    assert read_training_texts(path).rows == 1


def test_an_empty_field_is_told_from_a_missing_one(tmp_path: Path) -> None:
    rows = [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": ""}]
    with pytest.raises(DatasetError, match=r"rows.jsonl:2: `output` is empty, and the file is read as Alpaca rows"):
        read_suite("s", jsonl(tmp_path, *rows), needs=Needs())


def test_options_without_an_answer_are_asked(tmp_path: Path) -> None:
    row = {"question": "q", "choices": {"label": ["A", "B"], "text": ["x", "y"]}, "answerKey": ""}
    (item,) = read_suite("s", jsonl(tmp_path, row), needs=Needs()).items
    assert (item.choices, item.answer) == (("x", "y"), None)


def test_objects_as_python_prints_them_in_a_table_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f'messages\n"{chat("q", "a")}"\n')
    assert read_suite("s", path, needs=Needs()).items[0].answer == "a"
    path.write_text("question,choices,answerKey\nq,\"{'text': ['x', 'y'], 'label': ['A', 'B']}\",B\n")
    assert read_suite("s", path, needs=Needs()).items[0].answer == "y"
    path.write_text("question,choices,answer\nq,\"{'text': Series(['x', 'y'])}\",1\n")
    with pytest.raises(DatasetError, match=r"rows.csv:2: choices is an object that is not JSON"):
        read_suite("s", path, needs=Needs())


def test_columns_that_nothing_reads_are_named_once(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *({"prompt": f"q{i}", "label": "x", "idx": i} for i in range(3)))
    assert read_suite("s", path, needs=Needs()).notes == (
        "read as ftgate rows",
        "`label`, `idx` are not used; map what matters with `columns`",
    )


def test_fields_of_ftgate_that_a_shape_does_not_read_are_named_too(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"messages": chat("q", "a"), "prompt": "other"}, {"messages": chat("r", "a")})
    assert read_suite("s", path, needs=Needs()).notes[1:] == ("`prompt` is not used; map what matters with `columns`",)


def test_an_instruction_that_no_check_expresses_leaves_its_row_out_by_name(tmp_path: Path) -> None:
    good = {"prompt": "q", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    bad = {"instruction_id_list": ["language:tone"], "kwargs": [{}]}
    suite = read_suite(
        "s", jsonl(tmp_path, good, {"prompt": "r", **bad}, {"prompt": "s", **bad}), needs=Needs(check=True)
    )
    assert [item.messages[0].content for item in suite.items] == ["q"]
    assert suite.notes[1:] == ("left out: no check of ftgate can express language:tone (2 rows: lines 2, 3)",)
    assert read_training_texts(tmp_path / "rows.jsonl").rows == 3


INSTRUCTIONS: list[tuple[list[str], list[dict[str, Any]], str, str]] = [
    (["keywords:existence"], [{"keywords": ["mild", "sun"]}], "Mildly SUNNY", "mild"),
    (
        ["keywords:frequency"],
        [{"keyword": "tea", "frequency": 2, "relation": "at least"}],
        "tea\nand Tea",
        "tea",
    ),
    (["keywords:frequency"], [{"keyword": "tea", "frequency": 2, "relation": "less than"}], "tea", "tea tea"),
    (["keywords:forbidden_words"], [{"forbidden_words": ["tea"]}], "teapot", "a tea"),
    (["keywords:letter_frequency"], [{"letter": "z", "let_frequency": 2, "let_relation": "at least"}], "Zz", "z"),
    (["length_constraints:number_sentences"], [{"num_sentences": 2, "relation": "less than"}], "One.", "One. Two."),
    (
        ["length_constraints:nth_paragraph_first_word"],
        [{"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "weekend"}],
        "One.\n\nWeekend two.",
        "Weekend one.\n\nTwo.",
    ),
    (
        ["language:response_language", "punctuation:no_comma"],
        [{"language": "sw"}, {}],
        "Hii ni sentensi iliyoandikwa kwa Kiswahili.",
        "This is a sentence in English.",
    ),
    (["length_constraints:number_paragraphs"], [{"num_paragraphs": 2}], "*** a\n\nb *** c ***", "a *** b *** c"),
    (["length_constraints:number_paragraphs"], [{"num_paragraphs": 3}], "a***b***c", "a *** *** b *** c"),
    (["combination:two_responses"], [{}], "******\na b\n******\na b.", "a b\n******\na b\n"),
    (["combination:two_responses"], [{}], "a ****** b", "a ****** b ****** c"),
    (["detectable_content:number_placeholders"], [{"num_placeholders": 2}], "[name] at [place]", "[name]"),
    (["detectable_content:postscript"], [{"postscript_marker": "P.S."}], "Bye.\nP.S. Hi", "Bye."),
    (["detectable_format:number_bullet_lists"], [{"num_bullets": 2}], "* a\n* b", "* a"),
    (["detectable_format:constrained_response"], [{}], "My answer is yes.", "yes"),
    (["detectable_format:number_highlighted_sections"], [{"num_highlights": 2}], "*a* and *b*", "*a*"),
    (
        ["detectable_format:multiple_sections"],
        [{"section_spliter": "Part", "num_sections": 2}],
        "Part 1 a Part 2",
        "Part 1",
    ),
    (["detectable_format:json_format", "punctuation:no_comma"], [{}, {}], '{"a": 1}', '{"a": 1, "b": 2}'),
    (["detectable_format:json_format"], [{}], "[1]", "Here it is: [1]"),
    (["detectable_format:json_format"], [{}], '```json\n{"a": 1}\n```', "none"),
    (["detectable_format:title"], [{}], "<<Tea>>\nx", "Tea"),
    (["combination:repeat_prompt"], [{"prompt_to_repeat": "Say **it**."}], "Say **it**. It.", "It."),
    (["startend:end_checker"], [{"end_phrase": "Is that all?"}], "x Is that all?", "Is that all? x"),
    (["startend:quotation"], [{}], '"x"', "x"),
    (["change_case:capital_word_frequency"], [{"capital_frequency": 2, "capital_relation": "at least"}], "A BC", "A b"),
    (
        ["change_case:capital_word_frequency"],
        [{"capital_frequency": 2, "capital_relation": "less than"}],
        "A b",
        "A BC",
    ),
    (["change_case:english_capital"], [{}], "ABC", "Abc"),
    (["change_case:english_lowercase"], [{}], "abc", "Abc"),
    (["keywords:existence", "keywords:existence"], [{"keywords": ["a"]}, {"keywords": ["b"]}], "ab", "a"),
    (
        ["detectable_format:number_highlighted_sections", "change_case:capital_word_frequency"],
        [{"num_highlights": 1}, {"capital_frequency": 1, "capital_relation": "at least"}],
        "*a* B",
        "*a* b",
    ),
]


@pytest.mark.parametrize(("ids", "arguments", "good", "bad"), INSTRUCTIONS)
def test_an_instruction_becomes_a_check(
    tmp_path: Path, ids: list[str], arguments: list[dict[str, Any]], good: str, bad: str
) -> None:
    row = {"prompt": "q", "instruction_id_list": ids, "kwargs": [{**a, "unrelated": None} for a in arguments]}
    (item,) = read_suite("s", jsonl(tmp_path, row), needs=Needs(check=True)).items
    assert item.check is not None
    assert meets(item.check, good)
    assert not meets(item.check, bad)


@pytest.mark.parametrize(
    "ids",
    [
        ["change_case:english_capital", "change_case:english_lowercase"],
        ["a:b"],
        [3],
        ["length_constraints:number_words"],
    ],
)
def test_what_cannot_be_one_check_is_left_out(ids: list[Any]) -> None:
    shape = recognise([{"prompt": "q", "instruction_id_list": ids}], suite=True)
    assert shape.converted({"prompt": "q", "instruction_id_list": ids})[LEFT_OUT]


def test_the_first_rows_decide_and_the_better_fit_wins() -> None:
    chat_row, plain = {"messages": chat("q", "a")}, {"messages": chat("q")}
    assert recognise([chat_row] * 3 + [plain] * 2, suite=True).name == "OpenAI chat rows"
    assert recognise([chat_row] * 2 + [plain] * 3, suite=True).name == OWN.name
    assert recognise([], suite=True) is OWN
    assert recognise([{"text": "x"}], suite=True) is OWN
    assert recognise([{"text": "x"}], suite=False).name == "plain text"


names = st.sampled_from(sorted({name for shape in SHAPES for name in (*shape.needs, *shape.uses)}))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 5), st.sampled_from(["", "a", "A", "#### 4", "user", "1"])
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["role", "content", "text", "label", "type", "from"]), inner, max_size=3),
        st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": inner}), max_size=3),
    ),
    max_leaves=8,
)


@given(rows=st.lists(st.dictionaries(names, values, max_size=5), min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
def test_every_row_is_read_or_named(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = jsonl(tmp_path, *rows)
    file = ShapedFile(path, suite=True)
    read = named = 0
    for _, row in file:
        usable = isinstance(row, FileRow) and not row.fields.get(LEFT_OUT)
        result = read_item(row, Needs(), make_ids=not file.has_ids) if usable else []  # type: ignore[arg-type]
        read += not isinstance(result, list)
        named += isinstance(result, list)
    assert read + named == len(rows)
    training_rows = sum(1 for _ in ShapedFile(path, suite=False))
    assert training_rows == len(rows)
    try:
        suite = read_suite("s", path, needs=Needs())
        assert len(suite.items) + len(suite.repeats) <= read
    except DatasetError as error:
        str(error).encode()
    try:
        training = read_training_texts(path)
        assert training.rows + training.skipped == len(rows)
        assert len(list(training.texts())) == training.rows
        assert len(list(training.passages())) == len(rows)
    except DatasetError as error:
        str(error).encode()


@given(row=st.dictionaries(names, values, max_size=6))
@settings(deadline=None, max_examples=150)
def test_no_row_breaks_a_shape(row: dict[str, Any]) -> None:
    for shape in SHAPES:
        shape.fits(row)


def test_conversations_of_a_log_end_with_their_last_user_turn(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"conversation": chat("a", "b", "c", "d")}, {"conversation": chat("e")})
    log = read_training_texts(path, what="query log")
    assert [turns for turns, _ in log.conversations()] == [
        (Message("user", "a"), Message("assistant", "b"), Message("user", "c")),
        (Message("user", "e"),),
    ]
    assert list(log.texts()) == ["a\nc", "e"]


def test_made_ids_do_not_depend_on_the_place_in_the_file(tmp_path: Path) -> None:
    rows = [{"messages": chat(f"q{i}", f"a{i}")} for i in range(3)]

    def ids(*order: int) -> list[tuple[str, str]]:
        items: tuple[Item, ...] = read_suite("s", jsonl(tmp_path, *(rows[i] for i in order)), needs=Needs()).items
        return sorted((item.messages[0].content, item.id) for item in items)

    assert ids(0, 1, 2) == ids(2, 0, 1)
