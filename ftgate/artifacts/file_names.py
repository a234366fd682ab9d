"""Names of files that somebody else chose: each must mean one and the same file on every system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from ftgate.artifacts.glob import matches_path
from ftgate.errors import ArtifactError

NOT_CONTENT = (".git", ".cache")
"""What tools leave at the top of a folder; no engine reads it. Everything else counts, hidden files and README too."""
_LEFTOVER = re.compile(
    r"training_args\.bin|(optimizer|scheduler|scaler)\.pt|scaler\.bin|rng_state(_\d+)?\.pth|random_states_\d+\.pkl"
    r"|(optimizer|scheduler|sampler|dl_state_dict)(_\d+)?\.bin"
)
"""What trainers keep to go on training: no weights, and nothing that a loader of models reads."""
_MOST_SHOWN = 10
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?", re.IGNORECASE)
_LONGEST_PART, _LONGEST = 240, 1000


def require_clean_names(names: Iterable[str], reference: str) -> None:
    """Raise ArtifactError for a name that leaves its folder, is no plain name somewhere, or collides with another."""
    seen: dict[str, str] = {}
    folders: set[str] = set()
    for name in names:
        problem = _problem(name)
        if problem:
            raise ArtifactError(f"{reference}: {name[:200]!a}: {problem}", hint="rename the file at its source")
        key = _folded(name)
        if key in seen:
            raise ArtifactError(
                f"{reference}: {seen[key]!a} and {name!a} are one file where case does not count",
                hint="rename one of them at its source",
            )
        seen[key] = name
        folders |= {key.rsplit("/", depth)[0] for depth in range(1, key.count("/") + 1)}
    both = sorted(folders & seen.keys())
    if both:
        raise ArtifactError(
            f"{reference}: {seen[both[0]]!a} is both a file and a folder", hint="rename one of them at its source"
        )


def choose(names: Iterable[str], skip: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of the files that make up a model, sorted, and of those that are left aside.

    Left aside is what trainers keep to go on with, in any folder, and what the globs ``skip`` match. It is no part of
    the digest, and neither fetched nor shown to an engine. What NOT_CONTENT names is not even mentioned.
    """
    content = sorted(name for name in names if name.split("/", 1)[0] not in NOT_CONTENT)
    aside = [
        name
        for name in content
        if _LEFTOVER.fullmatch(name.rpartition("/")[2]) or any(matches_path(glob, name) for glob in skip)
    ]
    return sorted(set(content) - set(aside)), aside


def few(names: Sequence[str]) -> list[str]:
    """The first of ``names``, and how many more there are."""
    more = [f"and {len(names) - _MOST_SHOWN:,} more"] if len(names) > _MOST_SHOWN else []
    return [*names[:_MOST_SHOWN], *more]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _problem(name: str) -> str:
    """What is wrong with the name, or nothing."""
    if not name or name.startswith("/"):
        return "not the name of a file inside the snapshot"
    if "\\" in name or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return "a backslash, NUL or other control character in a file name"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "a path that leaves its folder or has empty parts"
    if len(name.encode()) > _LONGEST or any(len(part.encode()) > _LONGEST_PART for part in parts):
        return "a name that is too long"
    if any(_DEVICE.fullmatch(part) or part.endswith((" ", ".")) or ":" in part for part in parts):
        return "a name that some systems reserve or change"
    return ""
