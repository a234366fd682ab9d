"""A run without files: policy and manifest from a few references, with defaults for everything else."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Any

import yaml

from ftgate.artifacts.hub_names import hub_hint, is_hub_name
from ftgate.artifacts.reference import parse
from ftgate.config.lm_eval import is_task
from ftgate.config.manifest import Manifest
from ftgate.config.policy import Policy, read_policy
from ftgate.config.strict import validate
from ftgate.datasets import Needs, read_parts
from ftgate.datasets.builtin import PREFIX, dataset_paths
from ftgate.domain import Item
from ftgate.errors import ConfigurationError
from ftgate.files import remedy_for
from ftgate.jobs.configuration import Configuration, read_configuration
from ftgate.jobs.prepare import Resolvers
from ftgate.measurements.calibration import ENOUGH_ITEMS
from ftgate.measurements.registry import read_measurements

ORIGIN = Path("command line")
"""Stands for the files in errors. Relative paths start where the command does."""
GENERAL = {"dataset": "builtin:general-800", "n": 200, "n_max": 800}
SHORT_WORDS = 5
"""A reference answer of at most so many words is one that an answer can be equal to."""
PLAIN_NAMES = re.compile(r"checkpoint-\d+|final|last|best|adapter|lora|merged|model|output|out")
"""Names of folders that say nothing without that of the folder above."""
_NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+\s*%?")


@dataclass(frozen=True, slots=True)
class DirectRun:
    """What a run without files is told: references to models and data, as in policy and manifest."""

    base: str
    candidate: str
    target: str | None = None
    """Questions about the task that the candidate was trained for, with answers."""
    training: str | None = None
    general: str | None = None
    """General prompts of one's own, in place of the built-in ones."""
    queries: str | None = None
    """Real queries, to find those unlike the training data."""
    choices: str | None = None
    """Multiple-choice questions, for calibration; by default the target's, if they have choices."""
    judge: str | None = None
    name: str | None = None
    limit: int | None = None
    """At most so many items of each suite: a smoke test."""
    candidates: tuple[str, ...] = ()
    """All candidates of this call, if it has several: one policy allows them all."""


@dataclass(slots=True)
class Draft:
    """A policy and a manifest as they would be written, and what has no section in that policy, with the reason."""

    policy: dict[str, Any]
    manifest: dict[str, Any]
    not_measured: dict[str, str] = field(default_factory=dict)

    def leave_out(self, reasons: Mapping[str, str]) -> None:
        """Take measurements out, each with the reason why."""
        for name, reason in reasons.items():
            self.policy["measurements"].pop(name, None)
            self.not_measured[name] = reason


def require_models(run: DirectRun, *, offline: bool = False) -> None:
    """Raise ConfigurationError for a model that is no folder here, with what to write if it is meant on the hub."""
    for role, reference in (("base", run.base), ("candidate", run.candidate), ("judge", run.judge)):
        if reference:
            require_model(role, reference, offline=offline)


def require_model(role: str, reference: str, *, offline: bool = False) -> None:
    """As :func:`require_models`, for one of them."""
    if parse(reference) is not None or Path(reference).is_dir():
        return
    if Path(reference).exists():
        raise ConfigurationError(f"{role} {reference!r}: a file, not a folder", hint=f"name the folder of the {role}")
    on_hub = is_hub_name(reference)
    local = "correct the path if it is a folder here; " if on_hub else ""
    hint = hub_hint(reference, ask=not offline) if on_hub else "name a folder, or hf://, s3:// and so on"
    raise ConfigurationError(f"{role} {reference!r}: no such folder", hint=f"{local}{hint}")


def configuration_of(run: DirectRun, policy_path: Path) -> Configuration:
    """The run under the policy in ``policy_path``, which names the suites and the judge."""
    named = [option for option in ("target", "queries", "choices", "judge") if getattr(run, option)]
    if named:
        raise ConfigurationError(
            f"{named[0]} and policy: the policy names suites and judge", hint="leave out one of the two"
        )
    policy = read_policy(policy_path)
    return Configuration(policy, policy_path, validate(Manifest, manifest_of(run, Path()), str(ORIGIN)), ORIGIN)


def draft_run(run: DirectRun, resolvers: Resolvers, folder: Path = Path(), *, most: int | None = None) -> Draft:
    """The policy and manifest of ``run``, with local paths relative to ``folder``.

    Reads the suites, or ``most`` rows of each, to see how answers are scored. Raises DatasetError if that fails.
    """
    measurements: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    judge = run.judge is not None
    target = suite_items(run.target, resolvers, most) if run.target else ()
    if run.target:
        measurements |= _free_form("target", run.target, target, missing, judge=judge, folder=folder)
    else:
        missing["target"] = "no questions about its task; give --target FILE"
    if run.general:
        items = suite_items(run.general, resolvers, most)
        measurements |= _free_form("forgetting", run.general, items, missing, judge=judge, folder=folder)
    elif judge:
        measurements["forgetting"] = {**GENERAL, "scorer": "judge"}
    else:
        missing["forgetting"] = "general prompts need a model that grades the answers; give --judge MODEL"
    measurements["safety"] = {"dataset": "builtin:safety-250", "scorer": "judge" if judge else "rules"}
    measurements["tools"] = {"dataset": "builtin:tools-120"}
    if run.queries and run.training:
        queries = suite_items(run.queries, resolvers, most)
        measurements |= _free_form("tail", run.queries, queries, missing, judge=judge, folder=folder)
    else:
        needed = " and ".join(o for o, given in (("--queries", run.queries), ("--training", run.training)) if not given)
        missing["tail"] = f"queries far from the training data cannot be found; give {needed} FILE"
    choices = run.choices or (run.target if target and all(item.choices for item in target) else None)
    if choices and (run.choices or len(target) >= ENOUGH_ITEMS):
        measurements["calibration"] = {"dataset": _placed(choices, folder)}
    elif choices:
        missing["calibration"] = (
            f"a pass needs at least {ENOUGH_ITEMS} multiple-choice questions, and {run.target} has {len(target):,}; "
            "give --choices FILE"
        )
    else:
        missing["calibration"] = "no multiple-choice questions; give --choices FILE"
    return Draft(_policy(run, measurements, folder), manifest_of(run, folder), missing)


def configured(draft: Draft) -> Configuration:
    """The configuration of a draft that is not written. Raises ConfigurationError naming the field."""
    if not draft.policy["measurements"]:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in draft.not_measured.items())
        raise ConfigurationError(f"nothing can be measured: {reasons}", hint="give --target FILE")
    policy = validate(Policy, draft.policy, f"policy {ORIGIN}")
    read_measurements(policy.measurements, f"policy {ORIGIN}")
    return Configuration(policy, ORIGIN, validate(Manifest, draft.manifest, f"manifest {ORIGIN}"), ORIGIN)


def written(draft: Draft, folder: Path) -> Configuration:
    """The configuration of a draft, from the files that this writes: ftgate.yml and the manifest below ``folder``.

    Raises ConfigurationError if one of them exists, or cannot be written.
    """
    policy, manifest = folder / "ftgate.yml", folder / f"{folder_name(draft.manifest['name'])}.yaml"
    configured(draft)  # before anything is written
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in ((policy, draft.policy), (manifest, draft.manifest)):
            with path.open("x", encoding="utf-8") as file:
                yaml.safe_dump(content, file, sort_keys=False, allow_unicode=True, width=120)
    except FileExistsError:
        raise ConfigurationError(
            f"write-policy {folder}: {path} exists", hint="name another folder, or run it with --policy"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"write-policy {folder}: {error.strerror}", hint=remedy_for(error)) from None
    return read_configuration(policy, manifest)


def _free_form(
    name: str, dataset: str, items: tuple[Item, ...], missing: dict[str, str], *, judge: bool, folder: Path
) -> dict[str, dict[str, Any]]:
    """The section of the measurement ``name``; none, and why in ``missing``, if nothing can score the answers."""
    placed = {"dataset": _placed(dataset, folder)}
    if not items:
        return {name: placed}
    scorer = scorer_for(items, judge=judge)
    if not scorer:
        missing[name] = f"{dataset} has rows without a reference answer; give --judge MODEL"
        return {}
    return {name: {**placed, "scorer": scorer}}


def scorer_for(items: tuple[Item, ...], *, judge: bool) -> str:
    """How answers to ``items`` become scores: by their choices and checks, else by a judge, else by their answers.

    Without a judge: as numbers, if all references are; as equal texts, if all are short; else by their overlap. Empty
    if that takes reference answers and not all rows have one.
    """
    if judge or all(item.check is not None or (item.choices and item.answer is not None) for item in items):
        return "choice" if all(item.choices for item in items) else "auto"
    answers = [item.answer or "" for item in items]
    if not all(answers):
        return ""
    if all(_NUMBER.fullmatch(answer.strip()) for answer in answers):
        return "numeric"
    return "exact" if all(len(answer.split()) <= SHORT_WORDS for answer in answers) else "rouge"


def folder_name(name: str) -> str:
    """``name`` as a folder's name: what is unusual in file names becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "run"


def name_of(candidate: str) -> str:
    """What to call a candidate: the last name of its reference, after that of its folder if it says nothing alone."""
    remote = parse(candidate)
    parts = remote.parts if remote is not None else list(Path(candidate).resolve().parts)
    last, *above = [part.partition("@")[0] for part in reversed(parts)]
    return f"{above[0]}-{last}" if above and PLAIN_NAMES.fullmatch(last) else last


def _policy(run: DirectRun, measurements: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, Any]:
    models = [each for each in (run.base, *(run.candidates or [run.candidate]), run.judge) if each]
    training = [run.training] if run.training and parse(run.training) is not None else []
    policy: dict[str, Any] = {"version": 1, "measurements": dict(measurements)}
    if run.judge:
        policy["judge"] = _source(run.judge, folder)
    if run.limit is not None:
        policy["evidence"] = {"smoke_test": run.limit}
    policy["artifacts"] = {"allow": [_allowed(each, folder) for each in (*models, *training)]}
    return policy


def manifest_of(run: DirectRun, folder: Path) -> dict[str, Any]:
    """The manifest of ``run``, with local paths relative to ``folder``."""
    manifest: dict[str, Any] = {"name": run.name or name_of(run.candidate)}
    for role, reference in (("base", run.base), ("candidate", run.candidate), ("training_data", run.training)):
        if reference:
            manifest[role] = _source(reference, folder)
    return manifest


def _source(reference: str, folder: Path) -> dict[str, Any]:
    return {"source": _placed(reference, folder)}


def _placed(reference: str, folder: Path) -> str:
    """``reference`` as a file in ``folder`` names it."""
    remote = reference.startswith(PREFIX) or parse(reference) is not None
    if remote or (is_task(reference) and not Path(reference).exists()):
        return reference
    return Path(os.path.relpath(Path(reference), folder)).as_posix()


def _allowed(reference: str, folder: Path) -> str:
    """The glob that allows ``reference`` alone. Of a local one it is the real path, links resolved."""
    remote = parse(reference)
    if remote is None:
        return escape(Path(os.path.relpath(Path(reference).resolve(), folder.resolve())).as_posix())
    parts = [part.partition("@")[0] for part in remote.parts] if remote.scheme in ("hf", "oci") else remote.parts
    if remote.scheme == "oci":
        parts[-1] = parts[-1].partition(":")[0]
    return f"{remote.scheme}://{escape('/'.join(parts))}"


def suite_items(dataset: str, resolvers: Resolvers, most: int | None) -> tuple[Item, ...]:
    """The rows of a suite, or ``most`` of them; none for a task of the harness, which says itself how it is scored."""
    if is_task(dataset):
        return ()
    if dataset.startswith(PREFIX):
        paths = dataset_paths(dataset, Path(), "--target")
    else:
        resolver = resolvers(Policy(version=1, measurements={"safety": {}}), Path())
        paths = resolver.files(dataset, relative_to=Path(), allow=None)
    return read_parts(Path(dataset).name, paths, needs=Needs(), most=most).items
