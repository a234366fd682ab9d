"""What text vectors show besides distance: topics, a domain classifier, and how well a suite covers a query log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftgate.stats.auroc import auroc_interval
from ftgate.stats.neighbours import nearest, neighbour_count, spacing
from ftgate.stats.sequential import look_size
from ftgate.stats.space import IndexArray, Rows, Space

Vectors = NDArray[Any]
"""Of shape (n, d), in single or double precision."""

MAX_TOPICS, MIN_TOPIC_SIZE = 10, 40
CLASSIFIER_TEXTS = 2000
"""Texts of each set that the classifier is given."""
FOLDS = 5
LOG_TAIL_SHARE = 0.20
"""The farthest share of a query log that counts as its tail."""
MAX_CLUSTERS, QUERIES_PER_CLUSTER = 50, 20
MAX_GAPS, MAX_EXAMPLES, MAX_EXAMPLE_LENGTH = 10, 3, 200


def clusters(vectors: Vectors, count: int, rng: np.random.Generator) -> tuple[IndexArray, Vectors]:
    """k-means clusters: the cluster of each vector, and the centres. At most as many as there are distinct vectors."""
    from sklearn.cluster import KMeans

    count = min(count, len(np.unique(vectors, axis=0)))
    kmeans = KMeans(count, n_init=3, random_state=int(rng.integers(2**31))).fit(vectors)
    return kmeans.labels_.astype(np.int64), kmeans.cluster_centers_


def topics(vectors: Vectors, texts: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """The topic of each text: at most ``MAX_TOPICS`` clusters of at least ``MIN_TOPIC_SIZE``, named by a central text.

    Smaller clusters are merged into the nearest ones. Empty if there are too few texts for two topics.
    """
    if len(texts) < 2 * MIN_TOPIC_SIZE:
        return ()
    label, centres = clusters(vectors, min(MAX_TOPICS, len(texts) // MIN_TOPIC_SIZE), rng)
    while len(centres) > 1 and (sizes := np.bincount(label, minlength=len(centres))).min() < MIN_TOPIC_SIZE:
        centres = np.delete(centres, sizes.argmin(), axis=0)
        label = squared_distances(vectors, centres).argmin(axis=1)
    if len(centres) < 2:
        return ()
    central = squared_distances(vectors, centres).argmin(axis=0)
    names = [f"topic {number}: like “{_clipped(texts[i], 60)}”" for number, i in enumerate(central, 1)]
    return tuple(names[group] for group in label)


def domain_classifier_auc(queries: Vectors, training: Vectors) -> dict[str, Any]:
    """How well a classifier tells queries from training rows: AUROC with a 90 % interval.

    Logistic regression on the vectors, scored by 5-fold cross-validation. 0.5 is no difference, 1 complete separation.
    Empty if either set has fewer than 10 texts.
    """
    if min(len(queries), len(training)) < 2 * FOLDS:
        return {}
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    vectors, is_query = np.vstack([queries, training]), np.repeat([1, 0], [len(queries), len(training)])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    model = LogisticRegression(max_iter=1000, class_weight="balanced")
    scores = cross_val_predict(model, vectors, is_query, cv=folds, method="predict_proba")[:, 1]
    auc = auroc_interval(scores, is_query)
    return {"auc": auc.value, "interval": [auc.low, auc.high], "texts": len(vectors)}


def coverage(
    log: Rows, texts: Sequence[str], items: Rows, training: Rows, space: Space, rng: np.random.Generator
) -> Mapping[str, Any]:
    """The share of a query log's tail that the evaluation items cover, and the largest gaps.

    The log's tail is its ``LOG_TAIL_SHARE`` farthest queries from the training rows. A query is covered if some item is
    nearer to it than its k-th nearest neighbour in that tail (:func:`~ftgate.stats.neighbours.spacing`): the coverage
    of Naeem et al. 2020 (Reliable fidelity and diversity metrics, section 3.2), with k 2.5 % of the tail. An item thus
    represents the usual number of queries around it, however dense they are; the numbers of items and of training rows
    do not move the border. ``log`` should hold each query once. ``gaps`` are the clusters of the tail with the most
    uncovered queries, largest first, with the queries nearest their centre.
    """
    k = neighbour_count(len(space.distinct))
    distance = nearest(log, training, space, k, space.distinct)
    tail = np.sort(np.argsort(distance, kind="stable")[len(distance) - look_size(LOG_TAIL_SHARE, len(distance)) :])
    tail_vectors = log[tail]
    vectors = space.unit(tail_vectors)
    # A query that is itself in the suite is covered, despite rounding of their distance.
    covered = nearest(tail_vectors, items, space) <= spacing(tail_vectors, space, rng) + 1e-6
    label, centres = clusters(vectors, max(1, min(MAX_CLUSTERS, len(tail) // QUERIES_PER_CLUSTER)), rng)
    uncovered_counts = np.bincount(label, weights=~covered, minlength=len(centres))
    distance_to_centre = squared_distances(vectors, centres)
    gaps = []
    for group in [g for g in np.argsort(-uncovered_counts, kind="stable")[:MAX_GAPS] if uncovered_counts[g] > 0]:
        uncovered = np.flatnonzero((label == group) & ~covered)
        central = uncovered[np.argsort(distance_to_centre[uncovered, group], kind="stable")]
        examples = dict.fromkeys(_clipped(texts[tail[i]], MAX_EXAMPLE_LENGTH) for i in central)
        size = int((label == group).sum())
        gaps.append({"queries": size, "uncovered": len(uncovered), "examples": list(examples)[:MAX_EXAMPLES]})
    return {
        "log_queries": len(log),
        "tail_queries": len(tail),
        "covered": float(covered.mean()),
        "gaps": gaps,
    }


def squared_distances(vectors: Vectors, centres: Vectors) -> Vectors:
    """Squared Euclidean distances, shape (vectors, centres)."""
    squares: Vectors = (centres**2).sum(axis=1) - 2 * vectors @ centres.T
    squares += (vectors**2).sum(axis=1, keepdims=True)
    return squares


def _clipped(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
