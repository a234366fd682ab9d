"""Every kind of source by its scheme."""

from __future__ import annotations

from collections.abc import Callable

from ftgate.artifacts.reference import host_of, is_loopback
from ftgate.artifacts.sources.base import Request, Source
from ftgate.artifacts.sources.github import GitHubSource
from ftgate.artifacts.sources.hub import HuggingFaceSource
from ftgate.artifacts.sources.objects import ObjectStoreSource
from ftgate.artifacts.sources.oci import OciSource
from ftgate.artifacts.sources.web import WebSource
from ftgate.errors import ArtifactError

SOURCES: dict[str, Callable[[Request], Source]] = {
    "hf": HuggingFaceSource,
    "s3": ObjectStoreSource,
    "gs": ObjectStoreSource,
    "az": ObjectStoreSource,
    "https": WebSource,
    "oci": OciSource,
    "github": GitHubSource,
}


def open_source(request: Request) -> Source:
    """The source that a reference names. Nothing is asked of any network yet."""
    reference = request.reference
    scheme = reference.scheme
    if scheme == "http" and is_loopback(host_of(reference.parts[0])):
        scheme = "https"
    if scheme not in SOURCES:
        secure = "; use https" if scheme == "http" else ""
        raise ArtifactError(
            f"{reference.text}: {scheme}:// is not a source that ftgate knows{secure}",
            hint=f"use a local folder, or one of {', '.join(f'{name}://' for name in SOURCES)}",
        )
    if request.revision is not None and scheme != "hf":
        raise ArtifactError(
            f"{reference.text}: revision is for hf:// references alone", hint="pin it with digest: sha256:… instead"
        )
    return SOURCES[scheme](request)
