"""Whether the policy lets a local folder be loaded at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ftgate.errors import ArtifactError


def require_allowed(reference: str, folder: Path, policy_folder: Path, allow: Sequence[str]) -> None:
    """Raise ArtifactError unless one of the ``allow`` globs matches where ``folder`` really leads, links resolved.

    Globs are relative to the policy's folder; an absolute one stands as it is. ``*`` and ``?`` match within one name
    (``models/*`` does not let in ``models/a/b``), ``**`` any number of folders, and no wildcard climbs: what lies above
    the policy's folder must be spelt out (``../weights/*``). Links in a glob are not followed, as a pull request may
    plant them: allow where they lead. An empty list allows nothing, so that loading is always somebody's decision.
    """
    real, home = folder.resolve(), policy_folder.resolve()
    if any(matches(Path(os.path.normpath(home / glob)).parts, real.parts) for glob in allow):
        return
    shown = Path(os.path.relpath(real, home))
    allowed = ", ".join(allow) or "nothing"
    raise ArtifactError(
        f"{reference}: the policy does not allow {shown.as_posix()} (artifacts.allow: {allowed})",
        hint=f"add a glob such as {(shown.parent / '*').as_posix()!r}, relative to the policy's folder, to "
        "artifacts.allow; it is read from the base branch",
    )


def matches(glob: Sequence[str], names: Sequence[str]) -> bool:
    """Whether ``names`` match, one by one. ``reached`` are the places in ``glob`` that the names so far may lead to."""
    reached = _past_stars(glob, {0})
    for name in names:
        moved = {i + 1 for i in reached if i < len(glob) and glob[i] != "**" and fnmatchcase(name, glob[i])}
        reached = _past_stars(glob, moved | {i for i in reached if i < len(glob) and glob[i] == "**"})
    return len(glob) in reached


def _past_stars(glob: Sequence[str], reached: set[int]) -> set[int]:
    """``**`` may stand for no folder at all."""
    for i, part in enumerate(glob):
        if part == "**" and i in reached:
            reached = reached | {i + 1}
    return reached
