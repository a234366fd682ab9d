"""``ftgate tail build`` through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.world import write_adapter, write_rows

from ftgate.cli.main import main
from ftgate.datasets import Needs, read_suite
from ftgate.measurements.tail import Tail

WORDS = ["billing", "refund", "invoice", "card", "payment", "address", "order", "parcel", "return", "account"]
FOREIGN = [["planet", "orbit", "comet", "galaxy"], ["recipe", "flour", "oven", "yeast"]]


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["tail", "build", *arguments])
    return int(left.value.code or 0)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)

    def said(words: list[str], n: int) -> list[dict[str, Any]]:
        return [{"prompt": " ".join(rng.choice(words, 9).tolist())} for _ in range(n)]

    log = [*said(WORDS, 200), *said(FOREIGN[0], 25), *said(FOREIGN[1], 25)]
    write_rows(tmp_path / "train.jsonl", said(WORDS, 400))
    write_rows(tmp_path / "log.jsonl", [*log, *log[-5:], {"prompt": f"{log[-1]['prompt']}!"}])
    return [f"--queries={tmp_path / 'log.jsonl'}", f"--training={tmp_path / 'train.jsonl'}"]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def words_of(row: dict[str, Any]) -> set[str]:
    return set(row["messages"][0]["content"].lower().replace("!", "").split())


def test_unusual_queries_of_every_kind_without_answers(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "suite.jsonl"
    assert leave(*files, f"--out={out}", "--n=24") == 0
    found = rows(out)
    assert len(found) == 24
    assert all({"tail", "unlabelled"} <= set(row["tags"]) and "answer" not in row for row in found)
    for foreign in FOREIGN:
        assert sum(words_of(row) <= set(foreign) for row in found) >= 5, "each topic has its share"
    text = capsys.readouterr().out
    assert "24 items, embedded by hashed TF-IDF" in text
    assert "query log: 256 rows, read as " in text
    assert len(read_suite("tail", out, needs=Needs()).items) == 24


def test_a_log_of_no_known_shape_is_mapped_and_its_skipped_rows_are_told(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = [{"user_said": row["prompt"]} for row in rows(tmp_path / "log.jsonl")]
    write_rows(tmp_path / "said.jsonl", [*log, {"user_said": ""}])
    said = f"--queries={tmp_path / 'said.jsonl'}"
    assert leave(said, files[1], f"--out={tmp_path / 'a.jsonl'}", "--n=24") == 2
    assert "`ftgate tail build --column prompt=FIELD`" in capsys.readouterr().err
    assert leave(said, files[1], f"--out={tmp_path / 'a.jsonl'}", "--n=24", "--column=prompt=user_said") == 0
    text = capsys.readouterr().out
    assert "256 of 257 rows have user text" in text
    assert "'user_said', which `columns` names, is empty or missing" in text


def test_a_query_keeps_the_tools_that_it_was_asked_with(files: list[str], tmp_path: Path) -> None:
    out, log = tmp_path / "suite.jsonl", tmp_path / "log.jsonl"
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
    bare = {row["prompt"] for row in rows(log)[::2]}
    write_rows(log, [{"tools": tools if row["prompt"] not in bare else [], **row} for row in rows(log)])
    assert leave(*files, f"--out={out}", "--n=24", "--perturb=case") == 0
    found = rows(out)
    assert {row.get("tools") == tools for row in found if row["messages"][0]["content"] not in bare} >= {True}
    assert all("tools" not in row for row in found if row["messages"][0]["content"] in bare)
    assert all("tools" not in row for row in found if "perturbed" in str(row["tags"])), "they say all by themselves"


def test_a_query_keeps_the_conversation_that_it_ends(files: list[str], tmp_path: Path) -> None:
    out, log = tmp_path / "suite.jsonl", tmp_path / "log.jsonl"
    conversations = [
        [{"role": role, "content": text} for role, text in (("user", row["prompt"]), ("assistant", "yes?"))] * 2
        for row in rows(log)
    ]
    write_rows(log, [{"conversation": turns} for turns in conversations])
    assert leave(*files, f"--out={out}", "--n=24", "--perturb=case") == 0
    built = rows(out)
    assert built
    for row in built:
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant", "user"]
        assert row["messages"] in [turns[:3] for turns in conversations]


def test_changed_queries_are_tagged_by_what_they_are(files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "suite.jsonl"
    assert leave(*files, f"--out={out}", "--n=40", "--perturb=all") == 0
    changed = [row for row in rows(out) if "tail" not in row["tags"]]
    assert len(changed) == 10
    tags = {tag for row in changed for tag in row["tags"]}
    assert tags >= {"unusual_format", "multi_intent", "perturbed:typos", "perturbed:case", "perturbed:two_intents"}
    originals = {row["prompt"] for row in rows(tmp_path / "log.jsonl")}
    assert not originals & {row["messages"][0]["content"] for row in changed}
    suite = read_suite("tail", out, needs=Needs())
    assert Tail(dataset="x").items_that_decide(suite.items, trained=True) == 40, "all of them are the tail"


def test_the_same_seed_gives_the_same_file_and_another_does_not(files: list[str], tmp_path: Path) -> None:
    texts = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert leave(*files, f"--out={tmp_path / name}.jsonl", "--n=40", "--perturb=case", f"--seed={seed}") == 0
        texts.append((tmp_path / f"{name}.jsonl").read_bytes())
    assert texts[0] == texts[1] != texts[2]


def test_labels_are_not_written_over(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "suite.jsonl"
    out.write_text("labels\n")
    assert leave(*files, f"--out={out}") == 2
    assert "it may hold labels" in capsys.readouterr().err
    assert out.read_text() == "labels\n"
    assert leave(*files, f"--out={out}", "--n=5", "--force") == 0
    assert len(rows(out)) == 5


def test_asking_for_more_than_there_is(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "suite.jsonl"
    assert leave(*files, f"--out={out}", "--n=1000") == 0
    assert 230 <= len(rows(out)) <= 250, "repeats and near repeats count once"
    assert "of 1000 requested" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("log", "message"),
    [(b"", "query log"), (b"\xff\xfe\n", "not UTF-8"), (b'{"no": "text"}\n', "no user text"), (None, "no such file")],
)
def test_bad_logs_are_named(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], log: bytes | None, message: str
) -> None:
    path = tmp_path / "log.jsonl"
    path.unlink()
    if log is not None:
        path.write_bytes(log)
    assert leave(*files, f"--out={tmp_path / 'suite.jsonl'}") == 2
    assert message in capsys.readouterr().err


def test_a_training_file_of_one_text_is_named(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "train.jsonl", [{"prompt": "same"}] * 9)
    assert leave(*files, f"--out={tmp_path / 'suite.jsonl'}") == 2
    assert "only 1 distinct training rows" in capsys.readouterr().err


def test_an_adapter_named_as_the_model_is_told_from_a_broken_folder(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    assert leave(*files, f"--out={tmp_path / 'suite.jsonl'}", f"--model={adapter}") == 2
    said = capsys.readouterr().err
    assert "an adapter alone cannot embed texts" in said
    assert "its base" in said


def test_another_suffix_is_refused(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(*files, f"--out={tmp_path / 'suite.csv'}") == 2
    assert ".jsonl" in capsys.readouterr().err


def test_nothing_of_torch_is_imported(files: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom ftgate.cli.main import main\n"
        f"try:\n    main(['tail', 'build', *{files!r}, '--out', {str(tmp_path / 'x.jsonl')!r}, '--n', '5'])\n"
        "except SystemExit as left:\n    print(left.code, {'torch', 'vllm', 'transformers'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("0 set()")
