"""Prepares a job: everything that a run needs, read and checked before any weights are loaded."""

from __future__ import annotations

import hashlib
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
from ftgate.datasets import Needs, TrainingData, dataset_paths, read_parts, read_training_texts
from ftgate.datasets.lm_eval import read_task
from ftgate.domain import Item, Model, Suite, digest_of
from ftgate.errors import ConfigurationError, DatasetError, Problems
from ftgate.files import file_stamp, settled_stamps
from ftgate.measurements.base import Measurement
from ftgate.measurements.derived import DerivedMeasurement
from ftgate.measurements.registry import read_derived, read_measurements
from ftgate.models.open import check_alone, open_model, require_finite
from ftgate.scoring.mathematics import is_expression
from ftgate.scoring.rules import require_scorer
from ftgate.stats.seeding import drawn_order
from ftgate.tail.sources import encoder, encoder_source, query_log


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
    manifest_sha256: str = ""
    trained: bool = False
    """Whether the manifest names training data, readable or not."""

    def job(self) -> Job:
        """The complete job. Raises all problems at once."""
        self.problems.raise_any()
        assert self.base is not None, "a missing part is a problem"
        assert self.candidate is not None, "a missing part is a problem"
        models = (self.base, self.candidate, self.judge)
        job = Job(self.name, self.policy, self.measurements, *models, self.suites, self.training)
        job = replace(job, encoder=self.encoder, query_log=self.query_log, manifest_sha256=self.manifest_sha256)
        return replace(job, derived=self.derived)


def load_job(policy_path: Path, manifest_path: Path, resolvers: Resolvers = local_resolver) -> Job:
    """Read policy, manifest, every row of every suite, and the headers of every model. Loads no weights.

    Remote files are fetched by the resolver that ``resolvers`` makes. Raises ConfigurationError (or its subclasses
    DatasetError, ArtifactError and, for several problems, SeveralError) naming what is wrong, where, and what to do;
    DownloadError when fetching fails.
    """
    return load_all(policy_path, manifest_path, resolvers).job()


def load_all(policy_path: Path, manifest_path: Path, resolvers: Resolvers = local_resolver) -> JobDraft:
    """As :func:`load_job`, but continues after a problem to find the others.

    Raises at once only if the policy or manifest cannot be read, or names a source that is not allowed.
    """
    problems = Problems()
    with problems.noted():
        policy = read_policy(policy_path)
        measurements = read_measurements(policy.measurements, f"policy {policy_path}")
        derived = read_derived(policy.measurements, f"policy {policy_path}")
    with problems.noted():
        manifest, manifest_sha256 = _manifest(manifest_path)
    problems.raise_any()
    resolver = resolvers(policy, policy_path.parent)
    if missing := policy.lacking(manifest):
        hint = "name the file that the candidate was trained on: training_data: {source: …}"
        problems.found.append(ConfigurationError(f"manifest {manifest_path}: {missing}", hint=hint))
    distances = next((m.distances for m in measurements if m.distances is not None), None)
    _check_sources(policy, manifest, encoder_source(distances), resolver, problems)
    trained = manifest.training_data is not None
    draft = JobDraft(manifest.name, policy, measurements, problems, derived, trained=trained)
    draft.manifest_sha256 = manifest_sha256
    for m in measurements:
        with problems.noted():
            draft.suites[m.name] = sampled_suite(m, resolver, policy.evidence.seed)
    with problems.noted():
        draft.training = _training(manifest, manifest_path, resolver)
    with problems.noted():
        draft.query_log = query_log(distances, resolver)
    with problems.noted():
        draft.base = _model("base", manifest.base, manifest_path, resolver, None)
    with problems.noted():
        draft.candidate = _candidate(manifest, manifest_path, resolver, draft.base)
    with problems.noted():
        draft.encoder = encoder(distances, resolver, draft.candidate)
    if graded := [m.name for m in measurements if m.name in draft.suites and m.judges(draft.suites[m.name].items)]:
        with problems.noted():
            models = tuple(model for model in (draft.base, draft.candidate) if model)
            draft.judge = _judge(policy.judge, policy_path, resolver, models, graded[0])
    return draft


def _check_sources(
    policy: Policy, manifest: Manifest, encoder_model: Source | None, resolver: Resolver, problems: Problems
) -> None:
    """Raise all ``problems`` if a source is not allowed: before the first download takes an hour."""
    for source in (manifest.base, manifest.candidate, manifest.training_data, policy.judge, encoder_model):
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
    base = _model("base", manifest.base, manifest_path, resolver, None)
    judged = next((m.name for m in measurements if m.judges(suites[m.name].items)), None)
    judge = _judge(policy.judge, policy_path, resolver, (base,), judged) if judged is not None else None
    return Job(manifest.name, policy, measurements, base, base, judge, suites, None)


def require_finite_weights(job: Job) -> None:
    """Scan the candidate's tensors for NaN and infinity. Raises ControlError naming the first one."""
    require_finite(job.candidate)


def needs_of(measurement: Measurement) -> Needs:
    """What every row of the measurement's suite must have."""
    reads = measurement.answer_scorer
    return Needs(
        choices=reads == "choice",
        answer=reads in ("choice", "exact", "contains", "numeric", "math", "f1", "rouge"),
        number=reads == "numeric",
        check=reads == "check",
        letters=reads in ("auto", "choice"),
    )


def suite_of(measurement: Measurement, resolver: Resolver) -> Suite:
    """Every row of the measurement's suite: a built-in one, a task, or a file, relative to the policy or remote.

    A remote file that the policy names needs no ``artifacts.allow``.
    """
    reference, folder = measurement.dataset, resolver.policy_folder
    if is_task(reference):
        return read_task(measurement.name, reference, folder, measurement.lm_eval)
    require_scorer(measurement.answer_scorer)
    if parse(reference) is None:
        paths = dataset_paths(reference, folder, f"measurements.{measurement.name}.dataset")
    else:
        paths = resolver.files(reference, relative_to=folder, allow=None)
    suite = read_parts(measurement.name, paths, needs=needs_of(measurement), columns=measurement.columns)
    if measurement.answer_scorer == "math":
        _require_expressions(suite, measurement)
    return suite


def _require_expressions(suite: Suite, measurement: Measurement) -> None:
    unread = [item for item in suite.items if not is_expression(item.answer or "")]
    if unread:
        first = ", ".join(f"line {item.line} ({item.answer!r:.60})" for item in unread[:3])
        raise DatasetError(
            f"{measurement.dataset}: {len(unread)} of {len(suite.items)} references are no mathematical expression: "
            f"{first}",
            hint="write the bare result in LaTeX, such as \\frac{3}{4}, or choose another scorer",
        )


def sampled_suite(measurement: Measurement, resolver: Resolver, seed: int) -> Suite:
    """The suite that the policy names, or a sample of it if the measurement sets ``n`` or ``n_max``."""
    suite = suite_of(measurement, resolver)
    source = measurement.dataset  # as the policy names it, not its path on this machine
    limit = measurement.n_max or measurement.n
    if limit is None or limit >= len(suite.items):
        return replace(suite, source=source)
    order = drawn_order(seed, f"{measurement.name} items", [item.id for item in suite.items])[:limit]
    items = tuple(suite.items[i] for i in sorted(order))
    return replace(suite, items=items, sha256=digest_of([suite.sha256, limit, seed]), source=source)


def _manifest(path: Path) -> tuple[Manifest, str]:
    """The manifest and the SHA-256 of its file. Raises ConfigurationError if they are not of the same content."""
    (stamp,) = settled_stamps([path])
    manifest = read_manifest(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if file_stamp(path.resolve()) != stamp:
        raise ConfigurationError(f"manifest {path}: changed while it was read", hint="run again")
    return manifest, sha256


def _training(manifest: Manifest, manifest_path: Path, resolver: Resolver) -> TrainingData | None:
    source = manifest.training_data
    if source is None:
        return None
    path = resolver.file(
        source.source,
        relative_to=manifest_path.parent,
        allow=resolver.settings.allow,
        revision=source.revision,
        digest=source.digest,
    )
    local = parse(source.source) is None
    if local:
        _refuse_misleading_link(path, manifest_path)
    training = replace(read_training_texts(path, columns=source.columns), source=source.source)
    actual = f"sha256:{training.sha256}"
    if local and source.digest not in (None, actual):
        raise ConfigurationError(
            f"manifest {manifest_path}: training_data.digest is {source.digest}, the file has {actual}",
            hint="the file changed, or the digest is of another version: pin the digest of the file that you mean",
        )
    return training


def _refuse_misleading_link(path: Path, manifest_path: Path) -> None:
    """Refuse a link to a file of another type: it could point to a key or /proc/self/environ, and errors quote rows."""
    try:
        suffix = path.resolve().suffix.lower()
    except (OSError, RuntimeError, ValueError):
        return  # reading the file will report the problem
    if suffix != path.suffix.lower():
        raise ConfigurationError(
            f"manifest {manifest_path}: training_data.source is a link to a file of another type",
            hint=f"name the {path.suffix or '.jsonl'} file itself, or replace the link with a copy",
        )


def _snapshot(source: Source, at: Path, resolver: Resolver) -> Snapshot:
    return resolver.snapshot(source.source, relative_to=at.parent, revision=source.revision, digest=source.digest)


def _model(name: str, source: Source, at: Path, resolver: Resolver, base: Model | None) -> Model:
    model = open_model(name, _snapshot(source, at, resolver), base)
    if model.kind == "full":
        require_architecture(model, resolver.settings.architectures)
    return model


def _candidate(manifest: Manifest, at: Path, resolver: Resolver, base: Model | None) -> Model | None:
    """The candidate; None if the base is unusable and the candidate passes the checks that need no base."""
    if base is None:
        check_alone(manifest.name, _snapshot(manifest.candidate, at, resolver))
        return None
    candidate = _model(manifest.name, manifest.candidate, at, resolver, base)
    if base.digest and base.digest == candidate.digest:
        raise ConfigurationError(
            f"manifest {at}: base and candidate are the same files ({base.digest}): fine-tuning changed nothing",
            hint="name the fine-tuned weights as candidate",
        )
    return candidate


def _judge(
    settings: JudgeSettings | None, policy_path: Path, resolver: Resolver, models: tuple[Model, ...], measurement: str
) -> Model:
    if settings is None:
        raise ConfigurationError(
            f"policy {policy_path}: measurements.{measurement} needs a judge, but there is no judge section",
            hint="add a judge section, or choose another scorer (exact, contains, numeric, choice, check)",
        )
    if settings.source is None:
        judge, problem = endpoint_judge(settings), f"judge.model {settings.model!r} has the name of"
    else:
        source = Source(source=settings.source, revision=settings.revision, digest=settings.digest)
        judge = _model("judge", source, policy_path, resolver, None)
        problem = f"judge.source {settings.source!r} is"
    if any(seems_same(judge, model) for model in models) and not settings.allow_self:
        raise ConfigurationError(
            f"policy {policy_path}: {problem} one of the models to be judged",
            hint="models prefer their own text: choose another judge, or set judge.allow_self: true",
        )
    return judge


def endpoint_judge(settings: JudgeSettings) -> Model:
    """The judge behind an endpoint: only a name and an address, no weights."""
    facts = {"endpoint": settings.endpoint, "model": settings.model}
    reference = f"{settings.model} at {settings.endpoint}"
    return Model("judge", Path(), digest="", kind="endpoint", reference=reference, facts=facts)


def seems_same(judge: Model, model: Model) -> bool:
    """Whether the judge seems to be ``model``: by digest, or by name for an endpoint, which has no digest."""
    if judge.kind != "endpoint":
        return bool(judge.digest) and judge.digest == model.digest  # a preflight does not hash large weights
    requested = str(judge.facts["model"]).casefold()
    judged_name = model.reference.casefold().rstrip("/").rpartition("/")[2].partition("@")[0]  # without the commit
    return bool({requested, requested.rpartition("/")[2]} & {model.name.casefold(), judged_name})
