"""Known answers to built-in prompts: right ones in other words than the reference, and subtly wrong ones.

A script that compares answers with the reference takes the wrong ones for the better ones, so it fails a test on them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ftgate.datasets import dataset_paths
from ftgate.datasets.builtin import FOLDER, PREFIX
from ftgate.domain import Item, Message
from ftgate.judge.canaries import JudgeProbe
from ftgate.scoring.text import same_text

ALWAYS = f"{PREFIX}general-200"
"""The suite whose known answers are part of every test."""
RIGHT, WRONG = "right in other words", "subtly wrong"
"""The kinds of probe that are made of known answers."""


@dataclass(frozen=True, slots=True)
class KnownAnswers:
    """Answers to ``item`` that are known to be ``right``, in other words than its reference, and ``wrong``."""

    item: Item
    right: tuple[str, ...]
    wrong: tuple[str, ...]


def known_answers(dataset: str) -> tuple[KnownAnswers, ...]:
    """The known answers of ALWAYS, and those of ``dataset`` if it is another built-in suite.

    Ids are prefixed, so that no item is taken for one of a suite. Raises ConfigurationError if a file is not installed.
    """
    datasets = (ALWAYS, dataset) if dataset.startswith(PREFIX) else (ALWAYS,)
    paths = dict.fromkeys(path for name in datasets for path in dataset_paths(name, FOLDER, "dataset"))
    return tuple(entry for path in paths if _answers(path).is_file() for entry in _of_part(path))


def known_probes(answers: Sequence[KnownAnswers], most: int, rng: np.random.Generator) -> tuple[JudgeProbe, ...]:
    """A right and a wrong answer to each of up to ``most`` items, drawn from all capabilities in turn."""
    by_capability: Mapping[str, list[KnownAnswers]] = defaultdict(list)
    for i in rng.permutation(len(answers)):
        by_capability[next(iter(answers[i].item.tags), "")].append(answers[i])
    rounds = max(map(len, by_capability.values()), default=0)
    order = [group[k] for k in range(rounds) for group in by_capability.values() if k < len(group)]
    return tuple(
        JudgeProbe(entry.item, texts[int(rng.integers(len(texts)))], kind)
        for entry in order[:most]
        for kind, texts in ((RIGHT, entry.right), (WRONG, entry.wrong))
    )


@cache
def _of_part(path: Path) -> tuple[KnownAnswers, ...]:
    """The known answers to the rows of one file of a suite that have both kinds."""
    items, entries = {row["id"]: _item(row) for row in _rows(path)}, []
    for row in _rows(_answers(path)):
        item = items[row["id"]]
        reworded = tuple(text for text in row["right"] if not same_text(item.answer or "", text))
        if reworded and row["wrong"]:
            entries.append(KnownAnswers(item, reworded, tuple(row["wrong"])))
    return tuple(entries)


def _answers(path: Path) -> Path:
    """The known answers to the rows of ``path``; suites that no judge grades have none."""
    return path.with_name(f"{path.stem}-answers.jsonl")


def _rows(path: Path) -> list[dict[str, Any]]:
    """Rows that come with ftgate; its own tests hold their form."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _item(row: Mapping[str, Any]) -> Item:
    turns = row.get("messages") or [{"role": "user", "content": row["prompt"]}]
    messages = tuple(Message(turn["role"], turn["content"]) for turn in turns)
    return Item(f"known answers to {row['id']}", messages, answer=row["answer"], tags=tuple(row["tags"]))
