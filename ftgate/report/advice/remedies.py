"""What to change when a measurement warns or blocks, most likely cause first.

The remedies are the article's (GenAI Systems Lab, "How to Know If Your Fine-Tune Actually Helped"): a lower learning
rate and a shorter training against forgetting, LoRA rather than full weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ftgate.measurements import rule_agreement
from ftgate.report import numbers
from ftgate.report.advice import retraining
from ftgate.report.advice.recipe import Recipe
from ftgate.report.explanation import listed
from ftgate.report.schema import MeasurementReport, SliceReport, mapping

SMALLEST_SLICE = 20
HARDLY = 0.02
"""Up to this share of scores that changed, training hardly moved the model."""
CLEAR_GAP = 0.01
"""A model is called over- or underconfident if mean confidence minus accuracy exceeds this."""


def forgetting(m: MeasurementReport, recipe: Recipe) -> list[str]:
    """Against a drop on general tasks: less change to the weights, then replay."""
    causes = [
        retraining.overtraining(recipe, only_harm=False),
        retraining.strength(recipe),
        retraining.breadth(recipe),
        retraining.full_weights(recipe),
    ]
    replay = "Mix 5 to 20 % of general instruction data into the training data (replay)"
    worst = _worst(m)
    if worst is not None:
        replay += f", above all rows like “{worst.name}”, which was hit hardest ({numbers.slice_change(worst, m.unit)})"
    return [retraining.learning_rate(m, recipe), *[step for step in causes if step][:2], f"{replay}."]


def tail(m: MeasurementReport, recipe: Recipe) -> list[str]:
    """Against a drop on unusual queries: more of them in the training data, and less overtraining."""
    queries = "those in the tail"
    if lost := m.regressed if m.clearly_worse is None else m.clearly_worse:
        queries = f"the {numbers.count(lost)} that got worse (the worst are listed; do not train on those themselves)"
    steps = [
        f"Unusual queries: add queries like {queries} to the training data: ambiguous, multi-intent and oddly "
        "formatted ones."
    ]
    worst = _worst(m)
    if worst is not None:
        steps.append(
            f"Unusual queries: start with “{worst.name}”: {numbers.slice_change(worst, m.unit)} over "
            f"{numbers.count(worst.n)} queries, "
            "the slice that was hit hardest."
        )
    return [*steps, *filter(None, [retraining.overtraining(recipe)])]


def calibration(m: MeasurementReport, recipe: Recipe) -> list[str]:
    """Against miscalibration: fit a temperature, then train with less of what causes overconfidence."""
    gap = _overconfidence(m)
    fit = f"fit one temperature on held-out items{{}}{_best_temperature(m)}: it corrects confidence, not answers."
    smoothing = recipe.training.get("label_smoothing")
    if gap is not None and gap < -CLEAR_GAP:
        underconfident = f"the candidate is underconfident by {numbers.points(-gap, signed=False)} on average"
        steps = [f"Confidence: {underconfident}; {fit.format(' (it will be below 1)')}"]
        if smoothing:
            steps.append(
                f"Confidence: label smoothing of {numbers.brief(smoothing)}{recipe.source('label_smoothing')} makes "
                "a model less confident: train with less of it, or none."
            )
        return steps
    if gap is not None and gap > CLEAR_GAP:
        overconfident = f"the candidate is overconfident by {numbers.points(gap, signed=False)} on average"
        steps = [f"Confidence: {overconfident}; {fit.format(' (it will be above 1)')}"]
    else:
        steps = [f"Confidence: {fit.format('')}"]
    return [*steps, *filter(None, [retraining.overtraining(recipe), retraining.softer(recipe)])]


def target(m: MeasurementReport, recipe: Recipe, *, costly: bool) -> list[str]:
    """Against a missing gain. ``costly``: another measurement got worse, so training harder is not advised."""
    worse = m.change is not None and m.change < 0
    steps = [retraining.divergence(recipe), retraining.overtraining(recipe)]
    if not worse and not costly:
        steps += [retraining.too_gentle(recipe), retraining.too_small(recipe)]
    return [*[step for step in steps if step][:3], _look_at_data(m, recipe, worse=worse, costly=costly)]


def form(m: MeasurementReport, recipe: Recipe) -> list[str]:
    """Against malformed answers: the ends of training rows, the chat template, then less training."""
    if "cut" in m.unit:
        steps = [
            "Answer form: check that every training row ends with the end-of-turn token and that the loss covers it: "
            "a model that never saw an answer end does not end one. If the longer answers are wanted, raise max_tokens "
            f"({_cut_in(m)}max_gen_toks of an lm-eval task)."
        ]
    else:
        stock, other = _malformed(m)
        steps = []
        if other or not stock:
            steps.append(
                "Answer form: read the answers that are listed as worse, then check that training used the base's chat "
                "template and tokenizer, and that training rows hold the text that they should."
            )
        if stock > other:
            steps.insert(
                0,
                "Answer form: it answers nearly everything with a few labels: mix 5 to 20 % of general instruction "
                "data into the training data (replay).",
            )
        elif not other:
            steps.append(
                "Answer form: if it answers everything with a few labels, mix 5 to 20 % of general instruction data "
                "into the training data (replay)."
            )
    return [*steps, *filter(None, [retraining.divergence(recipe), retraining.overtraining(recipe)])]


def safety(m: MeasurementReport, recipe: Recipe) -> list[str]:
    """Against lost refusals: safety data among the training data, then less change. Against new ones: harmless rows."""
    if "over-refusal" in m.unit:
        return [
            "Safety: look through the training data for replies that decline ordinary requests, and mix in answered "
            "requests that only sound harmful."
        ]
    steps = [
        "Safety: mix refusals of harmful requests into the training data, a few hundred are often enough, and do not "
        "train on the suite itself. Even harmless data can remove refusals (Qi et al. 2023).",
        "Safety: check that training and serving use the base's chat template and system prompt.",
    ]
    return [*steps, *filter(None, [retraining.overtraining(recipe), retraining.strength(recipe)])]


def tools(m: MeasurementReport, recipe: Recipe) -> list[str]:
    """Against lost tool calls: rows that call tools, in the base's own template."""
    worst = _worst(m)
    most = f", above all rows like “{worst.name}”" if worst is not None else ""
    steps = [
        f"Tool calls: mix 5 to 20 % of conversations with tool calls into the training data{most}, written by the "
        "base's own chat template."
    ]
    return [*steps, *filter(None, [retraining.overtraining(recipe), retraining.strength(recipe)])]


Remedy = Callable[[MeasurementReport, Recipe, bool], list[str]]
"""Advice on a measurement that warned or blocked; the last argument says whether another one did too."""

REMEDIES: Mapping[str, Remedy] = {
    "lost skills": lambda m, recipe, _costly: forgetting(m, recipe),
    "unusual queries": lambda m, recipe, _costly: tail(m, recipe),
    "confidence": lambda m, recipe, _costly: calibration(m, recipe),
    "malformed answers": lambda m, recipe, _costly: form(m, recipe),
    "lost refusals": lambda m, recipe, _costly: safety(m, recipe),
    "lost tool calls": lambda m, recipe, _costly: tools(m, recipe),
    "no gain": lambda m, recipe, costly: target(m, recipe, costly=costly),
}
"""Advice by a measurement's ``remedy``."""


def _look_at_data(m: MeasurementReport, recipe: Recipe, *, worse: bool, costly: bool) -> str:
    """Advice to check the data, and the settings that are unknown."""
    loss_sentence = retraining.learnt(recipe)
    if worse:
        diverged = "" if loss_sentence or recipe.diverged else ", and that training did not diverge"
        return (
            f"Task: the candidate does the task worse than the base.{loss_sentence} Look at the items that flipped, "
            f"and check that labels and chat template of the training data match the held-out suite{diverged}."
        )
    asks = ["that the training data covers the task and has the format of the suite"]
    asks += [] if "loss_last" in recipe.training else ["that the loss fell"]
    settings = {"the learning rate": recipe.learning_rate, "the number of steps": recipe.epochs}
    unknown = [name for name, value in settings.items() if value is None and not costly]
    asks += [f"that {' and '.join(unknown)} were not too low"] if unknown else []
    return f"Task: no gain{_hardly_moved(m)}.{loss_sentence} Check {listed(asks)}."


def _hardly_moved(m: MeasurementReport) -> str:
    """That hardly any answer to the task changed, which says more than the missing gain."""
    changed = m.regressed + m.improved
    if m.clearly_worse is None or not m.n or changed > HARDLY * m.n:  # older reports do not count
        return ""
    return (
        f", and only {numbers.count(changed)} of {numbers.count(m.n)} scores changed at all: training hardly moved it"
    )


def _cut_in(m: MeasurementReport) -> str:
    """The suites in which the candidate's answers were cut: ``for forgetting; ``."""
    suites = [str(name) for name, both in mapping(m.details.get("kinds")).items() if _cut_of(both)]
    return f"for {listed(suites[:5])}; " if suites else ""


def _cut_of(both: object) -> float:
    return numbers.finite(mapping(mapping(both).get("candidate")).get("cut")) or 0.0


def _malformed(m: MeasurementReport) -> tuple[int, int]:
    """How many of the candidate's answers are one of the same few, and how many are malformed in another way."""
    kinds = [mapping(mapping(suite).get("candidate")) for suite in mapping(m.details.get("kinds")).values()]
    counts = [(kind, int(n)) for kind_counts in kinds for kind, n in kind_counts.items() if numbers.finite(n)]
    return (
        sum(n for kind, n in counts if kind == "stock"),
        sum(n for kind, n in counts if kind not in ("stock", "cut")),
    )


def _worst(m: MeasurementReport) -> SliceReport | None:
    """The slice that the report calls hardest hit, else the one that lost most; none that is small or a decile."""
    slices = [s for s in m.slices if s.name != rule_agreement.NAME]  # rows by how they are scored, not by topic
    tags = [s for s in slices if (s.change or 0) > 0 and s.n >= SMALLEST_SLICE and not _by_distance(s)]
    named = mapping(m.details.get("worst_slice")).get("name")
    return next((s for s in tags if s.name == named), max(tags, key=lambda s: s.change or 0.0, default=None))


def _by_distance(part: SliceReport) -> bool:
    return part.name == "head" or part.name.startswith("distance decile")


def _best_temperature(m: MeasurementReport) -> str:
    """The best temperature for the candidate on the items of this run, if one was fitted."""
    candidate = m.details.get("candidate")
    temperature = numbers.finite(candidate.get("repairing_temperature")) if isinstance(candidate, Mapping) else None
    return "" if temperature is None else f", here {numbers.brief(temperature)} would be best"


def _overconfidence(m: MeasurementReport) -> float | None:
    """Mean confidence minus accuracy of the candidate."""
    candidate = m.details.get("candidate")
    if not isinstance(candidate, Mapping):
        return None
    confidence, accuracy = numbers.finite(candidate.get("confidence")), numbers.finite(candidate.get("accuracy"))
    return None if confidence is None or accuracy is None else confidence - accuracy
