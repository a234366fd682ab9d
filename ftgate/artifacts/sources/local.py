"""A folder or file on this machine, used where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ftgate.artifacts.allow import require_allowed
from ftgate.artifacts.snapshot import Snapshot, take_snapshot
from ftgate.errors import ArtifactError


def local_snapshot(
    reference: str,
    relative_to: Path,
    policy_folder: Path,
    allow: Sequence[str],
    *,
    glance: bool = False,
    skip: Sequence[str] = (),
) -> Snapshot:
    """The folder that ``reference`` names from ``relative_to``. Nothing is read before the policy has allowed it.

    A ``glance`` may leave large files unread; what ``skip`` matches is left aside.
    """
    try:
        folder = (relative_to / reference).resolve()
        require_allowed(reference, folder, policy_folder, allow)
        return take_snapshot(folder, reference, glance=glance, skip=skip)
    except (OSError, RuntimeError, ValueError) as error:
        raise ArtifactError(f"{reference!a}: not a usable path: {error}", hint="name a folder") from None
