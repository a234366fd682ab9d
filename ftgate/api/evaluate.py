"""Running the gate from Python: what `ftgate run` does, as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ftgate.config.policy import read_policy
from ftgate.errors import ConfigurationError
from ftgate.exports import export_all
from ftgate.gate.evaluate import evaluate as run_evaluation
from ftgate.gate.output import OUT, begin_in, default_folder, require_own
from ftgate.gate.together import Candidate, Outcome, evaluate_together
from ftgate.jobs.configuration import Configuration, read_configuration
from ftgate.jobs.direct import (
    DirectRun,
    configuration_of,
    configured,
    draft_run,
    folder_name,
    require_models,
    written,
)
from ftgate.jobs.incumbent import read_last_allowed
from ftgate.jobs.prepare import Job, load_configured, resolvers_with
from ftgate.preflight.check import require_preflight
from ftgate.preflight.hardware import detect
from ftgate.preflight.unfit import IN_A_POLICY, too_long_suites, unfit_suites
from ftgate.progress import Progress, SilentProgress
from ftgate.report.schema import Report

POLICY = Path(".github/ftgate.yml")
"""The policy of a run that names a manifest and no policy."""
_REFERENCES = ("target", "training", "queries", "choices", "judge", "name")


def evaluate(
    *,
    base: str | Path | None = None,
    candidate: str | Path | None = None,
    policy: str | Path | None = None,
    manifest: str | Path | None = None,
    out: str | Path | None = None,
    limit: int | None = None,
    write_policy: str | Path | None = None,
    reuse: Sequence[str | Path] = (),
    bundle: str | Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
    **references: str | Path | None,
) -> Report:
    """Judge a candidate against its base, and return the report.

    Name the models with ``base`` and ``candidate`` (folders, or references such as ``hf://org/name@commit``), or with a
    ``manifest``. A ``policy`` sets limits and suites; with ``base`` and without one there are defaults, and
    ``references`` may name ``target``, ``training``, ``queries``, ``choices``, ``judge`` and ``name``, as the options
    of `ftgate run` do. ``limit`` asks at most so many items of each suite, and never allows. Everything is written to
    ``out``, by default ``out/<name>``; what was answered there before is not asked again.

    Raises FtgateError, of which ``exit_code`` is that of the command line. A block or a hold is no error: see
    ``Report.verdict``.
    """
    progress = progress or SilentProgress()
    arguments = _named(base, candidate, references)
    files = RunFiles(_path(policy), _path(manifest), _path(write_policy))
    run = _prepare(arguments, files, _path(out) or default_folder, limit, _path(bundle), progress, offline=offline)
    begin_in(run.out, run.job.name)
    report = run_evaluation(run.job, run.out, progress, reuse=[Path(path) for path in reuse])
    _export(run, progress)
    return report


def evaluate_each(
    *,
    base: str | None = None,
    candidates: Sequence[str] = (),
    policy: Path | None = None,
    manifests: Sequence[Path] = (),
    out: Path | Sequence[Path] = OUT,
    limit: int | None = None,
    reuse: Sequence[Path] = (),
    bundle: Path | None = None,
    offline: bool = False,
    progress: Progress,
    **references: str | None,
) -> Iterator[Outcome]:
    """As :func:`evaluate`, for several candidates or manifests in one process: see :mod:`ftgate.gate.together`.

    ``out`` is the folder above theirs, or has one for each. Yields what becomes of each as soon as it is known, an
    error too. Raises ConfigurationError if two of them would write into one folder.
    """
    targets: list[tuple[str | None, Path | None]] = [(None, manifest) for manifest in manifests]
    targets += [(candidate, None) for candidate in candidates]
    runs: list[PreparedRun] = []
    for number, (candidate, manifest) in enumerate(targets):
        folder = (lambda name: out / folder_name(name)) if isinstance(out, Path) else out[number]
        files = RunFiles(policy, manifest, None, tuple(candidates))
        notes = progress if number == 0 else SilentProgress()  # what is not measured is said once
        try:
            arguments = _named(base, candidate, references)
            runs.append(_prepare(arguments, files, folder, limit, bundle, progress, offline=offline, notes=notes))
        except Exception as error:
            yield Outcome(str(manifest or candidate), error=error)
    _require_apart(runs)
    by_folder: dict[Path, PreparedRun] = {}
    for run in runs:
        try:
            begin_in(run.out, run.job.name)
        except Exception as error:
            yield Outcome(run.job.name, run.out, error=error)
        else:
            by_folder[run.out] = run
    ready = [Candidate(run.job, run.out) for run in by_folder.values()]
    for outcome in evaluate_together(ready, progress, reuse=reuse):
        if outcome.report is not None and outcome.out is not None:
            _export(by_folder[outcome.out], progress)
        yield outcome


class RunFiles(NamedTuple):
    """The files that a run is told; None for each that there is none of."""

    policy: Path | None
    manifest: Path | None
    write_policy: Path | None
    candidates: tuple[str, ...] = ()
    """The candidates of a call that has several."""


class PreparedRun(NamedTuple):
    """A run that can begin: what it was told, its job, and its folder."""

    configuration: Configuration
    job: Job
    out: Path


def _prepare(
    arguments: dict[str, str],
    files: RunFiles,
    out: Path | Callable[[str], Path],
    limit: int | None,
    bundle: Path | None,
    progress: Progress,
    *,
    offline: bool,
    notes: Progress | None = None,
) -> PreparedRun:
    """Read and check everything that the run needs; nothing is written. Raises FtgateError.

    ``out`` is its folder, or gives one for its name; ``notes`` hears what is not measured.
    """
    makers = resolvers_with(progress, offline=offline)
    configuration = read_run(arguments, files, limit, notes or progress, offline=offline)
    for unmeasured, reason in configuration.not_measured.items():
        (notes or progress).note(f"not measured: {unmeasured}: {reason}")
    if limit is not None:
        configuration = configuration.as_smoke_test(limit)
    name = configuration.manifest.name
    folder = out if isinstance(out, Path) else out(name)
    require_own(folder, name)
    last = read_last_allowed(bundle, configuration.manifest_path)
    draft = load_configured(configuration, makers, last)
    checked = require_preflight(draft, detect())
    if checked.best_verdict.reasons:
        progress.note(f"warning: {checked.best_verdict}")
    # Of a smoke test they say no more than that its items are too few.
    for warning in checked.warnings if configuration.policy.evidence.smoke_test is None else ():
        progress.note(f"warning: {warning}")
    return PreparedRun(configuration, draft.job(), folder)


def _require_apart(runs: Sequence[PreparedRun]) -> None:
    """Raise ConfigurationError if two runs have one folder."""
    folders = [run.out.resolve() for run in runs]
    for run, folder in zip(runs, folders, strict=True):
        names = dict.fromkeys(other.job.name for other, same in zip(runs, folders, strict=True) if same == folder)
        if folders.count(folder) > 1:
            who = f"two candidates are called {run.job.name}, and both" if len(names) == 1 else " and ".join(names)
            raise ConfigurationError(
                f"{who} would write into {run.out}",
                hint="give each manifest a name of its own, or --out once for each of them, always another folder",
            )


def _export(run: PreparedRun, progress: Progress) -> None:
    for line in export_all(run.out, run.configuration.policy.exports):
        progress.note(line)


def _named(
    base: str | Path | None, candidate: str | Path | None, references: Mapping[str, str | Path | None]
) -> dict[str, str]:
    """What was given, by the names of the options of `ftgate run`."""
    if unknown := [name for name in references if name not in _REFERENCES]:
        raise TypeError(f"evaluate() got an unexpected keyword argument {unknown[0]!r}")
    given = {"base": base, "candidate": candidate, **references}
    return {name: str(value) for name, value in given.items() if value is not None}


def read_run(
    arguments: dict[str, str], files: RunFiles, limit: int | None, progress: Progress, *, offline: bool
) -> Configuration:
    """What a run is told: the files, or references by the names of the options of `ftgate run`, or the one manifest.

    Without a policy it holds what the run does not measure, and why. Raises ConfigurationError.
    """
    policy, manifest, write_policy, candidates = files
    if manifest is None and not arguments and write_policy is None and (policy or POLICY).is_file():
        manifest = _only_manifest(policy or POLICY)
        progress.note(f"manifest: {manifest}, the only one")
    if manifest is not None:
        given = [*arguments, *(["write-policy"] if write_policy is not None else [])]
        if given:
            raise ConfigurationError(f"manifest and {given[0]}: give one of them", hint="a manifest names the models")
        return read_configuration(policy or POLICY, manifest)
    if lacking := [name for name in ("base", "candidate") if name not in arguments]:
        raise ConfigurationError(
            f"nothing names the {' and the '.join(lacking)}",
            hint="give --manifest models/bot.yaml, or --base models/base --candidate models/bot",
        )
    run = DirectRun(**arguments, limit=limit, candidates=candidates)
    require_models(run, offline=offline)
    if policy is not None:
        if write_policy is not None:
            raise ConfigurationError("policy and write-policy: give one of them", hint="the run has a policy")
        return configuration_of(run, policy)
    return _without_files(run, write_policy, progress, offline=offline)


def _only_manifest(policy: Path) -> Path:
    """The one file here that the globs of ``policy`` match. Raises ConfigurationError, naming them, for another number.

    They are globs of paths in the repository, so that this is for its root.
    """
    globs = read_policy(policy).manifests
    paths = sorted({path for glob in globs if not glob.startswith("/") for path in Path().glob(glob) if path.is_file()})
    if len(paths) == 1:
        return paths[0]
    listed = ", ".join(map(str, paths[:5])) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
    several = f"there are {len(paths)} manifests: {listed}"
    none = f"no file here matches the policy's manifests: {', '.join(globs) or 'none'}"
    raise ConfigurationError(
        f"nothing names the base and the candidate, and {several if paths else none}",
        hint=f"give --manifest {[*paths, 'models/bot.yaml'][0]}, or --base models/base --candidate models/bot",
    )


def _without_files(run: DirectRun, write_policy: Path | None, progress: Progress, *, offline: bool) -> Configuration:
    """The configuration of a run that names no policy, with what it does not measure, and why."""
    resolvers = resolvers_with(progress, offline=offline)
    draft = draft_run(run, resolvers)
    whole = configured(draft)
    headers = resolvers_with(progress, offline=offline, headers_only=True)
    too_long = unfit_suites(whole.policy.measurements, too_long_suites(whole, headers))
    draft.leave_out({name: f"{reason} {IN_A_POLICY}" for name, reason in too_long.items()})
    if write_policy is None:
        return replace(configured(draft), not_measured=draft.not_measured)
    left_out = draft.not_measured
    draft = draft_run(run, resolvers, folder=write_policy)
    draft.leave_out(left_out)
    return replace(written(draft, write_policy), not_measured=left_out)


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)
