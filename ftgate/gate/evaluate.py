"""A whole run: open the journal and the engines, run the gate, write the report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ftgate.artifacts.resolve import open_cache
from ftgate.domain import EngineInfo, Model
from ftgate.embeddings.base import Embedder, open_embedder
from ftgate.engines.base import Engine
from ftgate.engines.registry import Remember, open_judge, open_models
from ftgate.engines.split import SplitEngine
from ftgate.errors import ConfigurationError, FtgateError, Problems
from ftgate.files import write_whole
from ftgate.gate.answer_store import AnswerStore, open_store, sharing
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.flow import Participants, run_gate
from ftgate.gate.journal import Journal
from ftgate.gate.output import make_folder, remove_results
from ftgate.gate.zero_delta import zero_adapter
from ftgate.jobs.prepare import Job
from ftgate.jobs.remote_models import unreadable_letters
from ftgate.jobs.saved import load_saved_job, save_job
from ftgate.jobs.unchanged import discarding_what_changed_files_gave, require_unchanged
from ftgate.models.merge import merged_model
from ftgate.models.open import check_numbers, quickly_read
from ftgate.models.rename import renamed_model
from ftgate.progress import Progress
from ftgate.report.items import ITEMS, ItemRow, packed_items
from ftgate.report.render import write_rendered
from ftgate.report.schema import Report, mapping, parse_report, write_report
from ftgate.report.statement import write_statement

Engines = tuple[Engine, Engine | None]
"""Those of the models and of the judge."""


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
    reuse = [require_journal(folder) for folder in reuse]
    job = runnable_job(job, out, progress)
    with ExitStack() as stack:
        # An engine that was passed in may be running already, and would have to start again.
        zero = zero_adapter(job.candidate, job.policy.engine, stack) if engine is None else None

        def engines(remember: Remember) -> Engines:
            of_models, of_judge = engine or open_engine_of(job, out, remember), judge_engine
            if engine is None:
                stack.callback(of_models.close)
            if of_judge is None and (of_judge := open_judge_of(job, out, remember)) is not None:
                stack.callback(of_judge.close)
            return of_models, of_judge

        store = open_store(job.policy.artifacts, progress.note)
        participants = stack.enter_context(participating(job, out, progress, engines, store, reuse=reuse, zero=zero))
        report, items = run_gate(job, participants)
    return write_results(report, out, items, progress.note)


def open_engine_of(job: Job, out: Path, remember: Remember) -> Engine:
    """The engine of the models of ``job``, which logs into ``out``. Raises as :func:`open_models`."""
    models = (job.base, job.candidate, job.deployed.compared)
    return open_models(job.policy.engine, models, out / "engine.log", remember)


def open_judge_of(job: Job, out: Path, remember: Remember) -> Engine | None:
    """The engine of the judge of ``job``, if it has one. Raises as :func:`open_judge`."""
    if job.judge is None or job.policy.judge is None:
        return None
    return open_judge(job.policy.judge, job.policy.engine, out / "judge-engine.log", remember)


def runnable_job(job: Job, out: Path, progress: Progress) -> Job:
    """``job`` with models that the engine can run, and whose numbers are finite; ``out`` is created.

    Raises ArtifactError naming a tensor that is not finite, and for weights of zeros.
    """
    _check_numbers(job)
    make_folder(out)
    return _merged(job, out, progress)


@contextmanager
def participating(
    job: Job,
    out: Path,
    progress: Progress,
    engines: Callable[[Remember], Engines],
    store: AnswerStore | None,
    *,
    reuse: Sequence[Path] = (),
    zero: Model | None = None,
) -> Iterator[Participants]:
    """Models and judge of a run in ``out``, on ``engines``, which are given the journal for facts about servers.

    What an earlier run decided goes, and what files gave that change meanwhile is discarded.
    """
    with Journal(out / "answers.jsonl", reuse=reuse) as journal:
        remove_results(out)
        participants = _participants(job, out, engines(journal.fact), journal, progress, store)
        with sharing(store), discarding_what_changed_files_gave(job, journal.discard):
            yield replace(participants, zero=zero)


def _participants(
    job: Job,
    out: Path,
    engines: Engines,
    journal: Journal,
    progress: Progress,
    store: AnswerStore | None,
) -> Participants:
    """Models and judge behind the journal and the store; what they run on is saved with the job."""
    engine, judge_engine = engines
    judge_info = judge_engine.info() if judge_engine is not None else None
    info, own = engine.info(), _own_infos(engine)
    _require_letters(job, info, *own)
    save_job(job, info, judge_info, out, *own)
    verify = partial(require_unchanged, job)
    judge = CachedEngine(judge_engine, judge_info, journal, progress, verify, store=store) if judge_info else None
    return Participants(
        models=CachedEngine(engine, info, journal, progress, verify, _own(job, *own), store),
        judge=judge,
        open_embedder=partial(_open_verified_embedder, job),
        vectors=_vector_folder(job, out),
    )


def decide_again(directory: Path, policy: Path | None, out: Path, progress: Progress) -> Report:
    """Decide again from the answers in ``directory``, with its own policy or another. Starts no engine.

    The report keeps when the run was, what it took and the commit that it judged, if its own report is still there, and
    says when it was decided.
    """
    with stored_run(directory, policy, progress) as (job, participants):
        earlier = _report_in(directory)
        make_folder(out)
        remove_results(out)
        report, items = run_gate(job, participants)
    return write_results(_with_times_of(earlier, report), out, items, progress.note)


def _report_in(directory: Path) -> Report | None:
    try:
        return parse_report(directory / "report.json")
    except FtgateError:
        return None


def _digests(report: Report) -> list[Any]:
    return [mapping(report.provenance.get(role)).get("digest") for role in ("base", "candidate")]


def _with_times_of(earlier: Report | None, report: Report) -> Report:
    """``report``, which was decided just now, with times and commit of the run that gave its answers."""
    provenance = {**report.provenance, "decided_at": report.provenance["finished"]}
    if earlier is None or _digests(earlier) != _digests(report):
        return report.model_copy(update={"provenance": provenance})
    provenance |= {
        key: earlier.provenance[key] for key in ("started", "finished", "commit") if key in earlier.provenance
    }
    kept = {"timing": earlier.timing, "engine_starts": earlier.engine_starts}
    return report.model_copy(update={"provenance": provenance, **kept})


@contextmanager
def stored_run(directory: Path, policy: Path | None, progress: Progress) -> Iterator[tuple[Job, Participants]]:
    """The run in ``directory``, under its own policy or another, with participants whose answers are in the journal."""
    job, info, judge_info, *own = load_saved_job(directory, policy)
    with Journal(directory / "answers.jsonl") as journal:
        yield (
            job,
            Participants(
                models=CachedEngine(None, info, journal, progress, own=_own(job, *own)),
                judge=CachedEngine(None, judge_info, journal, progress) if judge_info else None,
                open_embedder=_refuse_to_embed,
                vectors=directory,
            ),
        )


def require_journal(folder: Path) -> Path:
    """The journal of an earlier run. Raises ConfigurationError if there is none."""
    journal = folder / "answers.jsonl"
    if not journal.is_file():
        raise ConfigurationError(f"--reuse {folder}: no answers.jsonl in it", hint="name an earlier run's --out")
    return journal


def _own_infos(engine: Engine) -> tuple[EngineInfo | None, EngineInfo | None]:
    """What candidate and incumbent run on, where they have engines of their own."""
    others = engine.of_others if isinstance(engine, SplitEngine) else None
    incumbent = others.of_others.info() if isinstance(others, SplitEngine) else None
    return (None if others is None else others.info()), incumbent


def _own(job: Job, candidate: EngineInfo | None, incumbent: EngineInfo | None) -> dict[Model, EngineInfo]:
    """What each model runs on that does not share the base's engine. An incumbent may share the candidate's."""
    if candidate is None:
        return {}
    return {m: candidate if m == job.candidate else incumbent or candidate for m in job.models if m != job.base}


def _require_letters(job: Job, *infos: EngineInfo | None) -> None:
    """Raise all problems with servers that cannot be asked for option letters, before anything is asked."""
    problems = Problems()
    for info in infos:
        if info is not None:
            problems.found += unreadable_letters(job.measurements, job.suites, info.settings)
    problems.raise_any()


def _check_numbers(job: Job) -> None:
    """Search the weights for NaN, infinity and zeros. Raises ArtifactError naming the first tensor.

    A large base or judge serves many candidates, and only the beginning of each of its tensors is read.
    """
    shared = [job.base, *([job.judge] if job.judge is not None else [])]
    for model in shared:
        if model.kind != "endpoint":
            check_numbers(model, quickly_read(model))
    for model in job.models[1:]:
        if model.kind != "endpoint":
            check_numbers(model)


def _merged(job: Job, out: Path, progress: Progress) -> Job:
    """``job`` with models that the engine can run: with their tensors renamed or merged, where that is needed."""
    job = replace(job, candidate=_runnable(job.candidate, job, out, progress))
    if job.deployed.compared is None or job.deployed.compared == job.base:
        return job
    runnable = _runnable(job.deployed.compared, job, out, progress)
    return replace(job, deployed=replace(job.deployed, named=runnable, compared=runnable))


def _runnable(model: Model, job: Job, out: Path, progress: Progress) -> Model:
    cache, verify = open_cache(job.policy.artifacts), partial(require_unchanged, job)
    if "renamed" in model.facts:
        model = renamed_model(model, cache, progress.note, verify)
    if not model.merge:
        return model
    with progress.phase("merge adapter", None):
        return merged_model(model, cache, out / "merge.log", progress.note, verify)


def _open_verified_embedder(job: Job, kind: str) -> Embedder:
    """The embedder of ``job``, if its files are those that were hashed: vectors are kept for other runs too."""
    embedder = open_embedder(kind, job.base, job.encoder)
    require_unchanged(job)
    return embedder


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


def write_results(
    report: Report, out: Path, items: Sequence[ItemRow] = (), note: Callable[[str], None] | None = None
) -> Report:
    """Write the report in all its forms, and every item with its answers, into ``out``; the verdict first.

    ``note`` is told if the pictures fail; without it that is an error.
    """
    packed = packed_items(items)
    write_report(report, out / "report.json", packed)
    write_statement(report, out)
    write_whole(out / ITEMS, packed)
    write_rendered(report, out, items, note)
    return report
