"""What a run is told: its policy and manifest, from files or from a command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ftgate.config.manifest import Manifest
from ftgate.config.policy import Policy, read_policy
from ftgate.errors import Problems
from ftgate.jobs.manifest_file import manifest_with_digest
from ftgate.measurements.base import Measurement
from ftgate.measurements.derived import DerivedMeasurement
from ftgate.measurements.registry import read_derived, read_measurements


@dataclass(frozen=True, slots=True)
class Configuration:
    """A policy and a manifest, and where they are: relative paths in them start at the folders of these files."""

    policy: Policy
    policy_path: Path
    manifest: Manifest
    manifest_path: Path
    manifest_sha256: str = ""
    """Of the manifest's file; empty if there is none."""
    not_measured: Mapping[str, str] = field(default_factory=dict)
    """What a run without a policy leaves out, with the reason."""

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """Those that ask questions. Raises ConfigurationError naming file, field and value."""
        return read_measurements(self.policy.measurements, f"policy {self.policy_path}")

    @property
    def derived(self) -> tuple[DerivedMeasurement, ...]:
        """Those that ask nothing. Raises ConfigurationError naming file, field and value."""
        return read_derived(self.policy.measurements, f"policy {self.policy_path}")

    def as_smoke_test(self, items: int) -> Configuration:
        """The same run with at most this many ``items`` of each suite, which cannot allow anything."""
        return replace(self, policy=self.policy.as_smoke_test(items))


def read_configuration(policy_path: Path, manifest_path: Path) -> Configuration:
    """Read both files. Raises ConfigurationError naming what is wrong in either, or all of it as SeveralError."""
    problems = Problems()
    with problems.noted():
        policy = read_policy(policy_path)
        read_measurements(policy.measurements, f"policy {policy_path}")
        read_derived(policy.measurements, f"policy {policy_path}")
    with problems.noted():
        manifest, manifest_sha256 = manifest_with_digest(manifest_path)
    problems.raise_any()
    return Configuration(policy, policy_path, manifest, manifest_path, manifest_sha256)
