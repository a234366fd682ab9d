"""`ftgate doctor`: whether a repository is set up so that the verdict decides what is merged. Only reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from ftgate.config.policy import PublishSettings
from ftgate.errors import FtgateError
from ftgate.github.audit.quotes import ACTIONS_BOT
from ftgate.github.client import GitHubRepo
from ftgate.github.doctor_machine import check_cache, check_images, check_runners
from ftgate.github.doctor_publisher import check_app, check_signers, lacking, own_app, wanted_permissions
from ftgate.github.event import RunTarget
from ftgate.github.findings import SetupCheck
from ftgate.github.forks import ENVIRONMENT, has_reviewers
from ftgate.github.match_reports import read_base_policy
from ftgate.github.retry import RefusedError, or_none
from ftgate.github.workflow_file import DEFAULT_POLICY, GateWorkflow, modes, read_workflow

WORKFLOW = ".github/workflows/ftgate.yml"
ACTIONS = "GitHub Actions"
_PATH = re.compile(r"\.github/workflows/[^/]+\.ya?ml")
LEDGER_RULES = {
    "update": "Restrict updates",
    "deletion": "Restrict deletions",
    "non_fast_forward": "Block force pushes",
}
"""Rules that keep a ledger branch whole, with their names in the settings."""


def examine_repository(
    repo: GitHubRepo, name: str, branch: str, policy_path: str, settings: str, tool_cache: Path | None = None
) -> list[SetupCheck]:
    """What is set up, and what is missing, for ``branch`` of the repository ``name`` (owner/name; empty: its default).

    ``settings`` is the address of its settings, for the fixes; ``tool_cache`` the folder of that name, if this machine
    has a runner.
    """
    if branch and repo.tip(branch) is None:
        fix = "name another with --branch; without it the default branch is looked at"
        return [SetupCheck("missing", f"there is no branch {branch} in {name}, or the token may not read it", fix)]
    branch = branch or repo.default_branch()
    try:
        policy = read_base_policy(repo, RunTarget("doctor", name, "", branch), policy_path).policy
        findings = [SetupCheck("ok", f"{policy_path} is on {branch} and valid")]
    except FtgateError as error:
        return [SetupCheck("missing", error.message, error.hint or "ftgate init, and merge what it writes")]
    texts = _workflows(repo, branch)
    path, waiving = _path_of(texts, policy_path, "report"), _path_of(texts, policy_path, "waive")
    checks: list[Callable[[], Iterator[SetupCheck]]] = [lambda: _status(repo, branch, policy.publish, settings)]
    if policy.publish.ledger == "branch":
        checks.append(lambda: _ledger(repo, policy.publish.branch, settings))
    if not path:
        findings.append(_no_workflow(policy_path, branch))
    else:
        workflow, publish = read_workflow(texts[path]), policy.publish
        address = settings.removesuffix("/settings")
        checks += [
            lambda: _workflow(path, texts[path], workflow, publish),
            lambda: _triggers(path, workflow, branch),
            lambda: check_app(repo, path, workflow, branch, publish, settings),
            lambda: check_signers(path, workflow, waiving, branch, publish, address),
            lambda: _forks(repo, workflow, settings),
            lambda: check_runners(repo, path, workflow, settings),
            lambda: check_images(workflow),
            lambda: check_cache(workflow, policy.artifacts.cache_gb, tool_cache),
        ]
    for check in checks:
        try:
            findings += check()
        except RefusedError as error:
            fix = "use a token of an administrator of the repository (administration and actions: read)"
            findings.append(SetupCheck("unknown", error.message, fix))
    return findings


def _status(repo: GitHubRepo, branch: str, publish: PublishSettings, settings: str) -> Iterator[SetupCheck]:
    """Whether the status is required, and by which source."""
    context, app = publish.context, own_app(publish)
    sources = [source for name, source in repo.required_checks(branch) if name == context]
    if not sources:
        path = f"/branches/{quote(branch, safe='')}/protection/required_status_checks"
        protection = or_none(lambda: repo.read(path, f"read the protection of {branch}")) or {"checks": []}
        sources = [check.get("app_id") for check in protection["checks"] if check["context"] == context]
    if not sources:
        fix = f"{settings}/rules: for {branch}, require the status check {context}, with {app or ACTIONS} as its source"
        yield SetupCheck("missing", f"{context} is not required on {branch}: anything can be merged", fix)
    elif not any(source and source > 0 for source in sources):
        fix = f"{settings}/rules: for the status check {context}, choose {app or ACTIONS} as its source"
        yield SetupCheck("missing", f"{context} is required on {branch} from any source: who may push can set it", fix)
    else:
        yield _source(repo, branch, publish, [source for source in sources if source], settings)


def _source(
    repo: GitHubRepo, branch: str, publish: PublishSettings, sources: Sequence[int], settings: str
) -> SetupCheck:
    """Whether the required status comes from whoever publishes: ``sources`` are the numbers of the rules' apps."""
    context, app, creator = publish.context, own_app(publish), publish.expected_creator
    required = f"{context} is required on {branch} from the app {sources[0]}"
    if creator and not creator.endswith("[bot]"):
        fix = "publish as an App and name it there (docs/github.md), or remove publish.expected_creator"
        problem = f"{required}, and publish.expected_creator, {creator}, is none: its statuses do not count"
        return SetupCheck("missing", problem, fix)
    answer = repo.app(app or ACTIONS_BOT.removesuffix("[bot]"))
    number = int(answer["id"]) if answer else None
    if number in sources or (number is None and not app):
        return SetupCheck("ok", f"{context} is required on {branch}, from the app {number or sources[0]}")
    its_number = f", which is the app {number}" if number else ""
    fix = f"{settings}/rules: for the status check {context}, choose {app or ACTIONS} as its source{its_number}"
    if app:
        return SetupCheck("missing", f"{required}, not from {app} (publish.expected_creator)", fix)
    fix += "; if an App of your own publishes, name it in publish.expected_creator"
    return SetupCheck("missing", f"{required}, not from {ACTIONS}, as which the workflow publishes", fix)


def _ledger(repo: GitHubRepo, ledger: str, settings: str) -> Iterator[SetupCheck]:
    rules = repo.read_all(f"/rules/branches/{quote(ledger, safe='')}", f"read the rules of {ledger}")
    lacking = [LEDGER_RULES[kind] for kind in LEDGER_RULES if kind not in {rule["type"] for rule in rules}]
    if lacking:
        fix = f"{settings}/rules: for {ledger}, {', '.join(lacking)}; on its bypass list only the app that publishes"
        yield SetupCheck("missing", f"the ledger branch {ledger} is not protected: {', '.join(lacking)}", fix)
    else:
        yield SetupCheck("ok", f"the ledger branch {ledger} is protected")


def _workflows(repo: GitHubRepo, branch: str) -> dict[str, str]:
    """The workflows on ``branch``, by their paths."""
    tip = repo.tip(branch)
    files = {path: file for path, file in (repo.tree(tip) if tip else {}).items() if _PATH.fullmatch(path)}
    repo.prefetch([file.sha for file in files.values()])
    return {path: repo.blob(file.sha).decode("utf-8", "replace") for path, file in files.items()}


def _path_of(texts: Mapping[str, str], policy_path: str, mode: str) -> str:
    """The workflow that runs ``mode`` under the policy; for the default policy's gate the usual one, whatever it says.

    Empty if there is none.
    """
    usual = WORKFLOW in texts and mode == "report" and policy_path == DEFAULT_POLICY
    ordered = sorted(texts, key=lambda path: path != WORKFLOW)
    return next((path for path in ordered if mode in modes(texts[path], policy_path)), WORKFLOW if usual else "")


def _no_workflow(policy_path: str, branch: str) -> SetupCheck:
    if policy_path == DEFAULT_POLICY:
        return SetupCheck("missing", f"{WORKFLOW} is not on {branch}", "ftgate init, and merge what it writes")
    fix = f"give it one, with `policy: {policy_path}` (docs/github.md#several-policies)"
    return SetupCheck("missing", f"no workflow on {branch} publishes under {policy_path}", fix)


def _workflow(path: str, text: str, workflow: GateWorkflow, publish: PublishSettings) -> Iterator[SetupCheck]:
    if re.search(r"@0{40}\b", text):
        fix = "ftgate init --action OWNER/ftgate@COMMIT, and merge what it fills in"
        yield SetupCheck("missing", f"{path} still has the placeholder for the actions' commit", fix)
    # Where an App publishes, the job's own token does not.
    wanted = {} if workflow.environments else wanted_permissions(publish)
    if publish.sign:
        wanted["id-token"] = "write"
    if workflow.calls:  # gate.yml asks for it, and a call that gives less does not start
        wanted["actions"] = "read"
    job = workflow.job
    if lacks := lacking(wanted, workflow.permissions):
        fix = f"{path}: give the job {job} {lacks} under `permissions:`"
        yield SetupCheck("missing", f"the job {job} lacks {lacks}", fix)
    else:
        yield SetupCheck("ok", f"the job {job} has its permissions")


def _triggers(path: str, workflow: GateWorkflow, branch: str) -> Iterator[SetupCheck]:
    """Whether a pull request into ``branch`` starts the workflow; a pattern of branches is taken at its word."""
    wanted = workflow.branches
    if wanted is None:
        fix = f"`on: {{pull_request: {{branches: [{branch}]}}}}`, as `ftgate init` writes it"
        yield SetupCheck("missing", f"{path}: no pull request starts it, or it is not valid YAML", fix)
    elif wanted and branch not in wanted and not any(set(pattern) & set("*?+[!") for pattern in wanted):
        listed = ", ".join(sorted(wanted))
        problem = f"{path} runs for pull requests into {listed}, not into {branch}: nothing is judged there"
        yield SetupCheck("missing", problem, f"{path}: name {branch} in `branches:` of its events")


def _forks(repo: GitHubRepo, workflow: GateWorkflow, settings: str) -> Iterator[SetupCheck]:
    if not workflow.forks:
        yield SetupCheck("ok", "pull requests from forks are not judged")
        return
    reviewers = has_reviewers(repo)
    if reviewers:
        yield SetupCheck("ok", f"the environment {ENVIRONMENT} has required reviewers")
        return
    problem = "does not exist" if reviewers is None else "has no required reviewers"
    fix = f"{settings}/environments: give {ENVIRONMENT} required reviewers and no secrets"
    yield SetupCheck("missing", f"the environment {ENVIRONMENT} {problem}: forks are refused", fix)
