"""Prints a plan as a table with notes, also on 80 columns or ASCII-only terminals, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ftgate.planning.plan import MoreAnswers, Plan, PowerEstimate
from ftgate.planning.simulate import POWER
from ftgate.report import numbers
from ftgate.report.escape import plain_line
from ftgate.report.schema import plain

STOPPING = {
    "none": "one look, at the end",
    "obrien_fleming": "four looks, O'Brien-Fleming boundaries",
    "pocock": "four looks, Pocock boundaries",
}
UNITS = {
    "drop": "relative drop",
    "loss": "absolute drop",
    "gain": "absolute gain",
    "rise": "rise in compliance",
    "ECE increase": "ECE increase",
}
SPREAD = "two calibrated models, with confidences between 40 % and 97 %"
GOOD = {
    "ECE increase": "one that is as well calibrated as the base",
    "rise": "one that complies with harmful requests no more often than the base",
}


def print_plan(plan: Plan, console: Console) -> None:
    """Print the power table, a sentence on each measurement, and the run's cost."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("measurement", no_wrap=True)
    table.add_column("limit", no_wrap=True)
    headings = ("items", "power", "needed\nfor 80 %", "by\nformula", "detects\nfrom", "saved\nearly")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for p in plan.prospects:
        table.add_row(*(_console_text(cell, console) for cell in _cells(p)))
    console.print(table)
    console.print()
    for sentence in (*(s for p in plan.prospects for s in _sentences(p)), *_notes(plan)):
        grid = Table.grid(padding=0)
        grid.add_column(width=2, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row("- ", _console_text(plain_line(sentence, 800), console))
        console.print(grid)


def plan_json(plan: Plan) -> str:
    """The whole plan as JSON; shares and seconds are plain numbers, null if unknown."""
    return json.dumps(plain(asdict(plan)), indent=2, ensure_ascii=True)


def share(value: float) -> str:
    """A simulated probability in whole percent; never shown as 100 %, nor as 0 % unless it is 0."""
    text = numbers.decimal(100 * value, 0)
    if text == "100":
        return "> 99 %"
    return "< 1 %" if text == "0" and value > 0 else f"{text} %"


def _cells(p: PowerEstimate) -> Iterator[str]:
    yield numbers.title(p.name)
    yield numbers.compact_limit({"min_gain" if p.kind == "gain" else "block": p.limit}, UNITS[p.kind])
    yield numbers.count(p.compared)
    yield share(p.power)
    yield numbers.NONE if p.needed is None else numbers.count(p.needed)
    yield numbers.NONE if p.by_formula is None else numbers.count(p.by_formula)
    yield _amount(p, p.detectable_change)
    yield share(p.saved)


def _amount(p: PowerEstimate, value: float | None) -> str:
    if p.kind in ("gain", "rise"):
        return numbers.points(value, signed=False)
    return numbers.amount(value, UNITS[p.kind])


def _sentences(p: PowerEstimate) -> Iterator[str]:
    name = numbers.title(p.name)
    good = f"one that gains {_amount(p, p.good)}" if p.kind == "gain" else GOOD.get(p.kind, "one that lost nothing")
    enough = p.power >= POWER
    too_low = p.kind == "loss" and p.needed is None  # more items help no base that scores next to nothing
    judged = "enough items" if enough else "the base scores too little to pass" if too_low else "too few items"
    text = f"{name}: {judged}: of good candidates ({good}) {share(p.power)} pass"
    if not enough:
        others = "held, or not applicable if the base gets next to nothing right" if too_low else "held or blocked"
        text += f", the others are {others}; {_items_needed(p)}"
    yield f"{p.shortage}." if p.shortage else f"{text}."
    if p.more_answers is not None:
        yield f"{name}: {_more_answers(p.more_answers)}."
    if p.kind == "loss":
        yield f"{name}: {_low_base(p)}."
    elif p.detectable_change is None:
        yield f"{name}: no change, however large, is detected with {share(POWER)} probability."
    else:
        outcome = "passes" if p.kind == "gain" else "is blocked"
        what = {"gain": "gain", "rise": UNITS["rise"], "ECE increase": "rise"}.get(p.kind, "drop")
        yield f"{name}: a true {what} of {_amount(p, p.detectable_change)} {outcome} with {share(POWER)} probability."
    yield from (f"{name}: {words}." for words in (*filter(None, [p.also]), *p.slices))
    if p.answers != (1, 1):
        yield f"{name}: an item's score is the mean over {_each(p.answers)}."
    if p.clusters is not None:
        yield f"{name}: the items come in clusters, which count as about {numbers.count(p.clusters)} items."
    if p.pilot is not None:
        yield from (f"{name}: this suite may not be able to decide: {warning}." for warning in p.pilot.warnings)
        if p.pilot.base is not None:
            yield f"{name}: the pilot's base scores {numbers.percent(p.pilot.base)} on {p.pilot.items} items."
    if p.learned and p.base is not None and p.phi is not None:
        correlation = numbers.decimal(p.phi, 2)
        yield f"{name}: base score {numbers.percent(p.base)}, correlation {correlation}, as in the earlier run."


def _low_base(p: PowerEstimate) -> str:
    """What decides where the base may score too low for a relative drop to pass."""
    limit = numbers.percent(p.limit)
    text = f"the base may score so low that a relative loss of {limit} could go unseen: "
    passes = "only an improvement passes" if p.needed is None else "a pass goes by the absolute drop"
    return f"{text}{passes}, and a relative drop that is clearly larger blocks all the same"


def _items_needed(p: PowerEstimate) -> str:
    if p.needed is None or p.needed_rows is None:
        return f"no number of items would bring that to {share(POWER)}"
    text = f"{numbers.count(p.needed)} items would bring that to {share(POWER)}"
    return text + (f" ({numbers.count(p.needed_rows)} rows of the suite)" if p.compared < p.rows else "")


def _more_answers(more: MoreAnswers) -> str:
    """The other way to the wanted power, its cost, and which of the two is cheaper."""
    base, candidate = more.answers
    setting = f"answers: {base}" if base == candidate else f"answers: {{base: {base}, candidate: {candidate}}}"
    text = (
        f"{setting} at a temperature above 0 would bring the {numbers.count(more.prompts)} rows at hand to "
        f"{share(more.power)}; that costs {_cost(more.prompts, more.generated)}"
    )
    if more.generated_by_rows is None or more.rows is None:
        return text
    return f"{text}, more rows {_cost(more.rows, more.generated_by_rows)}: " + (
        "more rows are cheaper, if there are any"
        if more.generated_by_rows < more.generated
        else "more answers are cheaper"
    )


def _cost(prompts: int, answers: int) -> str:
    return f"{numbers.count(prompts)} prompts and {numbers.count(answers)} answers of both models"


def _each(answers: tuple[int, int]) -> str:
    base, candidate = answers
    if base == candidate:
        return f"{base} answers of either model"
    return f"{base} answers of the base and {candidate} of the candidate"


def _notes(plan: Plan) -> Iterator[str]:
    if named := list(filter(None, (numbers.kind_and_tier(p.name, p.measures, p.tier) for p in plan.prospects))):
        yield f"Kinds and tiers, where not as the name says and blocking: {', '.join(named)}."
    yield f"Decisions at an error rate of {numbers.percent(plan.alpha)} on each side, {STOPPING[plan.early_stopping]}."
    where = "--out DIR learns from an earlier run" if plan.learned_from is None else "the earlier run does not tell"
    assumed: dict[str, list[str]] = {}
    for p in plan.prospects:
        if not (p.learned or _piloted(p)):
            assumed.setdefault(_assumption(p), []).append(p.name)
    for what, names in assumed.items():
        yield f"Assumed for {', '.join(names)}: {what}; {where}."
    if names := [p.name for p in plan.prospects if _piloted(p) and not p.learned]:
        yield f"Assumed for {', '.join(names)}: the pilot's base score, and a correlation of 0.5 with the candidate's."
    models, judge = sum(p.questions for p in plan.prospects), sum(p.judge_questions for p in plan.prospects)
    again = numbers.count(plan.control_questions)
    text = f"Questions: {numbers.count(models)} to the two models, {again} to the base again"
    yield text + (f", at most {numbers.count(judge)} to the judge." if judge else ".")
    if plan.incumbent_questions:
        yield f"The deployed model is asked {numbers.count(plan.incumbent_questions)} more."
    for p in plan.against_incumbent:
        needed = "" if p.needed is None else f"; 80 % need {numbers.count(p.needed)} items"
        limit = numbers.limit({"block": p.limit}, UNITS[p.kind])
        yield (
            f"{numbers.title(p.name)} against the deployed model, {limit}: of candidates that are as good, "
            f"{share(p.power)} pass with {numbers.count(p.compared)} items{needed}."
        )
    if plan.continuations:
        count = numbers.count(plan.continuations)
        yield f"They compare {count} continuations, each a pass over its prompt unless all are one token."
    yield _run_time(plan)


def _assumption(p: PowerEstimate) -> str:
    return (
        SPREAD if p.base is None else f"a base score of {share(p.base)} and a correlation of 0.5 with the candidate's"
    )


def _piloted(p: PowerEstimate) -> bool:
    """Whether the plan rests on the pilot's base score; that of a rise in ECE does not."""
    return p.pilot is not None and p.pilot.base is not None and p.kind != "ECE increase"


def _run_time(plan: Plan) -> str:
    seconds = [p.seconds for p in plan.prospects]
    if None in (plan.control_seconds, plan.other_seconds, *seconds):
        if plan.learned_from is None:
            return "Time: unknown without an earlier run (--out DIR)."
        return "Time: unknown, as the earlier run's report holds no times."
    fixed = (plan.control_seconds or 0.0) + (plan.other_seconds or 0.0)
    full = sum(s or 0.0 for s in seconds) + fixed
    stopped_early = sum((p.seconds or 0.0) * (1 - p.saved) for p in plan.prospects) + fixed
    text = f"Time: {numbers.duration(full)} at the earlier run's pace"
    if plan.early_stopping == "none":
        return text + "."
    return text + f"; {numbers.duration(stopped_early)} on average when nothing is wrong, as a run stops early."


def _console_text(text: str, console: Console) -> Text:
    return Text(numbers.ascii_only(text) if console.options.ascii_only else text)
