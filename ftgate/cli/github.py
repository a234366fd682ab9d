"""The verbs that speak with GitHub: they read the runner's environment and build the client."""

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
REPO = click.option("--repo", envvar="GITHUB_REPOSITORY", required=True, help="owner/name.")
AUTHOR = click.option("--author", default="", help="Who writes the gate's comments; by default the token's owner.")
POLICY = click.option("--policy", type=PATH, default=Path(".github/ftgate.yml"), show_default=True)
API = "https://api.github.com"


@click.command()
@click.argument("directories", nargs=-1, type=PATH)
@click.option(
    "--pending", is_flag=True, help="Before the evaluation: set the status to pending, and name the manifests."
)
@click.option("--policy", default=".github/ftgate.yml", show_default=True, help="Path in the repository, base branch.")
@AUTHOR
def publish(directories: tuple[Path, ...], pending: bool, policy: str, author: str) -> None:
    """Tell GitHub: commit status, comment, audit trail, summary, outputs. Running it twice changes nothing.

    DIRECTORIES are the output folders of the runs, one a changed manifest.
    """
    from ftgate.github.actions_runner import ActionsFiles
    from ftgate.github.event import read_target
    from ftgate.github.pr_state import Effects
    from ftgate.github.publish import announce
    from ftgate.github.publish import publish as tell
    from ftgate.report.escape import plain_lines

    place = read_target(os.environ, _event())
    effects = Effects(
        hub=_hub(place.repository),
        place=place,
        runner=ActionsFiles.of(os.environ),
        now=_now,
        say=lambda text: click.echo(plain_lines(text)),
        command=click.echo,
        policy_path=policy,
        redo=_redo,
        author=author,
    )
    code = announce(effects) if pending else tell(effects, directories)
    click.get_current_context().exit(int(code))


@click.command()
@click.argument("directory", type=PATH)
@click.option("--policy", default=".github/ftgate.yml", show_default=True, help="Path in the repository, base branch.")
def fetch(directory: Path, policy: str) -> None:
    """Write what an evaluation needs into DIRECTORY: the base branch's policy and suites, the change's manifests."""
    from ftgate.github.actions_runner import ActionsFiles
    from ftgate.github.bundle import fetch as write_parcel
    from ftgate.github.event import read_target

    place = read_target(os.environ, _event())
    manifests = write_parcel(_hub(place.repository), place, policy, directory)
    found = {"manifests": json.dumps(manifests), "model-change": str(bool(manifests)).lower()}
    ActionsFiles.of(os.environ).set_outputs(found)
    _say(f"to judge: {', '.join(manifests) or 'nothing'}")


@click.command()
@REPO
@click.option("--pull-request", "number", type=int, default=None, help="Check this thread's comment too.")
@POLICY
@AUTHOR
def history(repo: str, number: int | None, policy: Path, author: str) -> None:
    """Show the audit trail and check it: exit 1 and a list of what was altered or removed, if anything was."""
    from ftgate.github.audit.comment_log import writer
    from ftgate.github.audit.history import compare, ledger_history, thread_history

    hub, settings = _hub(repo), _policy(policy).publish
    found = [ledger_history(hub, settings.branch, number)] if settings.ledger == "branch" else []
    problems = list(found[0].problems) if found else []
    if number is not None:
        thread = thread_history(hub, number, author or writer(hub, number), settings.context)
        problems += [*thread.problems, *(compare(thread, found[0]) if found else [])]
        found.append(thread)
    if not found:
        raise ConfigurationError(
            "there is no ledger branch to read",
            hint="name a --pull-request, or set publish.ledger: branch in the policy",
        )
    for link in found[-1].chain.links:
        r = link.record
        names = ", ".join(f"{e.name} {e.candidate[:19]}" for e in r.models)
        detectable_change = f" by {r.by} until {r.expires}: {r.reason}" if r.kind == "waiver" else ""
        _say(f"{link.n:>4}  {r.time}  {r.head[:7]}  {r.verdict:<15}  {names}{detectable_change}")
    for problem in problems:
        _say(f"problem: {problem}")
    _say(
        f"{len(found[-1].chain.links)} records, " + (f"{len(problems)} problems" if problems else "the chain is whole")
    )
    click.get_current_context().exit(1 if problems else 0)


@click.command()
@REPO
@click.option("--candidate", required=True, help="Digest (sha256:…) of the candidate, or the folder that holds it.")
@POLICY
@click.option(
    "--base", default="", help="Digest or folder of the base: what was decided against another does not count."
)
@click.option("--no-waivers", is_flag=True, help="Accept an allow of the gate only.")
def verify(repo: str, candidate: str, policy: Path, base: str, no_waivers: bool) -> None:
    """Exit 0 only if exactly this candidate was allowed under exactly this policy, or an unexpired waiver covers it."""
    from ftgate.github.audit.history import verify as answer
    from ftgate.github.audit.ledger_branch import read_ledger

    rules = _ledger_policy(policy)
    digest = _digest(candidate, rules.artifacts.skip)
    chain = read_ledger(_hub(repo), rules.publish.branch)
    against = _digest(base, rules.artifacts.skip) if base else ""
    found = answer(chain, digest, rules.sha256(), _now(), base=against, waivers=not no_waivers)
    _say(f"{'allowed' if found.allowed else 'refused'}: {digest}: {found.reason}")
    click.get_current_context().exit(0 if found.allowed else 1)


@click.command()
@REPO
@click.option("--pull-request", "number", type=int, required=True)
@click.option("--candidate", required=True, help="Digest (sha256:…) of the candidate that was judged.")
@click.option("--reason", required=True, help="Why; shown to everyone.")
@click.option("--days", type=int, default=14, show_default=True, help="How long it holds.")
@POLICY
@AUTHOR
def waive(repo: str, number: int, candidate: str, reason: str, days: int, policy: Path, author: str) -> None:
    """Let one candidate pass at one pull request's current head. For people with write permission."""
    from ftgate.github.audit.comment_log import writer
    from ftgate.github.audit.history import require_maintainer
    from ftgate.github.audit.history import waive as record_waiver

    rules = _ledger_policy(policy)
    settings = rules.publish
    hub = _hub(repo)
    by = require_maintainer(hub, os.environ, _event() if os.environ.get("GITHUB_EVENT_NAME") else {})
    record = record_waiver(
        hub,
        number,
        by,
        _digest(candidate, rules.artifacts.skip),
        reason,
        days=days,
        branch=settings.branch,
        context=settings.context,
        now=_now(),
        author=author or writer(hub, number),
    )
    _say(f"waived until {record.expires}: waiver {record.identity[:12]}")


VERBS = (publish, fetch, history, verify, waive)


def _hub(repository: str) -> GitHubRepo:
    from ftgate.github.client import GitHubRepo, connect

    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
    if not token:
        raise ConfigurationError("there is no token", hint="set GITHUB_TOKEN")
    return GitHubRepo(connect(os.environ.get("GITHUB_API_URL") or API, token), repository, time.sleep)


def _event() -> dict[str, Any]:
    path = os.environ.get("GITHUB_EVENT_PATH", "")
    try:
        event = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"GITHUB_EVENT_PATH {path!r}: {error}", hint="run it in a workflow") from None
    if not isinstance(event, dict):
        raise ConfigurationError(f"GITHUB_EVENT_PATH {path!r} holds no event", hint="run it in a workflow")
    return event


def _redo(policy_text: str) -> Callable[[Path], Report]:
    """What takes a decision again from its answers, writing nothing into the folder that they came in."""

    def again(folder: Path) -> Report:
        from tempfile import TemporaryDirectory

        from ftgate.gate.evaluate import decide_again
        from ftgate.progress import SilentProgress

        with TemporaryDirectory() as place:
            policy = Path(place) / "policy.yml"
            policy.write_text(policy_text, encoding="utf-8")
            return decide_again(folder, policy, Path(place) / "out", SilentProgress())

    return again


def _policy(path: Path) -> Policy:
    from ftgate.config.policy import read_policy

    return read_policy(path)


def _ledger_policy(path: Path) -> Policy:
    found = _policy(path)
    if found.publish.ledger != "branch":
        raise ConfigurationError(
            f"policy {path}: publish.ledger is {found.publish.ledger!r}, so there is no ledger to rest on",
            hint="set publish: {ledger: branch}; nothing is decided from what a comment says",
        )
    return found


def _digest(model: str, skip: Sequence[str]) -> str:
    """A digest as it is, or the digest of a folder without what the policy leaves aside."""
    if model.startswith("sha256:"):
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", model):
            raise ConfigurationError(f"{model}: not a digest", hint="give all 64 digits, in lower case")
        return model
    from ftgate.artifacts.snapshot import take_snapshot

    return take_snapshot(Path(model), model, skip=skip).digest


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _say(text: str) -> None:
    from ftgate.report.escape import plain_line

    click.echo(plain_line(text, 1000))
