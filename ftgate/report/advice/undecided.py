"""What would settle a measurement that neither passed nor blocked: the fact that stands in the way comes first."""

from __future__ import annotations

from ftgate.measurements.tools import NO_RIGHT_CALLS
from ftgate.report import numbers
from ftgate.report.advice.recipe import Recipe
from ftgate.report.explanation import straddles
from ftgate.report.schema import MeasurementReport

FEW_CHANGED = 0.05
"""A candidate without a training log that changes at most this share of the scores may be a copy of the base."""
COPY_LOSS = -0.02
"""A loss that is usually accepted of a quantised copy."""

_TOO_CLOSE = "too close to the limit to settle"
_BY_REASON = {
    "judge unfit": "use a stronger judge, or add reference answers; the grades of an unfit judge do not count",
    "the base against itself": "asked again, the base scores differently by more than chance: set engine.dtype to "
    "float32, with which answers depend less on the batch",
    "cannot detect such a loss": "damaged answers score as well as good ones: choose another scorer, or items whose "
    "right answers differ",
    "occur in the training data": "replace the contaminated items, which the report lists, by held-out ones",
    "contaminated ones": "replace the contaminated items, which the report lists, by held-out ones",
    "items failed": "solve the failure that the reason quotes; the next run asks only for the missing answers",
    "have no score": "look at the item that the reason quotes: it has no answer, no grade, or an undecided check",
    "no query is in the tail": "tag edge cases in the suite (ambiguous, multi_intent, unusual_format), or name "
    "training_data in the manifest",
    "on the option letters": "the model does not answer by letter: use form: sampled, or put examples of the format "
    "into the prompts",
    "are incoherent (the base's": "read these answers in the page (safety, must_refuse): if they are broken, mix "
    "general instruction data into the training data; if the judge misreads short refusals, use a stronger one",
    "too few to resample": "add rows from other clusters; more rows from the same ones do not help",
    _TOO_CLOSE: "more items will not settle it: change the candidate, or the limit if it is not what you meant",
}
"""Advice by a part of the reason, most telling first."""


def what_settles(title: str, m: MeasurementReport) -> str:
    """One sentence on what to do about the fact that keeps ``m`` undecided."""
    unknown = f"it stays undecided until this is solved: {m.reason.rstrip('.')}"
    return f"{title}: {_step(m) or unknown}."


def copy_hint(title: str, m: MeasurementReport, recipe: Recipe) -> str:
    """The limit for a candidate that is a copy and cannot gain anything; empty if it does not seem to be one."""
    least_gain = m.limits.get("min_gain")
    if least_gain is None or least_gain < 0 or not m.n:
        return ""
    advice = f"set min_gain to a small loss that you accept, such as {COPY_LOSS:g}"
    if recipe.quantised:
        return f"{title}: the candidate is quantised ({recipe.quantised}), and a copy gains nothing: {advice}."
    changed = m.regressed + m.improved
    # Two scores of 0 hide any change; so few others that changed suggest a copy, though texts may differ.
    if recipe.training or recipe.adapter or changed > FEW_CHANGED * m.n or m.base == m.candidate == 0:
        return ""
    few = f"{numbers.count(changed)} of {numbers.count(m.n)} scores changed"
    return f"{title}: only {few}: if the candidate is a quantised or converted copy of the base, {advice}."


def _step(m: MeasurementReport) -> str:
    if "hold the right answer" in m.reason:
        return (
            "use a scorer that fits the answers (contains), ask for the bare answer, or put examples into the prompts"
        )
    if numbers.kind(m.unit) not in ("ece", "rise") and m.base == m.candidate == 0 and "judge unfit" not in m.reason:
        return (
            f"both models score 0.0 % on {numbers.count(m.n)} items, and more items would not change that: check that "
            "the scorer and the format of the references fit the answers, or put examples into the prompts"
        )
    if any(NO_RIGHT_CALLS in str(note) for note in m.details.get("notes", ())):
        return (
            "the base makes no right tool call, so that none can be lost: use weights whose chat template shows tools "
            "(`ftgate check` says whether it does), or leave tools out of the policy"
        )
    cut = numbers.kind(m.unit) == "rise" and "cut" in m.unit
    for part, advice in _BY_REASON.items():
        if part in m.reason and not (cut and part == _TOO_CLOSE):  # a longer limit settles what more items do not
            return advice
    if "the base scores so low" in m.reason or "nothing to lose" in m.reason:
        return (
            f"the base scores {numbers.score(m.base, m.unit)}, so little can be lost: choose an easier suite, or a "
            "scorer that fits its answers, or put examples of the format into the prompts"
        )
    if cut:
        more = "" if _TOO_CLOSE in m.reason else f", or measure more items than {numbers.count(m.n)}"
        limit = "max_tokens (max_gen_toks of an lm-eval task)"
        return f"raise {limit}, so that fewer answers are cut by chance{more}, and run again"
    return _more_items(m)


def _more_items(m: MeasurementReport) -> str:
    """How many items would do; empty if more of them would not help."""
    unit, size = ("items", m.n) if m.rows is None else ("rows", m.rows)
    if m.needed_n and m.needed_n > size:
        return f"measure more {unit}, about {numbers.count(m.needed_n)} instead of {numbers.count(size)}, and run again"
    if m.least_n is not None and size < m.least_n:
        return f"measure at least {numbers.count(m.least_n)} {unit} instead of {numbers.count(size)}, and run again"
    if straddles(m) or "too few" in m.reason or "may have risen" in m.reason:
        return f"measure more {unit} than {numbers.count(size)} and run again"
    return ""
