"""What `ftgate init` makes of data files: counts, shapes and uses, for any file."""

from __future__ import annotations

import csv
import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.world import write_adapter, write_full

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
    for folder in ("out/bot", "out/again", ".hidden", "node_modules", "env"):
        written(tmp_path / folder / "rows.jsonl", ANSWERED)
    for name in ("bot/answers.jsonl", "bot/job.json", "again/report.json", "again/comment.md"):
        (tmp_path / "out" / name).write_text("{}")
    (tmp_path / "env" / "pyvenv.cfg").touch()
    model = write_full(tmp_path / "models" / "bot")
    written(model / "rows.jsonl", ANSWERED)
    (tmp_path / "package.json").write_text("{}")
    contents = look_into(tmp_path)
    assert [file.path.relative_to(tmp_path).as_posix() for file in contents.data] == ["evals/target.jsonl"]
    assert [m.path for m in contents.models] == [model]
    assert look_into(tmp_path / "nothing") == Contents()


def test_the_outputs_of_a_trainer_are_looked_into_whatever_their_folder_is_called(tmp_path: Path) -> None:
    write_full(tmp_path / "out" / "checkpoint-100")
    written(tmp_path / "data" / "answers.jsonl", ANSWERED)
    contents = look_into(tmp_path)
    assert [m.path.name for m in contents.models] == ["checkpoint-100"]
    assert [file.path.name for file in contents.data] == ["answers.jsonl"]


def test_of_many_data_files_those_are_read_whose_names_say_a_use(tmp_path: Path) -> None:
    for number in range(60):
        written(tmp_path / "dump" / f"a{number}.jsonl", ASKED[:1])
    written(tmp_path / "zoo" / "target.jsonl", ANSWERED)
    write_full(tmp_path / "zz")
    contents = look_into(tmp_path)
    assert contents.more
    assert "target.jsonl" in [file.path.name for file in contents.data]
    assert [m.path.name for m in contents.models] == ["zz"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet", ".json"])
def test_of_a_long_file_a_sample_shows_what_its_rows_are_like(tmp_path: Path, suffix: str) -> None:
    rows = [{"prompt": f"Name number {i}.", "answer": f"number {i}"} for i in range(30_000)]
    path = tmp_path / f"target{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        written(path, rows)
    before = time.process_time()
    file = read_data_file(path)
    assert time.process_time() - before < 1
    assert file.uses == ("target",)
    assert file.looked_at == 2000
    counted = {".json": "more than 2,000", ".csv": "about 30,001"}.get(suffix, "about 30,000")
    assert file.in_words.startswith(f"{counted} rows with answers (by the first 2,000), read as ")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("queries.txt", ".txt is not read; put the line"),
        ("test.xlsx", ".xlsx is not read; save it as CSV"),
        ("train/data-00000-of-00001.arrow", ".arrow is not read; write it as Parquet"),
        ("rows.ndjson", ".ndjson is not read; rename it to .jsonl"),
        ("test.jsonl", "line 1: not valid JSON"),
        ("target.csv", "is empty (no rows)"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_in_one_line(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("prompt\n" if name.endswith(".csv") else "My order is late\n", encoding="utf-8")
    (tmp_path / "requirements.txt").write_text("torch\n")
    (file,) = look_into(tmp_path).data
    assert file.uses == ()
    assert file.in_words.startswith(f"cannot be used: {reason}")
    assert "\n" not in file.in_words
    assert str(tmp_path) not in file.in_words


def test_a_broken_model_is_listed_with_the_reason_and_never_taken(tmp_path: Path) -> None:
    write_full(tmp_path / "base")
    write_adapter(tmp_path / "bot")
    faults = {
        "empty": ("adapter_config.json", "{}", "adapter_config.json: peft_type is None, not LORA"),
        "cut": ("adapter_config.json", '{"peft_type": "LORA"', "adapter_config.json: "),
        "pointer": ("adapter_model.safetensors", "version https://git-lfs", "adapter_model.safetensors: not a valid"),
    }
    for name, (file, content, _) in faults.items():
        write_adapter(tmp_path / name)
        (tmp_path / name / file).write_text(content, encoding="utf-8")
    write_adapter(tmp_path / "bare").joinpath("adapter_model.safetensors").unlink()
    write_adapter(tmp_path / "nameless").joinpath("adapter_config.json").unlink()
    write_full(tmp_path / "pickled").joinpath("model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "config.json").write_text('{"port": 80}')
    contents = look_into(tmp_path)
    words = {m.path.name: m.in_words for m in contents.models}
    assert {"base", "bot", "bare", "nameless", "pickled", *faults} == words.keys()
    for name, (_, _, reason) in faults.items():
        assert words[name].startswith(f"cannot be used: {reason}"), words[name]
    assert words["bare"].startswith("cannot be used: an adapter without safetensors weights")
    assert words["nameless"] == "cannot be used: adapter_config.json is missing"
    assert words["pickled"].startswith("cannot be used: full weights without model.safetensors")
    for name in faults:
        os.utime(tmp_path / name / "adapter_config.json", (1e10, 1e10))
    again = look_into(tmp_path)
    assert (again.base and again.base.path.name, again.candidate and again.candidate.path.name) == ("base", "bot")
