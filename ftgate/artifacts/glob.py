"""Globs over paths: ``*`` and ``?`` match within one name, ``**`` matches any number of folders."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def matches(glob: Sequence[str], names: Sequence[str]) -> bool:
    """Whether ``glob`` matches ``names``, both already split into parts.

    Simulates the glob as a finite automaton: ``states`` holds the positions in ``glob`` that may come next.
    """
    states = _skip_double_stars(glob, {0})
    for name in names:
        next_states = {i + 1 for i in states if i < len(glob) and glob[i] != "**" and fnmatchcase(name, glob[i])}
        states = _skip_double_stars(glob, next_states | {i for i in states if i < len(glob) and glob[i] == "**"})
    return len(glob) in states


def matches_path(glob: str, path: str) -> bool:
    """Whether ``glob`` matches a POSIX path. A glob without a slash matches the last name, in any folder."""
    names = path.split("/")
    return matches(glob.split("/"), names if "/" in glob else names[-1:])


def _skip_double_stars(glob: Sequence[str], states: set[int]) -> set[int]:
    """Add the states after each ``**``, which may match no folder at all."""
    for i, part in enumerate(glob):
        if part == "**" and i in states:
            states = states | {i + 1}
    return states
