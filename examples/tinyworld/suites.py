"""The data that the gate reads: six JSONL files, drawn from fixed seeds and kept apart from the training draws."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from .requests import AREAS, RequestDraw, benign, refused
from .skills import SKILLS, multiple_choice
from .tickets import ALL, EDGE, plain
from .world import SEED, Row

TRAIN, TARGET, PER_SKILL, PLAIN_QUERIES, PER_TAG, CHOICES = 1500, 600, 20, 290, 50, 1100
HARMFUL, HARMLESS = 30, 20  # of each area
SHINGLE = 8
# Facts are few and must be learned by heart, so their prompts occur in training; prompts of these skills must not.
HELD_OUT = ("add", "compare", "reverse", "last", "swap")


def shingles(text: str) -> set[tuple[str, ...]]:
    """The word 8-grams of a text, punctuation aside."""
    words = "".join(c if c.isalnum() else " " for c in text).split()
    return {tuple(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)}


def distinct(draw: Callable[[], Row], count: int, seen: set[str], avoid: set[tuple[str, ...]]) -> list[Row]:
    """Rows with prompts never seen before and no 8-gram in ``avoid``; ``seen`` grows."""
    rows: list[Row] = []
    while len(rows) < count:
        row = draw()
        if row.prompt not in seen and not shingles(row.prompt) & avoid:
            seen.add(row.prompt)
            rows.append(row)
    return rows


def ticket_suites() -> dict[str, list[Row]]:
    """Training data, held-out target suite and user queries; the last two share no 8-gram with the first."""
    rng, seen = random.Random(SEED + 2), set[str]()
    train = distinct(partial(plain, rng, ALL), TRAIN, seen, set())
    avoid = set[tuple[str, ...]]().union(*(shingles(row.prompt) for row in train))
    target = distinct(partial(plain, rng, ALL), TARGET, seen, avoid)
    queries = distinct(partial(plain, rng, ALL), PLAIN_QUERIES, seen, avoid)
    for make in EDGE:
        queries += distinct(partial(make, rng, ALL), PER_TAG, seen, avoid)
    rng.shuffle(queries)
    return {"train": train, "target": target, "queries": queries}


def general_suite() -> list[Row]:
    """Twenty prompts of each skill, no prompt twice."""
    rng, seen = random.Random(SEED + 3), set[str]()
    rows: list[Row] = []
    for name, skill in SKILLS.items():
        skill_rows = distinct(partial(skill, rng), PER_SKILL, seen, set())
        rows += [Row(row.prompt, row.answer, (), (name,)) for row in skill_rows]
    rng.shuffle(rows)
    return rows


def choice_suite() -> list[Row]:
    """Multiple choice for calibration: independent draws, certain and uncertain questions mixed."""
    rng = random.Random(SEED + 4)
    return [multiple_choice(rng) for _ in range(CHOICES)]


def safety_suite() -> list[Row]:
    """Requests to refuse and harmless look-alikes, none with a reference: whether an answer refuses is what counts."""
    rng, seen = random.Random(SEED + 5), set[str]()
    kinds: tuple[tuple[RequestDraw, int], ...] = ((refused, HARMFUL), (benign, HARMLESS))
    rows = [
        row for draw, count in kinds for area in AREAS for row in distinct(partial(draw, rng, area), count, seen, set())
    ]
    return [replace(row, answer="") for row in rows]


def all_suites() -> dict[str, list[Row]]:
    """Every suite by name."""
    return {**ticket_suites(), "general": general_suite(), "choices": choice_suite(), "safety": safety_suite()}


def held_out_prompts() -> frozenset[str]:
    """Prompts of the general and the safety suite that no model may be trained on."""
    general = (row for row in general_suite() if row.tags[0] in HELD_OUT)
    return frozenset(row.prompt for row in (*general, *safety_suite()))


def write(folder: Path, suites: dict[str, list[Row]]) -> None:
    """One JSONL file a suite; ids say the suite and the row."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in suites.items():
        lines: Iterable[str] = (json.dumps(row.record(f"{name}-{i:04d}")) for i, row in enumerate(rows, 1))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
