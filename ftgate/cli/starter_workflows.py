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
_UPLOAD_ARTIFACT = "actions/upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a # v7.0.1"
_REPORT_STEP = re.compile(r"      - uses: (?P<cpu>\S+/cpu\S*)\n        with: \{mode: report(?P<rest>.*)\}\n")
_PAGES_STEPS = """\
      - id: report
        uses: {cpu}
        with: {{mode: report{rest}, pages: "{address}"}}
      - if: always() && steps.report.outputs.pages == 'true' # also where the verdict is a block
        uses: {upload}
        with: {{name: github-pages, path: ftgate-pages/artifact.tar, retention-days: 1, overwrite: true}}
"""
_PAGES_OUTPUT = '    outputs: {pages: "${{ steps.report.outputs.pages }}"}\n    steps:\n'
_PAGES_JOB = """
  pages:
    name: publish the page
    needs: JOB
    if: ${{ !cancelled() && needs.JOB.outputs.pages == 'true' }}
    runs-on: ${{ vars.FTGATE_RUNNER || 'ubuntu-latest' }}
    timeout-minutes: 15
    environment: github-pages # lets `refs/pull/*/merge` deploy
    permissions:
      pages: write # replaces the site
      id-token: write # shows the deployment which workflow it is from
    steps:
      - uses: actions/deploy-pages@d6db90164ac5ed86f2b6aed7e0febac5b3c0c03e # v4.0.5
"""
_CANCELLED_FOR_PAGES = "cancel-in-progress: ${{ startsWith(github.event_name, 'pull_request') }}"


def with_pages(text: str, address: str) -> str:
    """The jobs ``text`` with a report job that leaves the pages of its reports for the site at ``address``."""

    def steps(match: re.Match[str]) -> str:
        return _PAGES_STEPS.format(**match.groupdict(), address=address, upload=_UPLOAD_ARTIFACT)

    before, report = text.rsplit("\n  report:\n", 1)
    report = _REPORT_STEP.sub(steps, report).replace("    steps:\n", _PAGES_OUTPUT, 1)
    return f"{before}\n  report:\n{report}"


def starter_workflow(
    text: str, repository: str, commit: str, *, host: str, branch: str, forks: bool, ledger: bool, pages: str = ""
) -> str:
    """The workflow ``text`` for a repository that takes the actions from ``repository`` at ``commit`` on ``host``.

    ``pages``: the address of the site to which it publishes pages; empty for none.
    """
    if pages:  # a deployment for a release or a merge queue is not cut short
        text = text.replace("cancel-in-progress: true", _CANCELLED_FOR_PAGES)
    if pages and GATE in text:
        text = f"{text.rstrip()}\n      pages: {pages}\n{_PAGES_JOB.replace('JOB', 'gate')}"
    elif pages and "{mode: report}" in text:
        text = f"{with_pages(text, pages)}{_PAGES_JOB.replace('JOB', 'report')}"
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
