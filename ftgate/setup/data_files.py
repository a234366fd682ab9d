"""Data files of a folder: how each is read, and what its rows suit. Nothing is run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from ftgate.artifacts.reference import parse
from ftgate.config.lm_eval import is_task
from ftgate.datasets import Needs, read_suite, read_training_texts
from ftgate.datasets.builtin import PREFIX
from ftgate.datasets.files import PACKED, format_of, opened, seekable
from ftgate.datasets.tables import READERS, read_rows
from ftgate.domain import Item
from ftgate.errors import DatasetError
from ftgate.report import numbers
from ftgate.scoring.refusals import BENIGN, MUST_REFUSE

Use = Literal["target", "general", "queries", "choices", "training"]
"""What a data file may be in a run: the suite of a measurement, real queries, or what the candidate was trained on."""
USES: tuple[Use, ...] = get_args(Use)
IN_WORDS: dict[Use, str] = {
    "target": "target",
    "general": "forgetting",
    "queries": "real queries (tail)",
    "choices": "calibration",
    "training": "training data",
}
SAMPLE = 2000
"""Rows that are read to see what all of a file are like; the others are counted."""
MOST_BYTES = 100_000_000
"""A larger file is not read where that takes all of it: packed, or Parquet. It is listed, and can be named."""
SUFFIXES = tuple(READERS)
UNREAD = {
    ".txt": 'put the line {"prompt": "…"} into a .jsonl file for each question, or a .csv file with the header prompt',
    ".ndjson": "rename it to .jsonl",
    ".xlsx": "save it as CSV",
    ".arrow": "write it as Parquet, with datasets: load_from_disk(FOLDER).to_parquet(FILE)",
    ".pkl": "write it as Parquet or CSV, with pandas: to_parquet or to_csv",
}
"""Formats of rows that are not read, with what to do. A text is only listed if its name says what it is for."""
_NAMES: dict[Use, str] = {
    "training": r"train(?:ing)?|sft|fine-?tun(?:e|ing)|finetune|instructions?",
    "queries": r"quer(?:y|ies)|logs?|traffic|prod(?:uction)?|requests?|users?",
    "choices": r"choices?|mcqa?|multiple|mmlu|calibration|confidence",
    "general": r"general|forgetting|skills?",
    "target": r"target|test|evals?|evaluation|held-?out|holdout|val(?:id(?:ation)?)?|dev|task",
}
_WORDS = {use: re.compile(rf"(?<![a-z])(?:{names})(?![a-z])", re.IGNORECASE) for use, names in _NAMES.items()}
"""Words of a file's name that say what it is for."""
_ANY_DATA = re.compile(r"evals?|evaluations?|tests?|tasks?", re.IGNORECASE)
"""Folders in which files for every use lie."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file: its distinct ``rows``, how they were read, and what they suit, best first; why if nothing.

    ``choices``, ``answers`` and ``checks`` count the rows that have them, of ``looked_at`` where that is not 0: then
    ``rows`` were only counted. ``named`` is the use that the file's name says, which is not always one that its rows
    suit.
    """

    path: Path
    shape: str = ""
    rows: int = 0
    looked_at: int = 0
    choices: int = 0
    answers: int = 0
    checks: int = 0
    uses: tuple[Use, ...] = ()
    named: Use | None = None
    fault: str = ""

    @property
    def in_words(self) -> str:
        """What is in the file, in one line."""
        if not self.uses:
            return f"cannot be used: {self.fault or 'nothing that ftgate reads as a suite'}"
        counts = {"choices": self.choices, "answers": self.answers, "checks": self.checks}
        whole = self.looked_at or self.rows
        held = [name if count == whole else f"{numbers.count(count)} {name}" for name, count in counts.items() if count]
        what = f" with {', '.join(held)}" if held else ""
        what += f" (by the first {numbers.count(self.looked_at)})" if self.looked_at else ""
        uses = " or ".join(IN_WORDS[use] for use in self.uses)
        about = "" if not self.looked_at else "more than " if self.rows == self.looked_at else "about "
        return f"{about}{numbers.count(self.rows)} row{'s' * (self.rows != 1)}{what}, read as {self.shape}: {uses}"


def is_data_file(path: Path) -> bool:
    """Whether the name of ``path`` is that of a data file, in a format that is read or in another."""
    suffix = format_of(path)
    return suffix in SUFFIXES or (suffix in UNREAD and (suffix != ".txt" or use_named(Path(path.name)) is not None))


def is_remote(reference: str) -> bool:
    """Whether data are not in a file here: a built-in suite, a task of the harness, or a remote reference."""
    return reference.startswith(PREFIX) or is_task(reference) or parse(reference) is not None


def read_data_file(path: Path, use: Use | None = None) -> DataFile:
    """What ``path`` holds, for ``use`` if it is named, else for what its name says.

    Never raises for its content: what is wrong is a field of the result.
    """
    named = use or use_named(path)
    try:
        if format_of(path) in UNREAD:
            return DataFile(path, named=named, fault=f"{format_of(path)} is not read; {UNREAD[format_of(path)]}")
        if path.stat().st_size > MOST_BYTES and path.suffix.lower() in (*PACKED, ".parquet"):
            size = f"larger than {MOST_BYTES // 1_000_000} MB and not looked into; it can be named all the same"
            return DataFile(path, named=named, fault=size)
        return _as_suite(path, named)
    except DatasetError as error:
        return _as_training(path, named, _in_a_line(error.message, path))
    except (OSError, RecursionError) as error:
        return DataFile(path, named=named, fault=f"cannot be read: {error}")


def _in_a_line(message: str, path: Path) -> str:
    """The first reason of an error about ``path``, without what the list of files says already."""
    first, _, rest = message.removeprefix(f"suite {path.stem}").removeprefix("training data").lstrip().partition("\n")
    reason = f"{first}: {rest.strip().partition(chr(10))[0]}" if rest else first
    reason = reason.replace(f"{path}:", "line ").replace(f"{path} ", "").removeprefix(": ").removeprefix("line  ")
    return " ".join(reason.split())


def _as_suite(path: Path, named: Use | None) -> DataFile:
    suite = read_suite(path.stem, path, needs=Needs(), most=SAMPLE)
    items = suite.items
    shape = suite.notes[0].removeprefix("read as ")
    choices, answers, checks = (sum(bool(getattr(i, part)) for i in items) for part in ("choices", "answer", "check"))
    uses = uses_of(items, named)
    fault = "" if uses else "rows for safety or tools: name it in that section of the policy"
    sizes = _sizes(path, len(items))
    return DataFile(path, shape, *sizes, choices, answers, checks, uses, named, fault)


def _as_training(path: Path, named: Use | None, fault: str) -> DataFile:
    """A file whose rows cannot be asked may still hold the texts that a model was trained on."""
    if named not in (None, "training"):
        return DataFile(path, named=named, fault=fault)
    try:
        training = read_training_texts(path, most=SAMPLE)
    except DatasetError:
        return DataFile(path, named=named, fault=fault)
    return DataFile(path, training.shape, *_sizes(path, training.rows), uses=("training",), named=named)


def _sizes(path: Path, usable: int) -> tuple[int, int]:
    """How many rows ``path`` has, and how many of them were looked at; of a short file the ``usable`` ones, and 0.

    Lines are counted, and where that would take reading all values, as in one JSON list, the first is the second.
    """
    if sum(1 for _ in islice(read_rows(path), SAMPLE + 1)) <= SAMPLE:
        return usable, 0
    suffix = format_of(path)
    if suffix == ".parquet":
        from pyarrow import parquet

        with seekable(path) as file, parquet.ParquetFile(file) as table:
            return table.metadata.num_rows, usable
    if suffix == ".json":
        return usable, usable
    with opened(path) as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b"")), usable


def uses_of(items: Sequence[Item], named: Use | None) -> tuple[Use, ...]:
    """What rows suit, best first: as they are, and as their file's name says. Empty for rows of safety and tools."""
    tags = {tag for item in items for tag in item.tags}
    if tags & {MUST_REFUSE, BENIGN} or all(item.tools for item in items):
        return ()
    suited: list[Use] = ["queries", "training"]
    if all(item.answer is not None or item.check is not None for item in items):
        suited = ["target", "general", *suited]
    if all(item.choices and item.answer is not None for item in items):
        suited.insert(1, "choices")
    if named in suited:
        return (named,) if named == "training" else (named, *(use for use in suited if use == "choices" != named))
    return tuple(use for use in suited if use != "general")


def use_named(path: Path) -> Use | None:
    """The use that the name of a file says, else that of its folder; None if neither does."""
    folder = path.parent.name
    for text in (path.name.partition(".")[0], "" if _ANY_DATA.fullmatch(folder) else folder):
        uses = [use for use, words in _WORDS.items() if words.search(text)]
        if uses:
            return uses[0]
    return None


def best_file(files: Iterable[DataFile], use: Use) -> DataFile | None:
    """The file for ``use``: the largest one whose name says it, or else the only one that suits and says nothing."""
    files = list(files)
    named = [file for file in files if use in file.uses and file.named == use]
    if named:
        return max(named, key=lambda file: (file.rows, file.path.name))
    suited = [file for file in files if file.named is None and file.uses[:1] == (use,)]
    return suited[0] if len(suited) == 1 else None
