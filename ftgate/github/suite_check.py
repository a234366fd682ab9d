"""Checks that the suites in a report are the base branch's: a pull request must not bring its own questions.

A suite in the repository is read from the base branch and fingerprinted in the same way as in a run. A suite stored
elsewhere, on the runner or in an object store, cannot be changed by a pull request and is not checked.
"""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ftgate.config.lm_eval import is_task
from ftgate.config.policy import Policy
from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.changed_manifests import LINK
from ftgate.github.client import File, GitHubRepo
from ftgate.jobs.prepare import local_resolver, sampled_suite
from ftgate.measurements.base import Measurement
from ftgate.measurements.registry import read_measurements
from ftgate.report.schema import Report

_POINTER = b"version https://git-lfs.github.com/spec/"
"""The first bytes of a Git LFS pointer."""


def base_suites(
    repo: GitHubRepo, tree: Mapping[str, File], policy: Policy, policy_path: str, touched: Collection[str]
) -> dict[str, str]:
    """The fingerprint of each suite in the base branch's ``tree``, by measurement.

    Raises PublishError for a suite that cannot be read there although the change touches it.
    """
    fingerprints = {}
    for measurement in read_measurements(policy.measurements, "the policy"):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(policy_path), measurement.dataset))
        if path not in tree:
            continue
        if is_task(measurement.dataset):  # a program, which has no business here: its documents are not read
            if path in touched:
                raise PublishError(
                    f"the change touches the task file {path}, which cannot be compared with the base branch's",
                    hint="change suites and models in separate pull requests",
                )
            continue
        content = b"" if tree[path].mode == LINK else repo.blob(tree[path].sha)
        if content and not content.startswith(_POINTER):
            fingerprints[measurement.name] = _fingerprint(measurement, path, content, policy)
        elif path in touched or tree[path].mode == LINK:
            raise PublishError(
                f"the suite {path} cannot be compared with the base branch's: it is a link or in Git LFS",
                hint="make it a regular file, or change suites and models in separate pull requests",
            )
    return fingerprints


def suite_mismatches(report: Report, suites: Mapping[str, str]) -> Iterator[str]:
    """A problem for each suite of ``report`` that differs from the base branch's."""
    suites_of_report = report.provenance.get("suites")
    for name, fingerprint in suites.items():
        entry = suites_of_report.get(name) if isinstance(suites_of_report, Mapping) else None
        if not isinstance(entry, Mapping) or entry.get("sha256") != fingerprint:
            yield f"{name}: the suite is not the base branch's"


def _fingerprint(measurement: Measurement, path: str, content: bytes, policy: Policy) -> str:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / posixpath.basename(path)
        copy.write_bytes(content)
        local = measurement.model_copy(update={"dataset": copy.name})
        try:
            return sampled_suite(local, local_resolver(policy, Path(folder)), policy.evidence.seed).sha256
        except ConfigurationError as error:
            raise ConfigurationError(error.message.replace(str(copy), path), hint=error.hint) from None
