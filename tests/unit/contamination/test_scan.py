"""A scan of a training file for the items of several suites."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest
from support.world import write_rows

from ftgate.contamination import Match, scan
from ftgate.datasets import read_training_texts
from ftgate.domain import Item, Message, Suite
from ftgate.progress import SilentProgress

LONG = "the quick brown fox jumps over the lazy dog while nobody at all is looking"


def suite(name: str, **prompts: str) -> Suite:
    items = tuple(Item(key, (Message("user", text),), answer="yes") for key, text in prompts.items())
    return Suite(name, items, "0" * 64, "memory")


class Counted(SilentProgress):
    """Progress that remembers its phases, and the steps of each."""

    def __init__(self) -> None:
        super().__init__()
        self.phases: list[tuple[str, int | None, int]] = []

    @contextmanager
    def phase(self, name: str, total: int | None):
        steps: list[int] = []
        yield steps.append
        self.phases.append((name, total, sum(steps)))


def scanned(tmp_path: Path, rows: list[dict], **suites: Suite):
    progress = Counted()
    training = read_training_texts(write_rows(tmp_path / "train.jsonl", rows))
    return scan.scan_training_data(suites, training, progress), progress


def test_each_suite_gets_the_items_of_its_own(tmp_path: Path) -> None:
    rows = [{"prompt": "something else"}, {"prompt": "What now?"}, {"prompt": " ".join(LONG.split()[::-1])}]
    overlaps, progress = scanned(
        tmp_path,
        [*rows, {"nothing": 1}],
        target=suite("target", a="what now", b="why not"),
        tail=suite("tail", a="why not", c="What, now?", d=LONG),
    )
    assert {name: dict(o.contained) for name, o in overlaps.items()} == {
        "target": {"a": Match(2, "whole prompt")},
        "tail": {"c": Match(2, "whole prompt")},
    }
    assert {name: {i: m.line for i, m in o.alike.items()} for name, o in overlaps.items()} == {
        "target": {},
        "tail": {"d": 3},
    }
    assert progress.phases == [
        ("look for text that rows share", None, 0),
        ("compare items with training data", 4, 4),
    ]


@pytest.mark.parametrize("count", [999, 1000, 2001])
def test_the_progress_counts_every_row(tmp_path: Path, count: int) -> None:
    overlaps, progress = scanned(
        tmp_path, [{"prompt": f"row {i}"} for i in range(count)], target=suite("target", a="x")
    )
    assert overlaps["target"].contained == {}
    assert progress.phases[1][1:] == (count, count)


def test_a_long_answer_is_sought_too(tmp_path: Path) -> None:
    item = Item("a", (Message("user", "q"),), answer=LONG)
    overlaps, _ = scanned(tmp_path, [{"prompt": "p", "completion": LONG}], target=Suite("target", (item,), "0", "m"))
    assert overlaps["target"].contained == {"a": Match(1, "13-gram of the answer")}


def test_an_instruction_of_rows_and_items_is_no_evidence(tmp_path: Path) -> None:
    rows = [{"prompt": f"{LONG} question {i}"} for i in range(60)]
    overlaps, _ = scanned(tmp_path, rows, target=suite("target", a=f"{LONG} other words", b=f"{LONG} question 7"))
    assert overlaps["target"].contained == {"b": Match(8, "whole prompt")}


def test_of_many_rows_about_the_wanted_number_of_different_ones_is_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "SAMPLE_ROWS", 100)
    rows = [{"prompt": f"row {i}", "reply": f"reply {i}"} for i in range(1000)]
    path = write_rows(tmp_path / "train.jsonl", [*rows, *rows])
    training = read_training_texts(path)
    sample = list(scan._sample(training))
    assert 30 <= len(sample) <= 80, "a twentieth of the rows, each of them once"
    assert len(set(sample)) == len(sample)
    assert sample == list(scan._sample(training))
    assert all(texts[:2] == (texts[0], texts[0]) and f"reply {texts[0][4:]}" in texts for texts in sample)
    monkeypatch.setattr(scan, "SAMPLE_ROWS", 2000)
    assert len(list(scan._sample(training))) == 1000
