"""Globs over paths: ``*`` and ``?`` match within one name, ``**`` any number of folders."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def matches(glob: Sequence[str], names: Sequence[str]) -> bool:
    """Whether ``names`` match, one by one. ``reached`` are the places in ``glob`` that the names so far may lead to."""
    reached = _past_stars(glob, {0})
    for name in names:
        moved = {i + 1 for i in reached if i < len(glob) and glob[i] != "**" and fnmatchcase(name, glob[i])}
        reached = _past_stars(glob, moved | {i for i in reached if i < len(glob) and glob[i] == "**"})
    return len(glob) in reached


def matches_path(glob: str, path: str) -> bool:
    """Whether the POSIX ``path`` matches; a glob without a slash is compared with the last name, in any folder."""
    names = path.split("/")
    return matches(glob.split("/"), names if "/" in glob else names[-1:])


def _past_stars(glob: Sequence[str], reached: set[int]) -> set[int]:
    """``**`` may stand for no folder at all."""
    for i, part in enumerate(glob):
        if part == "**" and i in reached:
            reached = reached | {i + 1}
    return reached
