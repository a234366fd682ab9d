"""Precision and recall of the search for suite items in training data, on planted duplicates: docs/methods.md.

    python -m benchmarks.planted            print the table; about a minute of one core
    python -m benchmarks.planted --write    put it into the document

Each case writes 10,000 training rows, plants 500 of a suite's 1,000 items in them, and searches as a run does. Messages
mostly begin in one of 8 common ways and go on with random words that follow the Zipf-Mandelbrot law; half of the
held-out items have their first words in common with a row. Exits with an error if a case falls below 99 %. The same
seed always gives the same table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

from ftgate.contamination.scan import scan_training_data
from ftgate.datasets import read_training_texts
from ftgate.domain import Item, Message, Suite
from ftgate.progress import SilentProgress

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "methods.md"
BEGIN, END = "<!-- planted duplicates: begin -->", "<!-- planted duplicates: end -->"
ROWS, ITEMS, SEED = 10_000, 1_000, 20
MINIMUM = 0.99
SAME_BEGINNING = 7
"""Words that half of the held-out messages have in common with the beginning of a row."""
HEADING = (
    "| the training rows | the suite | found | held-out items found | precision | recall | one word changed |\n"
    "|---|---|---:|---:|---:|---:|---:|"
)
OPENINGS = (
    "how do i",
    "how can i",
    "what is the",
    "why was my",
    "i would like to",
    "can you tell me how to",
    "please help me with the",
    "is it possible to",
    "",
)
INSTRUCTION = "Classify the following message from a bank customer into exactly one intent: {}"
ALPACA = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.\n\n### Instruction:\nName the intent of the customer's message."
    "\n\n### Input:\n{}\n\n### Response:\n"
)
SUFFIX = "{}\n\nAnswer with the name of exactly one intent, in lower case and without any explanation."
INLINE = 'Here is a message that our customer has sent: "{}". Which team of the bank should read it first, and why?'
SYSTEM = (
    "You are a helpful assistant of a bank. You answer every question of the customer politely and in one sentence."
)
MIXED = tuple(
    f"{verb} the customer's message below {manner} and say which of our intents it has: {{}}"
    for verb in ("Read", "Take", "Look at", "Study", "Consider", "Check", "Weigh", "Examine")
    for manner in ("with care", "as a member of the support team", "before you answer")
)


class Writer:
    """Random messages of 3 to 120 words."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)
        letters = "abcdefghijklmnopqrstuvwxyz"
        self._words = ["".join(self.draw.choices(letters, k=self.draw.randint(2, 9))) for _ in range(20_000)]
        self._weights = list(accumulate(1 / (rank + 2.7) for rank in range(1, len(self._words) + 1)))
        self._seen: set[str] = set()

    def words(self, count: int) -> list[str]:
        """Random words, common ones more often."""
        return self.draw.choices(self._words, cum_weights=self._weights, k=count)

    def message(self, fewest: int = 1) -> str:
        """A message of at least ``fewest`` words that was not written before."""
        while True:
            least, most = self.draw.choice(((3, 5), (6, 9), (10, 40), (40, 115)))
            text = f"{self.draw.choice(OPENINGS)} {' '.join(self.words(self.draw.randint(least, most)))}".strip()
            if len(set(text.split())) >= fewest and text not in self._seen:
                self._seen.add(text)
                return text.capitalize() + "?"


def exact(message: str, _: Writer) -> str:
    """The message itself."""
    return message


def restyled(message: str, writer: Writer) -> str:
    """Other case, punctuation and white space."""
    words = [word.upper() if writer.draw.random() < 0.3 else word for word in message.rstrip("?").split()]
    return "  ".join(word + writer.draw.choice(("", "", ",", "!", "\n")) for word in words) + " ..."


def embedded(message: str, writer: Writer) -> str:
    """The message in a longer text."""
    before, after = (" ".join(writer.words(writer.draw.randint(3, 30))) for _ in range(2))
    return f"{before}. {message} {after}."


def reworded(message: str, writer: Writer) -> str:
    """One word changed, anywhere."""
    words = message.split()
    words[writer.draw.randrange(len(words))] = "".join(writer.draw.choices("abcdefghijklmnop", k=10))
    return " ".join(words)


PLANTED: Mapping[str, tuple[Callable[[str, Writer], str], int]] = {
    "exact": (exact, 1),
    "restyled": (restyled, 1),
    "embedded": (embedded, 14),
    "reworded": (reworded, 16),
}
"""The ways to plant, each with the fewest different words of a message: 8 or 10 beyond the longest opening."""


@dataclass(frozen=True, slots=True)
class Case:
    """Training rows with the given templates and a suite with its own; ``row`` builds a row of the prompt."""

    rows: str
    suite: str
    templates: Sequence[str] = ("{}",)
    suite_templates: Sequence[str] = ("{}",)
    row: Callable[[str, str], Mapping[str, Any]] = field(default=lambda prompt, answer: {"prompt": prompt, "a": answer})


def chat(prompt: str, answer: str) -> Mapping[str, Any]:
    """A conversation with a system prompt, with another turn of the user before the prompt."""
    turns = (("system", SYSTEM), ("user", "Hello, I have a question."), ("assistant", "Go ahead."), ("user", prompt))
    return {"messages": [{"role": role, "content": text} for role, text in (*turns, ("assistant", answer))]}


def rendered(prompt: str, answer: str) -> Mapping[str, Any]:
    """A conversation in one string, as a chat template writes it."""
    marks = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in (("system", SYSTEM), ("user", prompt)))
    return {"text": f"{marks}<|im_start|>assistant\n{answer}<|im_end|>"}


def fields(prompt: str, answer: str) -> Mapping[str, Any]:
    """An instruction and an input of their own."""
    instruction, message = prompt.split(": ", 1)
    return {"instruction": f"{instruction}:", "input": message, "output": answer}


CASES = (
    Case("no template", "no template"),
    Case("an instruction of 12 words", "the same", (INSTRUCTION,), (INSTRUCTION,)),
    Case("instruction and input fields", "the same", (INSTRUCTION,), (INSTRUCTION,), fields),
    Case("Alpaca headers", "the same", (ALPACA,), (ALPACA,)),
    Case("words after the message", "the same", (SUFFIX,), (SUFFIX,)),
    Case("words around the message", "the same", (INLINE,), (INLINE,)),
    Case("24 instructions, mixed", "the same, mixed", MIXED, MIXED),
    Case("chats with a system prompt", "no template", row=chat),
    Case("chats in one string", "an instruction of 12 words", (INSTRUCTION,), (INSTRUCTION,), rendered),
    Case("an instruction of 12 words", "no template", (INSTRUCTION,)),
    Case("no template", "an instruction of 12 words", suite_templates=(INSTRUCTION,)),
    Case("an instruction of 12 words", "words around the message", (INSTRUCTION,), (INLINE,)),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many items were found: of the ``duplicates``, of the held-out ones, and of those with one word changed."""

    duplicates: int
    found: int
    held_out_found: int
    reworded: int
    reworded_found: int

    @property
    def precision(self) -> float:
        """The share of duplicates among the items found."""
        return self.found / max(1, self.found + self.held_out_found)

    @property
    def recall(self) -> float:
        """The share of the duplicates that was found."""
        return self.found / self.duplicates


def measure(case: Case, rows: int = ROWS, items: int = ITEMS, seed: int = SEED) -> Outcome:
    """Write the case's training file and suite, and search. Half of the items are planted, equally in each way."""
    writer = Writer(seed)
    ways = list(PLANTED)
    kinds = [ways[i % len(ways)] if i < items // 2 else "held out" for i in range(items)]
    messages = [writer.message(PLANTED[kind][1] if kind in PLANTED else 1) for kind in kinds]
    texts = [
        PLANTED[kind][0](message, writer) for kind, message in zip(kinds, messages, strict=True) if kind in PLANTED
    ]
    texts += [writer.message() for _ in range(rows - len(texts))]
    for i in range(items // 2, items, 2):  # half of the held-out messages begin like a row
        words = writer.draw.choice(texts).split()[:SAME_BEGINNING] + writer.words(writer.draw.randint(5, 40))
        messages[i] = " ".join(words)
    writer.draw.shuffle(texts)
    prompts = [_in_template(message, case.suite_templates, writer) for message in messages]
    suite = Suite("suite", tuple(Item(f"i{i}", (Message("user", p),)) for i, p in enumerate(prompts)), "", "made up")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for text in texts:
                row = case.row(_in_template(text, case.templates, writer), " ".join(writer.words(5)))
                file.write(json.dumps(row) + "\n")
        overlap = scan_training_data({"suite": suite}, read_training_texts(path), SilentProgress())["suite"]
    contained, listed = ({int(i[1:]) for i in part} for part in (overlap.contained, overlap.alike))
    members = {kind: {i for i, k in enumerate(kinds) if k == kind} for kind in (*ways, "held out")}
    duplicates = set().union(*(members[kind] for kind in ways if kind != "reworded"))
    return Outcome(
        len(duplicates),
        len(duplicates & contained),
        len(members["held out"] & (contained | listed)),
        len(members["reworded"]),
        len(members["reworded"] & (contained | listed)),
    )


def _in_template(message: str, templates: Sequence[str], writer: Writer) -> str:
    return writer.draw.choice(templates).format(message) if len(templates) > 1 else templates[0].format(message)


def render(outcomes: Sequence[tuple[Case, Outcome]]) -> str:
    """The table in Markdown."""
    lines = [
        f"| {case.rows} | {case.suite} | {o.found} of {o.duplicates} | {o.held_out_found} | {100 * o.precision:.1f} % "
        f"| {100 * o.recall:.1f} % | {o.reworded_found} of {o.reworded} |"
        for case, o in outcomes
    ]
    return "\n".join([HEADING, *lines])


def main(arguments: Sequence[str] = ()) -> None:
    """Measure all cases, print the table, and write it if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planted", description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/methods.md")
    write = parser.parse_args(arguments).write
    outcomes = [(case, measure(case)) for case in CASES]
    table = render(outcomes)
    print(table)
    if write:
        before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    if any(min(o.precision, o.recall, o.reworded_found / o.reworded) < MINIMUM for _, o in outcomes):
        raise SystemExit(f"below {MINIMUM:.0%}")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
