"""From what a manifest says to a pinned folder on this machine, if the policy lets it in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ftgate.artifacts.digest import Snapshot, take_snapshot
from ftgate.errors import ArtifactError


def resolve(
    reference: str, *, relative_to: Path, policy_folder: Path, allow: Sequence[str], digest: str | None = None
) -> Snapshot:
    """The snapshot that ``reference`` names.

    A local path is taken relative to ``relative_to``, the folder of the file that names it, and is allowed when the
    folder it leads to, written relative to the policy's folder, matches one of the ``allow`` globs. Nothing is allowed
    by default. With ``digest`` the tree must have that digest. Raises ArtifactError otherwise.
    """
    if "://" in reference:
        raise ArtifactError(
            f"{reference}: {reference.split('://', 1)[0]}:// sources cannot be pulled yet",
            hint="download the snapshot first, and name its folder",
        )
    folder = relative_to / reference
    _require_allowed(reference, folder, policy_folder, allow)
    snapshot = take_snapshot(folder, reference)
    if digest is not None and digest != snapshot.digest:
        raise ArtifactError(
            f"{reference}: the manifest expects {digest}, the files have {snapshot.digest}",
            hint="the files changed, or the digest belongs to another version: pin the one you mean",
        )
    return snapshot


def _require_allowed(reference: str, folder: Path, policy_folder: Path, allow: Sequence[str]) -> None:
    """Compare where the path really leads, links and ``..`` resolved, with where the globs really point."""
    real = folder.resolve()
    home = policy_folder.resolve()
    for glob in allow:
        pattern = os.path.normpath(home / glob)
        # A star stands for one name, never for a path separator: models/* does not let in models/a/b.
        if len(Path(pattern).parts) == len(real.parts) and all(
            fnmatchcase(part, wanted) for part, wanted in zip(real.parts, Path(pattern).parts, strict=True)
        ):
            return
    shown = os.path.relpath(real, home)
    allowed = ", ".join(allow) or "nothing"
    raise ArtifactError(
        f"{reference}: the policy does not allow {shown} (artifacts.allow: {allowed})",
        hint="add a glob, relative to the policy's folder, to artifacts.allow; it is read from the base branch",
    )
