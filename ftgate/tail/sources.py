"""Tail inputs besides the suite: a query log and an embedding model, named by a policy or on the command line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path

from ftgate.artifacts.reference import parse
from ftgate.artifacts.resolve import Resolver
from ftgate.config.manifest import Source
from ftgate.config.policy import ArtifactSettings, read_policy
from ftgate.datasets import TrainingData, read_training_texts
from ftgate.domain import Model
from ftgate.errors import ConfigurationError
from ftgate.measurements.base import Measurement
from ftgate.models.encoder_files import MODULES
from ftgate.models.open import open_encoder


def query_log(measurement: Measurement | None, resolver: Resolver) -> TrainingData | None:
    """The query log of the ``measurement`` by distances, if it names one; a remote one needs no allow entry.

    Raises DatasetError if no row is usable.
    """
    distances = measurement.distances if measurement is not None else None
    if distances is None or distances.query_log is None:
        return None
    paths = resolver.files(distances.query_log, relative_to=resolver.policy_folder, allow=None)
    log = read_training_texts(*paths, what="query_log", columns=distances.query_log_columns)
    return replace(log, source=distances.query_log)


def encoder_source(measurement: Measurement | None) -> Source | None:
    """The separate embedding model of the ``measurement`` by distances, if it names one."""
    distances = measurement.distances if measurement is not None else None
    return distances.embedding if distances is not None and isinstance(distances.embedding, Source) else None


def encoder(measurement: Measurement | None, resolver: Resolver, candidate: Model | None) -> Model | None:
    """The model of :func:`encoder_source`, not to be the candidate. Raises ArtifactError if unsafe or not allowed."""
    source = encoder_source(measurement)
    if measurement is None or source is None:
        return None
    folder = resolver.policy_folder
    snapshot = resolver.snapshot(source.source, relative_to=folder, revision=source.revision, digest=source.digest)
    if candidate is not None and snapshot.digest == candidate.digest:
        raise ConfigurationError(
            f"measurements.{measurement.name}.embedding.source {source.source!r} is the candidate itself",
            hint="the candidate could move its own tail: name another model",
        )
    return open_encoder("encoder", snapshot)


@dataclass(frozen=True, slots=True)
class CommandLineSources:
    """Models and files named on the command line, which allows them. ``settings`` say how to fetch them."""

    settings: ArtifactSettings

    @classmethod
    def under(cls, policy: Path | None) -> CommandLineSources:
        """With the artifact settings of a policy. Raises ConfigurationError if that cannot be read."""
        return cls(read_policy(policy).artifacts if policy is not None else ArtifactSettings())

    def model(self, reference: str) -> tuple[Model, str]:
        """A model and its kind of vectors: ``encoder`` if its files define pooling, else ``hidden_states``.

        Raises ArtifactError if it is unsafe, DownloadError if the download fails.
        """
        remote = parse(reference)
        allowed = f"{remote.scheme}://**" if remote is not None else escape(str(Path(reference).resolve()))
        resolver = Resolver(self.settings.model_copy(update={"allow": (allowed,)}), Path.cwd())
        model = open_encoder("model", resolver.snapshot(reference, relative_to=Path.cwd()))
        return model, "encoder" if (model.path / MODULES).exists() else "hidden_states"

    def files(self, reference: str) -> tuple[Path, ...]:
        """The files of one split, or a data file. Raises DownloadError if the download fails."""
        return Resolver(self.settings, Path.cwd()).files(reference, relative_to=Path(), allow=None)
