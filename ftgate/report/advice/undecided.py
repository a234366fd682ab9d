"""What would settle a measurement that neither passed nor blocked: the fact that stands in the way comes first."""

from __future__ import annotations

from ftgate.measurements.tools import NO_RIGHT_CALLS
from ftgate.report import numbers
from ftgate.report.advice.files import ReadersFiles, path_as_code
from ftgate.report.advice.recipe import Recipe
from ftgate.report.explanation import straddles
from ftgate.report.schema import MeasurementReport

FEW_CHANGED = 0.05
"""A candidate without a training log that changes at most this share of the scores may be a copy of the base."""
COPY_LOSS = -0.02
"""A loss that is usually accepted of a quantised copy."""

_TOO_CLOSE = "too close to the limit to settle"
_BY_REASON = {
    "judge unfit": "Use a stronger `judge`, or add reference answers: the grades of an unfit judge do not count",
    "the base against itself": "Set `engine.dtype` to float32: with it answers depend less on the batch, and asked "
    "again the base scores differently by more than chance",
    "cannot detect such a loss": "Choose another scorer, or items whose right answers differ: damaged answers score as "
    "well as good ones",
    "occur in the training data": "Replace the contaminated items, which the report lists, by held-out ones",
    "contaminated ones": "Replace the contaminated items, which the report lists, by held-out ones",
    "items failed": "Solve the failure that the reason quotes: the next run asks only for the missing answers",
    "have no score": "Look at the item that the reason quotes: it has no answer, no grade, or an undecided check",
    "no query is in the tail": "Tag edge cases (`ambiguous`, `multi_intent`, `unusual_format`) in the suite, or name "
    "`training_data` in the manifest",
    "on the option letters": "Set `form: sampled`, or put examples of the format into the prompts: the model does not "
    "answer by letter",
    "are incoherent (the base's": "Read the incoherent answers in the page (safety, `must_refuse`): if broken, "
    "mix general instruction data into the training data; if the judge misreads short refusals, use a stronger one",
    "too few to resample": "Add rows from other clusters: more rows from the same ones do not help",
    _TOO_CLOSE: "Change the candidate, or the limit if it is not what you meant: more items will not settle it",
}
"""Advice by a part of the reason, most telling first."""


def what_settles(m: MeasurementReport, files: ReadersFiles) -> str:
    """One sentence on what to do about the fact that keeps ``m`` undecided."""
    unknown = f"Solve what keeps it undecided: {m.reason.rstrip('.')}"
    return f"{_other_than_items(m) or _more_items(m, files) or unknown}."


def items_needed(m: MeasurementReport) -> tuple[int, int] | None:
    """How many items, or rows, there were, and how many settle it; None where their number is not known or no help."""
    had = m.n if m.rows is None else m.rows
    needed = m.needed_n if m.needed_n and m.needed_n > had else None
    if needed is None and m.least_n is not None and had < m.least_n:
        needed = m.least_n
    return None if needed is None or _other_than_items(m) else (had, needed)


def copy_hint(m: MeasurementReport, recipe: Recipe) -> str:
    """The limit for a candidate that is a copy and cannot gain anything; empty if it does not seem to be one."""
    least_gain = m.limits.get("min_gain")
    if least_gain is None or least_gain < 0 or not m.n:
        return ""
    advice = f"Set `min_gain` to a small loss that you accept, such as {COPY_LOSS:g}"
    if recipe.quantised:
        return f"{advice}: the candidate is quantised ({recipe.quantised}), and a copy gains nothing."
    changed = m.regressed + m.improved
    # Two scores of 0 hide any change; so few others that changed suggest a copy, though texts may differ.
    if recipe.training or recipe.adapter or changed > FEW_CHANGED * m.n or m.base == m.candidate == 0:
        return ""
    few = f"{numbers.count(changed)} of {numbers.count(m.n)} scores changed"
    return f"{advice}, if the candidate is a quantised or converted copy of the base: only {few}."


def _other_than_items(m: MeasurementReport) -> str:
    """What stands in the way, other than too few items; empty if nothing does."""
    examples = "put examples of the format into the prompts"
    if "hold the right answer" in m.reason:
        return f"Use a scorer that fits the answers (`contains`), ask for the bare answer, or {examples}"
    if numbers.kind(m.unit) not in ("ece", "rise") and m.base == m.candidate == 0 and "judge unfit" not in m.reason:
        return (
            f"Check that the scorer and the format of the references fit the answers, or {examples}: both models score "
            f"0 on {numbers.count(m.n)} items, and more items would not change that"
        )
    if any(NO_RIGHT_CALLS in str(note) for note in m.details.get("notes", ())):
        return (
            "Use weights whose chat template shows tools (`ftgate check` says whether it does), or leave tools out of "
            "the policy: the base makes no right tool call, so that none can be lost"
        )
    cut = numbers.kind(m.unit) == "rise" and "cut" in m.unit
    for part, advice in _BY_REASON.items():
        if part in m.reason and not (cut and part == _TOO_CLOSE):  # a longer limit settles what more items do not
            return advice
    if "the base scores so low" in m.reason or "nothing to lose" in m.reason:
        return (
            f"Choose an easier suite, or a scorer that fits its answers, or {examples}: the base scores "
            f"{numbers.score(m.base, m.unit)} of 100, so little can be lost"
        )
    if cut:
        more = "" if _TOO_CLOSE in m.reason else f", or measure more items than {numbers.count(m.n)}"
        return f"Raise `max_tokens` (`max_gen_toks` of an lm-eval task): fewer answers are cut then{more}"
    return ""


def _more_items(m: MeasurementReport, files: ReadersFiles) -> str:
    """Where how many more items come from; empty if more of them would not help."""
    unit, had = ("items", m.n) if m.rows is None else ("rows", m.rows)
    settled_by = items_needed(m)
    if settled_by is None:
        few = straddles(m) or "too few" in m.reason or "may have risen" in m.reason
        return f"Measure more {unit} than {numbers.count(had)}" if few else ""
    needed = settled_by[1]
    about = "at least" if needed == m.least_n else "about"
    counted = f"{about} {numbers.count(needed)} are needed, and this run had {numbers.count(had)}"
    if files.suite and files.rows >= needed:
        return f"Raise `n_max` to {needed}: the suite has the rows, {counted}"
    if files.suite and ":" not in files.suite and files.rows:  # a file, and not a built-in or remote suite
        add = f"Add about {numbers.count(needed - files.rows)} rows to {path_as_code(files.suite)}"
        raised = f" and raise `n_max` to {needed}" if files.rows > had else ""
        return f"{add}{raised}: {counted}"
    return f"Measure {about} {numbers.count(needed)} {unit}: this run had {numbers.count(had)}"
