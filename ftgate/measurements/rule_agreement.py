"""Agreement of judge and rules on the same answers. For information: no decision rests on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftgate.domain import Slice
from ftgate.measurements.base import Evidence
from ftgate.measurements.paired import bootstrap, score_test
from ftgate.scoring.rules import score_pairs
from ftgate.stats.auroc import auroc_interval

NAME = "graded rows with a check, by rule"


def rule_agreement(evidence: Evidence, rng: np.random.Generator) -> tuple[tuple[Slice, ...], dict[str, Any]]:
    """The drop by rule on the judged rows that have a check, and how well judge and rule agree.

    The agreement is the probability that the judge grades an answer that is right by the rule above one that is wrong
    (AUROC over the answers of both models, with its one-sided lower bound). Where several answers to an item are
    averaged, those count that are all right or all wrong. Empty if there are no such rows.
    """
    graded = [i for i, pair in enumerate(evidence.pairs) if evidence.scored.graded[i] and pair.item.check is not None]
    by_rule = score_pairs(lambda _: "check", [evidence.pairs[i] for i in graded])
    decided = np.flatnonzero(by_rule.is_exact)
    if len(decided) < 2:
        return (), {}
    right, grades = by_rule.subset(decided), evidence.scored.subset(graded).subset(decided)
    compare = score_test(absolute=False) if right.binary else bootstrap(rng, evidence.draws, None, None, absolute=False)
    interval = compare(right.base, right.candidate).interval(evidence.alpha)
    part = Slice(
        NAME,
        len(decided),
        float(right.base.mean()),
        float(right.candidate.mean()),
        interval.estimate,
        (interval.low, interval.high),
    )
    shares = np.concatenate([right.base, right.candidate])
    agreed = np.isin(shares, (0.0, 1.0))
    outcomes = shares[agreed]
    details: dict[str, Any] = {"rows": len(decided), "auroc": None, "auroc_low": None}
    if 0 < outcomes.sum() < len(outcomes):
        area = auroc_interval(np.concatenate([grades.base, grades.candidate])[agreed], outcomes)
        details |= {"auroc": area.value, "auroc_low": area.low}
    return (part,), {"judge_against_rules": details}
