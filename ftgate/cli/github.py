"""The commands that use GitHub: publish, fetch, history, verify and waive."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftgate.errors import ConfigurationError

if TYPE_CHECKING:
    from ftgate.config.policy import Policy
    from ftgate.github.client import GitHubRepo
    from ftgate.report.schema import Report

PATH = click.Path(path_type=Path)
REPO = click.option("--repo", "repository", envvar="GITHUB_REPOSITORY", required=True, help="owner/name.")
AUTHOR = click.option("--author", default="", help="Login that writes the gate's comments; default: the token's owner.")
POLICY = click.option("--policy", type=PATH, default=Path(".github/ftgate.yml"), show_default=True)
API = "https://api.github.com"


@click.command()
@click.argument("directories", nargs=-1, type=PATH)
@click.option("--pending", is_flag=True, help="Before the evaluation: set the status to pending, output the manifests.")
@click.option(
    "--policy", default=".github/ftgate.yml", show_default=True, help="Path of the policy on the base branch."
)
@AUTHOR
def publish(directories: tuple[Path, ...], pending: bool, policy: str, author: str) -> None:
    """Publish results on GitHub: commit status, comment, audit trail, job summary, outputs. Safe to run twice.

    DIRECTORIES are the output folders of the runs, one per changed manifest.
    """
    from ftgate.github.actions_runner import ActionsFiles
    from ftgate.github.event import read_target
    from ftgate.github.pr_state import Effects
    from ftgate.github.publish import publish_pending, publish_results
    from ftgate.report.escape import plain_lines

    target = read_target(os.environ, _event())
    effects = Effects(
        repo=_client(target.repository),
        target=target,
        runner=ActionsFiles.from_environment(os.environ),
        now=_now,
        log=lambda text: click.echo(plain_lines(text)),
        command=click.echo,
        policy_path=policy,
        decide_again=_recompute_with,
        author=author,
    )
    code = publish_pending(effects) if pending else publish_results(effects, directories)
    click.get_current_context().exit(int(code))


@click.command()
@click.argument("directory", type=PATH)
@click.option(
    "--policy", default=".github/ftgate.yml", show_default=True, help="Path of the policy on the base branch."
)
def fetch(directory: Path, policy: str) -> None:
    """Download what an evaluation needs into DIRECTORY: the base branch's policy and suites, the change's manifests."""
    from ftgate.github.actions_runner import ActionsFiles
    from ftgate.github.bundle import write_bundle
    from ftgate.github.event import read_target

    target = read_target(os.environ, _event())
    manifests = write_bundle(_client(target.repository), target, policy, directory)
    outputs = {"manifests": json.dumps(manifests), "model-change": str(bool(manifests)).lower()}
    ActionsFiles.from_environment(os.environ).set_outputs(outputs)
    _echo(f"to judge: {', '.join(manifests) or 'nothing'}")


@click.command()
@REPO
@click.option("--pull-request", "number", type=int, default=None, help="Also check this pull request's comment.")
@POLICY
@AUTHOR
def history(repository: str, number: int | None, policy: Path, author: str) -> None:
    """Show and check the audit trail. Lists altered and removed records and exits 1 if there are any."""
    from ftgate.github.audit.comment_log import comment_author
    from ftgate.github.audit.history import comment_history, compare, ledger_history

    client, settings = _client(repository), _policy(policy).publish
    histories = [ledger_history(client, settings.branch, number)] if settings.ledger == "branch" else []
    problems = list(histories[0].problems) if histories else []
    if number is not None:
        comment = comment_history(client, number, author or comment_author(client, number), settings.context)
        problems += [*comment.problems, *(compare(comment, histories[0]) if histories else [])]
        histories.append(comment)
    if not histories:
        raise ConfigurationError(
            f"policy {policy}: there is no ledger branch to read (publish.ledger is {settings.ledger!r})",
            hint="give --pull-request, or set publish: {ledger: branch} in the policy",
        )
    for line in histories[-1].ledger.lines:
        record = line.record
        names = ", ".join(f"{e.name} {e.candidate[:19]}" for e in record.models)
        detail = f" by {record.by} until {record.expires}: {record.reason}" if record.kind == "waiver" else ""
        _echo(f"{line.n:>4}  {record.time}  {record.head[:7]}  {record.verdict:<15}  {names}{detail}")
    for problem in problems:
        _echo(f"problem: {problem}")
    result = f"{len(problems)} problems" if problems else "the chain is intact"
    _echo(f"{len(histories[-1].ledger.lines)} records, {result}")
    click.get_current_context().exit(1 if problems else 0)


@click.command()
@REPO
@click.option("--candidate", required=True, help="Digest (sha256:…) or folder of the candidate.")
@POLICY
@click.option("--base", default="", help="Digest or folder of the base; verdicts against other bases do not count.")
@click.option("--no-waivers", is_flag=True, help="Do not accept waivers, only an allow of the gate.")
def verify(repository: str, candidate: str, policy: Path, base: str, no_waivers: bool) -> None:
    """Verify before a release: exit 0 only if this exact candidate was allowed or waived under this exact policy."""
    from ftgate.github.audit.history import verify_candidate
    from ftgate.github.audit.ledger_branch import read_ledger

    base_policy = _ledger_policy(policy)
    digest = _digest_of(candidate, base_policy.artifacts.skip)
    ledger = read_ledger(_client(repository), base_policy.publish.branch)
    base_digest = _digest_of(base, base_policy.artifacts.skip) if base else ""
    result = verify_candidate(ledger, digest, base_policy.sha256(), _now(), base=base_digest, waivers=not no_waivers)
    _echo(f"{'allowed' if result.allowed else 'refused'}: {digest}: {result.reason}")
    click.get_current_context().exit(0 if result.allowed else 1)


@click.command()
@REPO
@click.option("--pull-request", "number", type=int, required=True)
@click.option("--candidate", required=True, help="Digest (sha256:…) of the candidate that was judged.")
@click.option("--reason", required=True, help="Reason, shown in the comment and the history.")
@click.option("--days", type=int, default=14, show_default=True, help="Days until the waiver expires.")
@POLICY
@AUTHOR
def waive(repository: str, number: int, candidate: str, reason: str, days: int, policy: Path, author: str) -> None:
    """Waive a block or hold of one candidate at the pull request's current head. Needs write permission."""
    from ftgate.github.audit.comment_log import comment_author
    from ftgate.github.audit.history import add_waiver, require_maintainer

    base_policy = _ledger_policy(policy)
    settings = base_policy.publish
    client = _client(repository)
    by = require_maintainer(client, os.environ, _event() if os.environ.get("GITHUB_EVENT_NAME") else {})
    record = add_waiver(
        client,
        number,
        by,
        _digest_of(candidate, base_policy.artifacts.skip),
        reason,
        days=days,
        branch=settings.branch,
        context=settings.context,
        now=_now(),
        author=author or comment_author(client, number),
    )
    _echo(f"waived until {record.expires}: waiver {record.identity[:12]}")


COMMANDS = (publish, fetch, history, verify, waive)


def _client(repository: str) -> GitHubRepo:
    from ftgate.github.client import GitHubRepo, connect

    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
    if not token:
        raise ConfigurationError("there is no GitHub token", hint="set GITHUB_TOKEN")
    return GitHubRepo(connect(os.environ.get("GITHUB_API_URL") or API, token), repository, time.sleep)


def _event() -> dict[str, Any]:
    path = os.environ.get("GITHUB_EVENT_PATH", "")
    try:
        event = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"GITHUB_EVENT_PATH {path!r}: {error}", hint="run it in a workflow") from None
    if not isinstance(event, dict):
        raise ConfigurationError(f"GITHUB_EVENT_PATH {path!r} is not an event", hint="run it in a workflow")
    return event


def _recompute_with(policy_text: str) -> Callable[[Path], Report]:
    """A function that recomputes a run's report under this policy, without writing into the run's folder."""

    def again(run_folder: Path) -> Report:
        from tempfile import TemporaryDirectory

        from ftgate.gate.evaluate import decide_again
        from ftgate.progress import SilentProgress

        with TemporaryDirectory() as folder:
            policy = Path(folder) / "policy.yml"
            policy.write_text(policy_text, encoding="utf-8")
            return decide_again(run_folder, policy, Path(folder) / "out", SilentProgress())

    return again


def _policy(path: Path) -> Policy:
    from ftgate.config.policy import read_policy

    return read_policy(path)


def _ledger_policy(path: Path) -> Policy:
    policy = _policy(path)
    if policy.publish.ledger != "branch":
        raise ConfigurationError(
            f"policy {path}: publish.ledger is {policy.publish.ledger!r}, so there is no ledger branch",
            hint="set publish: {ledger: branch}; the comment's records are only for display",
        )
    return policy


def _digest_of(model: str, skip: Sequence[str]) -> str:
    """A digest unchanged, or the digest of a folder without the files that the policy ignores."""
    if model.startswith("sha256:"):
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", model):
            raise ConfigurationError(f"{model}: not a digest", hint="give all 64 digits, in lower case")
        return model
    from ftgate.artifacts.snapshot import take_snapshot

    return take_snapshot(Path(model), model, skip=skip).digest


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _echo(text: str) -> None:
    from ftgate.report.escape import plain_line

    click.echo(plain_line(text, 1000))
