"""`ftgate doctor` on who publishes: the App and the environment with its key, and the identities that sign."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from ftgate.config.policy import GITHUB_ISSUER, PublishSettings
from ftgate.github.audit.quotes import ACTIONS_BOT
from ftgate.github.client import GitHubRepo
from ftgate.github.findings import SetupCheck
from ftgate.github.retry import or_none
from ftgate.github.workflow_file import GateWorkflow

OTHER_REFS = ("pull_request", "merge_group", "release")
"""Events whose runs are of refs that whoever may push can make."""


def own_app(publish: PublishSettings) -> str:
    """The name of the App that publishes, if the policy names one of one's own."""
    slug, bot, _ = (publish.expected_creator or "").partition("[bot]")
    return slug if bot and publish.expected_creator != ACTIONS_BOT else ""


def wanted_permissions(publish: PublishSettings) -> dict[str, str]:
    """What whoever publishes needs, by the names of a workflow's ``permissions``."""
    return {
        "statuses": "read" if publish.as_ == "check" else "write",
        "pull-requests": "write",
        "checks": "write",
        "contents": "write" if publish.ledger == "branch" else "read",
    }


def lacking(wanted: Mapping[str, str], given: Mapping[str, str]) -> str:
    """The permissions of ``wanted`` that are not given, as a list to read; empty if all are."""
    return ", ".join(f"{scope}: {level}" for scope, level in wanted.items() if given.get(scope) not in (level, "write"))


def check_app(
    repo: GitHubRepo, path: str, workflow: GateWorkflow, branch: str, publish: PublishSettings, settings: str
) -> Iterator[SetupCheck]:
    """Whether the App may do what publishing takes, and nobody but ``branch``'s workflow can read its key."""
    app = own_app(publish)
    if not app:
        return
    if not workflow.environments:
        fix = f"move {path} away, and write it with `ftgate init --app {app}` (docs/github.md)"
        yield SetupCheck("missing", f"no job publishes as {app}, which is publish.expected_creator", fix)
    answer = repo.app(app)
    if answer is not None:
        given = {scope.replace("_", "-"): str(level) for scope, level in answer["permissions"].items()}
        if lacks := lacking(wanted_permissions(publish) | {"actions": "read"}, given):
            fix = f"in the App's settings, Permissions & events, give it {lacks}; accept that where it is installed"
            yield SetupCheck("missing", f"the App {app} lacks {lacks}", fix)
        else:
            yield SetupCheck("ok", f"the App {app} asks for the permissions that publishing takes")
    for name in sorted(set(workflow.environments.values())):
        yield _environment(repo, name, path, branch, settings)
    others = [event for event in OTHER_REFS if event in workflow.events]
    if any(workflow.environments.values()) and others:
        text = (
            f"{path} runs on {', '.join(others)}: such a run is not of {branch}, so that it cannot have the App's key"
        )
        yield SetupCheck("missing", text, f"write it with `ftgate init --app {app}`, which runs it for {branch} alone")


def _environment(repo: GitHubRepo, name: str, path: str, branch: str, settings: str) -> SetupCheck:
    """Whether jobs of ``branch`` alone can read the secrets of the environment ``name``."""
    fix = f"{settings}/environments: give {name or 'ftgate-publish'} the deployment branch {branch}, and no other"
    if not name:
        text = f"{path}: the App's key is not in an environment: a workflow that is pushed to any branch can read it"
        return SetupCheck("missing", text, f"{fix}; keep the key there alone, and name it in the jobs")
    place = f"/environments/{quote(name, safe='')}"
    what = f"read the environment {name}"
    answer = or_none(lambda: repo.read(place, what))
    if answer is None:
        return SetupCheck("missing", f"the environment {name}, for the App's key, does not exist", fix)
    rule = answer.get("deployment_branch_policy")
    if rule is None:
        text = f"the environment {name} is for every branch: whoever may push can read the App's key"
        return SetupCheck("missing", text, fix)
    if not rule["custom_branch_policies"]:
        return SetupCheck("ok", f"the environment {name} is for protected branches alone")
    rules = repo.read_all(f"{place}/deployment-branch-policies", what, within="branch_policies")
    others = ", ".join(rule["name"] for rule in rules if rule["name"] != branch or rule.get("type") == "tag")
    if others:
        return SetupCheck("missing", f"the environment {name} also lets {others} read the App's key", fix)
    return SetupCheck("ok", f"the environment {name} is for {branch} alone")


def check_signers(
    path: str, workflow: GateWorkflow, waiving: str, branch: str, publish: PublishSettings, repository: str
) -> Iterator[SetupCheck]:
    """Whether the identities that the policy names are those of the workflows in use.

    ``repository`` is its address; ``waiving`` the path of the workflow that waives, or empty.
    """
    signers = publish.signers
    if publish.sign and not signers:
        fix = "name the workflows that publish in publish.certificate_identity, as `ftgate init --sign` does"
        yield SetupCheck("note", "records are signed, and the policy does not say whose signatures count", fix)
    if not signers or publish.certificate_oidc_issuer != GITHUB_ISSUER:
        return
    rewrite = f"move {path} away, and write it with `ftgate init --sign` (docs/audit.md)"
    if workflow.calls:
        called = f"https://github.com/{workflow.calls}"
        if called in signers:
            text = f"publish.certificate_identity names {called}, which any workflow that is pushed can call"
        else:
            text = f"{path} signs as {called}, which publish.certificate_identity does not name: no allow counts"
        yield SetupCheck("missing", text, rewrite)
        return
    if "pull_request" in workflow.events:
        text = f"{path} runs on pull_request, where it signs as the change's workflow: no allow of it counts"
        yield SetupCheck("missing", text, rewrite)
    for place, what in ((path, "allow"), (waiving, "waiver")):
        identity = f"{repository}/{place}@refs/heads/{branch}"
        if place and identity not in signers:
            text = f"publish.certificate_identity does not name {identity}: no {what} counts"
            yield SetupCheck("missing", text, "add it there; it may be a list")
    own = re.escape(f"{repository}/.github/workflows/") + r"[^@]+@refs/heads/" + re.escape(branch)
    if all(re.fullmatch(own, signer) for signer in signers):
        yield SetupCheck("ok", f"the signatures that count are of workflows of {branch}")
