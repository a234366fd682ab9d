"""Whether confidence matches accuracy, and whether that got worse (methods, section 5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ftgate.stats import checks, normal
from ftgate.stats.auroc import AurocInterval, auroc, auroc_interval
from ftgate.stats.checks import FloatArray
from ftgate.stats.resampling import resampled_sums

__all__ = [
    "AurocInterval",
    "EceDifference",
    "ReliabilityBin",
    "accuracy_at_coverage",
    "auroc",
    "auroc_interval",
    "brier_score",
    "ece_difference",
    "ece_over_chance",
    "expected_calibration_error",
    "multiclass_brier_score",
    "negative_log_likelihood",
    "reliability_bins",
]

Scheme = Literal["width", "mass"]
_SMALLEST_PROBABILITY = 1e-12
FARTHEST_BIN = 2.5
"""The most that one bin counts towards miscalibration, in standard deviations of its sum (:func:`ece_over_chance`)."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Items whose confidence lies in [low, high) (the last bin: up to and with ``high``).

    ``confidence`` and ``accuracy`` are means over the ``count`` items, None in an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class EceDifference:
    """How much the expected calibration error rose from base to candidate. All are shares: 0.05 is 5 points.

    ``base`` and ``candidate`` are the plug-in errors and ``plug_in`` their difference; ``change`` is that difference
    with its bias removed, ``low`` and ``high`` its bounds, ``standard_error`` the spread of its resamples. ``gap`` is
    the paired change of mean(confidence - correct), positive when the candidate grew overconfident, with its standard
    error. ``overconfidence`` and ``underconfidence`` are upper bounds of how much of either the candidate has more than
    the base: the smaller one of the bound of the change and that of the candidate's own gap, because nothing can have
    risen by more than there is of it. As either may do, each is at level alpha / 2 (Bonferroni).
    """

    n: int
    base: float
    candidate: float
    plug_in: float
    change: float
    standard_error: float
    low: float
    high: float
    gap: float
    gap_standard_error: float
    overconfidence: float
    underconfidence: float


def expected_calibration_error(
    confidence: ArrayLike, correct: ArrayLike, *, bins: int = 10, scheme: Scheme = "width"
) -> float:
    """Top-label ECE: the mean over items of |mean confidence - accuracy| of their bin (Naeini 2015; Guo 2017, eq. 3).

    ``confidence`` in [0, 1] and ``correct`` in {0, 1} have shape (n,). Departure: bins are closed on the left, and 1.0
    belongs to the last. With scheme ``mass`` the edges are quantiles of the confidence; equal values share a bin.
    Biased upwards: a perfectly calibrated model shows 0.07 at n = 200 with 15 bins. Raises ValueError for values out of
    range, different lengths, or bins < 1.
    """
    conf, right = _checked("confidence", confidence, "correct", correct)
    index = _bin_index(conf, _edges(conf, bins, scheme))
    return float(np.abs(np.bincount(index, weights=conf - right, minlength=bins)).sum() / len(conf))


def ece_over_chance(confidence: ArrayLike, correct: ArrayLike, *, bins: int = 10) -> float:
    """How many times the ECE is what chance alone would make it: about 1 for a calibrated model, at most 3.1.

    If the model were calibrated, the sum S of the residuals confidence - correct in a bin would have mean 0 and about
    the variance Q of the sum of their squares, and |S| the mean sqrt(2 Q / pi). The ratio is that of the sums over bins
    of |S| and of sqrt(2 Q / pi). No bin counts with more than ``FARTHEST_BIN`` sqrt(Q): a model that is far off in a
    few bins and calibrated in most of them is not taken for one that is miscalibrated throughout. Arguments and errors
    as for :func:`expected_calibration_error`; 0 if all residuals are 0.
    """
    conf, right = _checked("confidence", confidence, "correct", correct)
    index = _bin_index(conf, _edges(conf, bins, "width"))
    sums = np.abs(np.bincount(index, weights=conf - right, minlength=bins))
    spread = np.sqrt(np.bincount(index, weights=(conf - right) ** 2, minlength=bins))
    by_chance = math.sqrt(2 / math.pi) * float(spread.sum())
    return float(np.minimum(sums, FARTHEST_BIN * spread).sum()) / by_chance if by_chance > 0 else 0.0


def reliability_bins(
    confidence: ArrayLike, correct: ArrayLike, *, bins: int = 10, scheme: Scheme = "width"
) -> tuple[ReliabilityBin, ...]:
    """The bins behind :func:`expected_calibration_error`, empty ones included. Same arguments and errors."""
    conf, right = _checked("confidence", confidence, "correct", correct)
    edges = _edges(conf, bins, scheme)
    index = _bin_index(conf, edges)
    found = []
    for k in range(bins):
        inside = index == k
        count = int(inside.sum())
        means = (float(conf[inside].mean()), float(right[inside].mean())) if count else (None, None)
        found.append(ReliabilityBin(float(edges[k]), float(edges[k + 1]), count, *means))
    return tuple(found)


def brier_score(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Mean squared difference of top-label confidence and correctness; 0 is best. Errors as for the ECE."""
    conf, right = _checked("confidence", confidence, "correct", correct)
    return float(np.mean((conf - right) ** 2))


def multiclass_brier_score(probabilities: ArrayLike, truth: ArrayLike) -> float:
    """Mean over items of the squared distance to the one-hot truth, summed over classes (Brier 1950). In [0, 2].

    ``probabilities`` has shape (n, classes) and rows that sum to 1, ``truth`` shape (n,) holds class numbers. Raises
    ValueError for any other shape, a row that is no distribution, or a class that does not exist.
    """
    table, classes = np.asarray(probabilities, dtype=np.float64), np.asarray(truth, dtype=np.int64)
    if table.ndim != 2 or classes.shape != (len(table),) or not len(table):
        raise ValueError(f"probabilities {table.shape} and truth {classes.shape} do not describe the same items")
    checks.scores("probabilities (row by row)", table.ravel())
    bad = np.flatnonzero((np.abs(table.sum(axis=1) - 1) > 1e-6) | (classes < 0) | (classes >= table.shape[1]))
    if bad.size:
        raise ValueError(f"row {bad[0]}: probabilities must sum to 1 and the class must be one of {table.shape[1]}")
    return float(np.mean(((table - np.eye(table.shape[1])[classes]) ** 2).sum(axis=1)))


def negative_log_likelihood(true_probability: ArrayLike) -> float:
    """Mean of -ln P(right answer), in nats; probabilities below 1e-12 count as that. Shape (n,), in [0, 1]."""
    values = checks.scores("true_probability", true_probability)
    return float(-np.log(np.maximum(values, _SMALLEST_PROBABILITY)).mean()) + 0.0


def accuracy_at_coverage(confidence: ArrayLike, correct: ArrayLike, coverage: float = 0.8) -> float:
    """Accuracy over the ``coverage`` share of items with the highest confidence (rounded up to whole items).

    Items that tie at the cut count with their mean accuracy, so the order of the items does not matter. Raises
    ValueError unless 0 < coverage <= 1, and as the ECE does.
    """
    conf, right = _checked("confidence", confidence, "correct", correct)
    if not 0.0 < coverage <= 1.0:
        raise ValueError(f"coverage = {coverage}: a share above 0 and at most 1 was expected")
    kept = math.ceil(coverage * len(conf) - 1e-9)
    cut = np.sort(conf)[len(conf) - kept]
    above, tied = conf > cut, conf == cut
    return float((right[above].sum() + (kept - above.sum()) * right[tied].mean()) / kept)


def ece_difference(
    confidence_base: ArrayLike,
    correct_base: ArrayLike,
    confidence_candidate: ArrayLike,
    correct_candidate: ArrayLike,
    rng: np.random.Generator,
    *,
    draws: int = 1000,
    bins: int = 10,
    alpha: float = 0.05,
    pass_z: float | None = None,
) -> EceDifference:
    """Bias-corrected rise of the ECE (equal-width bins), by a paired bootstrap: the same items for both models.

    change = 2 plug_in - mean(resampled differences): the resamples are biased towards a rise by as much again as the
    plug-in difference, so their percentile interval would pass or block on the bias. low = change - z(1 - alpha) SE;
    high = change + ``pass_z`` SE, by default z(1 - alpha / 2) (1.645 and 1.96 at alpha = 0.05). The bounds of the gaps
    are z(1 - alpha / 2) standard errors of a mean away. The order of the items does not matter. Swapping the models
    turns the signs of plug_in, change and gap exactly and keeps their errors: of the data and its mirror image the one
    that comes first is resampled.

    Known limit: beside a calibrated base 1.1 to 1.7 SE of bias remain, at any n (the more, the more bins are in use). A
    true rise at the limit is below ``high`` 20 to 40 % of the time with 1.96, and 8 to 20 % with 2.8. Where the
    candidate errs in one direction, the bounds of the gaps bring this to 5 %; where it errs both ways, they do not.
    Beside a base that is miscalibrated throughout (:func:`ece_over_chance` above 2.2), 1.96 err in 2 to 4 %.

    Raises ValueError for fewer than 2 items, values out of range, different lengths, or ``pass_z`` below the z of
    alpha.
    """
    z_block, z_pass = _factors(alpha, pass_z)
    table, sign, even = _canonical(confidence_base, correct_base, confidence_candidate, correct_candidate)
    n = checks.at_least("the number of items", table.shape[1], 2)
    columns = np.hstack([_by_bin(conf, conf - y, bins) for conf, y in np.vsplit(table, 2)])
    first, second = (half.sum(axis=1) for half in np.hsplit(columns, 2))
    errors = [float(e[0]) for e in _errors(columns.sum(axis=0, keepdims=True), n)]
    star_first, star_second = _errors(resampled_sums(columns, rng, checks.at_least("draws", draws, 100)), n)
    stars, gaps = star_second - star_first, second - first
    error, gap_error = float(stars.std(ddof=1)), float(gaps.std(ddof=1)) / math.sqrt(n)
    own, reach = second if sign > 0 else first, normal.critical(alpha / 2)
    if even:  # nothing rose or fell, whatever the draws say
        errors[1], stars, gaps = errors[0], np.zeros(1), np.zeros(1)
    plug_in, gap = sign * (errors[1] - errors[0]) + 0.0, sign * float(gaps.mean()) + 0.0
    change = 2 * plug_in - sign * float(stars.mean()) + 0.0
    return EceDifference(
        n,
        errors[0 if sign > 0 else 1],
        errors[1 if sign > 0 else 0],
        plug_in,
        change,
        standard_error=error,
        low=change - z_block * error,
        high=change + z_pass * error,
        gap=gap,
        gap_standard_error=gap_error,
        overconfidence=min(gap + reach * gap_error, _upper_bound(own, reach)),
        underconfidence=min(-gap + reach * gap_error, _upper_bound(-own, reach)),
    )


def _upper_bound(values: FloatArray, z: float) -> float:
    return float(values.mean()) + z * float(values.std(ddof=1)) / math.sqrt(len(values))


def _factors(alpha: float, pass_z: float | None) -> tuple[float, float]:
    """How many standard errors the bounds take on the side of a block and on that of a pass."""
    z_block = normal.critical(checks.level(alpha))
    z_pass = normal.critical(alpha / 2) if pass_z is None else checks.finite("pass_z", pass_z)
    if z_pass < z_block:
        raise ValueError(
            f"pass_z = {pass_z}: at least {z_block:.3f} was expected, what alpha = {alpha} takes by itself"
        )
    return z_block, z_pass


def _ordered(*rows: FloatArray) -> FloatArray:
    """The rows, stacked, in the order of the first one, then the second, and so on."""
    table = np.vstack(rows)
    ordered: FloatArray = table[:, np.lexsort(table[::-1])]
    return ordered


def _canonical(
    confidence_base: ArrayLike, correct_base: ArrayLike, confidence_candidate: ArrayLike, correct_candidate: ArrayLike
) -> tuple[FloatArray, float, bool]:
    """Both models' items in an order that does not depend on which one is the base.

    Of the data, shape (4, n), and their mirror image the one that comes first; -1 if that is the mirror image and else
    1; and whether they are the same.
    """
    conf_b, y_b = _checked("confidence_base", confidence_base, "correct_base", correct_base)
    conf_c, y_c = _checked("confidence_candidate", confidence_candidate, "correct_candidate", correct_candidate)
    checks.aligned("base", conf_b, "candidate", conf_c)
    straight, mirror = _ordered(conf_b, y_b, conf_c, y_c), _ordered(conf_c, y_c, conf_b, y_b)
    if mirror.tolist() < straight.tolist():
        return mirror, -1.0, False
    return straight, 1.0, bool(np.array_equal(straight, mirror))


def _checked(first: str, confidence: ArrayLike, second: str, correct: ArrayLike) -> tuple[FloatArray, FloatArray]:
    conf, right = checks.scores(first, confidence), checks.outcomes(second, correct)
    checks.aligned(first, conf, second, right)
    return conf, right


def _edges(conf: FloatArray, bins: int, scheme: Scheme) -> FloatArray:
    checks.at_least("bins", bins, 1)
    if scheme not in ("width", "mass"):
        raise ValueError(f"scheme = {scheme!r}: 'width' or 'mass' was expected")
    # k / bins, not k * (1 / bins): 0.3 must equal the edge 3 / 10.
    edges: FloatArray = np.arange(bins + 1, dtype=np.float64) / bins
    return edges if scheme == "width" else np.quantile(conf, edges).astype(np.float64)


def _bin_index(conf: FloatArray, edges: FloatArray) -> NDArray[np.int64]:
    return np.searchsorted(edges[1:-1], conf, side="right").astype(np.int64)


def _by_bin(conf: FloatArray, residual: FloatArray, bins: int) -> FloatArray:
    """Each item's confidence minus correctness in the column of its bin: shape (n, bins)."""
    table = np.zeros((len(conf), bins))
    table[np.arange(len(conf)), _bin_index(conf, _edges(conf, bins, "width"))] = residual
    return table


def _errors(sums: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """ECE of base and candidate from per-bin sums, shape (draws, 2 bins) -> twice (draws,)."""
    half = sums.shape[1] // 2
    return np.abs(sums[:, :half]).sum(axis=1) / n, np.abs(sums[:, half:]).sum(axis=1) / n
