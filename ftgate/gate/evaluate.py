"""A whole run: open the journal and the engines, run the gate, write the report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from ftgate.artifacts.resolve import open_cache
from ftgate.embeddings.base import Embedder, open_embedder
from ftgate.engines.base import Engine
from ftgate.engines.registry import open_engine, open_judge
from ftgate.errors import ConfigurationError
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.flow import Participants, run_gate
from ftgate.gate.journal import Journal
from ftgate.jobs.prepare import Job, require_finite_weights
from ftgate.jobs.saved import load_saved_job, save_job
from ftgate.jobs.unchanged import discarding_what_changed_files_gave, require_unchanged
from ftgate.models.merge import merged_model
from ftgate.progress import Progress
from ftgate.report.render import write_rendered
from ftgate.report.schema import Report, write_report
from ftgate.report.statement import write_statement

RESULTS = ("report.json", "comment.md", "report.html", "statement.json")
"""The files that state a verdict."""


def evaluate(
    job: Job,
    out: Path,
    progress: Progress,
    *,
    reuse: Sequence[Path] = (),
    engine: Engine | None = None,
    judge_engine: Engine | None = None,
) -> Report:
    """Run the gate on ``job`` and write everything to ``out``. Engines that are passed in are not closed."""
    for folder in reuse:
        if not (folder / "answers.jsonl").is_file():
            raise ConfigurationError(f"--reuse {folder}: no answers.jsonl in it", hint="name an earlier run's --out")
    require_finite_weights(job)
    _make_folder(out)
    job = _merged(job, out, progress)
    with ExitStack() as stack:
        if engine is None:
            engine = open_engine(job.policy.engine, out / "engine.log")
            stack.callback(engine.close)
        journal = stack.enter_context(Journal(out / "answers.jsonl", reuse=[d / "answers.jsonl" for d in reuse]))
        _remove_results(out)
        if judge_engine is None and job.judge is not None and job.policy.judge is not None:
            log = out / "judge-engine.log"
            judge_engine = open_judge(job.policy.judge, job.policy.engine, log, journal.fact)
            stack.callback(judge_engine.close)
        judge_info = judge_engine.info() if judge_engine is not None else None
        save_job(job, engine.info(), judge_info, out)
        verify = partial(require_unchanged, job)
        participants = Participants(
            models=CachedEngine(engine, engine.info(), journal, progress, verify),
            judge=CachedEngine(judge_engine, judge_info, journal, progress, verify) if judge_info else None,
            open_embedder=partial(_open_verified_embedder, job),
            vectors=_vector_folder(job, out),
        )
        with discarding_what_changed_files_gave(job, journal.discard):
            report = run_gate(job, participants)
    return write_results(report, out)


def decide_again(directory: Path, policy: Path | None, out: Path, progress: Progress) -> Report:
    """Decide again from the answers in ``directory``, with its own policy or another. Starts no engine."""
    job, info, judge_info = load_saved_job(directory, policy)
    with Journal(directory / "answers.jsonl") as journal:
        participants = Participants(
            models=CachedEngine(None, info, journal, progress),
            judge=CachedEngine(None, judge_info, journal, progress) if judge_info else None,
            open_embedder=_refuse_to_embed,
            vectors=directory,
        )
        report = run_gate(job, participants)
    _make_folder(out)
    return write_results(report, out)


def _merged(job: Job, out: Path, progress: Progress) -> Job:
    """``job`` with a candidate that the engine can run: merged, if its adapter cannot run beside the base."""
    if not job.candidate.merge:
        return job
    with progress.phase("merge adapter", None):
        cache, log = open_cache(job.policy.artifacts), out / "merge.log"
        candidate = merged_model(job.candidate, cache, log, progress.note, partial(require_unchanged, job))
    return replace(job, candidate=candidate)


def _open_verified_embedder(job: Job, kind: str) -> Embedder:
    """The embedder of ``job``, if its files are those that were hashed: vectors are kept for other runs too."""
    embedder = open_embedder(kind, job.base, job.encoder)
    require_unchanged(job)
    return embedder


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"--out {out}: cannot create the folder: {error.strerror}", hint="choose another folder"
        ) from None


def _vector_folder(job: Job, out: Path) -> Path:
    """Where embeddings are kept for the next run: in the cache or, if that is not writable, in ``out``."""
    folder = open_cache(job.policy.artifacts).root / "vectors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return out / "vectors"
    return folder if os.access(folder, os.W_OK) else out / "vectors"


def _refuse_to_embed(kind: str) -> Embedder:
    raise ConfigurationError(
        f"the distances of the tail ({kind}) are not in the journal",
        hint="the run was cut short, or the policy now measures distance differently: run `ftgate run` again",
    )


def _remove_results(out: Path) -> None:
    """Remove an earlier run's verdict: should this run fail, nobody may take that one for its result."""
    for name in RESULTS:
        (out / name).unlink(missing_ok=True)


def write_results(report: Report, out: Path) -> Report:
    """Write the report in all its forms into ``out``."""
    write_report(report, out / "report.json")
    write_rendered(report, out)
    write_statement(report, out)
    return report
