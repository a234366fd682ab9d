"""The reusable workflow gate.yml, made from the project's own ftgate.yml: the same three jobs, with inputs.

`make reference` writes it. A repository calls it by one commit, and `$/cpu` is then this repository at that commit.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ftgate.cli.starter_workflows import CHECKOUT_STEP, with_pages

WORKFLOWS = Path(__file__).resolve().parent.parent / ".github" / "workflows"
HEAD = """\
# The three jobs of ftgate.yml for other repositories: `ftgate init` writes the workflow that calls this one. Made from
# ftgate.yml by `make reference`. How to set it up:
# docs/github.md
name: ftgate gate

on: # zizmor: ignore[excessive-permissions] those of the caller, see below
  workflow_call:
    inputs:
      policy:
        description: Path of the policy in the repository; it is read from the base branch
        type: string
        default: .github/ftgate.yml
      runner:
        description: Labels of the machine with the GPUs, as a JSON list
        type: string
        default: '["self-hosted", "gpu"]'
      pages:
        description: "{pages}"
        type: string
        default: ""
{gpu}    outputs:
      pages:
        description: Whether the artifact github-pages holds the pages of the reports
        value: ${{{{ jobs.report.outputs.pages }}}}

# Nothing on `permissions` here: it would be the most that a job without a word of its own may do, which is the caller's
# to say. The job that runs the models says that it may do nothing.

jobs:
"""
GPU_INPUTS = ("gpus", "shm-size", "cache", "models", "credentials", "pass-env", "image", "base-image")
_PERMISSIONS = re.compile(r"    permissions:\n(?:      .*\n)+")


def gate_workflow() -> str:
    """The text of gate.yml."""
    own = (WORKFLOWS / "ftgate.yml").read_text(encoding="utf-8")
    jobs = CHECKOUT_STEP.sub("", own.split("\njobs:\n", 1)[1])
    before, report = jobs.split("\n  report:\n", 1)
    inherited = (
        "    # zizmor: ignore[excessive-permissions] as the caller says: `contents: write` is only for a ledger\n"
    )
    # A called job may not ask for more than its caller has, and only callers with a ledger let the report write it.
    jobs = f"{before}\n  report:\n{_PERMISSIONS.sub(inherited, report)}"
    jobs = jobs.replace("runs-on: [self-hosted, gpu] #", "runs-on: ${{ fromJSON(inputs.runner) }} #")
    given = "".join(f"          {name}: {_value(name)}\n" for name in GPU_INPUTS)
    jobs = jobs.replace("      - uses: ./gpu\n", f"      - uses: $/gpu\n        with:\n{given}")
    jobs = jobs.replace("uses: ./cpu", "uses: $/cpu")
    jobs = re.sub(r"with: \{mode: (\w+)\}", r'with: {mode: \1, policy: "${{ inputs.policy }}"}', jobs)
    jobs = with_pages(jobs, "${{ inputs.pages }}")
    pages = yaml.safe_load((WORKFLOWS.parents[1] / "cpu" / "action.yml").read_text(encoding="utf-8"))["inputs"]["pages"]
    return HEAD.format(gpu="".join(map(_input, GPU_INPUTS)), pages=pages["description"]) + jobs


def _value(name: str) -> str:
    own = f"inputs.{name}"
    return "${{ inputs.cache || format('{0}/ftgate', runner.tool_cache) }}" if name == "cache" else f"${{{{ {own} }}}}"


def _input(name: str) -> str:
    """The input ``name`` of gpu/action.yml, with the same description and default."""
    action = yaml.safe_load((WORKFLOWS.parents[1] / "gpu" / "action.yml").read_text(encoding="utf-8"))
    described, default = (action["inputs"][name][key] for key in ("description", "default"))
    described += "; by default `ftgate` in the tool cache" if name == "cache" else ""
    fields = (f'description: "{described}"', "type: string", f'default: "{default}"')
    return f"      {name}:\n" + "".join(f"        {field}\n" for field in fields)
