"""All artifact sources by URL scheme."""

from __future__ import annotations

from collections.abc import Callable

from ftgate.artifacts.reference import host_of, is_loopback
from ftgate.artifacts.sources.base import ArtifactSource, Request
from ftgate.artifacts.sources.github import GitHubSource
from ftgate.artifacts.sources.hub import HuggingFaceSource
from ftgate.artifacts.sources.objects import ObjectStoreSource
from ftgate.artifacts.sources.oci import OciSource
from ftgate.artifacts.sources.web import WebSource
from ftgate.errors import ArtifactError

SOURCES: dict[str, Callable[[Request], ArtifactSource]] = {
    "hf": HuggingFaceSource,
    "s3": ObjectStoreSource,
    "gs": ObjectStoreSource,
    "az": ObjectStoreSource,
    "https": WebSource,
    "oci": OciSource,
    "github": GitHubSource,
}


def open_source(request: Request) -> ArtifactSource:
    """The source for the reference's scheme. Makes no network request."""
    reference = request.reference
    scheme = reference.scheme
    if scheme == "http" and is_loopback(host_of(reference.parts[0])):
        scheme = "https"
    if scheme not in SOURCES:
        advice = "; use https" if scheme == "http" else ""
        raise ArtifactError(
            f"{reference.text}: {scheme}:// is not supported{advice}",
            hint=f"use a local folder, or one of {', '.join(f'{name}://' for name in SOURCES)}",
        )
    if request.revision is not None and scheme != "hf":
        raise ArtifactError(
            f"{reference.text}: revision works for hf:// references only", hint="pin it with digest: sha256:… instead"
        )
    return SOURCES[scheme](request)
