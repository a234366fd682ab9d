"""File names from outside: each must be unambiguous and portable across operating systems."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from ftgate.artifacts.glob import matches_path
from ftgate.errors import ArtifactError

NOT_CONTENT = (".git", ".cache")
"""Folders that tools create at the top level and engines never read. All else counts, hidden files included."""
_TRAINER_STATE = re.compile(
    r"training_args\.bin|(optimizer|scheduler|scaler)\.pt|scaler\.bin|rng_state(_\d+)?\.pth|random_states_\d+\.pkl"
    r"|(optimizer|scheduler|sampler|dl_state_dict)(_\d+)?\.bin"
)
"""Optimizer and other training state: not weights, and never read when a model is loaded."""
_MAX_LISTED = 10
_RESERVED_NAME = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?", re.IGNORECASE)
_MAX_PART_BYTES, _MAX_BYTES = 240, 1000


def require_clean_names(names: Iterable[str], reference: str) -> None:
    """Raise ArtifactError for a name that escapes its folder, is not portable, or collides with another."""
    seen: dict[str, str] = {}
    folders: set[str] = set()
    for name in names:
        problem = _problem(name)
        if problem:
            raise ArtifactError(f"{reference}: {name[:200]!a}: {problem}", hint="rename the file at its source")
        key = _case_folded(name)
        if key in seen:
            raise ArtifactError(
                f"{reference}: {seen[key]!a} and {name!a} are the same name if case is ignored",
                hint="rename one of them at its source",
            )
        seen[key] = name
        folders |= {key.rsplit("/", depth)[0] for depth in range(1, key.count("/") + 1)}
    both = sorted(folders & seen.keys())
    if both:
        raise ArtifactError(
            f"{reference}: {seen[both[0]]!a} is both a file and a folder", hint="rename one of them at its source"
        )


def select_files(names: Iterable[str], skip: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of the model's files, sorted, and those of the ignored files.

    Ignored are training state, in any folder, and whatever the ``skip`` globs match: not part of the digest, not
    downloaded, not shown to an engine. Names in NOT_CONTENT are in neither list.
    """
    content = sorted(name for name in names if name.split("/", 1)[0] not in NOT_CONTENT)
    ignored = [
        name
        for name in content
        if _TRAINER_STATE.fullmatch(name.rpartition("/")[2]) or any(matches_path(glob, name) for glob in skip)
    ]
    return sorted(set(content) - set(ignored)), ignored


def shorten_list(names: Sequence[str]) -> list[str]:
    """Up to ten of ``names``, then one entry that counts the rest."""
    rest = [f"and {len(names) - _MAX_LISTED:,} more"] if len(names) > _MAX_LISTED else []
    return [*names[:_MAX_LISTED], *rest]


def _case_folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _problem(name: str) -> str:
    """What is wrong with the name; empty if nothing."""
    if not name or name.startswith("/"):
        return "not a relative path"
    if "\\" in name or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return "contains a backslash, NUL or other control character"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "a path with '..', '.' or empty parts"
    if len(name.encode()) > _MAX_BYTES or any(len(part.encode()) > _MAX_PART_BYTES for part in parts):
        return "too long"
    if any(_RESERVED_NAME.fullmatch(part) or part.endswith((" ", ".")) or ":" in part for part in parts):
        return "reserved or altered by some operating systems"
    return ""
