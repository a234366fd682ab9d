"""Saves a job into the output directory, so that `ftgate decide` can run anywhere from this directory alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from ftgate.artifacts.cache_files import sha256
from ftgate.config.columns import Columns
from ftgate.config.policy import Policy, read_policy
from ftgate.config.strict import validate
from ftgate.datasets import TrainingData, read_suite, write_suite
from ftgate.domain import EngineInfo, Model, Suite, digest_of
from ftgate.errors import ConfigurationError
from ftgate.files import in_repository, write_whole
from ftgate.jobs.incumbent import NO_LEDGER, Deployed
from ftgate.jobs.prepare import Job, needs_of
from ftgate.jobs.suite_rows import refuse_unusable
from ftgate.judge.labels import Labels, labels_of, read_labels, write_labels
from ftgate.measurements.base import Measurement
from ftgate.measurements.registry import read_derived, read_measurements

SCHEMA_VERSION = "1.1"
SAMPLE = ("dataset", "columns", "lm_eval", "n", "n_max")
"""The fields of a measurement that determine its items."""
OWN_ENGINES = ("candidate_engine", "incumbent_engine")
"""The entries of job.json on engines that answered for one model alone."""
LABELS = "labels.jsonl"
"""In the output directory: people's grades of answers."""


class SavedRun(NamedTuple):
    """A job, and what its answers came from: the engine of both models, or the base's if the candidate had its own.

    An incumbent has one of its own where a server answers for it.
    """

    job: Job
    engine: EngineInfo
    judge_engine: EngineInfo | None
    candidate_engine: EngineInfo | None = None
    incumbent_engine: EngineInfo | None = None


def save_job(
    job: Job,
    engine: EngineInfo,
    judge_engine: EngineInfo | None,
    directory: Path,
    *own_engines: EngineInfo | None,
) -> None:
    """Write everything that ``decide`` needs into the output directory: job.json (with digests) and the suites.

    ``own_engines`` are those of candidate and incumbent, as in :class:`SavedRun`.
    """
    for suite in job.suites.values():
        write_suite(suite, _suite_path(directory, suite.name))
    document = {
        "schema_version": SCHEMA_VERSION,
        **{name: getattr(job, name) for name in ("name", "manifest_sha256", "policy_path", "manifest_path")},
        "policy": job.policy.model_dump(mode="json"),
        "models": {
            "base": _as_json(job.base),
            "candidate": _as_json(job.candidate),
            "judge": _as_json(job.judge) if job.judge is not None else None,
            "encoder": _as_json(job.encoder) if job.encoder is not None else None,
        },
        **_deployed_json(job.deployed),
        "suites": {
            name: {
                "source": suite.source,
                "sha256": suite.sha256,
                "file_sha256": sha256(_suite_path(directory, name)),
                "items": len(suite.items),
                "repeats": suite.repeats,
            }
            for name, suite in job.suites.items()
        },
        "training": _training_json(job.training),
        "query_log": _training_json(job.query_log),
        "engine": asdict(engine),
        "judge_engine": asdict(judge_engine) if judge_engine is not None else None,
        **{role: asdict(info) for role, info in zip(OWN_ENGINES, own_engines, strict=False) if info is not None},
        **_save_labels(job.labels, directory),
    }
    document["sha256"] = checksum(document)
    write_whole(directory / "job.json", json.dumps(document, indent=2) + "\n")


def checksum(document: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of a job's JSON without its checksum: against damage; it proves nothing about who wrote it."""
    return digest_of({name: value for name, value in document.items() if name != "sha256"})


def load_saved_job(directory: Path, policy_path: Path | None) -> SavedRun:
    """The job that was saved in ``directory``, under its own policy or under a new one.

    Suites and models stay those of the run: a new policy may change limits, but not suites, judge or engine. Raises
    ConfigurationError if it does, or if the directory has no run, or a damaged one.
    """
    path = directory / "job.json"
    document = _read(path)
    saved_policy = validate(Policy, document["policy"], str(path))
    policy = read_policy(policy_path) if policy_path else saved_policy
    measurements = read_measurements(policy.measurements, str(policy_path or path))
    derived = read_derived(policy.measurements, str(policy_path or path))
    models, training = document["models"], document["training"]
    suites = {m.name: _saved_suite(m, directory, document["suites"]) for m in measurements}
    had_judge = models["judge"] is not None
    _require_same_questions(policy, saved_policy, measurements, suites, directory, had_judge=had_judge)
    job = Job(
        name=document["name"],
        policy=policy,
        measurements=measurements,
        base=_model_from(models["base"]),
        candidate=_model_from(models["candidate"]),
        judge=_model_from(models["judge"]) if models["judge"] else None,
        suites=suites,
        training=_training_from(training),
        encoder=_model_from(models["encoder"]) if models["encoder"] else None,
        query_log=_training_from(document["query_log"]),
        manifest_sha256=document["manifest_sha256"],
        policy_path=in_repository(policy_path) if policy_path else str(document.get("policy_path", "")),
        manifest_path=str(document.get("manifest_path", "")),
        derived=derived,
        deployed=_deployed_from(document.get("deployed", {})),
        labels=_labels(policy, policy_path, directory, document.get("judge_labels")),
    )
    _require_incumbent(job, directory)
    own = (EngineInfo(**info) if (info := document.get(role)) else None for role in ("judge_engine", *OWN_ENGINES))
    return SavedRun(job, EngineInfo(**document["engine"]), *own)


def _require_incumbent(job: Job, directory: Path) -> None:
    """Raise ConfigurationError if the policy requires an incumbent and the run neither had one nor asked a ledger."""
    deployed = job.deployed
    unasked = not deployed.notes or NO_LEDGER in deployed.notes
    if job.policy.incumbent.required and deployed.named is None and unasked:
        raise ConfigurationError(
            f"the policy requires an incumbent (incumbent.required), and the run in {directory} was compared with none",
            hint="name the model that is deployed today in the manifest, and run `ftgate run` again under this policy",
        )


def _read(path: Path) -> dict[str, Any]:
    """The JSON of a job. Raises ConfigurationError if it is missing, damaged, or of another version."""
    again = "run `ftgate run` again with the same --out: it writes this file anew and asks nothing that was answered"
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        below = sorted(str(job.parent) for job in path.parent.glob("*/job.json"))
        hint = f"name one of the runs in it: {', '.join(below[:5])}" if below else "run `ftgate run` first"
        raise ConfigurationError(f"no run in {path.parent}: {path} is missing", hint=hint) from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: not valid JSON: {error}", hint=again) from None
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        raise ConfigurationError(f"{path}: not a job of this version of ftgate ({SCHEMA_VERSION})", hint=again)
    if document.get("sha256") != checksum(document):
        raise ConfigurationError(f"{path}: damaged or edited: it does not match its checksum", hint=again)
    return document


def _require_same_questions(
    policy: Policy,
    saved_policy: Policy,
    measurements: Sequence[Measurement],
    suites: Mapping[str, Suite],
    directory: Path,
    *,
    had_judge: bool,
) -> None:
    """Raise ConfigurationError if the answers came from another engine, judge or sample than the policy asks for."""
    changed = [] if policy.engine.identity() == saved_policy.engine.identity() else ["engine"]
    judges = [p.judge.identity() if p.judge is not None else None for p in (policy, saved_policy)]
    if any(m.judges(suites[m.name].items) for m in measurements) and (not had_judge or judges[0] != judges[1]):
        changed.append("judge")
    measurements_before = {m.name: m for m in read_measurements(saved_policy.measurements, str(directory / "job.json"))}
    for m in measurements:
        before = measurements_before.get(m.name, m)
        changed += [f"measurements.{m.name}.{f}" for f in SAMPLE if getattr(m, f, None) != getattr(before, f, None)]
    if changed:
        raise ConfigurationError(
            f"the answers in {directory} were made under a policy that differs in {', '.join(changed)}",
            hint="run `ftgate run` under the new policy; `ftgate decide` can only apply new limits",
        )


def _saved_suite(measurement: Measurement, directory: Path, entries: Mapping[str, Any]) -> Suite:
    if measurement.name not in entries:
        raise ConfigurationError(
            f"{directory} has no answers for measurement {measurement.name!r}",
            hint="the policy of that run did not have it: run `ftgate run` again",
        )
    path, entry = _suite_path(directory, measurement.name), entries[measurement.name]
    # The answer keys are no part of a question: without this, others could decide under the digest of the run's.
    if path.exists() and entry["file_sha256"] != sha256(path):
        raise ConfigurationError(
            f"{path}: changed after the run, so the answers are not to these questions", hint="run `ftgate run` again"
        )
    saved = read_suite(measurement.name, path, needs=needs_of(measurement))
    refuse_unusable(saved, measurement)  # a new policy may call the same rows another kind
    return replace(saved, sha256=entry["sha256"], source=entry["source"], repeats=tuple(entry["repeats"]))


def _save_labels(labels: Labels | None, directory: Path) -> dict[str, Any]:
    """Write people's grades beside the answers; returns what job.json says of them."""
    if labels is None:
        return {}
    write_labels(labels.labels, directory / LABELS)
    return {"judge_labels": {"source": labels.source, "sha256": labels.sha256, "blank": labels.blank}}


def _labels(
    policy: Policy, policy_path: Path | None, directory: Path, saved: Mapping[str, Any] | None
) -> Labels | None:
    """The labels beside a new policy, which may have been written since the run; otherwise those of the run."""
    if policy.judge is None or policy.judge.labels is None:
        return None
    if policy_path is not None and (saved is None or (policy_path.parent / policy.judge.labels).is_file()):
        return labels_of(policy, policy_path)
    labels = replace(read_labels(directory / LABELS, policy.judge.labels), blank=int((saved or {}).get("blank", 0)))
    if saved is not None and labels.sha256 != saved.get("sha256"):
        raise ConfigurationError(f"{directory / LABELS}: changed after the run", hint="run `ftgate run` again")
    return labels


def _suite_path(directory: Path, name: str) -> Path:
    return directory / "suites" / f"{name}.jsonl"


def _training_json(training: TrainingData | None) -> dict[str, Any] | None:
    if training is None:
        return None
    counts = {"rows": training.rows, "skipped": training.skipped}
    reading: dict[str, Any] = {"shape": training.shape, "faults": training.faults}
    if training.columns is not None:
        reading["columns"] = training.columns.model_dump(mode="json", exclude_none=True)
    return {"sha256": training.sha256, "source": training.source, **counts, **reading}


def _training_from(saved: Mapping[str, Any] | None) -> TrainingData | None:
    """The saved facts about a file. The file itself is never read: untrusted input could name any file here."""
    if not saved:
        return None
    data = TrainingData(saved["sha256"], saved["rows"], saved["source"], saved["skipped"])
    columns = saved.get("columns")
    mapped = None if columns is None else Columns.model_validate(columns)
    return replace(data, shape=saved["shape"], faults=tuple(saved["faults"]), columns=mapped)


def _deployed_json(deployed: Deployed) -> dict[str, Any]:
    if deployed == Deployed():
        return {}
    models = {"named": deployed.named, "compared": deployed.compared}
    saved = {part: _as_json(model) for part, model in models.items() if model is not None}
    return {"deployed": {**saved, "notes": deployed.notes}}


def _deployed_from(saved: Mapping[str, Any]) -> Deployed:
    named, compared = (_model_from(saved[part]) if part in saved else None for part in ("named", "compared"))
    if compared is not None and (named is None or named.digest != compared.digest):
        raise ConfigurationError(
            "job.json: the deployed model that was asked is not the one that is named", hint="run `ftgate run` again"
        )
    return Deployed(named, compared, tuple(saved.get("notes", ())))


def _as_json(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "path": str(model.path),
        "digest": model.digest,
        "kind": model.kind,
        "base": _as_json(model.base) if model.base is not None else None,
        "lora_rank": model.lora_rank,
        "reference": model.reference,
        "facts": dict(model.facts),
        "files": {name: list(entry) for name, entry in model.files.items()},
        "merge": list(model.merge),
        **({"address": model.address} if model.address else {}),
    }


def _model_from(saved: Mapping[str, Any]) -> Model:
    base = _model_from(saved["base"]) if saved["base"] else None
    files = {name: (size, sha256) for name, (size, sha256) in saved["files"].items()}
    merge = tuple(saved["merge"])
    return Model(**{**saved, "path": Path(saved["path"]), "base": base, "files": files, "merge": merge})
