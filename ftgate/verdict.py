"""From estimates to decisions: pass, block or inconclusive for each measurement, one verdict for the run. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Estimate, Finding, Leaning, Status, Verdict
from ftgate.stats.power import needed_n

MOST_TIMES = 10
"""If settling a measurement takes more than this many times its items, it is too close to the limit."""
TOO_CLOSE = f"too close to the limit to settle (not with {MOST_TIMES} times as many items)"


def assess(estimate: Estimate, evidence: EvidenceSettings) -> Finding:
    """Decide one measurement.

    With ``rule: interval``: block when the whole interval lies beyond the limit; pass when all of it lies within and
    ``cannot_pass`` is empty; otherwise inconclusive. A pass whose interval reaches the warn limit is a warning. With
    ``rule: point`` the estimate alone is compared with both limits. An invalid estimate is inconclusive under both, and
    neither passes what ``cannot_pass``. What is not applicable may block, and is neither passed nor held.
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
    if beyond:
        return Finding(estimate, Status.BLOCK, _sentence(estimate, "is beyond", evidence))
    if estimate.not_applicable is not None:
        return Finding(estimate, Status.NOT_APPLICABLE, estimate.not_applicable)
    if not within:
        return _straddling(estimate, _leaning(change, low, limit))
    if estimate.cannot_pass:
        estimate = _with_needed(estimate)
        return Finding(estimate, Status.INCONCLUSIVE, "; ".join(estimate.cannot_pass), _leaning(change, low, limit))
    reached, what = (change, "estimate") if evidence.rule == "point" else (high, "interval")
    if estimate.warn_limit is not None and reached >= sign * estimate.warn_limit:
        reason = _sentence(estimate, "is within", evidence)
        reason += f", but the {what} reaches the warning limit {_amount(estimate, estimate.warn_limit)}"
        return Finding(estimate, Status.WARN, reason)
    return Finding(estimate, Status.PASS, _sentence(estimate, "is within", evidence))


def decide(findings: Sequence[Finding], evidence: EvidenceSettings) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict of the run and the reasons for it, most serious first.

    Block if any measurement blocks. Allow only if every applicable one passes or warns: this is an intersection-union
    test, which needs no correction for multiple measurements (Berger 1982). Otherwise hold, or block if the policy says
    so. Where none is applicable, nothing was measured, which is a hold.
    """
    blocked = [f for f in findings if f.status is Status.BLOCK]
    undecided = [f for f in findings if f.status in (Status.INCONCLUSIVE, Status.ERROR)]
    warned = [f for f in findings if f.status is Status.WARN]
    if blocked:
        return Verdict.BLOCK, tuple(_reason(f) for f in [*blocked, *undecided])
    if undecided:
        verdict = Verdict.HOLD if evidence.on_inconclusive == "hold" else Verdict.BLOCK
        return verdict, tuple(_reason(f) for f in undecided)
    if all(f.status is Status.NOT_APPLICABLE for f in findings):
        return Verdict.HOLD, ("nothing was measured",)
    return Verdict.ALLOW, tuple(_reason(f) for f in warned) or ("every measurement stayed within its limit",)


_LEANINGS = {
    Leaning.LIKELY_TO_FAIL: "likely to fail: the estimate is beyond the limit",
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
    estimate, too_close = _with_needed(estimate), False
    if estimate.n >= estimate.least_n and all(math.isfinite(bound) for bound in estimate.interval):
        too_close = estimate.needed_n is None or estimate.needed_n > MOST_TIMES * (estimate.rows or estimate.n)
    if too_close:
        estimate = replace(estimate, needed_n=None)
    reason = f"{_undecided(estimate, too_close=too_close)} ({_LEANINGS[leaning]})"
    return Finding(estimate, Status.INCONCLUSIVE, "; ".join([reason, *estimate.cannot_pass]), leaning)


def _with_needed(estimate: Estimate) -> Estimate:
    """``estimate`` with the number of items that would settle it, if its change stayed the same."""
    if estimate.n < 1 or estimate.needed_n is not None:
        return estimate
    low, high = estimate.interval
    guess = needed_n(estimate.n, estimate.change, low, high, estimate.limit, least=estimate.least_n)
    if not guess or guess <= estimate.n:
        return estimate
    return replace(estimate, needed_n=guess if estimate.rows is None else math.ceil(guess * estimate.rows / estimate.n))


def _reason(finding: Finding) -> str:
    return f"{finding.estimate.measurement}: {finding.reason}"


def _amount(estimate: Estimate, value: float) -> str:
    """``value`` in the estimate's unit: ECE as a plain number, gains and rises in points, drops in percent."""
    if not math.isfinite(value):
        return "unbounded"
    if estimate.unit.startswith("ECE"):
        return f"{value:+.3f}"
    in_points = estimate.worse == "down" or estimate.unit.startswith("rise")
    return f"{100 * value:+.1f} p.p." if in_points else f"{100 * value:.1f} %"


def _sentence(estimate: Estimate, relation: str, evidence: EvidenceSettings) -> str:
    low, high = estimate.interval
    text = f"{estimate.unit} {_amount(estimate, estimate.change)}"
    if evidence.rule == "interval":
        text += f" [{_amount(estimate, low)}, {_amount(estimate, high)}]"
    limit = f"the limit {_amount(estimate, estimate.limit)}"
    if estimate.worse == "down":
        relation = {"is beyond": "stays below", "is within": "is above"}[relation]
    return f"{text} {relation} {limit}"


def _undecided(estimate: Estimate, *, too_close: bool) -> str:
    low, high = estimate.interval
    text = f"{estimate.unit} {_amount(estimate, estimate.change)} [{_amount(estimate, low)}, {_amount(estimate, high)}]"
    text += f" straddles the limit {_amount(estimate, estimate.limit)}"
    if estimate.warn_limit is not None and estimate.warn_limit != estimate.limit:
        text += f" (a warning starts at {_amount(estimate, estimate.warn_limit)})"
    if too_close:
        text += f": {TOO_CLOSE}"
    elif estimate.needed_n:
        text += f"; about {estimate.needed_n} "
        if estimate.rows is None:
            text += f"items would settle it (this run had {estimate.n})"
        else:
            text += f"rows would settle it (this run had {estimate.rows}, and {estimate.n} of them count)"
    return text
