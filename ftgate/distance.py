"""Where the queries lie: the tail map, worked out once for a base, a suite and a training file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ftgate.asking import Respondents
from ftgate.datasets import TrainingData
from ftgate.domain import Model, Suite, TailMap, digest_of
from ftgate.engines.embedders import Embedder
from ftgate.errors import DatasetError
from ftgate.measurements.base import Measurement
from ftgate.stats.neighbours import distances
from ftgate.stats.seeding import generator


def locate(
    measurement: Measurement,
    suite: Suite,
    training: TrainingData,
    base: Model,
    seed: int,
    respondents: Respondents,
    open_embedder: Callable[[str], Embedder],
) -> TailMap:
    """The tail map of ``suite``. Only the base embeds, so that a candidate cannot move its own tail.

    Raises DatasetError when the training data cannot be compared with (fewer than two distinct rows).
    """
    kind = str(getattr(measurement, "embedding", "hidden_states"))
    most = int(getattr(measurement, "max_train_rows", 20_000))
    key = digest_of(["tail map", 1, base.digest, suite.sha256, training.sha256, kind, most, seed])

    def compute() -> dict[str, object]:
        texts = _sample(training, most, seed)
        embedder = open_embedder(kind)
        try:
            return _measure(texts, [item.user_text for item in suite.items], embedder, respondents)
        except ValueError as error:
            raise DatasetError(
                f"training data {training.source}: {error}",
                hint="give more training data, or leave training_data out to use tagged queries alone",
            ) from None
        finally:
            embedder.close()

    known = respondents.journal.fact(key, compute)
    return TailMap(
        tuple(item.id for item in suite.items),
        tuple(known["distance"]),
        tuple(known["outside_p"]),
        known["k"],
        known["n_train"],
        known["method"],
    )


def _measure(
    texts: Sequence[str], queries: Sequence[str], embedder: Embedder, respondents: Respondents
) -> dict[str, object]:
    with respondents.progress.phase("embed queries and training data", len(texts) + len(queries)) as advance:
        table = embedder.embed([*texts, *queries], advance)
    found = distances(table[len(texts) :], table[: len(texts)])
    return {
        "distance": [float(f"{value:.9g}") for value in found.query],
        "outside_p": found.outside_p.tolist(),
        "k": found.k,
        "n_train": len(found.training),
        "method": embedder.name,
    }


def _sample(training: TrainingData, most: int, seed: int) -> list[str]:
    """The user text of all rows, or of ``most`` of them drawn without replacement, in their own order."""
    if training.rows <= most:
        return list(training.texts())
    chosen = set(generator(seed, "training sample").choice(training.rows, most, replace=False).tolist())
    return [text for i, text in enumerate(training.texts()) if i in chosen]
