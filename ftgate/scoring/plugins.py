"""Scorers of the user's own: entry points of installed packages, which only the policy can name."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from ftgate.domain import Answer, Item
from ftgate.errors import ConfigurationError
from ftgate.scoring.text import UnscorableError

GROUP = "ftgate.scorers"
"""The group of entry points that scorers are looked up in."""
PREFIX = "plugin:"
"""What a policy writes before the name of one."""

Plugin = Callable[[Item, str], float]
"""From an item and an answer's text to a score from 0 to 1."""


def load_plugin(scorer: str) -> Plugin:
    """The scorer that ``plugin:NAME`` names. Raises ConfigurationError if none, or several, can be loaded."""
    return _loaded(_entry_point(scorer))


def plugin_version(scorer: str) -> str:
    """The package that a plugin is from, with its version: a part of what it takes to repeat a run."""
    distribution = _entry_point(scorer).dist
    return f"{distribution.name} {distribution.version}" if distribution is not None else "unknown"


def is_graded(scorer: str) -> bool:
    """Whether a plugin gives scores between 0 and 1; one that says ``graded = False`` gives nothing but 0 and 1."""
    return bool(getattr(load_plugin(scorer), "graded", True))


def plugin_rule(scorer: str) -> Callable[[Item, Answer], float]:
    """The plugin as a rule. What is no score from 0 to 1, and what it raises, makes an answer's score unknown."""
    plugin, graded = load_plugin(scorer), is_graded(scorer)

    def rule(item: Item, answer: Answer) -> float:
        try:
            score = float(plugin(item, answer.text))
        except Exception as error:
            raise UnscorableError(f"scorer {scorer} raised {type(error).__name__}: {error}") from error
        if math.isnan(score) or not 0 <= score <= 1 or not (graded or score in (0, 1)):
            expected = "a number from 0 to 1" if graded else "0 or 1"
            raise UnscorableError(f"scorer {scorer} gave {score!r}: {expected} was expected")
        return score

    return rule


def _entry_point(scorer: str) -> EntryPoint:
    name = scorer.removeprefix(PREFIX)
    offered = entry_points(group=GROUP)
    named = [point for point in offered if point.name == name]
    if len({point.value for point in named}) == 1:
        return named[0]
    several = ", ".join(sorted(f"{point.value}" for point in named))
    problem = f"several installed packages offer it: {several}" if named else "no installed package offers it"
    names = ", ".join(sorted({point.name for point in offered})) or "none"
    raise ConfigurationError(
        f"scorer {scorer}: {problem} (entry points {GROUP!r})",
        hint=f"installed are: {names}; docs/suites.md shows how to write one",
    )


@lru_cache(maxsize=64)
def _loaded(point: EntryPoint) -> Plugin:
    try:
        plugin = point.load()
    except Exception as error:
        raise ConfigurationError(
            f"scorer {PREFIX}{point.name}: {point.value} cannot be loaded: {type(error).__name__}: {error}",
            hint="repair the package that offers it",
        ) from error
    if not callable(plugin):
        raise ConfigurationError(
            f"scorer {PREFIX}{point.name}: {point.value} is no function, but {type(plugin).__name__}",
            hint="let the entry point name a function of an item and an answer's text",
        )
    loaded: Plugin = plugin
    return loaded
