"""The workflows that `ftgate init` writes: one that calls gate.yml, or the project's own ones with all jobs. Pure."""

from __future__ import annotations

import re

NO_COMMIT = "OWNER/ftgate@" + "0" * 40
"""Placeholder for the action's repository and commit. No such commit exists, so nothing runs by mistake."""
GATE = "/.github/workflows/gate.yml@"
CHECKOUT_STEP = re.compile(r" +- (?:if: .*\n +)?uses: actions/checkout@.*\n +with: .*\n")
_EVALUATE_STEP = re.compile(r"^( +)- uses: \./gpu$", re.MULTILINE)
_FORK_TRIGGER = re.compile(r"  pull_request_target:.*\n(?:    branches: .*\n)?")
_FORK_CONDITION = re.compile(r"    # Each pull request has one of its two events.*\n    if: >-\n(?:      .*\n)+")
_FORK_ENVIRONMENT = re.compile(r"    # A fork's change waits here.*\n    environment: .*\n")
_FORK_PERMISSION = re.compile(r"      actions: read #.*\n")
_NOT_FOR_FORKS = """\
    # A fork's own event has a token that can only read, so that no status could be set. `ftgate init --forks` writes a
    # workflow that judges pull requests from forks, each after an approval.
    if: github.event_name != 'pull_request' || github.event.pull_request.head.repo.full_name == github.repository
"""
_LEDGER_PERMISSION = re.compile(r"contents: write # the ledger branch.*")
_INPUTS = """\
{indent}- uses: ./gpu
{indent}  with:
{indent}    models: /models # where the models of the manifests are on the machine
{indent}    cache: ${{{{ runner.tool_cache }}}}/ftgate # keeps downloads and answers from run to run
"""


def starter_workflow(
    text: str, repository: str, commit: str, *, host: str, branch: str, forks: bool, ledger: bool
) -> str:
    """The workflow ``text`` for a repository that takes the actions from ``repository`` at ``commit`` on ``host``."""
    text = CHECKOUT_STEP.sub("", text)
    text = _EVALUATE_STEP.sub(lambda match: _INPUTS.format(indent=match[1]).rstrip("\n"), text)
    text = re.sub(r"uses: \./(\w+)$", rf"uses: {repository}/\1@{commit}", text, flags=re.MULTILINE)
    text = with_action(text, NO_COMMIT, repository, commit)
    text = re.sub(r"^# (docs/\w+\.md)$", rf"# https://{host}/{repository}/blob/{commit}/\1", text, flags=re.MULTILINE)
    text = text.replace("branches: [main]", f"branches: [{branch}]")
    if not forks:
        text = _FORK_TRIGGER.sub("", text)
        if GATE not in text:  # which asks for this permission whoever calls it
            text = _FORK_CONDITION.sub(_NOT_FOR_FORKS, text)
            text = _FORK_ENVIRONMENT.sub("", _FORK_PERMISSION.sub("", text))
    if not ledger:
        text = _LEDGER_PERMISSION.sub("contents: read # `write` with publish: {ledger: branch} in the policy", text)
    return text


def with_action(text: str, placeholder: str, repository: str, commit: str) -> str:
    """A workflow written earlier, with ``repository`` and ``commit`` for its ``placeholder`` (owner/name@commit)."""
    unknown, _, nothing = placeholder.partition("@")
    uses = re.compile(rf"{re.escape(unknown)}(/[\w./-]+)@{nothing}")
    text = uses.sub(lambda match: f"{repository}{match[1]}@{commit}", text)
    return text.replace(f"{unknown}/blob/{nothing}/", f"{repository}/blob/{commit}/")
