"""The training data that a manifest names: fetched, read, and refused where the name misleads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ftgate.artifacts.reference import parse
from ftgate.artifacts.resolve import Resolver
from ftgate.config.manifest import Manifest
from ftgate.datasets import TrainingData, read_training_texts
from ftgate.errors import ConfigurationError


def training_of(
    manifest: Manifest, manifest_path: Path, resolver: Resolver, most: int | None = None
) -> TrainingData | None:
    """The rows that the candidate was trained on, as the manifest names them; None if it names none."""
    source = manifest.training_data
    if source is None:
        return None
    paths = resolver.files(
        source.source,
        relative_to=manifest_path.parent,
        allow=resolver.settings.allow,
        revision=source.revision,
        digest=source.digest,
    )
    local = parse(source.source) is None
    if local:
        _refuse_misleading_link(paths[0], manifest_path)
    training = replace(read_training_texts(*paths, columns=source.columns, most=most), source=source.source)
    actual = f"sha256:{training.sha256}"
    if local and source.digest not in (None, actual):
        raise ConfigurationError(
            f"manifest {manifest_path}: training_data.digest is {source.digest}, the file has {actual}",
            hint="the file changed, or the digest is of another version: pin the digest of the file that you mean",
        )
    return training


def _refuse_misleading_link(path: Path, manifest_path: Path) -> None:
    """Refuse a link to a file of another type: it could point to a key or /proc/self/environ, and errors quote rows."""
    try:
        suffix = path.resolve().suffix.lower()
    except (OSError, RuntimeError, ValueError):
        return  # reading the file will report the problem
    if suffix != path.suffix.lower():
        raise ConfigurationError(
            f"manifest {manifest_path}: training_data.source is a link to a file of another type",
            hint=f"name the {path.suffix or '.jsonl'} file itself, or replace the link with a copy",
        )
