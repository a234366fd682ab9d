"""The manifest: which base, which candidate, which training data. It is what a pull request changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from ftgate.config.columns import Columns, is_template
from ftgate.config.strict import Section, read_mapping, validate

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Revision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class Source(Section):
    """Where a model or data set is stored, and optionally what its content must be."""

    source: str = Field(min_length=1)
    """A folder or file, relative to the file that names it, or `hf://`, `s3://`, `gs://`, `az://`, `https://`, `oci://`
    or `github://`."""
    revision: Revision | None = None
    """Commit of a `hf://` reference, all 40 hex digits."""
    digest: Digest | None = None
    """Tree digest (`sha256:…`) that the files must have; for training data, the SHA-256 of the file."""


class TrainingSource(Source):
    """Where the training data are stored, and which of their fields hold what was asked."""

    columns: Columns | None = None
    """Which fields of the file hold the conversation, for a file of no known shape. Names of fields alone: a manifest
    comes with the change that is judged, and runs no templates."""

    @model_validator(mode="after")
    def _names_alone(self) -> Self:
        if self.columns is not None and (templates := [e for e in self.columns.entries() if is_template(e)]):
            raise ValueError(f"columns: {templates[0][:60]!a} is a template, and a manifest may only name fields")
        return self


class Manifest(Section):
    """The whole manifest file."""

    name: str = Field(min_length=1, max_length=100)
    """What reports call the candidate."""
    base: Source
    """The model that the candidate was trained from: full weights."""
    candidate: Source
    """The fine-tuned model: a LoRA adapter or full weights."""
    training_data: TrainingSource | None = None
    """What the candidate was trained on: needed to find the tail, and to exclude items that were trained on."""


def read_manifest(path: Path) -> Manifest:
    """The manifest in ``path``. Raises ConfigurationError naming file, field and value."""
    return validate(Manifest, read_mapping(path, "manifest"), f"manifest {path}")
