"""Scorers without a judge: each takes an item and an answer and gives 0 or 1, or a score in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from types import MappingProxyType

import numpy as np

from ftgate.domain import Answer, FloatArray, Item, Pair
from ftgate.scoring.checks import meets
from ftgate.scoring.mathematics import require_math_verify, same_value
from ftgate.scoring.numbers import number_in, wanted_number
from ftgate.scoring.overlap import rouge_l, token_f1
from ftgate.scoring.plugins import PREFIX, is_graded, load_plugin, plugin_rule, plugin_version
from ftgate.scoring.refusals import label_of, score_of
from ftgate.scoring.scorer_facts import REFUSAL, facts_of
from ftgate.scoring.scores import PairedScores
from ftgate.scoring.task_requests import LIKELIHOOD, likelihood
from ftgate.scoring.text import UnscorableError, contains_words, same_text
from ftgate.scoring.trace import OPEN

Rule = Callable[[Item, Answer], float]
"""From an item and an answer to a score from 0 to 1."""
MAX_MASS = 1.01
"""Option probabilities with a larger sum, rounding aside, are invalid."""


def failure_of(answer: Answer) -> str | None:
    """Why an answer cannot be scored: the engine gave none, or invalid option probabilities. None if it can."""
    if answer.error is not None or not answer.option_logprobs:
        return answer.error
    if answer.continued:
        return "a log-likelihood is not a number" if any(map(math.isnan, answer.option_logprobs)) else None
    try:
        mass = sum(map(math.exp, answer.option_logprobs))
    except OverflowError:
        mass = math.inf
    if math.isnan(mass):
        return "an option's log-probability is not a number"
    return f"the option probabilities sum to {mass:.3g}" if mass > MAX_MASS else None


def exact(item: Item, answer: Answer) -> float:
    """1 if the answer equals the reference after normalisation; texts of punctuation alone are compared as they are."""
    return float(same_text(item.answer or "", answer.text))


def contains(item: Item, answer: Answer) -> float:
    """1 if the normalised reference occurs in the answer as whole words."""
    return float(contains_words(item.answer or "", answer.text))


def numeric(item: Item, answer: Answer) -> float:
    """1 if the last number of the answer equals the last number of the reference; 0 for an answer that was cut.

    The last number of a cut answer is a step on the way, which may equal the result by luck.
    """
    wanted = wanted_number(item.answer or "")
    return float(wanted is not None and not _cut(answer) and wanted.equals(number_in(answer.text)))


def check(item: Item, answer: Answer) -> float:
    """1 if the answer passes the row's own check (:mod:`ftgate.scoring.checks`); a cut one meets no numeric check."""
    rule = item.check or {}
    return float(not ("numeric" in rule and _cut(answer)) and meets(rule, answer.text, answer.tool_calls))


def math_equal(item: Item, answer: Answer) -> float:
    """1 if the answer's mathematical expression equals the reference's; 0 for an answer that was cut."""
    return float(not _cut(answer) and same_value(item.answer or "", answer.text))


def f1(item: Item, answer: Answer) -> float:
    """The token F1 of answer and reference, from 0 to 1."""
    return token_f1(item.answer or "", answer.text)


def rouge(item: Item, answer: Answer) -> float:
    """The F-measure of ROUGE-L of answer and reference, from 0 to 1."""
    return rouge_l(item.answer or "", answer.text)


def _of_finished(rule: Rule) -> Rule:
    """The rule, with 0 for an answer whose reasoning trace never ended: an empty text meets some constraints."""
    return lambda item, answer: 0.0 if answer.trace == OPEN else rule(item, answer)


def choice(item: Item, answer: Answer) -> float:
    """1 if the likeliest option is the right one; a tie counts as wrong."""
    best = max(answer.option_logprobs)
    winners = [i for i, value in enumerate(answer.option_logprobs) if value == best]
    return float(len(winners) == 1 and item.choices[winners[0]] == item.answer)


RULES: Mapping[str, Rule] = {
    "exact": _of_finished(exact),
    "contains": _of_finished(contains),
    "choice": choice,
    "numeric": _of_finished(numeric),
    "check": _of_finished(check),
    "f1": _of_finished(f1),
    "rouge": _of_finished(rouge),
    "math": _of_finished(math_equal),
    LIKELIHOOD: likelihood,
    REFUSAL: lambda item, answer: score_of(item, label_of(item, answer)),
}
"""Every scorer that needs no judge, but for plugins."""


def rule_of(scorer: str) -> Rule:
    """The rule that a policy's ``scorer`` names. Raises ConfigurationError for a plugin that is not there."""
    return _of_finished(plugin_rule(scorer)) if scorer.startswith(PREFIX) else RULES[scorer]


def gives_grades(scorer: str, item: Item) -> bool:
    """Whether the scorer gives ``item`` scores between 0 and 1: a judge, some rules, and some metrics of tasks do."""
    if item.request is not None:
        return item.request.graded
    return is_graded(scorer) if scorer.startswith(PREFIX) else facts_of(scorer).graded


def require_scorer(scorer: str) -> None:
    """Raise ConfigurationError if a scorer needs a package that is not installed."""
    if scorer == "math":
        require_math_verify()
    elif scorer.startswith(PREFIX):
        load_plugin(scorer)


def version_of(scorer: str) -> str:
    """The package that a scorer is from, with its version; empty for one of ftgate's own."""
    if scorer == "math":
        return f"math-verify {version('math-verify')}"
    return plugin_version(scorer) if scorer.startswith(PREFIX) else ""


def score_pairs(
    scorer: Callable[[Item], str], pairs: Sequence[Pair], rules_of_run: Mapping[str, Rule] = MappingProxyType({})
) -> PairedScores:
    """Score the answers of each side by the rule that ``scorer`` names for the item; the mean is the item's score.

    ``rules_of_run`` are those that need more than an answer, by name. Answers that failed or cannot be scored have an
    unknown score, bounded by 0 and 1.
    """
    names = [scorer(pair.item) for pair in pairs]
    by_name = {name: rules_of_run.get(name) or rule_of(name) for name in set(names)}
    rules = [by_name[name] for name in names]
    base, candidate = (
        [
            mean_bounds([_score_bounds(rule, pair.item, answer) for answer in answers])
            for rule, pair, answers in zip(rules, pairs, side, strict=True)
        ]
        for side in ([pair.base for pair in pairs], [pair.candidate for pair in pairs])
    )
    scores = bounded(tuple(pair.item for pair in pairs), base, candidate, binary=True)
    graded = np.array([gives_grades(name, pair.item) for name, pair in zip(names, pairs, strict=True)], dtype=np.bool_)
    return replace(scores, averaged=several_answers(pairs), graded=graded)


def several_answers(pairs: Sequence[Pair]) -> bool:
    """Whether any item has more than one answer of either model."""
    return any(len(answers) > 1 for pair in pairs for answers in (pair.base, pair.candidate))


def mean_bounds(bounds: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The (lowest, highest) mean over several answers, from those of each of them."""
    if len(bounds) == 1:
        return bounds[0]
    low, high = (math.fsum(ends) / len(bounds) for ends in zip(*bounds, strict=True))
    return low, high


def interleaved(items: Sequence[Item], parts: Sequence[PairedScores]) -> PairedScores:
    """The scores of ``items``, in that order, from ``parts`` that contain each of them once."""
    position = {item.id: i for i, item in enumerate(item for part in parts for item in part.items)}
    whole = PairedScores(
        tuple(item for part in parts for item in part.items),
        np.concatenate([part.base for part in parts]),
        np.concatenate([part.candidate for part in parts]),
        np.concatenate([part.base_low for part in parts]),
        np.concatenate([part.base_high for part in parts]),
        np.concatenate([part.candidate_low for part in parts]),
        np.concatenate([part.candidate_high for part in parts]),
        np.concatenate([part.graded for part in parts]),
        sum(part.retried for part in parts),
        any(part.averaged for part in parts),
    )
    return whole.subset([position[item.id] for item in items])


def bounded(
    items: tuple[Item, ...],
    base: Sequence[tuple[float, float]],
    candidate: Sequence[tuple[float, float]],
    *,
    binary: bool,
) -> PairedScores:
    """Scores from (lowest, highest) per item. If they differ the score is unknown, represented by the middle."""
    b, c = _columns(base), _columns(candidate)
    graded = np.full(len(items), not binary)
    return PairedScores(items, (b[0] + b[1]) / 2, (c[0] + c[1]) / 2, b[0], b[1], c[0], c[1], graded)


def without_scores(pairs: Sequence[Pair]) -> PairedScores:
    """Graded scores of which nothing is known but that they lie between 0 and 1."""
    anything = [(0.0, 1.0)] * len(pairs)
    return bounded(tuple(pair.item for pair in pairs), anything, anything, binary=False)


def _cut(answer: Answer) -> bool:
    return answer.finish == "length"


def _columns(bounds: Sequence[tuple[float, float]]) -> tuple[FloatArray, FloatArray]:
    table = np.asarray(bounds, dtype=np.float64).reshape(len(bounds), 2)
    return table[:, 0], table[:, 1]


def _score_bounds(score: Callable[[Item, Answer], float], item: Item, answer: Answer) -> tuple[float, float]:
    if failure_of(answer) is not None:
        return 0.0, 1.0
    try:
        value = score(item, answer)
    except UnscorableError:
        return 0.0, 1.0
    return value, value
