"""The first thing to do about a verdict: whose turn it is, and one imperative sentence. The text is not escaped yet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ftgate.report import deployed, numbers
from ftgate.report.advice.files import files_of
from ftgate.report.escape import as_code
from ftgate.report.explanation import listed
from ftgate.report.schema import Report
from ftgate.report.tables import by_weight

AUTHOR, REVIEWER = "author", "reviewer"
POLICY_OWNER = "owner of the policy"
RUNNER = "maintainer of the runner"
FROM_BASE = "Changing these files in this pull request does nothing: the gate reads them from the base branch."
SOLVE = "Solve"
"""How a step begins that a failure of the gate asks for: what follows its colon is the failure, and no reason."""
FAILURES = (f"{SOLVE} this: ", f"{SOLVE} the failure")
"""Those among these steps that are about the gate's machine, and not about the policy."""
CHANGE = "Change the candidate"
_HEAD = re.compile(r"(?:`[^`]*`|[^`:])*")
"""A step up to its colon: what to do. A colon inside code ends nothing."""
_OF_SCORES = ("train again", "trained again")


def first_step(report: Report, steps: Sequence[str]) -> str:
    """What to do first, the sentence in the imperative at its head; empty without any steps."""
    if not steps:
        return ""
    outcome = numbers.outcome(report)
    if outcome == "warn":
        return f"Merge if you accept what was lost; if not, ask the author to {_lower(imperative(steps[0]))}."
    if outcome == "allow":
        return steps[0]
    if _waits(report):
        return _settle(report, steps[0], _first_of_each(report, steps))
    manifest = files_of(report, "").manifest
    again = "" if any(words in steps[0].lower() for words in _OF_SCORES) else "train again, "
    then = f"; then {again}enter the path of the new weights in {as_code(manifest)} and push" if manifest else ""
    runs = f" The gate then runs again by itself{_took(report)}." if manifest else ""
    return f"{imperative(steps[0])}{then}.{runs}"


def more_steps(report: Report, steps: Sequence[str]) -> list[str]:
    """The reason for the first of ``steps``, where :func:`first_step` leaves it out, and all others."""
    whole = not steps or imperative(steps[0]) == steps[0].rstrip(".") or steps[0] in first_step(report, steps)
    return list(steps[1:] if whole else steps)


def doer(report: Report, steps: Sequence[str]) -> str:
    """Whose turn it is: of a candidate that may merge the reviewer's; of one that is held mostly not its author's."""
    if report.verdict == "allow":
        return REVIEWER
    if not _waits(report) or not steps or steps[0].startswith(CHANGE):
        return AUTHOR
    return RUNNER if steps[0].startswith(FAILURES) else POLICY_OWNER


def _waits(report: Report) -> bool:
    """Whether nothing that counts is beyond its limit: then evidence is missing, whatever the policy makes of that."""
    beyond = any(m.gates and m.status == "block" for m in report.measurements.values())
    return not beyond and not any(part.status == "block" for _, part in deployed.failing(report))


def imperative(step: str) -> str:
    """What to do, without the reason, which follows a colon."""
    head = _HEAD.match(step)
    return step.rstrip(".") if head is None or step.startswith(SOLVE) else head[0].rstrip(".")


def _settle(report: Report, first: str, steps: Mapping[str, str]) -> str:
    """What settles what is undecided: the policy's own change first, then the run. ``steps``: by measurement."""
    if first.startswith(SOLVE):
        problem, _, reason = first.partition(": ")
        return f"{problem}, then run this gate again{_took(report)}: {reason}"
    what = _and([imperative(step) for step in steps.values()])
    files = [files_of(report, name) for name in report.measurements]
    named = [path for each in files for path in (each.policy, each.suite) if path]
    if any(as_code(path) in what for path in named):
        own = f"In a pull request of its own, {_lower(what)}."
        if len(steps) > 1:
            each = [f"{name}: {_lower(imperative(step))}" for name, step in steps.items()]
            own = f"In a pull request of its own: {'; '.join(f'({i}) {one}' for i, one in enumerate(each, 1))}."
        return f"{own} Merge that one, then run this gate again{_took(report)}. {FROM_BASE}"
    return f"{what}{'' if what.startswith('Run ') else ', and run this gate again'}{_took(report)}."


def _and(parts: Sequence[str]) -> str:
    return listed([part if i == 0 else _lower(part) for i, part in enumerate(parts)])


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _took(report: Report) -> str:
    """How long this run took, which says how long the next one will."""
    seconds = sum(report.timing.values())
    return f" (about {numbers.about(seconds)})" if seconds >= 1 else ""


def _first_of_each(report: Report, steps: Sequence[str]) -> dict[str, str]:
    """The first step, and the first one on each other measurement that keeps a candidate from a verdict."""
    first = next((name for name, m in by_weight(report) if m.gates), "")
    firsts = {numbers.in_sentence(first): steps[0]}
    for name, m in report.measurements.items():
        title = f"{numbers.title(name)}: "
        step = next((step for step in steps[1:] if step.startswith(title)), "")
        if step and m.gates and m.status == "inconclusive":
            firsts[numbers.in_sentence(name)] = step.removeprefix(title)
    return firsts
