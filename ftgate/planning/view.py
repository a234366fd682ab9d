"""What ``ftgate plan`` prints, at 80 columns and on ASCII alone if need be, and the same as data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ftgate.planning.plan import POWER, Plan, PowerEstimate
from ftgate.report import numbers
from ftgate.report.escape import plain_line
from ftgate.report.schema import plain

STOPPING = {
    "none": "one look, at the end",
    "obrien_fleming": "four looks, O'Brien-Fleming boundaries",
    "pocock": "four looks, Pocock boundaries",
}
UNITS = {"drop": "relative drop", "loss": "absolute drop", "gain": "absolute gain", "ECE increase": "ECE increase"}
SPREAD = "two calibrated models, with confidences between 40 % and 97 %"
GOOD = {"ECE increase": "one that is as well calibrated as the base"}


def print_plan(plan: Plan, console: Console) -> None:
    """A table of what the items at hand can show, a sentence on each measurement, and what a run costs."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("measurement", no_wrap=True)
    table.add_column("limit", no_wrap=True)
    headings = ("items", "passes\nif good", "needed\nfor 80 %", "by\nformula", "told\nfrom", "saved\nearly")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for p in plan.prospects:
        table.add_row(*(_text(cell, console) for cell in _cells(p)))
    console.print(table)
    console.print()
    for sentence in (*(s for p in plan.prospects for s in _sentences(p)), *_general(plan)):
        grid = Table.grid(padding=0)
        grid.add_column(width=2, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row("- ", _text(plain_line(sentence, 800), console))
        console.print(grid)


def plan_json(plan: Plan) -> str:
    """The whole plan, shares and seconds as plain numbers, null where there is none."""
    return json.dumps(plain(asdict(plan)), indent=2, ensure_ascii=True)


def share(value: float) -> str:
    """A simulated probability in whole percent; it is never called certain."""
    text = numbers.decimal(100 * value, 0)
    if text == "100":
        return "> 99 %"
    return "< 1 %" if text == "0" and value > 0 else f"{text} %"


def _cells(p: PowerEstimate) -> Iterator[str]:
    yield numbers.title(p.name)
    yield numbers.limit({"min_gain" if p.kind == "gain" else "block": p.limit}, UNITS[p.kind])
    yield numbers.count(p.compared)
    yield share(p.power)
    yield numbers.NONE if p.needed is None else numbers.count(p.needed)
    yield numbers.NONE if p.by_formula is None else numbers.count(p.by_formula)
    yield _amount(p, p.detectable_change)
    yield share(p.saved)


def _amount(p: PowerEstimate, value: float | None) -> str:
    if p.kind == "gain":
        return numbers.points(value, signed=False)
    return numbers.amount(value, UNITS[p.kind])


def _sentences(p: PowerEstimate) -> Iterator[str]:
    name = numbers.title(p.name)
    good = f"one that gains {_amount(p, p.good)}" if p.kind == "gain" else GOOD.get(p.kind, "one that lost nothing")
    enough = p.power >= POWER
    text = f"{name}: {'enough' if enough else 'too few'} items: of good candidates ({good}) "
    text += f"{share(p.power)} pass{'' if enough else ', the others are held or blocked'}"
    if not enough:
        text += f"; {_more(p)}"
    yield text + "."
    if p.detectable_change is None:
        yield f"{name}: no change, however large, is told from the limit with {share(POWER)} probability."
    else:
        does = "passes" if p.kind == "gain" else "is blocked"
        what = {"gain": "gain", "ECE increase": "rise"}.get(p.kind, "drop")
        yield f"{name}: a true {what} of {_amount(p, p.detectable_change)} {does} with {share(POWER)} probability."
    if p.kind == "loss":
        yield f"{name}: the base scores too low for a relative drop; the limit holds for the absolute one."
    if p.clusters is not None:
        yield f"{name}: the items come in about {numbers.count(p.clusters)} clusters, which count as one each."
    if p.learned and p.base is not None and p.phi is not None:
        alike = numbers.decimal(p.phi, 2)
        yield f"{name}: base score {numbers.percent(p.base)}, correlation {alike}, as in the earlier run."


def _more(p: PowerEstimate) -> str:
    if p.needed is None or p.needed_rows is None:
        return f"no number of items would bring that to {share(POWER)}"
    text = f"{numbers.count(p.needed)} items would bring that to {share(POWER)}"
    return text + (f" ({numbers.count(p.needed_rows)} rows of the suite)" if p.compared < p.rows else "")


def _general(plan: Plan) -> Iterator[str]:
    yield f"Decisions at an error rate of {numbers.percent(plan.alpha)} on each side, {STOPPING[plan.early_stopping]}."
    where = "--out DIR learns from an earlier run" if plan.learned_from is None else "the earlier run does not tell"
    for ece, what in ((False, "a base score of 80 % and a correlation of 0.5 with the candidate's"), (True, SPREAD)):
        names = [p.name for p in plan.prospects if not p.learned and (p.kind == "ECE increase") is ece]
        if names:
            yield f"Assumed for {', '.join(names)}: {what}; {where}."
    models, judge = sum(p.questions for p in plan.prospects), sum(p.judge_questions for p in plan.prospects)
    text = (
        f"Questions: {numbers.count(models)} to the two models, {numbers.count(plan.control_questions)} "
        f"to the base again"
    )
    yield text + (f", at most {numbers.count(judge)} to the judge." if judge else ".")
    yield _time(plan)


def _time(plan: Plan) -> str:
    seconds = [p.seconds for p in plan.prospects]
    if None in (plan.control_seconds, plan.other_seconds, *seconds):
        if plan.learned_from is None:
            return "Time: unknown without an earlier run (--out DIR)."
        return "Time: unknown, as the earlier run's report holds no times."
    fixed = (plan.control_seconds or 0.0) + (plan.other_seconds or 0.0)
    whole = sum(s or 0.0 for s in seconds) + fixed
    early = sum((p.seconds or 0.0) * (1 - p.saved) for p in plan.prospects) + fixed
    text = f"Time: {numbers.duration(whole)} at the earlier run's pace"
    if plan.early_stopping == "none":
        return text + "."
    return text + f"; {numbers.duration(early)} on average when nothing is wrong, as a run stops early."


def _text(words: str, console: Console) -> Text:
    return Text(numbers.ascii_only(words) if console.options.ascii_only else words)
