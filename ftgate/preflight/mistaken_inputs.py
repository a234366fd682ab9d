"""Inputs that can be read and are hardly what was meant, so that a part of the gate protects nothing."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

from ftgate.artifacts.glob import matches
from ftgate.domain import Model
from ftgate.errors import ArtifactError
from ftgate.jobs.prepare import JobDraft
from ftgate.models.open import quickly_read, same_weights
from ftgate.models.tokenizer import read_tokenizer
from ftgate.models.weights import read_json
from ftgate.preflight.fit import CheckState

MOST_UNREAD = 0.5
"""The share of training rows without user text above which a comparison with the suites means nothing."""
FEW_UNREAD = 0.05
"""The share above which it misses much."""
_READS_ANSWERS = "calibration"
"""The kind that may ask the rows of another measurement: it reads something else of the answers."""

_ORIGIN = frozenset({"_name_or_path", "transformers_version"})
"""Fields of config.json that say where a model comes from."""


def check_mistaken_inputs(checks: CheckState) -> None:
    """Refuse training data that are mostly unread and a candidate that is the base; warn of the like."""
    _check_training(checks)
    _check_unchanged(checks)
    checks.warnings += [*_unmatched(checks.draft), *_shared_suites(checks.draft)]


def _check_training(checks: CheckState) -> None:
    training = checks.draft.training
    if training is None or training.skipped <= FEW_UNREAD * (training.rows + training.skipped):
        return
    total = training.rows + training.skipped
    message = (
        f"training data ({training.source}): {training.skipped:,} of {total:,} rows have no user text that can be "
        "read, so suites are not compared with them"
    )
    hint = "name the fields: training_data: {columns: {prompt: FIELD}} in the manifest, or mend the file"
    if training.skipped > MOST_UNREAD * total:
        checks.refuse(message, hint)
    else:
        checks.warnings.append(f"{message}; {hint}")


def _unmatched(draft: JobDraft) -> list[str]:
    """A manifest that a pull request's gate would not find; where there is no repository, only as far as is known."""
    path, globs = draft.manifest_path, draft.policy.manifests
    place_is_certain = "/" in path or Path(path).is_file()
    if not globs or not draft.manifest_sha256 or not place_is_certain:
        return []
    if any(matches(glob.split("/"), path.split("/")) for glob in globs):
        return []
    return [
        f"{path} matches none of the policy's manifests ({', '.join(globs)}): no pull request that changes it would be "
        "judged; move it, or add a glob to manifests"
    ]


def _shared_suites(draft: JobDraft) -> list[str]:
    """Measurements of two kinds on one file; forgetting on the task's rows is refused elsewhere."""
    asked = [m for m in draft.measurements if m.name in draft.suites and m.kind != _READS_ANSWERS]
    return [
        f"measurements.{first.name} and measurements.{second.name} ask the same rows ({draft.suites[first.name].source}"
        "): one of them measures what it should not; give each a file of its own"
        for first, second in combinations(asked, 2)
        if first.kind != second.kind
        and {first.kind, second.kind} != {"target", "forgetting"}
        and draft.suites[first.name].sha256 == draft.suites[second.name].sha256
    ]


def _check_unchanged(checks: CheckState) -> None:
    """Refuse a candidate whose weights and configuration are the base's, and warn where only the weights are."""
    base, candidate = checks.draft.base, checks.draft.candidate
    if base is None or candidate is None or (base.kind, candidate.kind) != ("full", "full"):
        return
    if base.headers_only or candidate.headers_only:
        return
    most = quickly_read(candidate)
    with checks.draft.problems.noted():
        if not same_weights(base, candidate, most):
            return
        if most is None and _reads_alike(base) == _reads_alike(candidate):
            raise ArtifactError(
                f"{candidate.reference}: the same weights, config.json and tokenizer as the base, so that it answers "
                "alike",
                hint="name the fine-tuned weights as candidate",
            )
        part = "" if most is None else " as far as they were read"
        checks.warnings.append(
            f"{candidate.reference}: the same weights as the base, byte for byte{part}; only other files differ, such "
            "as config.json: name the fine-tuned weights as candidate"
        )


def _reads_alike(model: Model) -> tuple[dict[str, Any], str]:
    """What of a model besides its weights says how it answers: its config.json, and the tokenizer."""
    config = read_json(model.path, "config.json", model.reference)
    return {k: v for k, v in config.items() if k not in _ORIGIN}, read_tokenizer(model.path).vocabulary
