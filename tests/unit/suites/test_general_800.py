"""general-800 as a whole: the parts fit together, and nothing in one of them stands in another."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from unit.suites.test_general_200 import MOST_ALIKE, sketch

from ftgate.datasets import Needs, dataset_paths, read_parts, read_suite
from ftgate.domain import Suite


@pytest.fixture(scope="module")
def suite() -> Suite:
    paths = dataset_paths("builtin:general-800", Path(), "dataset")
    return read_parts("general", paths, needs=Needs(answer=True))


def test_it_holds_eight_hundred_rows_and_begins_with_general_200(suite: Suite) -> None:
    assert len(suite.items) == 800
    (path,) = dataset_paths("builtin:general-200", Path(), "dataset")
    assert suite.items[:200] == read_suite("general", path, needs=Needs(answer=True)).items


def test_it_holds_an_easy_tier_other_languages_and_long_prompts(suite: Suite) -> None:
    tags = Counter(tag for item in suite.items for tag in item.tags)
    assert (tags["tier:easy"], tags["multilingual"]) == (200, 60)
    assert sum(len(item.user_text) > 4000 for item in suite.items) >= 30


def test_no_two_prompts_are_nearly_the_same(suite: Suite) -> None:
    sketches = [(item.id, sketch("\n".join(m.content for m in item.messages))) for item in suite.items]
    pairs = [(a, b) for at, a in enumerate(sketches) for b in sketches[:at]]
    assert [(first, second) for (first, a), (second, b) in pairs if a.jaccard(b) > MOST_ALIKE] == []
