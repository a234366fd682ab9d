"""What rules say where a judge graded: a second opinion on the same answers, which decides nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftgate.domain import Slice
from ftgate.measurements.base import Evidence
from ftgate.scoring.rules import score_pairs
from ftgate.stats.auroc import auroc_interval
from ftgate.stats.ratio import PairedCounts, drop_interval

NAME = "graded rows with a check, by rule"


def rule_agreement(evidence: Evidence) -> tuple[tuple[Slice, ...], dict[str, Any]]:
    """The drop by rule over the rows that a judge graded and that carry a check, and how far the two agree.

    The agreement is the probability that the judge gives more to an answer that is right by rule than to one that is
    wrong (AUROC over the answers of both models, with its one-sided lower bound). Nothing where there are no such rows.
    """
    graded = [i for i, pair in enumerate(evidence.pairs) if evidence.scored.graded[i] and pair.item.check is not None]
    ruled = score_pairs(lambda _: "check", [evidence.pairs[i] for i in graded])
    known = np.flatnonzero(ruled.is_exact)
    if len(known) < 2:
        return (), {}
    right, grades = ruled.subset(known), evidence.scored.subset(graded).subset(known)
    found = drop_interval(PairedCounts.from_scores(right.base, right.candidate), evidence.alpha)
    part = Slice(
        NAME,
        len(known),
        float(right.base.mean()),
        float(right.candidate.mean()),
        found.estimate,
        (found.low, found.high),
    )
    outcomes = np.concatenate([right.base, right.candidate])
    details: dict[str, Any] = {"rows": len(known), "auroc": None, "auroc_low": None}
    if 0 < outcomes.sum() < len(outcomes):
        area = auroc_interval(np.concatenate([grades.base, grades.candidate]), outcomes)
        details |= {"auroc": area.value, "auroc_low": area.low}
    return (part,), {"judge_against_rules": details}
