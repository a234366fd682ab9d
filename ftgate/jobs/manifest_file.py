"""The manifest's file: read once, and known by its digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ftgate.config.manifest import Manifest, read_manifest
from ftgate.errors import ConfigurationError
from ftgate.files import file_stamp, settled_stamps


def manifest_with_digest(path: Path) -> tuple[Manifest, str]:
    """The manifest and the SHA-256 of its file. Raises ConfigurationError if they are not of the same content."""
    (stamp,) = settled_stamps([path])
    manifest = read_manifest(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if file_stamp(path.resolve()) != stamp:
        raise ConfigurationError(f"manifest {path}: changed while it was read", hint="run again")
    return manifest, sha256
