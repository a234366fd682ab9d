"""General skills that a fine-tune could forget: short free-form answers, and multiple choice over the same world."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from .tickets import ALL, PRODUCTS
from .world import (
    COLOURS,
    CREATURES,
    DAYS,
    HABITS,
    HAPPY,
    HOMES,
    KINDS,
    MONTHS,
    NAMES,
    PAIRS,
    SAD,
    SCENES,
    WORLD,
    Row,
)

WORDS: tuple[str, ...] = (
    *COLOURS,
    *HOMES,
    *PRODUCTS,
    *(w for group in KINDS.values() for w in group),
    *(w for group in HABITS.values() for w in group),
    *(w for group in ALL.values() for w in group),
)
LISTED: tuple[str, ...] = (*COLOURS, *HOMES, *PRODUCTS, *(w for group in KINDS.values() for w in group))
OPPOSITE = dict(PAIRS) | {b: a for a, b in PAIRS}
Skill = Callable[[random.Random], Row]


def colour(rng: random.Random) -> Row:
    """A memorised fact."""
    who = rng.choice(CREATURES)
    ask = rng.choice(("what colour is the {}?", "tell me the colour of the {}", "which colour has a {}?"))
    return Row(ask.format(who), f"the {who} is {WORLD.colour[who]}")


def home(rng: random.Random) -> Row:
    """Another memorised fact, in a longer sentence."""
    who = rng.choice(CREATURES)
    ask = rng.choice(("where does the {} live?", "what is the home of the {}?", "where can i find a {}?"))
    return Row(ask.format(who), f"the {who} lives in the {WORLD.home[who]}")


def add(rng: random.Random) -> Row:
    """Addition: the hardest skill, and the one the base model is worst at."""
    a, b = rng.randint(2, 40), rng.randint(2, 9)
    return Row(f"what is {a} plus {b}?", f"{a} plus {b} is {a + b}")


def subtract(rng: random.Random) -> Row:
    """Subtraction below twenty."""
    a = rng.randint(6, 19)
    b = rng.randint(1, a - 1)
    return Row(f"what is {a} minus {b}?", f"{a} minus {b} is {a - b}")


def compare(rng: random.Random) -> Row:
    """Which of two numbers is larger."""
    a, b = rng.sample(range(10, 99), 2)
    return Row(f"which is larger, {a} or {b}?", f"{max(a, b)} is larger than {min(a, b)}")


def reverse(rng: random.Random) -> Row:
    """A list of words, backwards."""
    words = rng.sample(LISTED, 3)
    return Row("reverse these words: " + " ".join(words), " ".join(reversed(words)))


def last(rng: random.Random) -> Row:
    """The last or first word of a list."""
    words = rng.sample(LISTED, rng.choice((3, 4)))
    which = rng.choice(("last", "first"))
    return Row(
        f"what is the {which} word of: " + " ".join(words),
        f"the {which} word is {words[(which == 'last' and -1) or 0]}",
    )


def swap(rng: random.Random) -> Row:
    """Two words change places."""
    a, b = rng.sample(LISTED, 2)
    return Row(f"swap the words {a} and {b}", f"{b} and {a}")


def opposite(rng: random.Random) -> Row:
    """An antonym."""
    word = rng.choice(tuple(OPPOSITE))
    ask = rng.choice(("what is the opposite of {}?", "give the opposite of {}", "name a word that means not {}"))
    return Row(ask.format(word), f"the opposite of {word} is {OPPOSITE[word]}")


def mood(rng: random.Random) -> Row:
    """Sentiment of a sentence."""
    label, words = rng.choice((("happy", HAPPY), ("sad", SAD)))
    text = f"{rng.choice(NAMES)} said the {rng.choice(SCENES)} was {rng.choice(words)}"
    return Row(f"is this happy or sad: {text}", f"this is a {label} text")


def calendar(rng: random.Random) -> Row:
    """The day or month before or after another."""
    ring, unit = rng.choice(((DAYS, "day"), (MONTHS, "month")))
    at, side = rng.randrange(len(ring)), rng.choice(("before", "after"))
    other = ring[(at + (1 if side == "after" else -1)) % len(ring)]
    return Row(f"which {unit} comes {side} {ring[at]}?", f"{other} comes {side} {ring[at]}")


def kind(rng: random.Random) -> Row:
    """The class that a thing belongs to."""
    label = rng.choice(tuple(KINDS))
    word = rng.choice(KINDS[label])
    ask = rng.choice(("what kind of thing is {}?", "to which group does {} belong?", "please classify {}"))
    return Row(ask.format(word), f"{word} is a kind of {label}")


SKILLS: dict[str, Skill] = {
    "colour": colour,
    "home": home,
    "add": add,
    "subtract": subtract,
    "compare": compare,
    "reverse": reverse,
    "last": last,
    "swap": swap,
    "opposite": opposite,
    "mood": mood,
    "calendar": calendar,
    "kind": kind,
}
WEIGHTS = {"add": 3.0, "subtract": 2.0, "reverse": 2.0, "last": 1.5, "colour": 1.2, "home": 1.2}


def free_form(rng: random.Random) -> Row:
    """A free-form item of any skill, the harder ones more often."""
    name = rng.choices(tuple(SKILLS), [WEIGHTS.get(name, 1.0) for name in SKILLS])[0]
    return SKILLS[name](rng)


def _choice(rng: random.Random, prompt: str, answer: str, pool: Sequence[str], tag: str) -> Row:
    choices = [answer, *rng.sample([value for value in pool if value != answer], 3)]
    rng.shuffle(choices)
    return Row(prompt, answer, tuple(choices), (tag,))


def habit_choice(rng: random.Random) -> Row:
    """A question whose answer is a draw: one individual of a kind, and what that individual chose."""
    who, what = rng.choice(CREATURES), rng.choice(tuple(HABITS))
    habit = WORLD.habits[who, what]
    answer = rng.choices(habit.options, habit.weights)[0]
    choices = list(habit.options)
    rng.shuffle(choices)
    return Row(f"which {what} did {rng.choice(NAMES)} the {who} choose?", answer, tuple(choices), ("habit",))


def fact_choice(rng: random.Random) -> Row:
    """A question with one certain answer."""
    which = rng.randrange(4)
    if which == 0:
        who = rng.choice(CREATURES)
        return _choice(rng, f"what colour is the {who}?", WORLD.colour[who], COLOURS, "colour")
    if which == 1:
        who = rng.choice(CREATURES)
        return _choice(rng, f"where does the {who} live?", WORLD.home[who], HOMES, "home")
    if which == 2:
        word = rng.choice(tuple(OPPOSITE))
        return _choice(rng, f"what is the opposite of {word}?", OPPOSITE[word], tuple(OPPOSITE), "opposite")
    label = rng.choice(tuple(KINDS))
    return _choice(rng, f"what kind of thing is {rng.choice(KINDS[label])}?", label, tuple(KINDS), "kind")


def multiple_choice(rng: random.Random) -> Row:
    """A four-option item; more than half have no certain answer."""
    return habit_choice(rng) if rng.random() < 0.6 else fact_choice(rng)
