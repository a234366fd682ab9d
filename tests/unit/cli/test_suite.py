"""``ftgate suite show`` and ``ftgate suite import`` on files of several shapes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from ftgate.cli.main import main
from ftgate.datasets import Needs, read_suite

TASKS = Path(__file__).resolve().parents[2] / "support" / "lm_eval"
LONG = "what is the sum of the two, if you add up " + " ".join(map(str, range(100, 140))) + "?"
MMLU = [
    {"question": f"{i} and {i}: {LONG}", "choices": [str(2 * i), "none"], "answer": 0, "subject": "sums"}
    for i in range(12)
]


def write(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def output(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as left:
        main(["suite", *arguments])
    assert (left.value.code or 0) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_a_suite_is_shown_as_it_was_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "mmlu.jsonl", *MMLU, MMLU[0], {**MMLU[1], "question": MMLU[1]["question"] + "!"})
    text = output(capsys, "show", source)
    for part in (
        f"{source}: 14 rows, 13 distinct",
        "read as MMLU rows",
        f"1 row repeats another one and is left out (line 13 of `{source}`)",
        "with choices: 13, a reference answer: 13, a check: 0, a cluster: 0",
        "tags: sums 13",
        "near duplicates: 12 (lines 2 like 1, 3 like 1, 4 like 1, 5 like 1, 6 like 1, ...)",
        "139?\n    A. 0\n    B. none\n    Reply with one letter.",
        "reference: 0",
    ):
        assert part in text
    assert text.count("\nline ") == 3


def test_a_file_is_imported_as_rows_of_ftgate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = write(tmp_path / "mmlu.jsonl", *MMLU), tmp_path / "suite.jsonl"
    assert "read as MMLU rows" in output(capsys, "import", source, "--out", str(out))
    assert read_suite("s", out, needs=Needs()).sha256 == read_suite("s", Path(source), needs=Needs()).sha256
    assert "exists" in output(capsys, "import", source, "--out", str(out), code=2)
    assert "12 rows" in output(capsys, "import", source, "--out", str(out), "--force")


def test_fields_are_mapped_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"ask": "why", "a": "x", "b": "y", "gold": "b", "kind": "k"}
    arguments = ["--column=prompt={{ ask }}?", "--column=choices=a,b", "--column=answer=gold", "--column=tags=kind"]
    text = output(capsys, "show", write(tmp_path / "rows.jsonl", row), *arguments)
    for part in ("read as rows mapped by columns", "user: why?\n    A. x\n    B. y", "reference: y", "tags: k 1"):
        assert part in text


@pytest.mark.parametrize(
    ("arguments", "named"), [(["--column=prompt"], "no field"), (["--column=question=x"], "question")]
)
def test_a_wrong_mapping_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    assert named in output(capsys, "show", write(tmp_path / "rows.jsonl", *MMLU), *arguments, code=2)


def test_a_file_that_cannot_be_read_is_told_with_its_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "show", write(tmp_path / "rows.jsonl", *MMLU, {**MMLU[0], "answer": 7}), code=2)
    assert "(read as MMLU rows)" in text
    assert "rows.jsonl:13: the answer 7 is no place among the choices" in text


def test_a_built_in_suite_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "show", "builtin:general-800")
    assert "800 rows, 800 distinct" in text
    assert "read as ftgate rows" in text


def test_documents_of_a_task_are_shown_as_they_are_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "show", str(TASKS / "sentences.jsonl"))
    rows = [json.loads(line) for line in (TASKS / "sentences.jsonl").read_text().splitlines()]
    request = rows[0]["lm_eval"]
    assert text.count("\ndocument ") == 3
    assert f"prompt: {request['prompt']}" in " ".join(text.split()) or request["prompt"][-20:] in text
    assert text.count(" right continuation: ") == 3
    assert text.count(" wrong continuation: ") == sum(len(row["lm_eval"]["choices"]) - 1 for row in shown(rows))
    assert text.count("scored by acc") == 3
    assert "Reply with one letter" not in text
    texts = output(capsys, "show", str(TASKS / "last_word.jsonl"))
    assert "generated up to '<|end|>', '\\n', at most 12 tokens" in texts
    assert "scored by exact_match, filter last-word" in texts


def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return rows[:: max(1, len(rows) // 3)][:3]


def test_documents_that_only_their_task_can_score_are_not_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.jsonl"
    text = output(capsys, "import", str(TASKS / "last_word.jsonl"), "--out", str(out), code=2)
    assert "24 of 24 documents are answered with texts, which only the task last_word can score" in text
    assert "dataset: lm-eval:last_word" in text
    assert not out.exists()
    assert "23 rows" in output(capsys, "import", str(TASKS / "sentences.jsonl"), "--out", str(out))
    assert read_suite("s", out, needs=Needs()).items[0].request is not None


def test_a_task_has_no_columns_and_needs_the_harness(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "show", "lm-eval:arc_easy", "--column", "prompt=q", code=2)
    assert "lm-eval:arc_easy is a task, which brings its own prompts and choices" in text
    if importlib.util.find_spec("lm_eval") is None:
        text = output(capsys, "show", "tasks/own.yaml", code=2)
        assert "pip install 'finetune-gate[lm-eval]'" in text
