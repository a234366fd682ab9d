"""What the vectors of texts tell beside distance: groups of like texts, two bodies told apart, and what covers what."""

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

MOST_TOPICS, LEAST_IN_TOPIC = 10, 40
CLASSIFIER_TEXTS = 2000
"""Texts of either body that the classifier is given."""
FOLDS = 5
LOG_TAIL = 0.20
"""The farthest share of a query log that counts as its tail."""
MOST_CLUSTERS, PER_CLUSTER = 50, 20
GAPS, EXAMPLES, EXAMPLE_LENGTH = 10, 3, 200


def clusters(vectors: Vectors, count: int, rng: np.random.Generator) -> tuple[IndexArray, Vectors]:
    """Groups of like vectors by k-means: the group of each, and the centres; no more groups than distinct vectors."""
    from sklearn.cluster import KMeans

    count = min(count, len(np.unique(vectors, axis=0)))
    found = KMeans(count, n_init=3, random_state=int(rng.integers(2**31))).fit(vectors)
    return found.labels_.astype(np.int64), found.cluster_centers_


def topics(vectors: Vectors, texts: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """The topic of each text: at most ``MOST_TOPICS`` groups of at least ``LEAST_IN_TOPIC``, named by their centre.

    A group that came out smaller is dissolved into those nearest. Empty where there are too few texts for two.
    """
    if len(texts) < 2 * LEAST_IN_TOPIC:
        return ()
    label, centres = clusters(vectors, min(MOST_TOPICS, len(texts) // LEAST_IN_TOPIC), rng)
    while len(centres) > 1 and (sizes := np.bincount(label, minlength=len(centres))).min() < LEAST_IN_TOPIC:
        centres = np.delete(centres, sizes.argmin(), axis=0)
        label = squared_distances(vectors, centres).argmin(axis=1)
    if len(centres) < 2:
        return ()
    central = squared_distances(vectors, centres).argmin(axis=0)
    names = [f"topic {number}: like “{_clipped(texts[i], 60)}”" for number, i in enumerate(central, 1)]
    return tuple(names[group] for group in label)


def domain_classifier_auc(queries: Vectors, training: Vectors) -> dict[str, Any]:
    """How well a classifier tells queries from training rows: the area under its ROC curve, with 90 % bounds.

    Logistic regression on the vectors, each scored by a model that was fitted without it (5 folds). 0.5 is no
    difference, 1 complete separation. Empty where either body has fewer than 10 texts.
    """
    if min(len(queries), len(training)) < 2 * FOLDS:
        return {}
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    vectors, outside = np.vstack([queries, training]), np.repeat([1, 0], [len(queries), len(training)])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    model = LogisticRegression(max_iter=1000, class_weight="balanced")
    scores = cross_val_predict(model, vectors, outside, cv=folds, method="predict_proba")[:, 1]
    found = auroc_interval(scores, outside)
    return {"auc": found.value, "interval": [found.low, found.high], "texts": len(vectors)}


def coverage(
    log: Rows, texts: Sequence[str], items: Rows, training: Rows, space: Space, rng: np.random.Generator
) -> Mapping[str, Any]:
    """Which share of the tail of a query log the evaluation items cover, and where they do not.

    The log's tail are its ``LOG_TAIL`` farthest queries from the training rows. One is covered when some item is
    nearer to it than its k-th nearest neighbour in that tail (:func:`~ftgate.stats.neighbours.spacing`): the coverage
    of Naeem et al. 2020 (Reliable fidelity and diversity metrics, section 3.2), with k 2.5 % of the tail. An item thus
    stands for the queries around it, as many as there ordinarily are, however densely they lie; how many items or
    training rows there are does not move the border. ``log`` should hold each query once. ``gaps`` are the groups of
    the tail with most queries that nothing covers, most first, with those nearest their centre.
    """
    k = neighbour_count(len(space.distinct))
    far = nearest(log, training, space, k, space.distinct)
    tail = np.sort(np.argsort(far, kind="stable")[len(far) - look_size(LOG_TAIL, len(far)) :])
    asked = log[tail]
    vectors = space.unit(asked)
    # A query that stands in the suite itself is covered, whatever rounding makes of their distance.
    covered = nearest(asked, items, space) <= spacing(asked, space, rng) + 1e-6
    label, centres = clusters(vectors, max(1, min(MOST_CLUSTERS, len(tail) // PER_CLUSTER)), rng)
    open_ = np.bincount(label, weights=~covered, minlength=len(centres))
    away = squared_distances(vectors, centres)
    gaps = []
    for group in [g for g in np.argsort(-open_, kind="stable")[:GAPS] if open_[g] > 0]:
        missed = np.flatnonzero((label == group) & ~covered)
        central = missed[np.argsort(away[missed, group], kind="stable")]
        examples = dict.fromkeys(_clipped(texts[tail[i]], EXAMPLE_LENGTH) for i in central)
        size = int((label == group).sum())
        gaps.append({"queries": size, "uncovered": len(missed), "examples": list(examples)[:EXAMPLES]})
    return {
        "log_queries": len(log),
        "tail_queries": len(tail),
        "covered": float(covered.mean()),
        "gaps": gaps,
    }


def squared_distances(vectors: Vectors, centres: Vectors) -> Vectors:
    """Squared distances, shape (vectors, centres)."""
    squares: Vectors = (centres**2).sum(axis=1) - 2 * vectors @ centres.T
    squares += (vectors**2).sum(axis=1, keepdims=True)
    return squares


def _clipped(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
