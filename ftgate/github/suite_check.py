"""Checks that the suites in a report are the base branch's: a pull request must not bring its own questions.

A suite in the repository is read from the base branch and fingerprinted in the same way as in a run. A suite stored
elsewhere, on the runner or in an object store, cannot be changed by a pull request and is not checked.
"""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ftgate.config.lm_eval import PREFIX, is_task
from ftgate.config.policy import Policy
from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.changed_manifests import LINK
from ftgate.github.client import File, GitHubRepo
from ftgate.jobs.prepare import local_resolver, sampled_suite
from ftgate.judge.labels import read_labels
from ftgate.measurements.base import Measurement
from ftgate.measurements.registry import read_measurements
from ftgate.report.schema import Report

_POINTER = b"version https://git-lfs.github.com/spec/"
"""The first bytes of a Git LFS pointer."""


def measurements_of_data(policy: Policy, path: str) -> tuple[Measurement, ...]:
    """The measurements of the policy at ``path``. Raises ConfigurationError if the suite of one is a task file.

    Such a file is a program, which may load modules and data beside it, and a change could bring these along.
    """
    measurements = read_measurements(policy.measurements, f"policy {path}")
    sources = [m.dataset for m in measurements]
    if task := next((source for source in sources if is_task(source) and not source.startswith(PREFIX)), None):
        raise ConfigurationError(
            f"policy {path}: the task file {task} is a program, which does not run for a pull request",
            hint="name a task of the harness itself (lm-eval:TASK), or put rows of your own into a suite file",
        )
    return measurements


def base_suites(
    repo: GitHubRepo, tree: Mapping[str, File], policy: Policy, policy_path: str, touched: Collection[str]
) -> dict[str, str]:
    """The fingerprint of each suite in the base branch's ``tree``, by measurement.

    Raises PublishError for a suite that cannot be read there although the change touches it, ConfigurationError for a
    task file.
    """
    fingerprints, measurements = {}, measurements_of_data(policy, policy_path)
    paths = [posixpath.normpath(posixpath.join(posixpath.dirname(policy_path), m.dataset)) for m in measurements]
    repo.prefetch([tree[path].sha for path in paths if path in tree and tree[path].mode != LINK])
    for measurement, path in zip(measurements, paths, strict=True):
        if path not in tree or is_task(measurement.dataset):
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


def base_labels(
    repo: GitHubRepo, tree: Mapping[str, File], policy: Policy, policy_path: str, touched: Collection[str]
) -> str:
    """The SHA-256 of people's grades in the base branch's ``tree``; empty if the policy names none in the repository.

    Raises PublishError for a file that cannot be read there although the change touches it.
    """
    if policy.judge is None or policy.judge.labels is None:
        return ""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(policy_path), policy.judge.labels))
    if path not in tree:
        return ""
    content = b"" if tree[path].mode == LINK else repo.blob(tree[path].sha)
    if content and not content.startswith(_POINTER):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / posixpath.basename(path)
            copy.write_bytes(content)
            return read_labels(copy, path).sha256
    if path in touched or tree[path].mode == LINK:
        raise PublishError(
            f"the labels {path} cannot be compared with the base branch's: they are a link or in Git LFS",
            hint="make it a regular file, or change labels and models in separate pull requests",
        )
    return ""


def label_mismatches(report: Report, sha256: str) -> Iterator[str]:
    """A problem if the base branch's grades by people have this ``sha256``, and those of ``report`` another."""
    used = report.provenance.get("judge_labels")
    if sha256 and not (isinstance(used, Mapping) and used.get("sha256") == sha256):
        yield "people's grades of the judge (judge.labels) are not the base branch's"


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
