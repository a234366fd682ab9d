"""The commands that use GitHub: publish, fetch, history, verify, waive and doctor."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftgate.cli.common import PATH, Command
from ftgate.errors import ConfigurationError

if TYPE_CHECKING:
    from ftgate.config.policy import Policy
    from ftgate.github.audit.record import LedgerLine, Record
    from ftgate.github.client import GitHubRepo
    from ftgate.report.schema import Report


def _repository(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", value):
        raise click.BadParameter(f"{value!r} is not owner/name")
    return value


REPO = click.option(
    "--repo", "repository", envvar="GITHUB_REPOSITORY", required=True, callback=_repository, help="owner/name."
)
AUTHOR = click.option("--author", default="", help="Login that writes the gate's comments; default: the token's owner.")
POLICY = click.option("--policy", type=PATH, default=Path(".github/ftgate.yml"), show_default=True)
NEEDED = ("GITHUB_EVENT_PATH", "GITHUB_EVENT_NAME", "GITHUB_REPOSITORY", "GITHUB_SHA", "GITHUB_TOKEN")
"""What publish and fetch need of a workflow."""


@click.command(cls=Command)
@click.argument("directories", nargs=-1, type=PATH)
@click.option("--pending", is_flag=True, help="Before the evaluation: set the status to pending, output the manifests.")
@click.option("--settle", is_flag=True, help="Only where the status is still pending: after a run that was cut short.")
@click.option(
    "--policy", default=".github/ftgate.yml", show_default=True, help="Path of the policy on the base branch."
)
@AUTHOR
@click.option("--pages", default="", metavar="ADDRESS", help="Leave the pages for this site, and link to them there.")
def publish(directories: tuple[Path, ...], pending: bool, settle: bool, policy: str, author: str, pages: str) -> None:
    """Publish results on GitHub: commit status, comment, audit trail, job summary, outputs. Safe to run twice.

    DIRECTORIES are the output folders of the runs, one per changed manifest.
    """
    from ftgate.github.actions_runner import ActionsFiles
    from ftgate.github.event import read_target
    from ftgate.github.pages import read_pages
    from ftgate.github.pr_state import Effects
    from ftgate.github.publish import publish_pending, publish_results, settle_results
    from ftgate.report.escape import plain_lines

    target = read_target(os.environ, _event())
    effects = Effects(
        repo=open_repository(target.repository),
        target=target,
        runner=ActionsFiles.from_environment(os.environ),
        now=current_time,
        log=lambda text: click.echo(plain_lines(text)),
        command=click.echo,
        policy_path=policy,
        decide_again=_recompute_with,
        author=author,
        pages=read_pages(pages),
    )
    if pending:
        code = publish_pending(effects)
    else:
        code = settle_results(effects) if settle else publish_results(effects, directories)
    click.get_current_context().exit(int(code))


@click.command(cls=Command)
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
    manifests = write_bundle(open_repository(target.repository), target, policy, directory)
    outputs = {"manifests": json.dumps(manifests), "model-change": str(bool(manifests)).lower()}
    ActionsFiles.from_environment(os.environ).set_outputs(outputs)
    _echo(f"to judge: {', '.join(manifests) or 'nothing'}")


@click.command(cls=Command)
@REPO
@click.option("--pull-request", "number", type=int, default=None, help="Also check this pull request's comment.")
@POLICY
@AUTHOR
def history(repository: str, number: int | None, policy: Path, author: str) -> None:
    """Show and check the audit trail. Lists altered and removed records and exits 1 if there are any."""
    from ftgate.github.audit.comment_log import comment_author
    from ftgate.github.audit.history import comment_history, compare, ledger_history
    from ftgate.github.audit.quotes import quotes_of
    from ftgate.github.audit.unrecorded import explained_records

    client, settings = open_repository(repository), _policy(policy).publish
    quoted = quotes_of(client, settings)
    # The comment of a pull request is checked against the same statuses as its records on the branch.
    checked = quoted if number is None else None
    histories = [ledger_history(client, settings.branch, number, checked)] if settings.ledger == "branch" else []
    problems = list(histories[0].problems) if histories else []
    notes: Mapping[str, str] = {}
    if number is not None:
        comment = comment_history(client, number, author or comment_author(client, number, settings), quoted)
        problems += comment.problems
        if histories:
            where = policy.as_posix() if not policy.is_absolute() else ".github/ftgate.yml"
            notes = explained_records(client, comment.ledger, histories[0].ledger, quoted, where)
            problems += compare(comment, histories[0], settings.context, explained=notes)
        histories.append(comment)
    if not histories:
        raise ConfigurationError(
            f"policy {policy}: there is no ledger branch to read (publish.ledger is {settings.ledger!r})",
            hint="give --pull-request, or set publish: {ledger: branch} in the policy",
        )
    lines = histories[-1].ledger.lines
    several = any(not line.record.belongs_to(settings.context) for line in lines)
    for line in lines:
        _echo_line(line, several)
    for note in notes.values():
        _echo(f"note: {note}")
    for problem in problems:
        _echo(f"problem: {problem}")
    if unchecked := _of_other_policies([r for h in histories for r in h.ledger.records], settings.context):
        _echo(unchecked)
    result = f"{len(problems)} problems" if problems else "the chain is intact"
    _echo(f"{len(lines)} records, {result}")
    click.get_current_context().exit(1 if problems else 0)


def _of_other_policies(records: Sequence[Record], context: str) -> str:
    """A note on the records that are not compared with the statuses of ``context``, which are another policy's."""
    others = [r for r in records if not r.belongs_to(context)]
    if not others:
        return ""
    names, own = ", ".join(dict.fromkeys(r.context for r in others)), len(records) - len(others)
    return (
        f"note: only {own} of {len(records)} records are of {context} and compared with its statuses; the others are "
        f"of {names}: check them with that policy, or, if publish.context was changed, with the policy as it was"
    )


def _echo_line(line: LedgerLine, several: bool) -> None:
    """Print one line of a ledger, with its policy's status if there are ``several``."""
    record = line.record
    names = ", ".join(f"{e.name} {e.candidate[:19]}" for e in record.models)
    detail = f" by {record.by} until {record.expires}: {record.reason}" if record.kind == "waiver" else ""
    detail += f" ({record.context})" if several and record.context else ""
    detail += f" (late: appended {line.late})" if line.late else ""
    _echo(f"{line.n:>4}  {record.time}  {record.head[:7]}  {record.verdict:<15}  {names}{detail}")


@click.command(cls=Command)
@REPO
@click.option("--candidate", required=True, help="Digest (sha256:…) or folder of the candidate.")
@POLICY
@click.option("--base", default="", help="Digest or folder of the base; verdicts against other bases do not count.")
@click.option("--no-waivers", is_flag=True, help="Do not accept waivers, only an allow of the gate.")
@click.option(
    "--report", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The report.json of the allow."
)
@click.option(
    "--certificate-identity",
    "identities",
    multiple=True,
    help="Identity that must have signed the record; given several times, any of them.",
)
@click.option("--certificate-oidc-issuer", "issuer", default="", help="Who vouches for it; default: GitHub Actions.")
def verify(
    repository: str,
    candidate: str,
    policy: Path,
    base: str,
    no_waivers: bool,
    report: Path | None,
    identities: tuple[str, ...],
    issuer: str,
) -> None:
    """Verify before a release: exit 0 only if this exact candidate was allowed or waived under this exact policy.

    The ledger's record counts only with the commit status that quotes it, set by the policy's expected creator, and
    with its signature, if an identity is named here or in the policy. Signatures are verified offline.
    """
    from ftgate.github.audit.history import verify_candidate
    from ftgate.github.audit.ledger_branch import read_ledger
    from ftgate.github.audit.quotes import quotes_of

    base_policy, client = ledger_policy(policy), open_repository(repository)
    digest = _digest_of(candidate, base_policy.artifacts.skip)
    named = {"certificate_identity": identities, "certificate_oidc_issuer": issuer}
    signer = {name: value for name, value in named.items() if value}
    result = verify_candidate(
        read_ledger(client, base_policy.publish.branch),
        digest,
        base_policy.sha256(),
        current_time(),
        quotes_of(client, base_policy.publish.model_copy(update=signer)),
        base=_digest_of(base, base_policy.artifacts.skip) if base else "",
        waivers=not no_waivers,
        report=hashlib.sha256(report.read_bytes()).hexdigest() if report else "",
    )
    _echo(f"{'allowed' if result.allowed else 'refused'}: {digest}: {result.reason}")
    click.get_current_context().exit(0 if result.allowed else 1)


@click.command(cls=Command)
@REPO
@click.option("--pull-request", "number", type=int, required=True)
@click.option("--candidate", default="", help="Digest (sha256:…) of the candidate; default: the only one that failed.")
@click.option("--commit", default="", help="Refuse if the pull request is no longer at this commit.")
@click.option("--reason", required=True, help="Reason, shown in the comment and the history.")
@click.option("--days", type=int, default=14, show_default=True, help="Days until the waiver expires.")
@POLICY
@AUTHOR
def waive(
    repository: str, number: int, candidate: str, commit: str, reason: str, days: int, policy: Path, author: str
) -> None:
    """Waive a block or hold of one candidate at the pull request's current head.

    Needs the role maintain or admin, or a name in publish.may_waive. In a workflow the policy is read from the branch
    that the pull request goes into, and who may waive from the default branch, too.
    """
    from ftgate.github.audit.comment_log import comment_author
    from ftgate.github.audit.history import add_waiver, require_maintainer
    from ftgate.github.match_reports import policy_on

    client, in_workflow = open_repository(repository), os.environ.get("GITHUB_ACTIONS") == "true"
    event = _event() if os.environ.get("GITHUB_EVENT_NAME") else {}
    path, base_ref = policy.as_posix(), client.pull(number).base_ref if in_workflow else ""
    base_policy = policy_on(client, base_ref, path).policy if in_workflow else _policy(policy)
    _require_ledger(base_policy, policy)
    settings = base_policy.publish
    by = require_maintainer(client, os.environ, event, settings)
    if in_workflow and base_ref != (default := client.default_branch()):
        # Whoever may push can open a pull request into a branch whose policy names them.
        require_maintainer(client, os.environ, event, policy_on(client, default, path).policy.publish)
    record = add_waiver(
        client,
        number,
        by,
        _digest_of(candidate, base_policy.artifacts.skip) if candidate else "",
        reason,
        days=days,
        settings=settings,
        now=current_time(),
        author=author or comment_author(client, number, settings),
        commit=commit,
    )
    _echo(f"waived until {record.expires}: waiver {record.identity[:12]}")
    if not in_workflow:
        _echo(
            f"note: {client.login()} set the status, and a rule that takes {settings.context} from one source (GitHub "
            "Actions, or an App) does not count it: there, waive with the workflow of `ftgate init --waivers`"
        )


@click.command(cls=Command)
@REPO
@click.option("--branch", default="", help="The protected branch; by default the repository's default branch.")
@click.option(
    "--policy", default=".github/ftgate.yml", show_default=True, help="Path of the policy on the base branch."
)
def doctor(repository: str, branch: str, policy: str) -> None:
    """Check a repository's setup on GitHub, and say what is missing with its fix. Exits 1 if anything is.

    Needs a token of an administrator (GITHUB_TOKEN); changes nothing.
    """
    from ftgate.config.server_address import server_address
    from ftgate.github.doctor import examine_repository

    settings = f"{server_address(os.environ)}/{repository}/settings"
    tools = os.environ.get("RUNNER_TOOL_CACHE")
    findings = examine_repository(
        open_repository(repository), repository, branch, policy, settings, Path(tools) if tools else None
    )
    for finding in findings:
        _echo(f"{finding.level}: {finding.text}")
        if finding.fix:
            _echo(f"- fix: {finding.fix}")
    click.get_current_context().exit(1 if any(f.level in ("missing", "unknown") for f in findings) else 0)


COMMANDS = (publish, fetch, history, verify, waive, doctor)


def open_repository(repository: str) -> GitHubRepo:
    """A client for a repository, as the App or whoever owns the token. Raises ConfigurationError without either."""
    from ftgate.config.server_address import api_address
    from ftgate.github.app import app_auth
    from ftgate.github.client import GitHubRepo, connect
    from ftgate.github.retry import Retry

    url = api_address(os.environ)
    auth = app_auth(os.environ, url, repository, Retry(time.sleep))
    token = auth or os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
    if not token:
        raise ConfigurationError("there is no GitHub token", hint="set GITHUB_TOKEN")
    return GitHubRepo(connect(url, token), repository, time.sleep)


def _event() -> dict[str, Any]:
    path = os.environ.get("GITHUB_EVENT_PATH", "")
    if not path:
        lacking = [name for name in NEEDED if not os.environ.get(name)]
        raise ConfigurationError(
            f"this command reports on a run of GitHub Actions, which sets {', '.join(lacking)}, not set here",
            hint="run it in the workflow's report job (docs/github.md); to see a report here: ftgate report DIRECTORY",
        )
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


def ledger_policy(path: Path) -> Policy:
    """The policy in ``path``. Raises ConfigurationError if it keeps no ledger branch."""
    policy = _policy(path)
    _require_ledger(policy, path)
    return policy


def _require_ledger(policy: Policy, path: Path) -> None:
    if policy.publish.ledger != "branch":
        raise ConfigurationError(
            f"policy {path}: publish.ledger is {policy.publish.ledger!r}, so there is no ledger branch",
            hint="set publish: {ledger: branch}; the comment's records are only for display",
        )


def _digest_of(model: str, skip: Sequence[str]) -> str:
    """A digest unchanged, or the digest of a folder without the files that the policy ignores."""
    if model.startswith("sha256:"):
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", model):
            raise ConfigurationError(f"{model}: not a digest", hint="give all 64 digits, in lower case")
        return model
    from ftgate.artifacts.snapshot import take_snapshot

    return take_snapshot(Path(model), model, skip=skip).digest


def current_time() -> str:
    """Now, as records write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _echo(text: str) -> None:
    from ftgate.report.escape import plain_line

    click.echo(plain_line(text, 1000))
