"""From what a manifest says to a pinned folder on this machine, if the policy lets it in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ftgate.artifacts.allow import require_allowed
from ftgate.artifacts.digest import Snapshot, take_snapshot
from ftgate.errors import ArtifactError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://?")


def resolve(
    reference: str, *, relative_to: Path, policy_folder: Path, allow: Sequence[str], digest: str | None = None
) -> Snapshot:
    """The snapshot that ``reference`` names.

    A local path is taken relative to ``relative_to``, the folder of the file that names it, and must be allowed by the
    policy (see :func:`~ftgate.artifacts.allow.require_allowed`); nothing is allowed by default, and nothing is read
    before that is clear. With ``digest`` the tree must have that digest. Raises ArtifactError otherwise.
    """
    scheme = _SCHEME.match(reference)
    if scheme:
        raise ArtifactError(
            f"{reference}: {scheme[1]}:// sources are not supported yet; local folders are",
            hint="download the snapshot first, and name its folder",
        )
    try:
        folder = (relative_to / reference).resolve()
        require_allowed(reference, folder, policy_folder, allow)
        snapshot = take_snapshot(folder, reference)
    except (OSError, RuntimeError, ValueError) as error:
        raise ArtifactError(f"{reference!a}: not a usable path: {error}", hint="name a folder") from None
    if digest is not None and digest != snapshot.digest:
        raise ArtifactError(
            f"{reference}: expected {digest}, but the files have {snapshot.digest}",
            hint="the files changed, or the digest belongs to another version: pin the one you mean",
        )
    return snapshot
