"""What `ftgate init` makes of data files: counts, shapes and uses, for any file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftgate.setup.contents import Contents, look_into
from ftgate.setup.data_files import DataFile, best_file, read_data_file, use_named

SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CHOICES = [
    {"question": f"Is {i} even?", "choices": ["yes", "no"], "answer": "no" if i % 2 else "yes"} for i in range(30)
]
ANSWERED = [{"prompt": f"Name number {i}.", "answer": f"number {i}"} for i in range(30)]
ASKED = [{"prompt": f"My order {i} is late!"} for i in range(30)]
TALKS = [
    {"messages": [{"role": "user", "content": f"Hello {i}"}, {"role": "assistant", "content": f"Hi {i}"}]}
    for i in range(30)
]


def written(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows({k: v if isinstance(v, str | int) else json.dumps(v) for k, v in r.items()} for r in rows)
    else:
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize(
    ("rows", "name", "uses"),
    [
        (CHOICES, "data", ("target", "choices", "queries", "training")),
        (CHOICES, "test", ("target", "choices")),
        (CHOICES, "mmlu", ("choices",)),
        (ANSWERED, "data", ("target", "queries", "training")),
        (ANSWERED, "train", ("training",)),
        (ANSWERED, "general", ("general",)),
        (ASKED, "data", ("queries", "training")),
        (ASKED, "test", ("queries", "training")),
        (TALKS, "sft", ("training",)),
    ],
)
def test_uses_follow_from_the_rows_and_the_name(
    tmp_path: Path, suffix: str, rows: list[dict], name: str, uses: tuple[str, ...]
) -> None:
    file = read_data_file(written(tmp_path / "rows" / f"{name}{suffix}", rows))
    assert (file.rows, file.uses, file.fault) == (30, uses, "")
    assert f"30 rows{'' if rows is ASKED else ' with'}" in file.in_words


@SETTINGS
@given(count=st.integers(1, 60), answered=st.integers(0, 60), choices=st.integers(0, 60))
def test_counts_are_those_of_the_rows_and_a_target_needs_an_answer_to_every_row(
    tmp_path: Path, count: int, answered: int, choices: int
) -> None:
    rows = [
        {"prompt": f"question {i}"}
        | ({"answer": "yes"} if i < answered else {})
        | ({"choices": ["yes", "no"]} if i < choices else {})
        for i in range(count)
    ]
    file = read_data_file(written(tmp_path / "data.jsonl", rows))
    assert (file.rows, file.answers, file.choices) == (count, min(answered, count), min(choices, count))
    assert ("target" in file.uses) == (answered >= count)
    assert ("choices" in file.uses) == (answered >= count and choices >= count)


@SETTINGS
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".jsonl", ".json", ".csv", ".tsv", ".parquet"]))
def test_a_file_of_anything_is_described_and_stops_nothing(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(content)
    file = read_data_file(path)
    assert bool(file.uses) != bool(file.fault)
    assert file.in_words
    assert "\n" not in file.shape


@pytest.mark.parametrize(
    ("path", "use"),
    [
        ("evals/train.jsonl", "training"),
        ("data/test.csv", "target"),
        ("evals/rows.csv", None),  # where the suites of every measurement lie
        ("validation/rows.csv", "target"),
        ("query_log.parquet", "queries"),
        ("constraints.jsonl", None),
        ("trainers-latest.csv", None),
        ("a/held-out.jsonl", "target"),
    ],
)
def test_a_name_says_a_use_as_a_word_of_its_own(path: str, use: str | None) -> None:
    assert use_named(Path(path)) == use


def test_a_file_is_a_default_if_its_name_says_so_or_nothing_else_suits() -> None:
    small, large = (DataFile(Path(f"{n}.csv"), rows=n, uses=("target",), named="target") for n in (10, 20))
    plain = DataFile(Path("a.csv"), rows=99, uses=("target",))
    assert best_file([small, large, plain], "target") == large
    assert best_file([plain], "target") == plain
    assert best_file([plain, DataFile(Path("b.csv"), rows=5, uses=("target",))], "target") is None
    assert best_file([small], "queries") is None


def test_models_results_and_environments_are_no_data(tmp_path: Path) -> None:
    written(tmp_path / "evals" / "target.jsonl", ANSWERED)
    for folder in ("out/bot", ".hidden", "node_modules", "env"):
        written(tmp_path / folder / "rows.jsonl", ANSWERED)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    model = tmp_path / "models" / "bot"
    written(model / "rows.jsonl", ANSWERED)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "package.json").write_text("{}")
    contents = look_into(tmp_path)
    assert [file.path.relative_to(tmp_path).as_posix() for file in contents.data] == ["evals/target.jsonl"]
    assert [m.path for m in contents.models] == [model]
    assert look_into(tmp_path / "nothing") == Contents()
