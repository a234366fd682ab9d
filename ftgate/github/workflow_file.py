"""What a repository's workflow says about its gate, whether it calls gate.yml or has all jobs itself. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

GATE = "/.github/workflows/gate.yml@"
"""The reusable workflow with the three jobs, in a job's ``uses``."""
GPU = "/gpu@"
"""The action that evaluates, in a step's ``uses``."""


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
    forks: bool
    """Whether an event of the base repository starts it for forks."""
    branches: frozenset[str] | None
    """Those into which pull requests start it; empty: all of them; None: pull requests do not start it."""


def read_workflow(text: str) -> GateWorkflow:
    """The gate of the workflow ``text``. What cannot be read is left empty."""
    try:
        workflow = _mapping(yaml.safe_load(text))
    except yaml.YAMLError:
        workflow = {}
    triggers = workflow.get(True, workflow.get("on"))  # YAML 1.1 reads the key `on` as true
    forks = isinstance(triggers, dict | list | str) and "pull_request_target" in triggers
    branches = _branches(triggers)
    jobs = {str(name): _mapping(job) for name, job in _mapping(workflow.get("jobs")).items()}
    calling = next((name for name, job in jobs.items() if GATE in str(job.get("uses", ""))), None)
    if calling is not None:
        inputs = _strings(jobs[calling].get("with"))
        labels = _labels(inputs.get("runner", '["self-hosted", "gpu"]'))
        return GateWorkflow(calling, _strings(jobs[calling].get("permissions")), labels, inputs, forks, branches)
    evaluate = jobs.get("evaluate", {})
    steps = evaluate.get("steps")
    ours = [step for step in map(_mapping, steps if isinstance(steps, list) else []) if GPU in str(step.get("uses"))]
    inputs = _strings(ours[0].get("with")) if ours else {}
    permissions = _strings(jobs.get("report", {}).get("permissions"))
    return GateWorkflow("report", permissions, _labels(evaluate.get("runs-on")), inputs, forks, branches)


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
    """The labels of ``runs-on``: a name, a list, or a list in JSON."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    names = value if isinstance(value, list) else [value] if value else []
    return frozenset() if any("${{" in str(name) for name in names) else frozenset(str(name).lower() for name in names)


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}


def _strings(value: object) -> Mapping[str, str]:
    return {str(name): str(given) for name, given in _mapping(value).items()}
