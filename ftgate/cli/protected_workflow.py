"""The workflows of `ftgate init --app` and `--sign`, which a change can neither edit nor imitate. Pure.

Pull requests run the protected branch's own workflow (`pull_request_target`), so that an environment can keep the App's
key to that branch, and the identity that signs is that branch's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ENVIRONMENT = "ftgate-publish"
"""The environment that holds the App's id and key."""
_OWN_TRIGGER = re.compile(r"  pull_request: # .*\n    branches: .*\n")
_TARGET_TRIGGER = re.compile(r"(  pull_request_target:) # .*")
_TARGET_REASON = r"\1 # zizmor: ignore[dangerous-triggers] this branch's workflow; nothing of the change is executed"
_CONDITION = re.compile(r"    # Each pull request has one of its two events.*\n    if: >-\n(?:      .*\n)+")
_NO_FORKS = """\
    # `ftgate init --forks` writes a workflow that judges pull requests from forks, each after an approval.
    if: >-
      github.event_name != 'pull_request_target' ||
      github.event.pull_request.head.repo.full_name == github.repository
"""
_APPROVAL = re.compile(r"    # A fork's change waits here.*\n    environment: .*\n")
_OF_ANY = "github.event_name == 'pull_request_target' && 'ftgate-forks'"
_OF_A_FORK = (
    "github.event_name == 'pull_request_target' && "
    "github.event.pull_request.head.repo.full_name != github.repository && 'ftgate-forks'"
)
_OTHER_REFS = re.compile(r"  merge_group:\n|  release:\n    types: .*\n")
"""Events whose runs are of other refs, which whoever may push can make: the environment does not let them in."""
_PERMISSIONS = re.compile(r"    permissions:\n(?:      .*\n)+")
_PUBLISHES = re.compile(r"with: \{mode: (\w+)\}")
_AS_APP = (
    r'with: {mode: \1, app-id: "${{ vars.FTGATE_APP_ID }}", '
    r'app-private-key: "${{ secrets.FTGATE_APP_PRIVATE_KEY }}"}'
)
_SIGNERS = ("report", "waive")
"""The jobs whose records are signed."""


def protected_workflow(text: str, *, forks: bool, app: bool, sign: bool) -> str:
    """The workflow ``text``, which has all jobs, so that it runs as it is on the protected branch.

    With ``app`` its jobs publish as an App of one's own, with ``sign`` they may sign records.
    """
    text = _TARGET_TRIGGER.sub(_TARGET_REASON, _OWN_TRIGGER.sub("", text))
    text = _CONDITION.sub("" if forks else _NO_FORKS, text)
    text = text.replace(_OF_ANY, _OF_A_FORK) if forks else _APPROVAL.sub("", text)
    if app:
        text = _OTHER_REFS.sub("", text)
    return re.sub(
        r"(?ms)^  (\w+):\n    name:.*?(?=^  \w|\Z)", lambda job: _job(job[0], job[1], app=app, sign=sign), text
    )


def _job(text: str, name: str, *, app: bool, sign: bool) -> str:
    """One job of the workflow; those that run no mode of ``cpu/`` are left alone."""
    if not _PUBLISHES.search(text):
        return text
    signs = sign and name in _SIGNERS
    if not app:
        return (
            _PERMISSIONS.sub(r"\g<0>      id-token: write # signs the record" + "\n", text, count=1) if signs else text
        )
    own = "{id-token: write} # signs the record; the App does the rest" if signs else "{} # the App publishes"
    environment = f"    environment: {ENVIRONMENT} # has the App's id and key, for the protected branch alone\n"
    text = _PERMISSIONS.sub(f"{environment}    permissions: {own}\n", text, count=1)
    return _PUBLISHES.sub(_AS_APP, text)


def publish_section(*, ledger: bool, app: str, signers: Sequence[str]) -> str:
    """The policy's section ``publish``: with the branch ledger, the App's name, and the identities that sign."""
    lines = ["publish:"]
    if ledger:
        lines.append("  ledger: branch # the audit trail that releases and waivers rest on")
    if app:
        lines.append(f'  expected_creator: "{app}[bot]" # the App that publishes')
    if signers:
        lines += ["  sign: sigstore", "  certificate_identity: # whose signatures count: the workflows that publish"]
        lines += [f"    - {signer}" for signer in signers]
    return "\n".join(lines)
