"""Answers to built-in prompts that people wrote: right ones in other words than the reference, and subtly wrong ones.

A script that compares an answer with the reference takes the wrong ones for the better ones, so it fails a test on them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ftgate.datasets import Needs, dataset_paths, read_suite
from ftgate.datasets.builtin import FOLDER, PREFIX
from ftgate.domain import Item
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

    Ids are prefixed, so that no item is taken for one of a suite. Raises ConfigurationError or DatasetError if the
    installed files are damaged.
    """
    datasets = (ALWAYS, dataset) if dataset.startswith(PREFIX) else (ALWAYS,)
    paths = dict.fromkeys(path for name in datasets for path in dataset_paths(name, FOLDER, "dataset"))
    known = []
    for path in paths:
        items = {item.id: item for item in read_suite(path.stem, path, needs=Needs(answer=True)).items}
        lines = path.with_name(f"{path.stem}-answers.jsonl").read_text(encoding="utf-8").splitlines()
        known += [_of_row(items[row["id"]], row) for row in map(json.loads, lines)]
    return tuple(entry for entry in known if entry.right and entry.wrong)


def known_probes(known: Sequence[KnownAnswers], most: int, rng: np.random.Generator) -> tuple[JudgeProbe, ...]:
    """A right and a wrong answer to each of up to ``most`` items, drawn from all capabilities in turn."""
    by_capability: Mapping[str, list[KnownAnswers]] = defaultdict(list)
    for i in rng.permutation(len(known)):
        by_capability[next(iter(known[i].item.tags), "")].append(known[i])
    rounds = max(map(len, by_capability.values()), default=0)
    order = [group[k] for k in range(rounds) for group in by_capability.values() if k < len(group)]
    return tuple(
        JudgeProbe(entry.item, texts[int(rng.integers(len(texts)))], kind)
        for entry in order[:most]
        for kind, texts in ((RIGHT, entry.right), (WRONG, entry.wrong))
    )


def _of_row(item: Item, row: Mapping[str, Sequence[str] | str]) -> KnownAnswers:
    reworded = tuple(text for text in row["right"] if not same_text(item.answer or "", text))
    return KnownAnswers(replace(item, id=f"known answers to {item.id}"), reworded, tuple(row["wrong"]))
