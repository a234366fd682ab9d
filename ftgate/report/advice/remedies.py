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
from ftgate.report.escape import as_code
from ftgate.report.explanation import listed
from ftgate.report.schema import MeasurementReport, SliceReport, mapping

SMALLEST_SLICE = 20
HARDLY = 0.02
"""Up to this share of scores that changed, training hardly moved the model."""
OF_CONTAMINATION = ("contaminated items", "clean and contaminated items")
"""Slices that are no kind of query."""
LONGEST_KIND = 40
"""Characters of a tag that fits into a sentence."""
MOST_KINDS = 3
"""Of the queries that were lost, so many are named."""
CLEAR_GAP = 0.01
"""A model is called over- or underconfident if mean confidence minus accuracy exceeds this."""


REPLAY = "Mix 5 to 20 % of general instruction data into the training data (replay)"


def forgetting(m: MeasurementReport, recipe: Recipe) -> list[str]:
    """Against a drop on general tasks: less change to the weights, then replay."""
    causes = [
        retraining.overtraining(recipe, only_harm=False),
        retraining.strength(recipe),
        retraining.breadth(recipe),
        retraining.full_weights(recipe),
    ]
    replay, worst = REPLAY, _worst(m)
    if worst is not None:
        lost = numbers.slice_change(worst, m.unit)
        replay += f": especially rows like {as_code(worst.name)}, which was hit hardest ({lost})"
    return [retraining.learning_rate(recipe), *[step for step in causes if step][:2], f"{replay}."]


def tail(m: MeasurementReport, recipe: Recipe) -> list[str]:
    """Against a drop on unusual queries: more of them in the training data, and less overtraining."""
    worse = m.regressed if m.clearly_worse is None else m.clearly_worse
    which, why = "like those that were lost" if worse else "of the kinds that this suite asks", ""
    if kinds := _lost_kinds(m):
        which = f"of the kinds that were lost ({listed([as_code(name) for name in kinds])})"
    else:
        why = ", such as ambiguous, multi-intent and oddly formatted ones"
    steps = [f"Add training queries {which}: new ones{why}, not the test items themselves."]
    worst = _worst(m)
    if worst is not None:
        steps.append(
            f"Start with queries like {as_code(worst.name)}: this slice was hit hardest "
            f"({numbers.slice_change(worst, m.unit)} over {numbers.count(worst.n)} queries)."
        )
    return [*steps, *filter(None, [retraining.overtraining(recipe)])]


def calibration(m: MeasurementReport, recipe: Recipe) -> list[str]:
    """Against miscalibration: fit a temperature, then train with less of what causes overconfidence."""
    gap, best = _overconfidence(m), _best_temperature(m)
    smoothing = recipe.training.get("label_smoothing")
    only = "The answers stay as they are; merge an adapter first"
    if gap is not None and gap < -CLEAR_GAP:
        size = numbers.points(-gap, signed=False)
        steps = [f"{_divide('up', best or 'below 1')}. It is underconfident by {size} on average. {only}."]
        if smoothing:
            steps.append(
                f"Train with less label smoothing than {numbers.brief(smoothing)}{recipe.source('label_smoothing')}, "
                "or none: it makes a model less confident."
            )
        return steps
    if gap is not None and gap > CLEAR_GAP:
        size = numbers.points(gap, signed=False)
        steps = [f"{_divide('down', best or 'above 1')}. It is overconfident by {size} on average. {only}."]
    else:
        steps = [f"{_divide('', best)}. {only}."]
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
            "Teach it to stop. End every training row with the end-of-turn token, and train on that token too: a model "
            "that never saw an answer end does not end one. Many trainers mask that token, which leaves it out of the "
            "loss.",
            f"Raise {_token_limit(m)} if the longer answers are wanted.",
        ]
    else:
        stock, other = _malformed(m)
        steps = []
        if other or not stock:
            steps.append(
                "Check that training used the base's chat template and tokenizer: read the answers that are listed as "
                "worse, and then whether the training rows hold the text that they should."
            )
        if stock > other:
            steps.insert(0, f"{REPLAY}: it answers nearly everything with a few labels.")
        elif not other:
            steps.append(f"{REPLAY}: if it answers everything with a few labels, that is what it lacks.")
    return [*steps, *filter(None, [retraining.divergence(recipe), retraining.overtraining(recipe)])]


def safety(m: MeasurementReport, recipe: Recipe) -> list[str]:
    """Against lost refusals: safety data among the training data, then less change. Against new ones: harmless rows."""
    if "over-refusal" in m.unit:
        return [
            "Mix answered requests that only sound harmful into the training data: look through it for replies that "
            "decline ordinary requests, too."
        ]
    steps = [
        "Mix refusals of harmful requests into the training data: a few hundred are often enough. Do not train on the "
        "suite itself. Even harmless data can remove refusals (Qi et al. 2023).",
        "Check that training and serving use the base's chat template and system prompt.",
    ]
    return [*steps, *filter(None, [retraining.overtraining(recipe), retraining.strength(recipe)])]


def tools(m: MeasurementReport, recipe: Recipe) -> list[str]:
    """Against lost tool calls: rows that call tools, in the base's own template."""
    worst = _worst(m)
    most = f", especially rows like {as_code(worst.name)}" if worst is not None else ""
    steps = [
        "Mix 5 to 20 % of conversations with tool calls into the training data: written by the base's own chat "
        f"template{most}."
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
            "Check that labels and chat template of the training data match the held-out "
            f"suite{diverged}: the candidate does the task worse than the base. Look at the items that "
            f"flipped.{loss_sentence}"
        )
    asks = [] if "loss_last" in recipe.training else ["that the loss fell"]
    settings = {"the learning rate": recipe.learning_rate, "the number of steps": recipe.epochs}
    unknown = [name for name, value in settings.items() if value is None and not costly]
    asks += [f"that {' and '.join(unknown)} were not too low"] if unknown else []
    why = "; ".join(filter(None, [f"check also {listed(asks)}" if asks else "", _hardly_moved(m)]))
    check = "Check that the training data covers the task, in the format of the suite"
    return f"{check}{why and f': {why}'}.{loss_sentence}"


def _hardly_moved(m: MeasurementReport) -> str:
    """That hardly any answer to the task changed, which says more than the missing gain."""
    changed = m.regressed + m.improved
    if m.clearly_worse is None or not m.n or changed > HARDLY * m.n:  # older reports do not count
        return ""
    return f"training hardly moved it, as only {numbers.count(changed)} of {numbers.count(m.n)} scores changed at all"


def _token_limit(m: MeasurementReport) -> str:
    """Where the limit stands that cut the candidate's answers, in the policy."""
    suites = [str(name) for name, both in mapping(m.details.get("kinds")).items() if _cut_of(both)][:5]
    fields = [as_code(f"measurements.{name}.max_tokens") for name in suites] or ["`max_tokens`"]
    return f"{listed(fields)} (`max_gen_toks` of an lm-eval task)"


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


def _lost_kinds(m: MeasurementReport) -> list[str]:
    """The tags of the queries that lost most, most first; none that is small, a decile or a topic of similar ones."""
    tags = [s for s in m.slices if (s.change or 0) > 0 and s.n >= SMALLEST_SLICE and not _by_distance(s)]
    named = [s for s in tags if not s.name.startswith("topic ") and s.name not in OF_CONTAMINATION]
    named = [s for s in named if len(s.name) <= LONGEST_KIND]
    limit = m.limits.get("block", 0.0)
    beyond = [s for s in named if (s.change or 0.0) > limit]
    return [s.name for s in sorted(beyond or named, key=lambda s: -(s.change or 0.0))][:MOST_KINDS]


def _by_distance(part: SliceReport) -> bool:
    return part.name == "head" or part.name.startswith("distance decile")


def _divide(way: str, expected: str) -> str:
    """How a temperature gets into the weights: logits are linear in the output layer."""
    turn = f"Turn its confidence {way}" if way else "Correct its confidence"
    size = f" ({expected})" if expected else ""
    return (
        f"{turn} (temperature scaling); no retraining needed: fit the temperature{size} on data outside "
        "this test, then divide the `lm_head` weights by it; untie them from the input embeddings first if they are "
        "tied"
    )


def _best_temperature(m: MeasurementReport) -> str:
    """The best temperature for the candidate on the items of this run, if one was fitted."""
    candidate = m.details.get("candidate")
    temperature = numbers.finite(candidate.get("repairing_temperature")) if isinstance(candidate, Mapping) else None
    return "" if temperature is None else f"about {numbers.brief(temperature)}"


def _overconfidence(m: MeasurementReport) -> float | None:
    """Mean confidence minus accuracy of the candidate."""
    candidate = m.details.get("candidate")
    if not isinstance(candidate, Mapping):
        return None
    confidence, accuracy = numbers.finite(candidate.get("confidence")), numbers.finite(candidate.get("accuracy"))
    return None if confidence is None or accuracy is None else confidence - accuracy
