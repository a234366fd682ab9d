"""The first thing to do about a verdict: whose turn it is, one imperative sentence, and how. Not escaped yet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftgate.report import deployed, numbers
from ftgate.report.advice.files import files_of, path_as_code
from ftgate.report.advice.undecided import items_needed, what_settles
from ftgate.report.cautions import unmet_checks
from ftgate.report.explanation import listed
from ftgate.report.schema import Report
from ftgate.report.tables import by_weight

AUTHOR, REVIEWER = "author", "reviewer"
POLICY_OWNER = "policy owner"
RUNNER = "whoever runs the gate"
OWN_PULL_REQUEST = "a separate pull request (the gate ignores changes to these files in this one)"
SOLVE = "Solve"
"""How a step begins that a failure of the gate asks for: what follows its colon is the failure, and no reason."""
FAILURES = (f"{SOLVE} this: ", f"{SOLVE} the failure")
"""Those among these steps that are about the gate's machine, and not about the policy."""
CHANGE = "Change the candidate"
MOST_UNMET = 3
"""Of the checks that are not met, so many are named."""
UNCHANGED = "This does not change the verdict; it says how far to trust the scores."
NO_RETRAINING = "no retraining"
"""What a step says whose reason is a recipe that stands open."""
_HEAD = re.compile(r"(?:`[^`]*`|[^`:])*")
"""A step up to its colon: what to do. A colon inside code ends nothing."""
_NOT_TRAINED = ("train again", NO_RETRAINING)
"""What a step says that needs no second order to train."""


@dataclass(frozen=True, slots=True)
class FirstStep:
    """What to do next. Names in it stand between backticks."""

    doer: str
    """Whose turn it is."""
    action: str
    """One sentence in the imperative."""
    details: tuple[str, ...] = ()
    """How to do it, and what follows: sentences for those who do it."""

    @property
    def heading(self) -> str:
        """``What to do next (author)``."""
        return f"What to do next ({self.doer})"


def first_step(report: Report, steps: Sequence[str]) -> FirstStep | None:
    """What to do first about ``steps``, and about an allow; None where there is nothing to say."""
    if report.verdict == "allow":
        return _merge(report, steps)
    if not steps:
        return None
    if _waits(report):
        return _settle(report, steps)
    manifest = files_of(report, "").manifest
    if not manifest:
        return FirstStep(AUTHOR, f"{imperative(steps[0])}.")
    again = "" if any(words in steps[0].lower() for words in _NOT_TRAINED) else "train again, "
    weights = f"Then {again}enter the path of the new weights in {path_as_code(manifest)}, and push"
    again = f"{weights}: the gate runs again by itself{_took(report)}."
    return FirstStep(AUTHOR, f"{imperative(steps[0])}.", (*_recipe(steps[0]), again))


def more_steps(report: Report, steps: Sequence[str]) -> list[str]:
    """The reason for the first of ``steps``, where :func:`first_step` leaves it out, and all others."""
    if not steps or numbers.outcome(report) == "allow":
        return list(steps)
    shown = first_step(report, steps)
    opened = shown is not None and _recipe(steps[0]) == shown.details[:1]
    return list(steps[1:] if opened or imperative(steps[0]) == steps[0].rstrip(".") else steps)


def _recipe(step: str) -> tuple[str, ...]:
    """How to do what needs no training, which follows the colon; nothing for other steps, where that is a reason."""
    head = imperative(step)
    how = step[len(head) :].lstrip(": ") if NO_RETRAINING in head else ""
    return (f"{how[:1].upper()}{how[1:]}",) if how else ()


def imperative(step: str) -> str:
    """What to do, without the reason, which follows a colon."""
    head = _HEAD.match(step)
    return step.rstrip(".") if head is None or step.startswith(SOLVE) else head[0].rstrip(".")


def _merge(report: Report, steps: Sequence[str]) -> FirstStep:
    """An allow is the reviewer's to accept: what warns first, then the checks on the test itself that are not met."""
    unmet = unmet_checks(report)
    named = tuple(f"For your information: {caution}" for caution in unmet[:MOST_UNMET])
    if (more := len(unmet) - MOST_UNMET) > 0:
        named = (*named, f"{numbers.count(more)} more {'check is' if more == 1 else 'checks are'} not met (checklist).")
    if unmet:
        named = (*named, UNCHANGED)
    if numbers.outcome(report) == "warn":
        otherwise = (f"If not, ask the author to {_lower(imperative(steps[0]))}.",) if steps else ()
        return FirstStep(REVIEWER, "Merge if you accept what was lost.", (*otherwise, *named))
    if not unmet:
        return FirstStep(REVIEWER, f"You may merge: {_passed(report)}.")
    return FirstStep(REVIEWER, "You may merge; nothing else is required.", named)


def _passed(report: Report) -> str:
    """``every measurement passed``, of those that gate and apply."""
    gating = [m for m in report.measurements.values() if m.gates]
    some = ["gates"] * (len(gating) < len(report.measurements))
    some += ["applies"] * any(m.status == "not_applicable" for m in gating)
    return f"every measurement {f'that {listed(some)} ' if some else ''}passed"


def _waits(report: Report) -> bool:
    """Whether nothing that counts is beyond its limit: then evidence is missing, whatever the policy makes of that."""
    beyond = any(m.gates and m.status == "block" for m in report.measurements.values())
    return not beyond and not any(part.status == "block" for _, part in deployed.failing(report))


def _settle(report: Report, steps: Sequence[str]) -> FirstStep:
    """What settles what is undecided: mostly the policy's own change first, then the run."""
    first = steps[0]
    if first.startswith(SOLVE):
        doer = RUNNER if first.startswith(FAILURES) else _policy_owner(report)
        problem, _, reason = first.partition(": ")
        what = "Repair what failed" if first.startswith(FAILURES[0]) else problem
        failure = (f"{reason[:1].upper()}{reason[1:]}",) if reason else ()
        return FirstStep(doer, f"{what}, then run this gate again{_took(report)}.", failure)
    doer = AUTHOR if first.startswith(CHANGE) else _policy_owner(report)
    of_each = _first_of_each(report, steps)
    counts = [_needed(name, *needed) for name, step in of_each.items() if (needed := _items(report, name, step))]
    lead = next(iter(of_each))
    measured = bool(counts) and _items(report, lead, of_each[lead]) is not None
    action = f"Test on more items: {', '.join(counts)}" if measured else imperative(first)
    others = {name: step for name, step in of_each.items() if measured or name != lead}
    own = _in_own_pull_request(report, others, action, several=len(of_each) > 1)
    if own:
        return FirstStep(doer, f"{action}.", own)
    rest = [imperative(step) for name, step in others.items() if not _items(report, name, step)]
    how = () if not rest else (f"{_and(rest)}.",)
    again = () if action.startswith("Run ") else (f"Then run this gate again{_took(report)}.",)
    return FirstStep(doer, f"{action}.", (*how, *again))


def _policy_owner(report: Report) -> str:
    """``owner of `.github/ftgate.yml```; without the policy's path in general words."""
    policy = files_of(report, "").policy
    return f"owner of {path_as_code(policy)}" if policy else POLICY_OWNER


def _in_own_pull_request(report: Report, others: Mapping[str, str], action: str, *, several: bool) -> tuple[str, ...]:
    """How to change the policy and its suites, which are read from the base branch; empty where nothing names them."""
    named = {path_as_code(path) for name in report.measurements for path in _paths(report, name)}
    texts = [action, *map(imperative, others.values())]
    if not any(path in text for path in named for text in texts):
        return ()
    hows = [_lower(imperative(step)) for step in others.values()]
    if several:
        hows = [f"for {numbers.in_sentence(name)}, {how}" for name, how in zip(others, hows, strict=True)]
    if len(hows) > 1:
        hows = [f"({number}) {how}" for number, how in enumerate(hows, 1)]
    own = f"Open {OWN_PULL_REQUEST}. In it{':' if several else ','} {'; '.join(hows)}."
    if not hows:
        own = f"Do so in {OWN_PULL_REQUEST}."
    return own, f"Merge it, then run this gate again{_took(report)}."


def _paths(report: Report, name: str) -> list[str]:
    files = files_of(report, name)
    return [path for path in (files.policy, files.suite) if path]


def _items(report: Report, name: str, step: str) -> tuple[int, int] | None:
    """How many items a measurement had and needs, where ``step`` asks for them."""
    m, files = report.measurements.get(name), files_of(report, name)
    if m is None or m.status != "inconclusive":
        return None
    asks = _lower(step) == _lower(files.speak(what_settles(m, files)))
    return items_needed(m) if asks else None


def _needed(name: str, had: int, needed: int) -> str:
    return f"{numbers.in_sentence(name)} {numbers.count(had)} → {numbers.count(needed)}"


def _first_of_each(report: Report, steps: Sequence[str]) -> dict[str, str]:
    """The first step, and the first one on each other measurement that keeps a candidate from a verdict, by name."""
    lead = next((name for name, m in by_weight(report) if m.gates), "")
    firsts = {lead: steps[0]}
    for name, m in report.measurements.items():
        title = f"{numbers.title(name)}: "
        step = next((step for step in steps[1:] if step.startswith(title)), "")
        if step and m.gates and m.status == "inconclusive":
            firsts[name] = step.removeprefix(title)
    return firsts


def _and(parts: Sequence[str]) -> str:
    return listed([part if i == 0 else _lower(part) for i, part in enumerate(parts)])


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _took(report: Report) -> str:
    """How long this run took, which says how long the next one will."""
    seconds = sum(report.timing.values())
    return f" (about {numbers.about(seconds)})" if seconds >= 1 else ""
