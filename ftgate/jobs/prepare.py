"""Prepares a job: everything that a run needs, read and checked before any weights are loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ftgate.artifacts.allow import require_architecture
from ftgate.artifacts.reference import parse
from ftgate.artifacts.resolve import Resolver
from ftgate.artifacts.snapshot import Snapshot
from ftgate.config.lm_eval import is_task
from ftgate.config.manifest import Manifest, Source, read_manifest
from ftgate.config.policy import JudgeSettings, Policy, read_policy
from ftgate.contamination import Overlap
from ftgate.datasets import Needs, TrainingData, dataset_paths, read_parts
from ftgate.datasets.lm_eval import read_task
from ftgate.domain import Item, Model, Side, Suite, digest_of
from ftgate.errors import ConfigurationError, Problems
from ftgate.files import in_repository
from ftgate.jobs.configuration import Configuration, read_configuration
from ftgate.jobs.incumbent import UNKNOWN, Deployed, LastAllowed, Wanted, find_incumbent, incumbent_source
from ftgate.jobs.remote_models import (
    check_place,
    endpoint_judge,
    is_remote,
    remote_model,
    require_answerable,
    seems_same,
)
from ftgate.jobs.suite_rows import require_rows, require_tags
from ftgate.jobs.training_rows import training_of
from ftgate.judge.labels import Labels, labels_of
from ftgate.measurements.base import Measurement
from ftgate.measurements.derived import DerivedMeasurement
from ftgate.measurements.registry import read_measurements
from ftgate.models.chat import require_template, with_chats
from ftgate.models.generation import declared_generation
from ftgate.models.open import check_alone, open_model
from ftgate.models.rendering import with_rendering
from ftgate.progress import Progress
from ftgate.scoring.rules import require_scorer
from ftgate.scoring.scorer_facts import facts_of
from ftgate.stats.seeding import drawn_order
from ftgate.tail.sources import encoder, encoder_source, query_log

_TO_NAME = {
    "training_data": "name the file that the candidate was trained on: training_data: {source: …}",
    "incumbent": "name the model that is deployed today: incumbent: {source: …}, or last-allowed",
}
"""What to do about each field that a policy may require of a manifest."""


@dataclass(frozen=True, slots=True)
class Job:
    """One candidate to be judged under one policy. ``suites`` are by measurement name."""

    name: str
    policy: Policy
    measurements: tuple[Measurement, ...]
    """Those that ask questions."""
    base: Model
    candidate: Model
    judge: Model | None
    suites: Mapping[str, Suite]
    training: TrainingData | None
    overlaps: Mapping[str, Overlap] = field(default_factory=dict)
    """The overlap of each suite with the training data, once they have been compared."""
    excluded_items: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    """Items that were found in the training data: removed from ``suites``, and only for information."""
    not_asked: Mapping[str, int] = field(default_factory=dict)
    """How many items of a suite decide nothing and were removed from ``suites``, so that they are not asked."""
    encoder: Model | None = None
    """A separate model that embeds queries, if the policy names one."""
    query_log: TrainingData | None = None
    """Real queries without answers, which the tail suite should cover."""
    manifest_sha256: str = ""
    """SHA-256 of the manifest's file, which ties a report to its change."""
    derived: tuple[DerivedMeasurement, ...] = ()
    """The measurements that ask nothing: they are decided on what the others were answered."""
    labels: Labels | None = None
    """People's grades of answers, by which the judge is checked."""
    deployed: Deployed = UNKNOWN
    """The model that is deployed today."""
    policy_path: str = ""
    """Where the policy stands, for people: in its repository if it is in one."""
    manifest_path: str = ""

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that are asked, each once: base, candidate and incumbent."""
        return tuple(dict.fromkeys(m for m in (self.base, self.candidate, self.deployed.compared) if m is not None))

    @property
    def by_distance(self) -> Measurement | None:
        """The measurement that uses distances from the training data, if the policy has one."""
        return next((m for m in self.measurements if m.distances is not None), None)

    @property
    def seed(self) -> int:
        """The seed of every random draw of the run."""
        return self.policy.evidence.seed

    def clean_size(self, name: str) -> int:
        """The number of items in a suite, without those that occur in the training data."""
        return len(self.suites[name].items) + self.not_asked.get(name, 0)

    def suite_size(self, name: str) -> int:
        """The number of items in a suite, including the excluded ones."""
        return self.clean_size(name) + len(self.excluded_items.get(name, ()))


Resolvers = Callable[[Policy, Path], Resolver]
"""Makes the resolver for a policy that is in a folder."""


def local_resolver(policy: Policy, folder: Path) -> Resolver:
    """A resolver without progress output."""
    return Resolver(policy.artifacts, folder)


def resolvers_with(progress: Progress, *, offline: bool = False, headers_only: bool = False) -> Resolvers:
    """Makes resolvers that show ``progress``."""

    def resolver(policy: Policy, folder: Path) -> Resolver:
        return Resolver(policy.artifacts, folder, offline, progress.phase, progress.note, headers_only)

    return resolver


@dataclass(slots=True)
class JobDraft:
    """The parts of a job that could be read; None, or missing, if something is wrong, which ``problems`` say."""

    name: str
    policy: Policy
    measurements: tuple[Measurement, ...]
    problems: Problems
    derived: tuple[DerivedMeasurement, ...] = ()
    suites: dict[str, Suite] = field(default_factory=dict)
    training: TrainingData | None = None
    base: Model | None = None
    candidate: Model | None = None
    judge: Model | None = None
    encoder: Model | None = None
    query_log: TrainingData | None = None
    deployed: Deployed = UNKNOWN
    manifest_sha256: str = ""
    trained: bool = False
    """Whether the manifest names training data, readable or not."""
    labels: Labels | None = None
    policy_path: str = ""
    manifest_path: str = ""
    not_measured: Mapping[str, str] = field(default_factory=dict)
    """What a run without a policy leaves out, with the reason."""

    def job(self) -> Job:
        """The complete job. Raises all problems at once."""
        self.problems.raise_any()
        assert self.base is not None, "a missing part is a problem"
        assert self.candidate is not None, "a missing part is a problem"
        models = (self.base, self.candidate, self.judge)
        job = Job(self.name, self.policy, self.measurements, *models, self.suites, self.training)
        same = ["encoder", "query_log", "manifest_sha256", "derived", "deployed", "labels"]
        same += ["policy_path", "manifest_path"]
        return replace(job, **{name: getattr(self, name) for name in same})


def load_job(policy_path: Path, manifest_path: Path, resolvers: Resolvers = local_resolver) -> Job:
    """Read policy, manifest, every row of every suite, and the headers of every model. Loads no weights.

    Remote files are fetched by the resolver that ``resolvers`` makes. Raises ConfigurationError (or its subclasses
    DatasetError, ArtifactError and, for several problems, SeveralError) naming what is wrong, where, and what to do;
    DownloadError when fetching fails.
    """
    return load_all(policy_path, manifest_path, resolvers).job()


def load_all(
    policy_path: Path, manifest_path: Path, resolvers: Resolvers = local_resolver, last: LastAllowed | None = None
) -> JobDraft:
    """As :func:`load_job`, but continues after a problem to find the others. ``last`` is what the ledger says.

    Raises at once only if the policy or manifest cannot be read, or names a source that is not allowed.
    """
    return load_configured(read_configuration(policy_path, manifest_path), resolvers, last)


def load_configured(
    configuration: Configuration, resolvers: Resolvers = local_resolver, last: LastAllowed | None = None, most: int = 0
) -> JobDraft:
    """As :func:`load_all`, for policy and manifest as they were read. ``most``: rows of a data file to read; 0: all."""
    problems = Problems()
    policy, policy_path = configuration.policy, configuration.policy_path
    manifest, manifest_path = configuration.manifest, configuration.manifest_path
    measurements, derived = configuration.measurements, configuration.derived
    resolver = resolvers(policy, policy_path.parent)
    if missing := policy.lacking(manifest):
        hint = _TO_NAME[missing.partition(" ")[0]]
        problems.found.append(ConfigurationError(f"manifest {manifest_path}: {missing}", hint=hint))
    by_distance = next((m for m in measurements if m.distances is not None), None)
    wanted = Wanted()
    with problems.noted():
        wanted = incumbent_source(manifest, policy, last, resolver)
    _check_sources(policy, manifest, encoder_source(by_distance), resolver, problems)
    trained = manifest.training_data is not None
    draft = JobDraft(manifest.name, policy, measurements, problems, derived, trained=trained)
    draft.manifest_sha256, draft.not_measured = configuration.manifest_sha256, configuration.not_measured
    for m in measurements:
        with problems.noted():
            draft.suites[m.name] = sampled_suite(m, resolver, policy.evidence.seed, most or None)
    with problems.noted():
        draft.training = training_of(manifest, manifest_path, resolver, most or None)
    with problems.noted():
        draft.query_log = query_log(by_distance, resolver)
    _add_models(draft, manifest, manifest_path, resolver, wanted)
    if policy.engine.kind == "openai":
        problems.found += require_answerable(measurements, draft.suites, trained=draft.trained)
    with problems.noted():
        draft.encoder = encoder(by_distance, resolver, draft.candidate)
    if graded := [m.name for m in measurements if m.name in draft.suites and m.judges(draft.suites[m.name].items)]:
        with problems.noted():
            judged = tuple(model for model in (draft.base, draft.candidate, draft.deployed.compared) if model)
            draft.judge = judge_of(policy.judge, policy_path, resolver, judged, graded[0])
    return _with_labels(_with_paths(draft, policy_path, manifest_path), policy_path)


def _with_paths(draft: JobDraft, policy_path: Path, manifest_path: Path) -> JobDraft:
    draft.policy_path, draft.manifest_path = in_repository(policy_path), in_repository(manifest_path)
    return draft


def _with_labels(draft: JobDraft, policy_path: Path) -> JobDraft:
    with draft.problems.noted():
        draft.labels = labels_of(draft.policy, policy_path)
    return draft


def _add_models(draft: JobDraft, manifest: Manifest, at: Path, resolver: Resolver, wanted: Wanted) -> None:
    """Open base, candidate and incumbent, as far as they are usable."""
    policy = draft.policy
    with draft.problems.noted():
        draft.base = _base(policy, manifest, at, resolver)
    with draft.problems.noted():
        draft.candidate = _candidate(policy, manifest, at, resolver, draft.base)
        _choose_how_to_ask(draft, manifest)
    with draft.problems.noted():
        draft.deployed = find_incumbent(wanted, manifest.template, at, policy, resolver, (draft.base, draft.candidate))


def _check_sources(
    policy: Policy, manifest: Manifest, encoder_model: Source | None, resolver: Resolver, problems: Problems
) -> None:
    """Raise all ``problems`` if a source is not allowed: before the first download takes an hour."""
    models: tuple[tuple[Side, Source], ...] = (("base", manifest.base), ("candidate", manifest.candidate))
    files: list[Source | JudgeSettings | None] = [manifest.training_data, policy.judge, encoder_model]
    for role, model in models:
        with problems.noted():
            if not check_place(role, model, policy.engine, policy.artifacts.allow):
                files.append(model)
    for source in files:
        if source is not None and source.source is not None:
            with problems.noted():
                resolver.check_remote(source.source, source.revision)
    problems.raise_any()


def load_base(policy_path: Path, manifest_path: Path, resolvers: Resolvers = local_resolver) -> Job:
    """A job of which only the base is there, for a pilot: in the candidate's place stands the base, which is not asked.

    The candidate may not exist yet. Raises as :func:`load_job`.
    """
    policy = read_policy(policy_path)
    measurements = read_measurements(policy.measurements, f"policy {policy_path}")
    manifest = read_manifest(manifest_path)
    resolver = resolvers(policy, policy_path.parent)
    suites = {m.name: sampled_suite(m, resolver, policy.evidence.seed) for m in measurements}
    check_place("base", manifest.base, policy.engine, policy.artifacts.allow)
    base = _base(policy, manifest, manifest_path, resolver)
    if base.kind != "endpoint":
        require_template(base.path, base.reference)
    judged = next((m.name for m in measurements if m.judges(suites[m.name].items)), None)
    judge = judge_of(policy.judge, policy_path, resolver, (base,), judged) if judged is not None else None
    return Job(manifest.name, policy, measurements, base, base, judge, suites, None)


def needs_of(measurement: Measurement) -> Needs:
    """What every row of the measurement's suite must have."""
    facts = facts_of(measurement.answer_scorer)
    return Needs(facts.choices, facts.answer, facts.number, facts.check, facts.letters)


def suite_of(measurement: Measurement, resolver: Resolver, most: int | None = None) -> Suite:
    """Every row of the measurement's suite: a built-in one, a task, or a file, relative to the policy or remote.

    A remote file that the policy names needs no ``artifacts.allow``.
    """
    reference, folder = measurement.dataset, resolver.policy_folder
    if is_task(reference):
        task = read_task(measurement.name, reference, folder, measurement.task_settings)
        require_tags(task, measurement)
        return task
    require_scorer(measurement.answer_scorer)
    if parse(reference) is None:
        paths = dataset_paths(reference, folder, f"measurements.{measurement.name}.dataset")
    else:
        paths = resolver.files(reference, relative_to=folder, allow=None)
    suite = read_parts(measurement.name, paths, needs=needs_of(measurement), columns=measurement.columns, most=most)
    require_rows(suite, measurement)
    return suite


def sampled_suite(measurement: Measurement, resolver: Resolver, seed: int, most: int | None = None) -> Suite:
    """The suite that the policy names, or a sample of it if the measurement sets ``n`` or ``n_max``."""
    suite = suite_of(measurement, resolver, most)
    source = measurement.dataset  # as the policy names it, not its path on this machine
    limit = measurement.n_max or measurement.n
    if limit is None or limit >= len(suite.items):
        return replace(suite, source=source)
    order = drawn_order(seed, f"{measurement.name} items", [item.id for item in suite.items])[:limit]
    items = tuple(suite.items[i] for i in sorted(order))
    return replace(suite, items=items, sha256=digest_of([suite.sha256, limit, seed]), source=source)


def _snapshot(source: Source, at: Path, resolver: Resolver) -> Snapshot:
    return resolver.snapshot(source.source, relative_to=at.parent, revision=source.revision, digest=source.digest)


def _model(name: str, source: Source, at: Path, resolver: Resolver, base: Model | None) -> Model:
    """The model, whose chat template may yet be another's, except a judge's."""
    model = open_model(name, _snapshot(source, at, resolver), base, needs_template=name == "judge")
    if model.kind == "full":
        require_architecture(model, resolver.settings.architectures)
    return model


def _base(policy: Policy, manifest: Manifest, at: Path, resolver: Resolver) -> Model:
    if is_remote(manifest.base.source):
        return remote_model("base", "base", manifest.base, policy.engine)
    return _model("base", manifest.base, at, resolver, None)


def _candidate(policy: Policy, manifest: Manifest, at: Path, resolver: Resolver, base: Model | None) -> Model | None:
    """The candidate; None if the base is unusable and the candidate passes the checks that need no base."""
    if is_remote(manifest.candidate.source):
        candidate = remote_model(manifest.name, "candidate", manifest.candidate, policy.engine)
        if base is not None and base.facts == candidate.facts:
            raise ConfigurationError(
                f"manifest {at}: base and candidate are the same model: {candidate.reference}",
                hint="name what the server calls the fine-tuned model as candidate",
            )
        return candidate
    if base is None:
        check_alone(manifest.name, _snapshot(manifest.candidate, at, resolver))
        return None
    candidate = _model(manifest.name, manifest.candidate, at, resolver, base)
    if candidate.kind == "adapter" and policy.engine.of("candidate").served == "merged" and not candidate.merge:
        candidate = replace(candidate, merge=("it is served merged: engine.served",))
    if base.digest and base.digest == candidate.digest:
        raise ConfigurationError(
            f"manifest {at}: base and candidate are the same files ({base.digest}): fine-tuning changed nothing",
            hint="name the fine-tuned weights as candidate",
        )
    return candidate


def _choose_how_to_ask(draft: JobDraft, manifest: Manifest) -> None:
    """Decide what each of the two models is asked with, and how both generate."""
    if draft.candidate is not None and draft.policy.engine.generation == "candidate":
        facts = {**draft.candidate.facts, **declared_generation(draft.candidate)}
        draft.candidate = replace(draft.candidate, facts=facts)
    if draft.base is not None and draft.candidate is not None and draft.candidate.kind != "endpoint":
        draft.base, draft.candidate = with_chats(draft.base, draft.candidate, manifest.template)
    draft.base, draft.candidate = (model and with_rendering(model) for model in (draft.base, draft.candidate))


def judge_of(
    settings: JudgeSettings | None, policy_path: Path, resolver: Resolver, models: tuple[Model, ...], measurement: str
) -> Model:
    """The judge, for a ``measurement`` that needs it. Raises ConfigurationError for one of the ``models`` to judge."""
    if settings is None:
        raise ConfigurationError(
            f"policy {policy_path}: measurements.{measurement} needs a judge, but there is no judge section",
            hint="add a judge section, or another scorer (exact, contains, numeric, choice, check; for safety: rules)",
        )
    if settings.source is None:
        judge, problem = endpoint_judge(settings), f"judge.model {settings.model!r} has the name of"
    else:
        source = Source(source=settings.source, revision=settings.revision, digest=settings.digest)
        judge = with_rendering(_model("judge", source, policy_path, resolver, None))
        problem = f"judge.source {settings.source!r} is"
    if any(seems_same(judge, model) for model in models) and not settings.allow_self:
        raise ConfigurationError(
            f"policy {policy_path}: {problem} one of the models to be judged",
            hint="models prefer their own text: choose another judge, or set judge.allow_self: true",
        )
    return judge
