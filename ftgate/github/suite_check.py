"""Whether the questions were the base branch's own: a pull request must not bring the examination that it sits.

A suite that lies in the repository is read from the base branch and fingerprinted as a run does it. One that lies
elsewhere, on the runner or in a store, is out of a pull request's reach and not looked at.
"""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ftgate.config.policy import Policy
from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.changed_manifests import LINK
from ftgate.github.client import File, GitHubRepo
from ftgate.jobs.prepare import local_resolver, sampled_suite
from ftgate.measurements.base import Measurement
from ftgate.measurements.registry import read_measurements
from ftgate.report.schema import Report

_POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins that only points to its content in large file storage."""


def base_suites(
    hub: GitHubRepo, tree: Mapping[str, File], policy: Policy, policy_path: str, touched: Collection[str]
) -> dict[str, str]:
    """The fingerprint of each suite that the base branch's ``tree`` holds, by measurement.

    Raises PublishError for a suite that cannot be read there although the change touches it.
    """
    found = {}
    for measurement in read_measurements(policy.measurements, "the policy"):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(policy_path), measurement.dataset))
        if path not in tree:
            continue
        content = b"" if tree[path].mode == LINK else hub.blob(tree[path].sha)
        if content and not content.startswith(_POINTER):
            found[measurement.name] = _fingerprint(measurement, path, content, policy)
        elif path in touched or tree[path].mode == LINK:
            raise PublishError(
                f"the suite {path} cannot be compared with the base branch's: it is a link, or stored elsewhere (LFS)",
                hint="make it a plain file, or change suites and models in pull requests of their own",
            )
    return found


def other_questions(report: Report, suites: Mapping[str, str]) -> Iterator[str]:
    """Which suites of ``report`` are not the base branch's."""
    said = report.provenance.get("suites")
    for name, fingerprint in suites.items():
        entry = said.get(name) if isinstance(said, Mapping) else None
        if not isinstance(entry, Mapping) or entry.get("sha256") != fingerprint:
            yield f"{name}: the questions asked are not those of the base branch's suite"


def _fingerprint(measurement: Measurement, path: str, content: bytes, policy: Policy) -> str:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / posixpath.basename(path)
        copy.write_bytes(content)
        alone = measurement.model_copy(update={"dataset": copy.name})
        try:
            return sampled_suite(alone, local_resolver(policy, Path(folder)), policy.evidence.seed).sha256
        except ConfigurationError as error:
            raise ConfigurationError(error.message.replace(str(copy), path), hint=error.hint) from None
