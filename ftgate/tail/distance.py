"""Where the queries lie: the tail map, worked out once for a base, a suite and a training file."""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ftgate.datasets import TrainingData
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
"""What is known under a key, computed the first time."""
MOST_LOGGED = 100_000
"""Queries of a log that are placed; a longer one is sampled."""
LEAST_BODY = 10
"""Of fewer texts what they share may be what they are about."""
_WORD_END = re.compile(r"\w+$")
_MARKUP = re.compile(r"(?s)(?:.*[<>\[\]{}|#](?:(?:system|user|assistant|human|model)\b:?)?\s*)?")


@dataclass(frozen=True, slots=True)
class TailInputs:
    """All that the tail map of a suite depends on. ``log`` are real queries without answers."""

    suite: Suite
    training: TrainingData
    log: TrainingData | None
    base: Model
    encoder: Model | None
    seed: int


def build_tail_map(
    settings: DistanceSettings,
    around: TailInputs,
    cached: FactCache,
    progress: Progress,
    open_embedder: Callable[[str], Embedder],
    folder: Path,
) -> TailMap:
    """The tail map of a suite. Only the base or a third model embeds, so that a candidate cannot move its own tail.

    ``cached`` gives what is known under a key, or computes and keeps it. Vectors are kept in ``folder``. Raises
    DatasetError when the training data cannot be compared with (fewer than two distinct rows).
    """
    kind, training, log = settings.embedding_kind, around.training, around.log
    embedded_by = around.encoder.digest if around.encoder else around.base.digest
    # By name too: a decision under a policy that names another log or model must not rest on this one's.
    asked = settings.model_dump(mode="json", include={"embedding", "max_train_rows", "query_log"})
    key = digest_of(
        ["tail map", 3, embedded_by, around.suite.sha256, training.sha256, log and log.sha256, asked, around.seed]
    )

    def compute() -> dict[str, Any]:
        embedder = open_embedder(kind)
        try:
            return _measure(settings, around, embedder, folder, progress)
        except ValueError as error:
            raise DatasetError(
                f"training data {training.source}: {error}",
                hint="give more training data, or leave training_data out to use tagged queries alone",
            ) from None
        finally:
            embedder.close()

    known: dict[str, Any] = cached(key, compute)
    lists = ("item_ids", "distance", "outside_p", "topics")
    return TailMap(**(known | {name: tuple(known[name]) for name in lists}))


def _measure(
    settings: DistanceSettings, around: TailInputs, embedder: Embedder, folder: Path, progress: Progress
) -> dict[str, Any]:
    items = around.suite.items
    said = [
        # A text that stands twice is embedded once: repeats are dropped, and batching would make them differ.
        list(dict.fromkeys(sampled(around.training, settings.max_train_rows, around.seed))),
        [item.user_text for item in items],
        list(dict.fromkeys(sampled(around.log, MOST_LOGGED, around.seed))) if around.log else [],
    ]
    trained, asked, logged = without_affixes(said)
    embedder.fit(trained)
    with progress.phase("embed queries and training data", sum(map(len, said))) as advance:
        training, queries, log = (
            embed_to_files(texts, embedder, folder, advance) for texts in (trained, asked, logged)
        )
    prune(folder)
    draw = generator(around.seed, "tail map")
    space = space_of(training)
    with progress.phase("measure distances", None) as advance:
        found = distances(queries, training, rng=draw, space=space, on_progress=advance)
        vectors = space.unit(queries[:])
        topics = coverage.topics(vectors, said[1], draw)
        chosen, some = space.distinct[_some(len(space.distinct), draw)], vectors[_some(len(vectors), draw)]
        found_beside = {
            "told_from_training": coverage.domain_classifier_auc(some, space.unit(training[chosen])),
            "coverage": coverage.coverage(log, said[2], queries, training, space, draw) if logged else {},
        }
    return asdict(
        TailMap(
            item_ids=tuple(item.id for item in items),
            distance=tuple(float(f"{value:.9g}") for value in found.query),
            outside_p=tuple(found.outside_p.tolist()),
            k=found.k,
            n_train=found.rows,
            method=embedder.name,
            topics=topics,
            details={name: value for name, value in found_beside.items() if value},
            in_file=around.training.rows if around.training.rows > settings.max_train_rows else None,
        )
    )


def without_affixes(bodies: Sequence[Sequence[str]]) -> list[list[str]]:
    """The texts of several bodies without what all of them begin and end with, such as a chat template.

    What stands in every text tells none from another. Cut where a word ends, so that the rest is what it would be if
    the template had never been there. Markup is also cut where it stands around all texts of one body alone: training
    data are often kept as they were rendered.
    """
    plain = [_cut(body, _markup) if len(body) >= LEAST_BODY else body for body in bodies]
    sizes = np.cumsum([0, *map(len, plain)])
    together = _cut([text for body in plain for text in body], lambda end: len(_WORD_END.sub("", end)))
    return [together[sizes[i] : sizes[i + 1]] for i in range(len(plain))]


def _markup(end: str) -> int:
    found = _MARKUP.match(end)
    return found.end() if found else 0


def _cut(texts: Sequence[str], length: Callable[[str], int]) -> list[str]:
    """The texts without as much of their shared beginning as ``length`` says, and of their end, read backwards."""
    head = length(_shared(texts))
    tail = length(_shared(text[head:][::-1] for text in texts))
    return [text[head : len(text) - tail] for text in texts]


def _shared(texts: Iterable[str]) -> str:
    common: str | None = None
    for text in texts:
        common = text if common is None else os.path.commonprefix([common, text])  # noqa: RUF071 - characters are meant
        if not common:
            break
    return common or ""


def _some(n: int, rng: np.random.Generator) -> Any:
    if n <= coverage.CLASSIFIER_TEXTS:
        return np.arange(n)
    return np.sort(rng.choice(n, coverage.CLASSIFIER_TEXTS, replace=False))


def sampled(training: TrainingData, most: int, seed: int) -> list[str]:
    """The user text of all rows, or of ``most`` of them drawn without replacement, in their own order."""
    if training.rows <= most:
        return list(training.texts())
    chosen = set(generator(seed, "training sample").choice(training.rows, most, replace=False).tolist())
    return [text for i, text in enumerate(training.texts()) if i in chosen]
