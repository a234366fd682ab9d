"""The rows that both sides are asked, and the files in which each side reads them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import yaml

from examples.tinyworld.skills import free_form, multiple_choice
from examples.tinyworld.suites import distinct, shingles
from examples.tinyworld.tickets import ALL, EDGE, plain
from examples.tinyworld.world import Row
from ftgate.cli.demo import find_world

SEED = 1907
MAX_TOKENS = 16
"""Of a free-form answer, on both sides."""
JUDGED = "general"
SUITES = {"target": "tickets", "forgetting": JUDGED, "tail": "queries", "calibration": "choices"}
"""The suite of each measurement."""
OPTIONS = "{% for choice in choices %}\n{{letters[loop.index0]}}. {{choice}}{% endfor %}\nReply with one letter."
ENGINE: Mapping[str, Any] = {"dtype": "float32", "max_model_len": 384}
"""What the policy says of the engine; the peers are given what ftgate starts it with."""


def draw(rows: int) -> dict[str, list[Row]]:
    """``rows`` rows of each suite, drawn as the tiny world's own are: none twice, none in the training data."""
    rng, seen = random.Random(SEED), set[str]()
    trained = (json.loads(line)["prompt"] for line in (find_world() / "evals" / "train.jsonl").open(encoding="utf-8"))
    avoid = set[tuple[str, ...]]().union(*map(shingles, trained))
    of_tag = rows // (2 * len(EDGE))
    queries = distinct(partial(plain, rng, ALL), rows - of_tag * len(EDGE), seen, avoid)
    for edge in EDGE:
        queries += distinct(partial(edge, rng, ALL), of_tag, seen, avoid)
    rng.shuffle(queries)
    choices: dict[tuple[str, ...], Row] = {}
    while len(choices) < rows:
        row = multiple_choice(rng)
        choices.setdefault((row.prompt, *sorted(row.choices)), row)
    return {
        "tickets": distinct(partial(plain, rng, ALL), rows, seen, avoid),
        "queries": queries,
        JUDGED: distinct(partial(free_form, rng), rows, set(), set()),
        "choices": list(choices.values()),
    }


def write(folder: Path, rows: int) -> None:
    """The same rows for both: ``policy.yml`` with its suites, and in ``tasks/`` a task of lm-eval for each."""
    tasks = folder / "tasks"
    tasks.mkdir(parents=True)
    for name, drawn in draw(rows).items():
        records = [row.record(f"{name}-{number:04d}") for number, row in enumerate(drawn, 1)]
        write_lines(folder / f"{name}.jsonl", records)
        write_lines(tasks / f"{name}.jsonl", [document(record) for record in records])
        (tasks / f"{name}.yaml").write_text(
            yaml.safe_dump(task(tasks, name, by_letter=name != JUDGED), sort_keys=False), encoding="utf-8"
        )
    (folder / "policy.yml").write_text(yaml.safe_dump(_policy(folder / "cache"), sort_keys=False), encoding="utf-8")


def write_manifest(folder: Path, candidate: str) -> Path:
    """The manifest of one of the tiny world's candidates."""
    paths = {"base": "models/base", "candidate": f"models/{candidate}", "training_data": "evals/train.jsonl"}
    manifest = {"name": candidate, **{role: {"source": str(find_world() / path)} for role, path in paths.items()}}
    path = folder / f"{candidate}.yml"
    path.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    return path


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def document(record: dict[str, Any]) -> dict[str, Any]:
    """A row as lm-eval's task reads it: the right choice by its number."""
    if "choices" not in record:
        return record
    choices, answer = record["choices"], record["answer"]
    gold = answer if isinstance(answer, int) else choices.index(answer)
    return {**record, "letters": list(ascii_uppercase[: len(choices)]), "gold": gold}


def task(folder: Path, name: str, *, by_letter: bool) -> dict[str, Any]:
    """A task as its users write one; multiple choice is read by letter, as ftgate does."""
    options, kind = (OPTIONS, _by_letter()) if by_letter else ("", _generated())
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / f"{name}.jsonl")}},
        "test_split": "test",
        "doc_to_text": "<|user|>{{prompt}}" + options + "<|end|><|assistant|>",
        "target_delimiter": "",
        **kind,
    }


def _generated() -> dict[str, Any]:
    return {
        "output_type": "generate_until",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["<|end|>"], "max_gen_toks": MAX_TOKENS, "do_sample": False},
        "metric_list": [{"metric": "exact_match"}],
    }


def _by_letter() -> dict[str, Any]:
    return {
        "output_type": "multiple_choice",
        "doc_to_choice": "{{letters}}",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}],
    }


def _policy(cache: Path) -> dict[str, Any]:
    """The tiny world's own policy with other suites, and an empty ``cache``: nothing of earlier runs."""
    policy: dict[str, Any] = yaml.safe_load((find_world() / "policy.yaml").read_text(encoding="utf-8"))
    for measurement, suite in SUITES.items():
        policy["measurements"][measurement]["dataset"] = f"{suite}.jsonl"
    del policy["manifests"]
    policy["judge"]["source"] = str(find_world() / "models" / "judge")
    policy["engine"] |= ENGINE
    policy["artifacts"]["cache"] = str(cache)
    policy["artifacts"]["allow"] = [f"{find_world()}/models/*"]
    return policy
