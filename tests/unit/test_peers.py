"""The comparison with other tools is fair: the same rows, asked in the same words, and ratios of like to like."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
import pytest
import yaml

from benchmarks.peers import suites
from benchmarks.peers.__main__ import BARE, OURS, PEERS, SECOND_OF_OURS, table
from benchmarks.peers.judge_script import FORM, RUBRIC
from benchmarks.peers.programs import Measured
from benchmarks.peers.requests import Usage
from ftgate.cli.demo import find_world
from ftgate.config.policy import read_policy
from ftgate.datasets import Needs, read_suite
from ftgate.domain import Message
from ftgate.judge.rubric import CRITERIA, judge_messages
from ftgate.scoring.choice import choice_messages, letters_for

ROWS = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("peers") / "rows"
    suites.write(written, ROWS)
    return written


def test_no_row_is_drawn_twice_and_none_was_trained_on() -> None:
    drawn = suites.draw(ROWS)
    assert {name: len(rows) for name, rows in drawn.items()} == dict.fromkeys(suites.SUITES.values(), ROWS)
    trained = {json.loads(line)["prompt"] for line in (find_world() / "evals" / "train.jsonl").open(encoding="utf-8")}
    for rows in drawn.values():
        assert len({(row.prompt, *sorted(row.choices)) for row in rows}) == ROWS
        assert not trained & {row.prompt for row in rows}
    assert drawn == suites.draw(ROWS), "the next run is asked the same"


@pytest.mark.parametrize("name", suites.SUITES.values())
def test_both_sides_read_the_same_words(folder: Path, name: str) -> None:
    """What the task's template makes of a document is what ftgate asks, in the model's own chat template."""
    task = yaml.safe_load((folder / "tasks" / f"{name}.yaml").read_text(encoding="utf-8"))
    documents = [json.loads(line) for line in (folder / "tasks" / f"{name}.jsonl").open(encoding="utf-8")]
    items = read_suite(name, folder / f"{name}.jsonl", needs=Needs()).items
    settings = json.loads((find_world() / "models" / "base" / "tokenizer_config.json").read_text(encoding="utf-8"))
    chat = jinja2.Template(settings["chat_template"])
    assert len(items) == len(documents) == ROWS
    for item, document in zip(items, documents, strict=True):
        messages = choice_messages(item) if item.choices else item.messages
        turns = [{"role": m.role, "content": m.content} for m in messages]
        asked = jinja2.Template(task["doc_to_text"]).render(document)
        assert asked == chat.render(messages=turns, add_generation_prompt=True)
        if item.choices:
            assert tuple(document["letters"]) == letters_for(item)
            assert item.choices[document["gold"]] == item.answer


def test_both_sides_have_the_same_engine_and_answer_as_long(folder: Path) -> None:
    policy = read_policy(folder / "policy.yml")
    assert {name: getattr(policy.engine, name) for name in suites.ENGINE} == suites.ENGINE
    task = yaml.safe_load((folder / "tasks" / f"{suites.JUDGED}.yaml").read_text(encoding="utf-8"))
    assert policy.measurements["forgetting"]["max_tokens"] == task["generation_kwargs"]["max_gen_toks"]


def test_the_script_around_the_judge_asks_as_the_judge_was_trained() -> None:
    system, user = judge_messages(CRITERIA[1], "ascending", (Message("user", "why?"),), "so", "because")
    chat = json.loads((find_world() / "models" / "judge" / "tokenizer_config.json").read_text())["chat_template"]
    turns = [{"role": m.role, "content": m.content} for m in (system, user)]
    rendered = jinja2.Template(chat).render(messages=turns, add_generation_prompt=True)
    assert FORM.format(RUBRIC, "why?", "because", "so") == rendered


def test_the_table_compares_each_side_of_ftgate_with_the_peers() -> None:
    sides = {
        OURS: Measured(30, 60, Usage(10, 100), Usage(5, 50), "allow"),
        PEERS: Measured(100, 240, Usage(20, 400), Usage(2, 20), "judge: 0.80 and 0.79"),
        SECOND_OF_OURS: Measured(10, 24, Usage(4, 40), Usage(1, 10), "block"),
        BARE: Measured(25, 50, Usage(10, 100), Usage(5, 50)),
    }
    lines = table(200, sides)
    assert lines[2] == f"| {OURS} | 30 | 60 | 0.30 | 0.25 | 15 | 150 | 5 | allow |"
    assert lines[4] == f"| {SECOND_OF_OURS} | 10 | 24 | 0.10 | 0.10 | 5 | 50 | 1 | block |"
    assert lines[-1].startswith("ftgate took 1.20 times the CPU seconds of bare")
    del sides[PEERS]
    assert table(200, sides)[2] == f"| {OURS} | 30 | 60 |  |  | 15 | 150 | 5 | allow |"
