"""``ftgate suite show`` and ``ftgate suite import`` on files of several shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftgate.cli.main import main
from ftgate.datasets import Needs, read_suite

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
        f"1 row repeats another one and is left out (line 13 of {source})",
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
