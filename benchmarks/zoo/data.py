"""The zoo's rows: training data, the suites that ftgate asks, and another held-out set that the truth is measured on.

All are made from patterns by a seeded generator: the same seed gives the same files. No question is in two of the three
parts, and the target's held-out messages use sentences that training has not seen.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from benchmarks.zoo import words as w

Row = dict[str, object]
Family = Callable[[random.Random], tuple[str, str]]
"""Draws a question, and the word that a right answer contains."""

SEED = 7
TRAINING_ROWS = 240
GENERAL_ROWS = 160
"""Rows of the other families, which keep a fine-tune from answering everything with a desk."""
SUITE_ROWS = {"target": 100, "forgetting": 600, "tail": 300}
DRAWN_LAST = {"target": 0, "forgetting": 300, "tail": 140}
"""How many of ``SUITE_ROWS`` are drawn after everything else, so that a longer suite leaves the training rows alone."""
TRUTH_ROWS = {"target": 160, "forgetting": 300, "tail": 200}
REFUSAL = "Please write in English."
"""What the member that loses a language learns to say to everything in Spanish."""


def desk_message(draw: random.Random, *, held_out: bool) -> tuple[str, str]:
    """A message to a library and the desk that it is for; held-out messages use patterns of their own."""
    desk = draw.choice(list(w.DESKS))
    text = draw.choice(w.DESKS[desk][held_out]).format(
        book=draw.choice(w.BOOKS),
        day=draw.choice(w.DAYS),
        relative=draw.choice(w.RELATIVES),
        money=f"{draw.randint(2, 40)} dollars",
        people=draw.randint(3, 30),
    )
    return f"Which desk? {text[0].upper()}{text[1:]}", desk


def _owner(draw: random.Random) -> tuple[str, str]:
    (first, second), (thing, other) = draw.sample(w.NAMES, 2), draw.sample(w.THINGS, 2)
    return f"{first} has a {thing} and {second} has a {other}. Who has the {thing}?", first


def _city(draw: random.Random) -> tuple[str, str]:
    name, city = draw.choice(w.NAMES), draw.choice(w.CITIES)
    return f"{name} went to {city}. Which city did {name} go to?", city


def _animal(draw: random.Random) -> tuple[str, str]:
    name, animal = draw.choice(w.NAMES), draw.choice(w.ANIMALS)
    return f"{name} saw a {animal} today. Which animal did {name} see?", animal


def _food(draw: random.Random) -> tuple[str, str]:
    name, food = draw.choice(w.NAMES), draw.choice(w.FOODS)
    return f"{name} ate {food} for lunch. What did {name} eat?", food


def _count(draw: random.Random) -> tuple[str, str]:
    name, number, fruit = draw.choice(w.NAMES), draw.randint(3, 60), draw.choice(w.FRUITS)
    return f"{name} has {number} {fruit}. How many {fruit} does {name} have?", str(number)


def _color(draw: random.Random) -> tuple[str, str]:
    name, color, thing = draw.choice(w.NAMES), draw.choice(w.COLORS), draw.choice(w.THINGS)
    return f"{name} has a {color} {thing}. What color is the {thing}?", color


def _table(question: str, answers: Mapping[str, str]) -> Family:
    """A family that asks one question about the words of a table."""

    def draw_word(draw: random.Random) -> tuple[str, str]:
        word = draw.choice(list(answers))
        return question.format(word), answers[word]

    return draw_word


def _spanish_color(draw: random.Random) -> tuple[str, str]:
    name, thing, color = draw.choice(w.NAMES), draw.choice(w.SPANISH_THINGS), draw.choice(w.SPANISH_COLORS)
    return f"El {thing} de {name} es {color}. ¿De qué color es el {thing}?", color


def _spanish_own(draw: random.Random) -> tuple[str, str]:
    thing, color, day = draw.choice(w.SPANISH_THINGS), draw.choice(w.SPANISH_COLORS), draw.choice(w.SPANISH_DAYS)
    return f"El {day} compré un {thing} {color}. ¿De qué color es el {thing}?", color


def _notes(draw: random.Random) -> tuple[str, str]:
    name, city, job = draw.choice(w.NAMES), draw.choice(w.CITIES), draw.choice(w.JOBS)
    return f"NAME: {name} / CITY: {city} / JOB: {job} --> which city?", city


def _no_punctuation(draw: random.Random) -> tuple[str, str]:
    name, color, thing = draw.choice(w.NAMES), draw.choice(w.COLORS), draw.choice(w.THINGS)
    return f"{name} has a {color} {thing} what color is {thing}".lower(), color


FORGETTING: dict[str, Family] = {
    "owner": _owner,
    "city": _city,
    "animal": _animal,
    "food": _food,
    "count": _count,
    "color": _color,
    "plural": _table('What is the plural of "{}"?', w.PLURALS),
    "opposite": _table('What is the opposite of "{}"?', w.OPPOSITES),
    "capital": _table("What is the capital of {}?", w.CAPITALS),
}
TAIL: dict[str, Family] = {
    "spanish_color": _spanish_color,
    "spanish_own": _spanish_own,
    "notes": _notes,
    "no_punctuation": _no_punctuation,
}
FAMILIES: dict[str, dict[str, Family]] = {
    "target": {"desk": lambda draw: desk_message(draw, held_out=True)},
    "forgetting": FORGETTING,
    "tail": TAIL,
}


def make_rows(seed: int = SEED) -> dict[str, dict[str, list[Row]]]:
    """``suites`` and ``truth`` by measurement, and ``training`` by kind: rows with prompt and answer."""
    draw = random.Random(seed)
    parts: dict[str, dict[str, list[Row]]] = {"suites": {}, "truth": {}, "training": {}}
    for name, families in FAMILIES.items():
        parts["suites"][name], parts["truth"][name] = _split(
            draw, families, SUITE_ROWS[name] - DRAWN_LAST[name], TRUTH_ROWS[name]
        )
    asked = {row["prompt"] for part in ("suites", "truth") for rows in parts[part].values() for row in rows}
    desk = unique_rows(draw, {"desk": lambda d: desk_message(d, held_out=False)}, TRAINING_ROWS, asked)
    spanish = unique_rows(draw, {name: TAIL[name] for name in ("spanish_color", "spanish_own")}, 60, asked)
    asked |= {row["prompt"] for row in spanish}
    general = unique_rows(draw, {**FORGETTING, **TAIL}, GENERAL_ROWS, asked)
    parts["training"] = {"desk": _pairs(desk), "spanish": _pairs(spanish), "general": _pairs(general)}
    asked |= {row["prompt"] for row in (*desk, *general)}
    for name, count in DRAWN_LAST.items():
        parts["suites"][name] += unique_rows(draw, FAMILIES[name], count, asked)
    return {**parts, **{part: _finished(part, parts[part]) for part in ("suites", "truth")}}


def _finished(part: str, rows_by_name: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    """Suites or truth with ids; every row of the tail has a tag that makes it tail, with or without distances."""
    for row in rows_by_name["tail"]:
        row["tags"] = [*tags_of(row), "unusual_format"]
    suffix = "-truth" if part == "truth" else ""
    return {name: _with_ids(f"{name}{suffix}", rows) for name, rows in rows_by_name.items()}


def write_rows(folder: Path, seed: int = SEED) -> None:
    """Write every part as JSON lines below ``folder``: ``suites/target.jsonl`` and so on."""
    for part, files in make_rows(seed).items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        for name, rows in files.items():
            write_jsonl(folder / part / f"{name}.jsonl", rows)


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_jsonl(path: Path) -> list[Row]:
    """Read rows from JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _split(
    draw: random.Random, families: Mapping[str, Family], suite_rows: int, truth_rows: int
) -> tuple[list[Row], list[Row]]:
    """Distinct rows dealt out to suite and truth in proportion, every family as often as its supply allows."""
    rows = unique_rows(draw, families, suite_rows + truth_rows, set())
    draw.shuffle(rows)
    return rows[:suite_rows], rows[suite_rows:]


def unique_rows(draw: random.Random, families: Mapping[str, Family], count: int, taken: set[object]) -> list[Row]:
    """``count`` rows with distinct prompts that are not in ``taken``, from each family in turn.

    A family that yields nothing new in 200 draws is exhausted, and the others fill its place.
    """
    rows: list[Row] = []
    seen, open_families = set(taken), dict(families)
    while len(rows) < count:
        if not open_families:
            raise ValueError(f"the patterns give only {len(rows)} of {count} rows")
        for name, family in list(open_families.items()):
            drawn = next((pair for pair in (family(draw) for _ in range(200)) if pair[0] not in seen), None)
            if drawn is None:
                del open_families[name]
                continue
            seen.add(drawn[0])
            rows.append({"prompt": drawn[0], "answer": drawn[1], "tags": [name]})
    return rows[:count]


def tags_of(row: Row) -> list[str]:
    """The row's tags: its family first."""
    tags = row["tags"]
    assert isinstance(tags, list)
    return tags


def _with_ids(prefix: str, rows: Iterable[Row]) -> list[Row]:
    return [{"id": f"{prefix}-{i:03d}", **row} for i, row in enumerate(rows)]


def _pairs(rows: Iterable[Row]) -> list[Row]:
    return [{"prompt": row["prompt"], "answer": row["answer"]} for row in rows]
