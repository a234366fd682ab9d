"""Names of files that somebody else chose: each must mean one and the same file on every system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from ftgate.artifacts.digest import NOT_CONTENT
from ftgate.errors import ArtifactError

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


def is_content(name: str) -> bool:
    """Whether a file counts: what tools leave at the top of a folder does not, see digest.py."""
    return name.split("/", 1)[0] not in NOT_CONTENT


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
