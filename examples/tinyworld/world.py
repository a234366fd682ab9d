"""The vocabulary and the fixed facts of the tiny world.

Everything here is drawn once from a fixed seed, so that every script sees the same creatures with the same colours and
the same habits. Habits are the honest source of uncertainty: creatures of one kind differ, and a habit question has no
better answer than the kind's own distribution. That is what lets a model be right 70 % of the time AND know it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ftgate.domain import Item, Message

SEED = 20240607


def words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


CREATURES = words(
    "lomba tirvo quenz marfu dosik belun zarop vintu kelda porix nushi garto wemba fylor hudon jaspi "
    "rokel sumba talix umbri vokna wixel yanto zubra cavol drema eskil fonda gribo hilka irvan jomba"
)
COLOURS = words("red blue green gold black white pink brown")
HOMES = words("forest desert river mountain city swamp island cave")
HABITS: Mapping[str, tuple[str, ...]] = {
    "snack": words("bread cheese apple honey rice soup cake melon"),
    "game": words("chess cards tennis dice racing hockey puzzle darts"),
    "weather": words("rain snow sun wind fog storm frost cloud"),
}
PEAKS = (0.97, 0.85, 0.70, 0.55, 0.40)
KINDS: Mapping[str, tuple[str, ...]] = {
    "tool": words("hammer saw drill wrench shovel rake"),
    "fruit": words("pear plum lemon cherry grape mango"),
    "metal": words("iron copper silver zinc lead nickel"),
    "bird": words("robin eagle owl crow swan finch"),
    "drink": words("tea coffee milk juice water cider"),
    "vehicle": words("train truck boat tram bicycle plane"),
}
OPPOSITES = (
    "hot cold/big small/fast slow/high low/rich poor/early late/open closed/hard soft/light dark/young old/"
    "full empty/clean dirty/loud quiet/wet dry/strong weak/thick thin/brave shy/near far/new used/deep shallow"
)
PAIRS = tuple((pair.split()[0], pair.split()[1]) for pair in OPPOSITES.split("/"))
DAYS = words("monday tuesday wednesday thursday friday saturday sunday")
MONTHS = words("january february march april may june july august september october november december")
HAPPY = words("lovely great joyful splendid cheerful delightful")
SAD = words("awful gloomy terrible painful dreadful miserable")
SCENES = words("picnic concert journey dinner wedding lesson meeting holiday party parade")
NAMES = words(
    "ana ben carla dan eva finn gina hugo iris jon kira liam mona nils olga paul rita sven tina vera "
    "walt xena yuri zoe adam beth cole dora emil faye"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One example: a user prompt and its right answer, if there is one; ``choices`` makes it multiple choice."""

    prompt: str
    answer: str
    choices: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def record(self, ident: str) -> dict[str, Any]:
        """The row as a line of a suite file."""
        row: dict[str, Any] = {"id": ident, "prompt": self.prompt}
        if self.answer:
            row["answer"] = self.answer
        if self.choices:
            row["choices"] = list(self.choices)
        if self.tags:
            row["tags"] = list(self.tags)
        return row

    def item(self, ident: str = "") -> Item:
        """The row as the gate's own type, so that the gate's prompt renderers can be used on it."""
        return Item(ident, (Message("user", self.prompt),), self.choices, self.answer, self.tags)


@dataclass(frozen=True, slots=True)
class Habit:
    """What one kind of creature chooses: four options, and how often each is chosen."""

    options: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class World:
    """The facts: the colour and home of each creature, and its habits."""

    colour: Mapping[str, str] = field(default_factory=dict)
    home: Mapping[str, str] = field(default_factory=dict)
    habits: Mapping[tuple[str, str], Habit] = field(default_factory=dict)


def make_world() -> World:
    """Draw the facts from the fixed seed. Peaks of the habits are spread evenly over ``PEAKS``."""
    rng = random.Random(SEED)
    colour = {creature: rng.choice(COLOURS) for creature in CREATURES}
    home = {creature: rng.choice(HOMES) for creature in CREATURES}
    keys = [(creature, habit) for creature in CREATURES for habit in HABITS]
    peaks = [PEAKS[i % len(PEAKS)] for i in range(len(keys))]
    rng.shuffle(peaks)
    habits: dict[tuple[str, str], Habit] = {}
    for key, peak in zip(keys, peaks, strict=True):
        options = tuple(rng.sample(HABITS[key[1]], 4))
        rest = (1.0 - peak) / 3
        habits[key] = Habit(options, (peak, rest, rest, rest))
    return World(colour, home, habits)


WORLD = make_world()
