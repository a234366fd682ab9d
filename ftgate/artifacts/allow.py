"""Whether the policy allows a reference to be loaded."""

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
    """Raise ArtifactError unless an ``allow`` glob with the same scheme matches ``reference``.

    ``*`` and ``?`` match within one path part, ``**`` any number of parts, and a trailing ``/*`` everything below it,
    since object stores have no folders. A revision, tag or digest in the reference is ignored. Makes no network
    request.
    """
    location = _matchable_parts(reference)
    for glob in allow:
        scheme, separator, pattern = glob.partition("://")
        if not separator or scheme.lower() != reference.scheme:
            continue
        parts = pattern.rstrip("/").split("/")
        if reference.scheme != "hf":
            parts[0] = parts[0].lower()
        if matches([*parts[:-1], "*", "**"] if parts[-1] == "*" else parts, location):
            return
    allowed = ", ".join(allow) or "nothing"
    parent = "/".join(location[:-1] or location)
    raise ArtifactError(
        f"{reference.text}: the policy does not allow it (artifacts.allow: {allowed})",
        hint=f"add a glob such as '{reference.scheme}://{parent}/*' to artifacts.allow; read from the base branch",
    )


def _matchable_parts(reference: Reference) -> list[str]:
    """The parts of the location that globs are compared with: host in lower case, no revision, tag or digest."""
    first, *rest = reference.parts
    if reference.scheme == "hf":
        return [part.partition("@")[0] for part in (first, *rest)]
    if reference.scheme == "oci" and rest:
        rest[-1] = rest[-1].partition("@")[0].partition(":")[0]
    return [first.lower(), *rest]


def require_architecture(model: Model, allowed: Sequence[str]) -> None:
    """Raise ArtifactError unless a glob in ``allowed`` matches the architecture of ``model``. Empty: any is allowed."""
    architecture = str(model.facts.get("architecture", "unknown"))
    if allowed and not any(fnmatchcase(architecture, glob) for glob in allowed):
        raise ArtifactError(
            f"{model.reference}: the policy does not allow the architecture {architecture[:80]!a} "
            f"(artifacts.architectures: {', '.join(allowed)})",
            hint="add it to artifacts.architectures; read from the base branch",
        )


def require_allowed(reference: str, folder: Path, policy_folder: Path, allow: Sequence[str]) -> None:
    """Raise ArtifactError unless an ``allow`` glob matches the real path of ``folder``, links resolved.

    Globs are relative to the policy's folder or absolute. ``*`` and ``?`` match within one name (``models/*`` does not
    match ``models/a/b``), ``**`` any number of folders. No wildcard matches above the policy's folder: write such paths
    out (``../weights/*``). Links in a glob are not followed, since a pull request could plant one: allow the link's
    target instead. An empty list allows nothing, so that loading is always an explicit decision.
    """
    real, home = folder.resolve(), policy_folder.resolve()
    local = [glob for glob in allow if "://" not in glob]
    if any(matches(Path(os.path.normpath(home / glob)).parts, real.parts) for glob in local):
        return
    relative = Path(os.path.relpath(real, home))
    allowed = ", ".join(allow) or "nothing"
    raise ArtifactError(
        f"{reference}: the policy does not allow {relative.as_posix()} (artifacts.allow: {allowed})",
        hint=f"add a glob such as {(relative.parent / '*').as_posix()!r}, relative to the policy's folder, to "
        "artifacts.allow; read from the base branch",
    )
