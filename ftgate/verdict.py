"""From estimates to decisions: three ways for each measurement, one word for the run. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Estimate, Finding, Leaning, Status, Verdict
from ftgate.stats.power import needed_n


def assess(claim: Estimate, evidence: EvidenceSettings) -> Finding:
    """Decide one measurement.

    With ``rule: interval``: block when the whole interval lies beyond the limit; pass when it lies within, and nothing
    speaks against a pass; otherwise inconclusive. A pass whose estimate is at or beyond the warn limit is a warning.
    With ``rule: point`` the bare estimate is compared with the limit. A void claim is inconclusive under either rule.
    """
    if claim.invalid_reason is not None:
        return Finding(claim, Status.INCONCLUSIVE, claim.invalid_reason)
    if not math.isfinite(claim.change):
        return Finding(claim, Status.INCONCLUSIVE, "there is no estimate to decide on")
    sign = 1.0 if claim.worse == "up" else -1.0
    low, high = sorted(sign * bound for bound in claim.interval)
    change, limit = sign * claim.change, sign * claim.limit
    if evidence.rule == "point":
        # A drop equal to the limit is still allowed; a gain must exceed the least gain asked for.
        beyond, within = change > limit or (claim.worse == "down" and change == limit), True
    else:
        beyond, within = low > limit, high < limit
    if beyond:
        return Finding(claim, Status.BLOCK, _sentence(claim, "is beyond", evidence))
    if not within:
        claim, leaning = _with_needed(claim), _leaning(change, low, limit)
        return Finding(claim, Status.INCONCLUSIVE, f"{_undecided(claim)} ({_LEANINGS[leaning]})", leaning)
    if claim.cannot_pass and evidence.rule == "interval":
        claim = _with_needed(claim)
        return Finding(claim, Status.INCONCLUSIVE, "; ".join(claim.cannot_pass), _leaning(change, low, limit))
    if claim.warn_limit is not None and change >= sign * claim.warn_limit:
        reason = _sentence(claim, "is within", evidence)
        reason += f", but the estimate reaches the warning limit {_amount(claim, claim.warn_limit)}"
        return Finding(claim, Status.WARN, reason)
    return Finding(claim, Status.PASS, _sentence(claim, "is within", evidence))


def decide(findings: Sequence[Finding], evidence: EvidenceSettings) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict of the run and the reasons for it, most serious first.

    Block if any measurement blocks. Allow only if every one passes or warns: an intersection-union test, so no
    correction for several measurements is due (Berger 1982). Otherwise hold, or block where the policy says so.
    """
    blocked = [f for f in findings if f.status is Status.BLOCK]
    open_ = [f for f in findings if f.status in (Status.INCONCLUSIVE, Status.ERROR)]
    warned = [f for f in findings if f.status is Status.WARN]
    if blocked:
        return Verdict.BLOCK, tuple(_reason(f) for f in [*blocked, *open_])
    if open_:
        verdict = Verdict.HOLD if evidence.on_inconclusive == "hold" else Verdict.BLOCK
        return verdict, tuple(_reason(f) for f in open_)
    if not findings:
        return Verdict.HOLD, ("nothing was measured",)
    return Verdict.ALLOW, tuple(_reason(f) for f in warned) or ("every measurement stayed within its limit",)


_LEANINGS = {
    Leaning.LIKELY_TO_FAIL: "likely to fail: the estimate is beyond the limit",
    Leaning.SUSPECT: "suspect: a loss is shown, though perhaps within the limit",
    Leaning.UNDERPOWERED: "underpowered: no loss is shown, but too little was asked to rule one out",
}


def _leaning(change: float, low: float, limit: float) -> Leaning:
    """Where an undecided claim seems to go. All three count harm upwards, from no change at 0."""
    if change >= limit:
        return Leaning.LIKELY_TO_FAIL
    return Leaning.SUSPECT if low > 0 else Leaning.UNDERPOWERED


def _with_needed(claim: Estimate) -> Estimate:
    """The claim with the number of items that would settle it, if its estimate stayed where it is."""
    if claim.n < 1 or claim.needed_n is not None:
        return claim
    low, high = claim.interval
    guess = needed_n(claim.n, claim.change, low, high, claim.limit, least=claim.least_n)
    return replace(claim, needed_n=guess if guess and guess > claim.n else None)


def _reason(finding: Finding) -> str:
    return f"{finding.claim.measurement}: {finding.reason}"


def _amount(claim: Estimate, value: float) -> str:
    """A value in the words of the claim's unit: a calibration error as it is, gains in points, drops in percent."""
    if not math.isfinite(value):
        return "unbounded"
    if claim.unit.startswith("ECE"):
        return f"{value:+.3f}"
    return f"{100 * value:+.1f} p.p." if claim.worse == "down" else f"{100 * value:.1f} %"


def _sentence(claim: Estimate, relation: str, evidence: EvidenceSettings) -> str:
    low, high = claim.interval
    shown = f"{claim.unit} {_amount(claim, claim.change)}"
    if evidence.rule == "interval":
        shown += f" [{_amount(claim, low)}, {_amount(claim, high)}]"
    limit = f"the limit {_amount(claim, claim.limit)}"
    if claim.worse == "down":
        relation = {"is beyond": "stays below", "is within": "is above"}[relation]
    return f"{shown} {relation} {limit}"


def _undecided(claim: Estimate) -> str:
    low, high = claim.interval
    shown = f"{claim.unit} {_amount(claim, claim.change)} [{_amount(claim, low)}, {_amount(claim, high)}]"
    text = f"{shown} straddles the limit {_amount(claim, claim.limit)}"
    if claim.needed_n:
        text += f"; about {claim.needed_n} items would settle it (this run had {claim.n})"
    return text
