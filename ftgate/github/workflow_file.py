"""What a repository's workflows say about its gate, whether they call gate.yml or have all jobs themselves. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

GATE = "/.github/workflows/gate.yml@"
"""The reusable workflow with the three jobs, in a job's ``uses``."""
GPU = "/gpu@"
"""The action that evaluates, in a step's ``uses``."""
DEFAULT_POLICY = ".github/ftgate.yml"
_CPU = re.compile(r".*/cpu@.*|[\w.-]+/[\w.-]+@.*")
"""The action that publishes: `cpu/`, or the one of the whole repository."""
_DEFAULT_RUNNER = '["self-hosted", "gpu"]'


@dataclass(frozen=True, slots=True)
class GateWorkflow:
    """The parts of a workflow on which its gate depends."""

    job: str
    """The job whose permissions the report has."""
    permissions: Mapping[str, str]
    labels: frozenset[str]
    """Labels of the runner that evaluates, in lower case; empty if an expression names them."""
    inputs: Mapping[str, str]
    """What the evaluation is given, by the names of gpu/action.yml."""
    branches: frozenset[str] | None
    """Those into which pull requests start it; empty: all of them; None: pull requests do not start it."""
    events: frozenset[str]
    """The events that start it."""
    calls: str
    """The reusable workflow that it calls, ``owner/name/.github/workflows/gate.yml@commit``; empty if none."""
    environments: Mapping[str, str]
    """The jobs that publish as an App, each with the environment that has the key, or an empty text."""
    bad_runner: str
    """The input `runner` of gate.yml, if it is not JSON; else empty."""

    @property
    def forks(self) -> bool:
        """Whether an event of the base repository starts it, as for forks."""
        return "pull_request_target" in self.events


def read_workflow(text: str) -> GateWorkflow:
    """The gate of the workflow ``text``. What cannot be read is left empty."""
    workflow = _parsed(text)
    triggers = workflow.get(True, workflow.get("on"))  # YAML 1.1 reads the key `on` as true
    events = frozenset(map(str, triggers if isinstance(triggers, dict | list) else [triggers] if triggers else []))
    jobs = _jobs(workflow)
    branches = _branches(triggers)
    calling = next((name for name, job in jobs.items() if GATE in str(job.get("uses", ""))), None)
    if calling is not None:
        inputs, uses = _strings(jobs[calling].get("with")), str(jobs[calling]["uses"])
        runner = inputs.get("runner", _DEFAULT_RUNNER)
        bad = "" if "${{" in runner or _is_json(runner) else runner
        labels = frozenset() if bad else _labels(_from_json(runner))
        permissions = _strings(jobs[calling].get("permissions"))
        return GateWorkflow(calling, permissions, labels, inputs, branches, events, uses, {}, bad)
    evaluate = jobs.get("evaluate", {})
    ours = [step for step in _steps(evaluate) if GPU in str(step.get("uses"))]
    inputs = _strings(ours[0].get("with")) if ours else {}
    permissions, labels = _strings(jobs.get("report", {}).get("permissions")), _labels(evaluate.get("runs-on"))
    keyed = {name: _environment(job) for name, job in jobs.items() if "app-private-key" in str(job.get("steps"))}
    return GateWorkflow("report", permissions, labels, inputs, branches, events, "", keyed, "")


def modes(text: str, policy: str) -> frozenset[str]:
    """Which modes of the action the workflow ``text`` runs under the policy at this path, such as report and waive."""
    ran = set()
    for job in _jobs(_parsed(text)).values():
        if GATE in str(job.get("uses", "")):
            ran |= {"report"} if _strings(job.get("with")).get("policy", DEFAULT_POLICY) == policy else set()
        for step in _steps(job):
            given = _strings(step.get("with"))
            if _CPU.fullmatch(str(step.get("uses"))) and given.get("policy", DEFAULT_POLICY) == policy:
                ran |= {given["mode"]} if "mode" in given else set()
    return frozenset("report" if mode == "all" else mode for mode in ran)


def _parsed(text: str) -> Mapping[Any, Any]:
    try:
        return _mapping(yaml.safe_load(text))
    except yaml.YAMLError:
        return {}


def _jobs(workflow: Mapping[Any, Any]) -> dict[str, Mapping[Any, Any]]:
    return {str(name): _mapping(job) for name, job in _mapping(workflow.get("jobs")).items()}


def _steps(job: Mapping[Any, Any]) -> list[Mapping[Any, Any]]:
    steps = job.get("steps")
    return [_mapping(step) for step in steps] if isinstance(steps, list) else []


def _environment(job: Mapping[Any, Any]) -> str:
    """The name of the job's environment."""
    value = job.get("environment")
    return str(value.get("name", "") if isinstance(value, dict) else value or "")


def _branches(triggers: object) -> frozenset[str] | None:
    """The branches of the pull requests that start the workflow; empty: all; None: no pull request does."""
    events = [e for e in ("pull_request", "pull_request_target") if isinstance(triggers, dict | list) and e in triggers]
    if triggers in ("pull_request", "pull_request_target"):
        return frozenset()
    if not events:
        return None
    named = [_mapping(triggers[event]).get("branches") if isinstance(triggers, dict) else None for event in events]
    lists = [given if isinstance(given, list) else [given] if given else [] for given in named]
    return frozenset(str(branch) for given in lists for branch in given) if all(lists) else frozenset()


def _labels(value: object) -> frozenset[str]:
    """The labels of ``runs-on``: a name, a list, or those of a group of runners."""
    value = value.get("labels") if isinstance(value, dict) else value
    names = value if isinstance(value, list) else [value] if value else []
    return frozenset() if any("${{" in str(name) for name in names) else frozenset(str(name).lower() for name in names)


def _from_json(value: str) -> object:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _is_json(value: str) -> bool:
    """Whether the expression fromJSON makes a label or labels of it."""
    return isinstance(_from_json(value), list | dict) or value.startswith('"')


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}


def _strings(value: object) -> Mapping[str, str]:
    return {str(name): str(given) for name, given in _mapping(value).items()}
