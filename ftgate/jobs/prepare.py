"""A job: everything that a run needs, read and checked before any weight is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ftgate.artifacts.allow import require_architecture
from ftgate.artifacts.reference import parse
from ftgate.artifacts.resolve import Resolver
from ftgate.artifacts.snapshot import Snapshot
from ftgate.config.manifest import Manifest, Source, read_manifest
from ftgate.config.policy import JudgeSettings, Policy, read_policy
from ftgate.contamination import Overlap
from ftgate.datasets import Needs, TrainingData, dataset_path, read_suite, read_training_texts
from ftgate.domain import Item, Model, Suite, digest_of
from ftgate.errors import ConfigurationError, Problems
from ftgate.measurements.base import Measurement
from ftgate.measurements.derived import DerivedMeasurement
from ftgate.measurements.registry import read_derived, read_measurements
from ftgate.models.open import check_alone, open_model, require_finite
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
    """What the training data holds of each suite, once they have been compared."""
    excluded_items: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    """Items that the training data holds: no longer in ``suites``, and for information alone."""
    encoder: Model | None = None
    """The model of its own that embeds queries, where the policy names one."""
    query_log: TrainingData | None = None
    """Real queries without answers, to be covered by the tail's suite."""
    manifest_sha256: str = ""
    """Of the manifest's file: what ties a report to the change that it is for."""
    derived: tuple[DerivedMeasurement, ...] = ()
    """The measurements that ask nothing: they are decided on what the others were answered."""

    @property
    def by_distance(self) -> Measurement | None:
        """The measurement that looks at distances from the training data, if the policy has one."""
        return next((m for m in self.measurements if m.distances is not None), None)

    @property
    def seed(self) -> int:
        """Where every random draw of the run starts."""
        return self.policy.evidence.seed

    def suite_size(self, name: str) -> int:
        """How many items a suite has, those that were set aside among them."""
        return len(self.suites[name].items) + len(self.excluded_items.get(name, ()))


Resolvers = Callable[[Policy, Path], Resolver]
"""Makes what finds files under a policy that lies in a folder."""


def local_resolver(policy: Policy, folder: Path) -> Resolver:
    """A resolver that shows nothing while it fetches."""
    return Resolver(policy.artifacts, folder)


@dataclass(slots=True)
class JobDraft:
    """What could be read of a job; None, or left out, where something is wrong. ``problems`` say what."""

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

    def job(self) -> Job:
        """The whole job. Raises what is wrong with its parts, all at once."""
        self.problems.raise_any()
        assert self.base is not None, "whatever is missing is a problem"
        assert self.candidate is not None, "whatever is missing is a problem"
        models = (self.base, self.candidate, self.judge)
        job = Job(self.name, self.policy, self.measurements, *models, self.suites, self.training)
        job = replace(job, encoder=self.encoder, query_log=self.query_log, manifest_sha256=self.manifest_sha256)
        return replace(job, derived=self.derived)


def load_job(policy_path: Path, manifest_path: Path, resolvers: Resolvers = local_resolver) -> Job:
    """Read policy, manifest, every row of every suite, and the headers of every model. Loads no weights.

    What lies elsewhere is fetched by the resolver that ``resolvers`` makes. Raises ConfigurationError (or its kinds
    DatasetError, ArtifactError and, for several, SeveralError) naming what is wrong, where, and what to do;
    DownloadError when fetching fails.
    """
    return load_all(policy_path, manifest_path, resolvers).job()


def load_all(policy_path: Path, manifest_path: Path, resolvers: Resolvers = local_resolver) -> JobDraft:
    """As :func:`load_job`, but goes on after a problem to find the others.

    Raises only where policy or manifest cannot be read, or names what may not be fetched: no more is looked at then.
    """
    problems = Problems()
    with problems.noted():
        policy = read_policy(policy_path)
        measurements = read_measurements(policy.measurements, f"policy {policy_path}")
        derived = read_derived(policy.measurements, f"policy {policy_path}")
    with problems.noted():
        manifest = read_manifest(manifest_path)
    problems.raise_any()
    resolver = resolvers(policy, policy_path.parent)
    if lacking := policy.lacking(manifest):
        hint = "name the file that the candidate was trained on: training_data: {source: …}"
        problems.found.append(ConfigurationError(f"manifest {manifest_path}: {lacking}", hint=hint))
    distances = next((m.distances for m in measurements if m.distances is not None), None)
    named = (manifest.base, manifest.candidate, manifest.training_data, policy.judge, encoder_source(distances))
    for source in named:
        if source is not None and source.source is not None:  # before the first of them costs an hour
            with problems.noted():
                resolver.refuse(source.source, source.revision)
    problems.raise_any()
    parts = JobDraft(manifest.name, policy, measurements, problems, derived)
    parts.manifest_sha256 = hashlib.sha256(manifest_path.read_bytes()).hexdigest()
    for m in measurements:
        with problems.noted():
            parts.suites[m.name] = asked_suite(m, resolver, policy.evidence.seed)
    with problems.noted():
        parts.training = _training(manifest, manifest_path, resolver)
    with problems.noted():
        parts.query_log = query_log(distances, resolver)
    with problems.noted():
        parts.base = _model("base", manifest.base, manifest_path, resolver, None)
    with problems.noted():
        parts.candidate = _candidate(manifest, manifest_path, resolver, parts.base)
    with problems.noted():
        parts.encoder = encoder(distances, resolver, parts.candidate)
    judged = [m.name for m in measurements if m.name in parts.suites and m.judges(parts.suites[m.name].items)]
    if judged:
        with problems.noted():
            models = tuple(model for model in (parts.base, parts.candidate) if model)
            parts.judge = _judge(policy.judge, policy_path, resolver, models, judged[0])
    return parts


def require_finite_weights(job: Job) -> None:
    """Scan the candidate's tensors for NaN and infinity. Raises ControlError naming the first one."""
    require_finite(job.candidate)


def needs_of(measurement: Measurement) -> Needs:
    """What every row of the measurement's suite must hold."""
    reads = measurement.answer_scorer
    return Needs(
        choices=reads == "choice",
        answer=reads in ("choice", "exact", "contains", "numeric"),
        number=reads == "numeric",
        check=reads == "check",
    )


def suite_of(measurement: Measurement, resolver: Resolver) -> Suite:
    """Every row of the measurement's suite: one that comes with ftgate, or a file, relative to the policy or elsewhere.

    The policy that names a remote file thereby allows it.
    """
    named, folder = measurement.dataset, resolver.policy_folder
    if parse(named) is None:
        path = dataset_path(named, folder, f"measurements.{measurement.name}.dataset")
    else:
        path = resolver.file(named, relative_to=folder, allow=None)
    return read_suite(measurement.name, path, needs=needs_of(measurement))


def asked_suite(measurement: Measurement, resolver: Resolver, seed: int) -> Suite:
    """The suite that the policy names, or the sample of it that the measurement asks about."""
    suite = suite_of(measurement, resolver)
    source = measurement.dataset  # in the policy's own words, wherever it lies on this machine
    most = measurement.n_max or measurement.n
    if most is None or most >= len(suite.items):
        return replace(suite, source=source)
    order = drawn_order(seed, f"{measurement.name} items", [item.id for item in suite.items])[:most]
    items = tuple(suite.items[i] for i in sorted(order))
    return Suite(suite.name, items, digest_of([suite.sha256, most, seed]), source)


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
        _refuse_disguise(path, manifest_path)
    training = replace(read_training_texts(path), source=source.source)
    found = f"sha256:{training.sha256}"
    if local and source.digest not in (None, found):
        raise ConfigurationError(
            f"manifest {manifest_path}: training_data.digest is {source.digest}, the file has {found}",
            hint="the file changed, or the digest belongs to another version: pin the one you mean",
        )
    return training


def _refuse_disguise(path: Path, manifest_path: Path) -> None:
    """A change may plant a link that gives a key, or the environment, the name of a data file; errors quote rows."""
    try:
        suffix = path.resolve().suffix.lower()
    except (OSError, RuntimeError, ValueError):
        return  # whoever reads the file says what is wrong with it
    if suffix != path.suffix.lower():
        raise ConfigurationError(
            f"manifest {manifest_path}: training_data.source is a link to a file of another kind",
            hint=f"name a {path.suffix or '.jsonl'} file itself, or copy it in the link's place",
        )


def _snapshot(source: Source, at: Path, resolver: Resolver) -> Snapshot:
    return resolver.snapshot(source.source, relative_to=at.parent, revision=source.revision, digest=source.digest)


def _model(name: str, source: Source, at: Path, resolver: Resolver, base: Model | None) -> Model:
    model = open_model(name, _snapshot(source, at, resolver), base)
    if model.kind == "full":
        require_architecture(model, resolver.settings.architectures)
    return model


def _candidate(manifest: Manifest, at: Path, resolver: Resolver, base: Model | None) -> Model | None:
    """The candidate; None for one that is fine as far as can be told, where something is wrong with its base."""
    if base is None:
        check_alone(manifest.name, _snapshot(manifest.candidate, at, resolver))
        return None
    candidate = _model(manifest.name, manifest.candidate, at, resolver, base)
    if base.digest and base.digest == candidate.digest:
        raise ConfigurationError(
            f"manifest {at}: base and candidate are the same files ({base.digest}): the adapter changed nothing",
            hint="name the fine-tuned weights as candidate",
        )
    return candidate


def _judge(
    settings: JudgeSettings | None, policy_path: Path, resolver: Resolver, judged: tuple[Model, ...], measurement: str
) -> Model:
    if settings is None:
        raise ConfigurationError(
            f"policy {policy_path}: measurements.{measurement} is graded by a judge, but there is no judge section",
            hint="add a judge section, or choose another scorer (exact, contains, numeric, choice, check)",
        )
    if settings.source is None:
        judge, named = endpoint_judge(settings), f"judge.model {settings.model!r} has the name of"
    else:
        source = Source(source=settings.source, revision=settings.revision, digest=settings.digest)
        judge = _model("judge", source, policy_path, resolver, None)
        named = f"judge.source {settings.source!r} is"
    if any(seems_same(judge, model) for model in judged) and not settings.allow_self:
        raise ConfigurationError(
            f"policy {policy_path}: {named} one of the models to be judged",
            hint="models prefer their own text: name another judge, or set judge.allow_self: true",
        )
    return judge


def endpoint_judge(settings: JudgeSettings) -> Model:
    """The judge behind an endpoint: a name at an address, with no weights to look at."""
    facts = {"endpoint": settings.endpoint, "model": settings.model}
    reference = f"{settings.model} at {settings.endpoint}"
    return Model("judge", Path(), digest="", kind="endpoint", reference=reference, facts=facts)


def seems_same(judge: Model, judged: Model) -> bool:
    """Whether the judge is ``judged``: by digest, or by name where an endpoint shows nothing but a name."""
    if judge.kind != "endpoint":
        return bool(judge.digest) and judge.digest == judged.digest  # a glance knows no digest of what is large
    asked = str(judge.facts["model"]).casefold()
    last = judged.reference.casefold().rstrip("/").rpartition("/")[2].partition("@")[0]  # a commit is no part of a name
    return bool({asked, asked.rpartition("/")[2]} & {judged.name.casefold(), last})
