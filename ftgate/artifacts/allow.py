"""Whether the policy lets a reference be loaded at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ftgate.artifacts.glob import matches
from ftgate.artifacts.reference import Reference
from ftgate.domain import Model
from ftgate.errors import ArtifactError


def require_allowed_remote(reference: Reference, allow: Sequence[str]) -> None:
    """Raise ArtifactError unless one of the ``allow`` globs that name the same scheme matches ``reference``.

    ``*`` and ``?`` match within one part between slashes, ``**`` any number of parts, and ``/*`` at the end everything
    below: object stores have no folders. A revision, tag or digest in the reference does not count. Nothing is asked
    of any network.
    """
    place = _as_matched(reference)
    for glob in allow:
        scheme, found, pattern = glob.partition("://")
        if not found or scheme.lower() != reference.scheme:
            continue
        parts = pattern.rstrip("/").split("/")
        if reference.scheme != "hf":
            parts[0] = parts[0].lower()
        if matches([*parts[:-1], "*", "**"] if parts[-1] == "*" else parts, place):
            return
    allowed = ", ".join(allow) or "nothing"
    above = "/".join(place[:-1] or place)
    raise ArtifactError(
        f"{reference.text}: the policy does not allow it (artifacts.allow: {allowed})",
        hint=f"add a glob such as '{reference.scheme}://{above}/*' to artifacts.allow; it is read from the base branch",
    )


def _as_matched(reference: Reference) -> list[str]:
    """The parts of the place as globs see them: a host in lower case, nothing of a revision, tag or digest."""
    first, *rest = reference.parts
    if reference.scheme == "hf":
        return [part.partition("@")[0] for part in (first, *rest)]
    if reference.scheme == "oci" and rest:
        rest[-1] = rest[-1].partition("@")[0].partition(":")[0]
    return [first.lower(), *rest]


def require_architecture(model: Model, allowed: Sequence[str]) -> None:
    """Raise ArtifactError unless the architecture that ``model`` names matches one of the globs, if there are any."""
    found = str(model.facts.get("architecture", "unknown"))
    if allowed and not any(fnmatchcase(found, glob) for glob in allowed):
        raise ArtifactError(
            f"{model.reference}: the policy does not allow the architecture {found[:80]!a} "
            f"(artifacts.architectures: {', '.join(allowed)})",
            hint="add it to artifacts.architectures; it is read from the base branch",
        )


def require_allowed(reference: str, folder: Path, policy_folder: Path, allow: Sequence[str]) -> None:
    """Raise ArtifactError unless one of the ``allow`` globs matches where ``folder`` really leads, links resolved.

    Globs are relative to the policy's folder; an absolute one stands as it is. ``*`` and ``?`` match within one name
    (``models/*`` does not let in ``models/a/b``), ``**`` any number of folders, and no wildcard climbs: what lies above
    the policy's folder must be spelt out (``../weights/*``). Links in a glob are not followed, as a pull request may
    plant them: allow where they lead. An empty list allows nothing, so that loading is always somebody's decision.
    """
    real, home = folder.resolve(), policy_folder.resolve()
    local = [glob for glob in allow if "://" not in glob]
    if any(matches(Path(os.path.normpath(home / glob)).parts, real.parts) for glob in local):
        return
    shown = Path(os.path.relpath(real, home))
    allowed = ", ".join(allow) or "nothing"
    raise ArtifactError(
        f"{reference}: the policy does not allow {shown.as_posix()} (artifacts.allow: {allowed})",
        hint=f"add a glob such as {(shown.parent / '*').as_posix()!r}, relative to the policy's folder, to "
        "artifacts.allow; it is read from the base branch",
    )
