"""Scorers of the user's own, from a package that is really installed: its metadata lie on the path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ftgate.domain import Answer, Item, Message, Pair
from ftgate.errors import ConfigurationError
from ftgate.measurements.target import Target
from ftgate.scoring.plugins import load_plugin
from ftgate.scoring.rules import gives_grades, require_scorer, score_pairs, version_of

ITEM = Item("i", (Message("user", "q"),), answer="abcd")
SOURCE = """
def share(item, text):
    return sum(letter in text for letter in item.answer) / len(item.answer)

def right(item, text):
    return text == item.answer
right.graded = False

def wild(item, text):
    return 7

def fails(item, text):
    raise KeyError(text)

constant = 5
"""
POINTS = """[ftgate.scorers]
share = house_scorers:share
right = house_scorers:right
wild = house_scorers:wild
fails = house_scorers:fails
constant = house_scorers:constant
missing = house_scorers:missing
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "house_scorers.py").write_text(SOURCE)
    metadata = tmp_path / "house_scorers-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: house-scorers\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "house_scorers", raising=False)


def scores(scorer: str, text: str) -> tuple[float, float, bool]:
    scored = score_pairs(lambda _: scorer, [Pair(ITEM, (Answer(text),), (Answer("abcd"),))])
    return float(scored.base_low[0]), float(scored.base_high[0]), scored.binary


@pytest.mark.usefixtures("installed")
def test_an_installed_scorer_scores() -> None:
    require_scorer("plugin:share")
    assert scores("plugin:share", "ab") == (0.5, 0.5, False)
    assert scores("plugin:right", "abcd") == (1.0, 1.0, True)
    assert (gives_grades("plugin:share", ITEM), gives_grades("plugin:right", ITEM)) == (True, False)
    assert version_of("plugin:share") == "house-scorers 1.2"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("scorer", ["plugin:wild", "plugin:fails"])
def test_what_is_no_score_is_unknown(scorer: str) -> None:
    assert scores(scorer, "ab") == (0.0, 1.0, False)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("scorer", "problem", "hint"),
    [
        (
            "plugin:shore",
            "no installed package offers it",
            "installed are: constant, fails, missing, right",
        ),
        ("plugin:constant", "is no function, but int", "a function of an item"),
        ("plugin:missing", "cannot be loaded: AttributeError", "repair the package"),
    ],
)
def test_a_scorer_that_is_not_there_is_named(scorer: str, problem: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as error:
        load_plugin(scorer)
    assert hint in str(error.value.hint)


@pytest.mark.parametrize("scorer", ["plugin:mine", "plugin:our.scorer-2", "f1", "math"])
def test_a_policy_names_it(scorer: str) -> None:
    assert Target(dataset="d", scorer=scorer).answer_scorer == scorer


@pytest.mark.parametrize("scorer", ["mine", "plugin:", "plugin:a:b", "plugin:../a"])
def test_a_policy_names_nothing_else(scorer: str) -> None:
    with pytest.raises(ValueError, match="scorer"):
        Target(dataset="d", scorer=scorer)
