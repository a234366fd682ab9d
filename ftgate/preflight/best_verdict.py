"""The best verdict that a run can reach, from what is known before anything is asked."""

from __future__ import annotations

from collections.abc import Collection

from ftgate.domain import Verdict
from ftgate.jobs.prepare import JobDraft
from ftgate.measurements.registry import MEASUREMENTS
from ftgate.preflight.findings import BestVerdict


def best_verdict_of(draft: JobDraft, never: Collection[str]) -> BestVerdict:
    """The best verdict of the run that ``draft`` describes, if the measurements in ``never`` cannot pass.

    As :func:`ftgate.verdict.decide` and :func:`ftgate.verdict.capped` decide in the end.
    """
    evidence = draft.policy.evidence
    if evidence.smoke_test is not None:
        return BestVerdict(Verdict.HOLD, (f"a smoke test, with at most {evidence.smoke_test} items of each suite",))
    undecided = [m for m in draft.measurements if m.name in never and m.tier != "advisory"]
    reasons = [f"{', '.join(m.name for m in undecided)} can never pass"] if undecided else []
    models = (draft.base, draft.candidate, draft.deployed.compared)
    remote = any(model is not None and model.kind == "endpoint" for model in models)
    if remote and not evidence.allow_unproven_weights:
        reasons.append("nothing proves which weights answer at an endpoint (evidence.allow_unproven_weights)")
    if not reasons:
        return BestVerdict(Verdict.ALLOW)
    blocks = evidence.on_inconclusive == "block" and any(m.tier == "blocking" for m in undecided)
    return BestVerdict(Verdict.BLOCK if blocks else Verdict.HOLD, tuple(reasons))


def not_measured(draft: JobDraft) -> dict[str, str]:
    """The kinds of measurements that this run lacks, each with the reason; empty where the policy has no section."""
    kinds = {m.kind for m in draft.measurements}
    return {kind.kind: draft.not_measured.get(kind.kind, "") for kind in MEASUREMENTS if kind.kind not in kinds}
