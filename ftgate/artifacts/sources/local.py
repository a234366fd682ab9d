"""A local folder, used in place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ftgate.artifacts.allow import require_allowed
from ftgate.artifacts.hub_names import hub_hint, is_hub_name
from ftgate.artifacts.snapshot import Snapshot, take_snapshot
from ftgate.errors import ArtifactError


def local_snapshot(
    reference: str,
    relative_to: Path,
    policy_folder: Path,
    allow: Sequence[str],
    *,
    skip_large: bool = False,
    skip: Sequence[str] = (),
) -> Snapshot:
    """The folder that ``reference`` names, relative to ``relative_to``. The policy is checked before anything is read.

    ``skip_large`` may leave large files unhashed; files that ``skip`` matches are ignored.
    """
    try:
        folder = (relative_to / reference).resolve()
        try:
            require_allowed(reference, folder, policy_folder, allow)
            return take_snapshot(folder, reference, skip_large=skip_large, skip=skip)
        except ArtifactError as error:
            if is_hub_name(reference) and not folder.exists():
                raise ArtifactError(error.message, hint=f"{hub_hint(reference)}; or: {error.hint}") from None
            raise
    except (OSError, RuntimeError, ValueError) as error:
        raise ArtifactError(f"{reference!a}: not a usable path: {error}", hint="name a folder") from None
