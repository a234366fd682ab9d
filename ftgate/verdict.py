"""From estimates to decisions: pass, block or inconclusive for each measurement, one verdict for the run. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Estimate, Finding, Leaning, Slice, Status, Verdict
from ftgate.scoring import amounts
from ftgate.stats.bootstrap import ONE_CLUSTER, TOO_FEW_CLUSTERS
from ftgate.stats.power import needed_n

MOST_TIMES = 10
"""If settling a measurement takes more than this many times its items, it is too close to the limit."""
SMOKE_TEST = (
    "a smoke test, with at most {} items of each suite (`evidence.smoke_test`): it shows that everything works, and "
    "allows nothing"
)
CONTAINS_LIMIT = "the interval contains the limit"
TOO_CLOSE = f"too close to the limit to settle (not with {MOST_TIMES} times as many items)"


def assess(estimate: Estimate, evidence: EvidenceSettings) -> Finding:
    """Decide one measurement.

    With ``rule: interval``: block when the whole interval lies beyond the limit; pass when all of it lies within and
    ``cannot_pass`` is empty; otherwise inconclusive. A pass whose interval reaches the warn limit is a warning. With
    ``rule: point`` the estimate alone is compared with both limits. An invalid estimate is inconclusive under both, and
    neither passes what ``cannot_pass``. What is not applicable may block, and is neither passed nor held. Slices that
    gate block beyond limits of their own, and forbid no pass.
    """
    if estimate.invalid_reason is not None:
        return Finding(estimate, Status.INCONCLUSIVE, estimate.invalid_reason)
    if not math.isfinite(estimate.change):
        if estimate.not_applicable is not None:
            return Finding(estimate, Status.NOT_APPLICABLE, estimate.not_applicable)
        return Finding(estimate, Status.INCONCLUSIVE, "there is no estimate")
    sign = 1.0 if estimate.worse == "up" else -1.0
    low, high = sorted(sign * bound for bound in estimate.interval)
    change, limit = sign * estimate.change, sign * estimate.limit
    if evidence.rule == "point":
        # A drop equal to the limit is still allowed; a gain must exceed the least gain asked for.
        beyond, within = change > limit or (estimate.worse == "down" and change == limit), True
    else:
        beyond, within = low > limit, high < limit
    lost = [part for part in estimate.gates if _is_lost(part, evidence)]
    if beyond or lost:
        whole = [_sentence(estimate, evidence)] if beyond else []
        return Finding(estimate, Status.BLOCK, "; ".join([*whole, *map(_slice_sentence, lost)]))
    if estimate.not_applicable is not None:
        return Finding(estimate, Status.NOT_APPLICABLE, estimate.not_applicable)
    if not within:
        return _straddling(estimate, _leaning(change, low, limit))
    if estimate.cannot_pass:
        estimate = _with_needed(estimate)
        return Finding(estimate, Status.INCONCLUSIVE, "; ".join(estimate.cannot_pass), _leaning(change, low, limit))
    reached, what = (change, "estimate") if evidence.rule == "point" else (high, "interval")
    if estimate.warn_limit is not None and reached >= sign * estimate.warn_limit:
        reason = f"{_sentence(estimate, evidence)}, but the {what} reaches the warning limit of {_warning(estimate)}"
        return Finding(estimate, Status.WARN, reason)
    return Finding(estimate, Status.PASS, _sentence(estimate, evidence))


def decide(
    findings: Sequence[Finding], evidence: EvidenceSettings, derived: Collection[str] = ()
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict of the run and the reasons for it, most serious first.

    Block if any blocking measurement blocks. Allow only if every applicable one passes or warns: this is an
    intersection-union test, which needs no correction for multiple measurements (Berger 1982). Otherwise hold, or block
    if the policy says so. A supporting measurement holds where a blocking one would block, and an advisory one counts
    for nothing. Measurements in ``derived`` ask nothing of their own and carry no allow alone: where none of the others
    is applicable, nothing was measured, which is a hold. The reasons name what was not applicable.
    """
    gating = [f for f in findings if f.tier != "advisory"]
    blocked = [f for f in gating if f.blocks]
    holding = [f for f in gating if f.status is Status.BLOCK and not f.blocks]
    undecided = [f for f in gating if f.status in (Status.INCONCLUSIVE, Status.ERROR)]
    warned = [f for f in gating if f.status is Status.WARN]
    if blocked:
        return Verdict.BLOCK, tuple(_reason(f) for f in [*blocked, *holding, *undecided])
    if holding or undecided:
        blocking = evidence.on_inconclusive == "block" and any(f.tier == "blocking" for f in undecided)
        return Verdict.BLOCK if blocking else Verdict.HOLD, tuple(_reason(f) for f in [*holding, *undecided])
    open_ = [f for f in gating if f.status is Status.NOT_APPLICABLE]
    measured = [f.estimate.measurement for f in gating if f.status is not Status.NOT_APPLICABLE]
    unmeasured = tuple(f"not measured: {_named(f)}: {f.reason}" for f in open_)
    if all(name in derived for name in measured):
        own = " and ".join(_named(f) for f in gating if f.estimate.measurement in measured)
        but = f" but {own}, which asks no questions of its own" if measured else ""
        return Verdict.HOLD, (f"nothing was measured{but}", *unmeasured)
    gated = "" if len(gating) == len(findings) else " that gates"
    within = f"every {'other ' if open_ else ''}measurement{gated} stayed within its limit"
    return Verdict.ALLOW, (*(tuple(_reason(f) for f in warned) or (within,)), *unmeasured)


def capped(
    verdict: Verdict, reasons: tuple[str, ...], unproven: str, evidence: EvidenceSettings
) -> tuple[Verdict, tuple[str, ...]]:
    """``verdict`` where ``unproven`` says why the weights are not proven ("": they are): an allow becomes a hold.

    The policy may accept it (``evidence.allow_unproven_weights``); the reasons name it all the same. A smoke test is
    never an allow either, and that no policy accepts.
    """
    if evidence.smoke_test is not None and verdict is Verdict.ALLOW:
        verdict, reasons = Verdict.HOLD, (SMOKE_TEST.format(evidence.smoke_test),)
    if not unproven:
        return verdict, reasons
    if verdict is Verdict.ALLOW and not evidence.allow_unproven_weights:
        return Verdict.HOLD, (unproven, *reasons)
    return verdict, (*reasons, unproven)


_LEANINGS = {
    Leaning.LIKELY_TO_FAIL: "likely to fail: the estimate is not within the limit",
    Leaning.SUSPECT: "suspect: there is a loss, though perhaps within the limit",
    Leaning.UNDERPOWERED: "underpowered: no loss is shown, but there are too few items to rule one out",
}


def _leaning(change: float, low: float, limit: float) -> Leaning:
    """Which way an undecided estimate points. In all three arguments harm is positive and 0 is no change."""
    if change >= limit:
        return Leaning.LIKELY_TO_FAIL
    return Leaning.SUSPECT if low > 0 else Leaning.UNDERPOWERED


def _straddling(estimate: Estimate, leaning: Leaning) -> Finding:
    """The finding on an interval that contains the limit: how many items would settle it, if ten times as many do."""
    few_clusters, too_close = _says(estimate, TOO_FEW_CLUSTERS), False
    estimate = _with_needed(estimate)
    if not few_clusters and estimate.n >= estimate.least_n and all(math.isfinite(bound) for bound in estimate.interval):
        too_close = estimate.needed_n is None or estimate.needed_n > MOST_TIMES * (estimate.rows or estimate.n)
    if too_close:
        estimate = replace(estimate, needed_n=None)
    lean = _LEANINGS[leaning].replace("items", "clusters") if few_clusters else _LEANINGS[leaning]
    reason = f"{_undecided(estimate, too_close=too_close)} ({lean})"
    return Finding(estimate, Status.INCONCLUSIVE, "; ".join([reason, *estimate.cannot_pass]), leaning)


def _with_needed(estimate: Estimate) -> Estimate:
    """``estimate`` with the number of items that would settle it, if its change stayed the same.

    From a single cluster no number is known: how much clusters differ does not show.
    """
    if estimate.n < 1 or estimate.needed_n is not None or _says(estimate, ONE_CLUSTER):
        return estimate
    low, high = estimate.interval
    guess = needed_n(estimate.n, estimate.change, low, high, estimate.limit, least=estimate.least_n)
    if not guess or guess <= estimate.n:
        return estimate
    return replace(estimate, needed_n=guess if estimate.rows is None else math.ceil(guess * estimate.rows / estimate.n))


def _says(estimate: Estimate, doubt: str) -> bool:
    """Whether ``doubt`` is among what forbids a pass."""
    return any(doubt in reason for reason in estimate.cannot_pass)


def _reason(finding: Finding) -> str:
    tier = "" if finding.tier == "blocking" else f" ({finding.tier})"
    return f"{finding.title or finding.estimate.measurement}{tier}: {finding.reason}"


def _named(finding: Finding) -> str:
    return finding.title or f"`{finding.estimate.measurement}`"


def _limits(estimate: Estimate) -> dict[str, float]:
    return {"min_gain" if estimate.worse == "down" else "block": estimate.limit}


def _warning(estimate: Estimate) -> str:
    return amounts.size(estimate.warn_limit, estimate.unit).replace(".0 ", " ")


def _measured(estimate: Estimate, *, with_interval: bool = True) -> str:
    """The change with its interval: ``lost 12.0 % of what the base had (10.5 to 13.4)``."""
    unit = estimate.unit
    text = amounts.change(estimate.change, unit)
    if text != amounts.NO_CHANGE:
        text += {"drop": f" {amounts.OF_BASE}", "rise": f" {amounts.risen(unit)}"}.get(amounts.kind(unit), "")
    possible = amounts.within_reach(estimate.interval, estimate.base, unit)
    spread = amounts.beside(estimate.change, possible, unit).replace(amounts.NONE, "unbounded")
    return f"{text} ({spread})" if with_interval else text


def _sentence(estimate: Estimate, evidence: EvidenceSettings) -> str:
    """What was measured, and the limit: ``lost 12.0 % …; a loss under 10 % is allowed``."""
    measured = _measured(estimate, with_interval=evidence.rule == "interval")
    return f"{measured}; {amounts.allowed(_limits(estimate), estimate.unit)}"


def _is_lost(part: Slice, evidence: EvidenceSettings) -> bool:
    """Whether a slice that gates blocks: beyond its own limit, by the rule that decides measurements."""
    if part.limit is None or part.interval is None:
        return False
    return (part.change if evidence.rule == "point" else part.interval[0]) > part.limit


def _slice_sentence(part: Slice) -> str:
    """Why a slice blocks; all of its numbers are relative drops."""
    unit = "relative drop"
    low = part.interval[0] if part.interval is not None else math.nan
    drop = f"{amounts.change(part.change, unit)} {amounts.OF_BASE} (at least {amounts.size(low, unit)})"
    allowed = amounts.allowed({"block": part.limit or 0.0}, unit)
    return f"slice {part.name}: {drop} on {part.n} items; {allowed} there"


def _undecided(estimate: Estimate, *, too_close: bool) -> str:
    allowed = amounts.allowed(_limits(estimate), estimate.unit)
    text = f"{_measured(estimate)}: {CONTAINS_LIMIT}, as {allowed}"
    if estimate.warn_limit is not None and estimate.warn_limit != estimate.limit:
        text += f" (a warning starts at {_warning(estimate)})"
    if too_close:
        text += f"; {TOO_CLOSE}"
    elif estimate.needed_n:
        text += f"; about {estimate.needed_n} "
        if estimate.rows is None:
            text += f"items would settle it (this run had {estimate.n})"
        else:
            text += f"rows would settle it (this run had {estimate.rows}, and {estimate.n} of them count)"
    return text
