"""The tail map: how far each query lies from the training data, for one base, suite and training file."""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ftgate.datasets import TrainingData, user_text
from ftgate.datasets.training import Conversation
from ftgate.domain import Model, Suite, digest_of
from ftgate.embeddings.base import Embedder
from ftgate.embeddings.vector_cache import embed_to_files, prune
from ftgate.errors import DatasetError
from ftgate.measurements.base import DistanceSettings
from ftgate.measurements.tail_map import TailMap
from ftgate.progress import Progress
from ftgate.stats.neighbours import distances
from ftgate.stats.seeding import generator
from ftgate.stats.space import space_of
from ftgate.tail import coverage

FactCache = Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]]
"""The cached value under a key, computed the first time."""
MAX_LOG_QUERIES = 100_000
"""Queries of a log that are used; a longer log is sampled."""
MIN_TEXTS = 10
"""With fewer texts, what they share may be their subject rather than a template."""
_WORD_END = re.compile(r"(?<!\w)\w+$")
_MARKUP = re.compile(r"(?s)(?:.*[<>\[\]{}|#](?:(?:system|user|assistant|human|model)\b:?)?\s*)?")


@dataclass(frozen=True, slots=True)
class TailInputs:
    """Everything that a suite's tail map depends on. ``log``: real queries without answers."""

    suite: Suite
    training: TrainingData
    log: TrainingData | None
    base: Model
    encoder: Model | None
    seed: int


def _key_fields(settings: DistanceSettings, training: TrainingData, log: TrainingData | None) -> dict[str, Any]:
    """The settings that a tail map depends on. Names count too: one for another log or model must not be reused."""
    fields = settings.model_dump(mode="json", include={"embedding", "max_train_rows", "query_log"})
    columns = [data and data.columns and data.columns.model_dump(mode="json") for data in (training, log)]
    return fields | {"columns": columns} if any(columns) else fields


def build_tail_map(
    settings: DistanceSettings,
    inputs: TailInputs,
    cached: FactCache,
    progress: Progress,
    open_embedder: Callable[[str], Embedder],
    folder: Path,
) -> TailMap:
    """The tail map of a suite. Embeddings come from the base or a third model, so a candidate cannot move its own tail.

    ``cached`` returns a cached value or computes and stores it. Vectors are stored in ``folder``. Raises DatasetError
    if the training data have fewer than two distinct rows.
    """
    kind, training, log = settings.embedding_kind, inputs.training, inputs.log
    encoder_digest = inputs.encoder.digest if inputs.encoder else inputs.base.digest
    key_fields = _key_fields(settings, training, log)
    key = digest_of(
        [
            "tail map",
            4,
            encoder_digest,
            inputs.suite.sha256,
            training.sha256,
            log and log.sha256,
            key_fields,
            inputs.seed,
        ]
    )

    def compute() -> dict[str, Any]:
        embedder = open_embedder(kind)
        try:
            return _compute_tail_map(settings, inputs, embedder, folder, progress)
        except ValueError as error:
            raise DatasetError(
                f"training data {training.source}: {error}",
                hint="give more training data, or remove training_data to use tagged queries only",
            ) from None
        finally:
            embedder.close()

    value: dict[str, Any] = cached(key, compute)
    lists = ("item_ids", "distance", "outside_p", "topics")
    return TailMap(**(value | {name: tuple(value[name]) for name in lists}))


def _compute_tail_map(
    settings: DistanceSettings, inputs: TailInputs, embedder: Embedder, folder: Path, progress: Progress
) -> dict[str, Any]:
    items = inputs.suite.items
    texts = [
        # Duplicates are embedded once: batching would give them slightly different vectors.
        list(dict.fromkeys(sample_texts(inputs.training, settings.max_train_rows, inputs.seed))),
        [item.user_text for item in items],
        list(dict.fromkeys(sample_texts(inputs.log, MAX_LOG_QUERIES, inputs.seed))) if inputs.log else [],
    ]
    stripped = without_shared_affixes(texts)
    embedder.fit(stripped[0])
    with progress.phase("embed queries and training data", sum(map(len, texts))) as advance:
        training, queries, log = (embed_to_files(part, embedder, folder, advance) for part in stripped)
    prune(folder)
    rng = generator(inputs.seed, "tail map")
    space = space_of(training)
    with progress.phase("measure distances", None) as advance:
        result = distances(queries, training, rng=rng, space=space, on_progress=advance)
        vectors = space.unit(queries[:])
        topics = coverage.topics(vectors, texts[1], rng)
        rows = space.distinct[_classifier_sample(len(space.distinct), rng)]
        sample = vectors[_classifier_sample(len(vectors), rng)]
        details = {
            "told_from_training": coverage.domain_classifier_auc(sample, space.unit(training[rows])),
            "coverage": coverage.coverage(log, texts[2], queries, training, space, rng) if texts[2] else {},
        }
    return asdict(
        TailMap(
            item_ids=tuple(item.id for item in items),
            distance=tuple(float(f"{value:.9g}") for value in result.query),
            outside_p=tuple(result.outside_p.tolist()),
            k=result.k,
            n_train=result.rows,
            method=embedder.name,
            topics=topics,
            details={name: value for name, value in details.items() if value},
            in_file=inputs.training.rows if inputs.training.rows > settings.max_train_rows else None,
        )
    )


def without_shared_affixes(bodies: Sequence[Sequence[str]]) -> list[list[str]]:
    """The texts of several bodies without the beginning and end that all share, such as a chat template.

    What every text contains tells none of them apart. Cut at word boundaries, so that the rest is what it would be
    without the template. Markup is also removed if all texts of a single body share it: training data are often stored
    rendered.
    """
    plain = [_strip_shared(body, _markup_length) if len(body) >= MIN_TEXTS else body for body in bodies]
    sizes = np.cumsum([0, *map(len, plain)])
    together = _strip_shared([text for body in plain for text in body], lambda end: len(_WORD_END.sub("", end)))
    return [together[sizes[i] : sizes[i + 1]] for i in range(len(plain))]


def _markup_length(affix: str) -> int:
    match = _MARKUP.match(affix)
    return match.end() if match else 0


def _strip_shared(texts: Sequence[str], length: Callable[[str], int]) -> list[str]:
    """The texts without ``length`` characters of their shared beginning, and of their end, read backwards."""
    head = length(_common_prefix(texts))
    tail = length(_common_prefix(text[head:][::-1] for text in texts))
    return [text[head : len(text) - tail] for text in texts]


def _common_prefix(texts: Iterable[str]) -> str:
    common: str | None = None
    for text in texts:
        common = text if common is None else os.path.commonprefix([common, text])  # noqa: RUF071 - characters are meant
        if not common:
            break
    return common or ""


def _classifier_sample(n: int, rng: np.random.Generator) -> Any:
    if n <= coverage.CLASSIFIER_TEXTS:
        return np.arange(n)
    return np.sort(rng.choice(n, coverage.CLASSIFIER_TEXTS, replace=False))


def sample_texts(training: TrainingData, limit: int, seed: int) -> list[str]:
    """The user text of all rows, or of ``limit`` of them drawn without replacement, in file order."""
    return [user_text(messages) for messages, _ in sample_conversations(training, limit, seed)]


def sample_conversations(training: TrainingData, limit: int, seed: int) -> Iterator[Conversation]:
    """The conversations of the rows that :func:`sample_texts` draws."""
    if training.rows <= limit:
        return training.conversations()
    chosen = set(generator(seed, "training sample").choice(training.rows, limit, replace=False).tolist())
    return (conversation for i, conversation in enumerate(training.conversations()) if i in chosen)
