"""The manifest: which base, which candidate, which training data. It is what a pull request changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from ftgate.config.strict import Section, read_mapping, validate

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Revision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class Source(Section):
    """Where something lies, and optionally proof of what it must be."""

    source: str = Field(min_length=1)
    """A folder or file relative to the manifest, or hf://, s3://, gs://, az://, https://, oci:// or github://."""
    revision: Revision | None = None
    """Full commit of a hub reference."""
    digest: Digest | None = None
    """Tree digest that the snapshot must have; of training data, the SHA-256 of the file."""


class Manifest(Section):
    """The whole manifest file."""

    name: str = Field(min_length=1, max_length=100)
    base: Source
    candidate: Source
    training_data: Source | None = None
    """For the distance of queries from it, and to leave out items that were trained on."""


def read_manifest(path: Path) -> Manifest:
    """The manifest in ``path``. Raises ConfigurationError naming file, field and value."""
    return validate(Manifest, read_mapping(path, "manifest"), f"manifest {path}")
