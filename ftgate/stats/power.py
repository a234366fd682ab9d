"""How many items it takes (methods, section 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ftgate.stats import checks, normal
from ftgate.stats.checks import FloatArray
from ftgate.stats.ratio import score_statistics
from ftgate.stats.sequential import look_size


@dataclass(frozen=True, slots=True)
class PairedAccuracy:
    """Two models' chances on one item: shares right, and P(both right). Built by :func:`paired_accuracy`."""

    base: float
    candidate: float
    both: float

    def cells(self) -> tuple[float, float, float, float]:
        """P(both), P(only the candidate), P(only the base), P(neither)."""
        gained, lost = max(self.candidate - self.both, 0.0), max(self.base - self.both, 0.0)
        return self.both, gained, lost, max(1 - self.both - gained - lost, 0.0)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a plan of n items leads to: shares of the simulated runs, and the mean number of items a run used."""

    n: int
    passed: float
    blocked: float
    inconclusive: float
    mean_items: float


def evidence_floor(limit: float, alpha: float = 0.05) -> int:
    """The least number of items for a pass: ceil(ln alpha / ln(1 - t)), the "rule of three" taken exactly.

    With fewer, a collapse on a share t of all prompts stays unseen with probability above ``alpha``. 59, 36, 29 and 19
    for t = 5, 8, 10 and 15 %. Raises ValueError unless 0 < limit < 1 and 0 < alpha < 0.5.
    """
    exact = math.log(checks.level(alpha)) / math.log1p(-checks.share("limit", limit))
    return math.ceil(exact - 1e-9)


def paired_accuracy(base_accuracy: float, phi: float, true_drop: float) -> PairedAccuracy:
    """The joint chances from base accuracy, the phi correlation of the two outcomes, and the true relative drop.

    Raises ValueError when no such pair exists: an accuracy outside (0, 1), or a phi that two such accuracies cannot
    have (the further apart they are, the smaller it must be).
    """
    checks.share("base_accuracy", base_accuracy)
    candidate = base_accuracy * (1 - checks.finite("true_drop", true_drop))
    if not 0.0 <= candidate <= 1.0:
        raise ValueError(f"true_drop = {true_drop}: a candidate accuracy of {candidate:.3f} is no share")
    spread = base_accuracy * (1 - base_accuracy) * candidate * (1 - candidate)
    both = base_accuracy * candidate + checks.finite("phi", phi) * math.sqrt(spread)
    least, most = max(0.0, base_accuracy + candidate - 1), min(base_accuracy, candidate)
    if not least - 1e-12 <= both <= most + 1e-12:
        raise ValueError(f"phi = {phi} is impossible for accuracies {base_accuracy:.3f} and {candidate:.3f}")
    return PairedAccuracy(base_accuracy, candidate, min(max(both, least), most))


def items_needed(
    base_accuracy: float,
    phi: float,
    limit: float,
    *,
    true_drop: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """Items for a pass with probability ``power`` when the true relative drop is ``true_drop``, for 0/1 scores.

    The normal approximation (z_alpha + z_power)^2 Var(w) / ((t - drop) p_base)^2 with w = (1 - t) b - c, at least the
    evidence floor. For a true drop above the limit it is the number for a block. Optimistic near the ceiling: check
    with :func:`power_by_simulation`. Raises ValueError as :func:`paired_accuracy` does, and for a true drop on the
    limit.
    """
    chances, theta = paired_accuracy(base_accuracy, phi, true_drop), 1 - checks.share("limit", limit)
    mean = theta * chances.base - chances.candidate
    variance = chances.candidate + theta**2 * chances.base - 2 * theta * chances.both - mean**2
    return items_for_contrast(variance, base_accuracy, limit, true_drop=true_drop, power=power, alpha=alpha)


def items_for_contrast(
    variance: float,
    base_mean: float,
    limit: float,
    *,
    true_drop: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """:func:`items_needed` for scores of any kind: ``variance`` is that of w = (1 - t) b - c over items."""
    checks.finite("variance", variance)
    if true_drop == limit:
        raise ValueError(f"true_drop = {true_drop} lies on the limit: no number of items settles that")
    z = normal.critical(checks.level(alpha)) + normal.quantile(checks.share("power", power))
    exact = z**2 * max(variance, 0.0) / ((limit - true_drop) * checks.share("base_mean", base_mean)) ** 2
    return max(math.ceil(exact - 1e-9), evidence_floor(limit, alpha), 2)


def power_by_simulation(
    base_accuracy: float,
    phi: float,
    limit: float,
    n: int,
    rng: np.random.Generator,
    *,
    true_drop: float = 0.0,
    alpha: float = 0.05,
    repetitions: int = 4000,
    fractions: Sequence[float] = (1.0,),
    boundaries: Sequence[float] | None = None,
) -> Outlook:
    """Play ``repetitions`` runs of n items through the score test, evidence floor included.

    By default one look at the end. With ``fractions`` (rising shares of n, up to 1) and one-sided z ``boundaries`` for
    them, a run stops at the first look that settles it. Memory is repetitions x looks. Raises ValueError as
    :func:`paired_accuracy` does, and for n < 2 or boundaries that do not match the looks.
    """
    bounds = [normal.critical(checks.level(alpha))] * len(fractions) if boundaries is None else list(boundaries)
    if len(bounds) != len(fractions) or not fractions or sorted(fractions) != list(fractions):
        raise ValueError(f"looks {tuple(fractions)} and boundaries {tuple(bounds)} do not match")
    checks.at_least("n", n, 2)
    cells = np.array(paired_accuracy(base_accuracy, phi, true_drop).cells())
    sizes = [look_size(fraction, n) for fraction in fractions]
    tables: FloatArray = np.zeros((checks.at_least("repetitions", repetitions, 1), 4))
    outcome, items, seen = np.zeros(repetitions), np.full(repetitions, float(sizes[-1])), 0
    for size, bound in zip(sizes, bounds, strict=True):
        tables = tables + rng.multinomial(size - seen, cells / cells.sum(), size=repetitions)
        z, still = score_statistics(tables, 1 - limit), outcome == 0
        passes = still & (z > bound) & (size >= evidence_floor(limit, alpha))
        blocks = still & (z < -bound)
        outcome = outcome + passes - blocks
        items[passes | blocks] = size
        seen = size
    passed, blocked = float(np.mean(outcome > 0)), float(np.mean(outcome < 0))
    return Outlook(n, passed, blocked, float(np.mean(outcome == 0)), float(items.mean()))


def needed_n(n: int, estimate: float, low: float, high: float, limit: float, *, least: int = 1) -> int | None:
    """About how many items would settle an interval of the present shape that straddles ``limit``.

    The bound on the limit's side comes closer to the estimate as 1 / sqrt(n): n (half-width / distance)^2, rounded up,
    at least ``least`` (the evidence floor). A guess, for it takes the estimate to stay. n itself when the bound is
    already clear of the limit and n is enough. None when the estimate sits on the limit or nothing finite is known.
    """
    checks.at_least("n", n, 1)
    half, distance = (high - estimate, limit - estimate) if estimate < limit else (estimate - low, estimate - limit)
    if not (math.isfinite(half) and math.isfinite(distance)) or distance <= 0:
        return None
    ratio = half / distance
    if ratio < 1:
        return max(n, least)
    # Past 1e9 items the answer is "never"; a limit exactly on the bound still needs one more item.
    needed = n * (ratio * ratio)  # a power of floats would raise where this is infinite
    return max(math.floor(needed) + 1, least) if needed < 1e9 else None
