"""The prompt of a multiple-choice item, and the rotation of its options."""

from __future__ import annotations

from dataclasses import replace

from ftgate.domain import Item, Message

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""The letters of options. Each is one token of its own in every common tokenizer; AA, AB and so on are not."""


def letters_for(item: Item) -> tuple[str, ...]:
    """The option letters of an item: A, B, … one for each choice, and a, b, … from the 27th on."""
    return tuple(LETTERS[: len(item.choices)])


def rotated(choices: tuple[str, ...], rotation: int) -> tuple[str, ...]:
    """The choices rotated left by ``rotation``: with 1, the second choice becomes A."""
    shift = rotation % len(choices)
    return choices[shift:] + choices[:shift]


def choice_messages(item: Item, rotation: int = 0) -> tuple[Message, ...]:
    """The item's conversation with its options, one per line, appended to the last user turn."""
    options = rotated(item.choices, rotation)
    lines = [f"{letter}. {text}" for letter, text in zip(letters_for(item), options, strict=True)]
    last = item.messages[-1]
    content = "\n".join([last.content, *lines, "Reply with one letter."])
    return (*item.messages[:-1], replace(last, content=content))


def sure(probability: float) -> str:
    """How sure a model is of an option, for readers: ``72 % sure``. What is rounded is never certain."""
    percent = f"{100 * probability:.0f}"
    return f"{'over 99' if percent == '100' else percent} % sure"
