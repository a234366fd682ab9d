"""People's grades of a run's answers: whether they may correct the judge's, and what the report says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ftgate.scoring.scores import PairedScores
from ftgate.stats.agreement import kappa_interval
from ftgate.stats.checks import FloatArray
from ftgate.stats.prediction_powered import Labelled

LEAST_LABELLED = 50
"""Items of which people graded both answers, for a correction: with 25, a judge that misses most collapses passes 15 %
of the candidates that lie on the limit, with 50 it passes 7 % (tests/unit/measurements/test_labelled.py)."""
LEVELS = 5
"""People grade from 1 to 5."""
AGREEMENT_ALPHA = 0.05
"""One-sided level of the lower bound of kappa, which must be above 0 for a correction."""


@dataclass(frozen=True, slots=True)
class LabelledItems:
    """People's grades in [0, 1] of the base's and the candidate's answer, by item id, where both were graded.

    ``places`` is the place of each judged item in the run's random order, where no answer failed. ``questions`` counts
    the items of which people graded any answer, whichever model gave it.
    """

    grades: Mapping[str, tuple[float, float]]
    places: Mapping[str, int]
    questions: int


def labelled_of(scored: PairedScores, people: LabelledItems) -> Labelled | str:
    """The grades that may correct the judge's scores of ``scored``, or why they may not.

    The judge's mean error on the graded answers is that on all of them only if these were drawn at random: people must
    have graded every one of the first items in the run's random order. A gap may say something about the answers: with
    labels of an older candidate, it is the answers that changed which have none. Grades that never vary, or follow the
    judge's no better than chance, are more likely careless than right: they overrule no judge that passed its test.
    """
    judged = [i for i, item in enumerate(scored.items) if item.id in people.places]
    graded = [i for i in judged if scored.items[i].id in people.grades]
    if people.questions < LEAST_LABELLED:  # such as those that the suite shares with the one that was labelled
        return f"people graded answers to {people.questions} of its items, and {LEAST_LABELLED} are needed"
    if not graded:
        return "people graded both answers to none of this run's items"
    if scored.averaged:
        return "several answers to an item are averaged"
    if any(item.cluster for item in scored.items):
        return "the items come in clusters"
    places = {i: people.places[scored.items[i].id] for i in judged}
    last = max(places[i] for i in graded)
    among = sum(place <= last for place in places.values())
    if len(graded) < among:
        first = f"of the first {among} in random order people graded {len(graded)}"
        return f"the graded items are no random sample: {first}"
    if len(graded) < LEAST_LABELLED:
        return f"people graded both answers to {len(graded)} items of this run, and {LEAST_LABELLED} are needed"
    of_base, of_candidate = (np.array([people.grades[scored.items[i].id][side] for i in graded]) for side in (0, 1))
    if careless := _careless(of_base, of_candidate, scored.base[graded], scored.candidate[graded]):
        return careless
    return Labelled(np.array(graded, dtype=np.int64), of_base, of_candidate, len(judged) / len(scored.items))


def _careless(of_base: FloatArray, of_candidate: FloatArray, base: FloatArray, candidate: FloatArray) -> str:
    """Why people's grades of both answers may be careless, beside the judge's; empty if they are not."""
    people, by_judge = np.concatenate([of_base, of_candidate]), np.concatenate([base, candidate])
    if np.ptp(people) == 0:
        return f"people gave all {len(people)} answers the same grade"
    kappa = kappa_interval(people, by_judge, LEVELS, [*range(len(base))] * 2, AGREEMENT_ALPHA)
    if kappa.low > 0:
        return ""
    bound = f"kappa {kappa.estimate:.2f}, at least {kappa.low:.2f}"
    return f"people and judge are not shown to agree better than by chance on the {len(people)} answers ({bound})"
