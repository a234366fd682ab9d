"""What `ftgate init` says once its files are written: what they do not measure, what to do next, what is wrong."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ftgate.cli.existing_setup import POLICY
from ftgate.cli.git_remote import Remote
from ftgate.cli.protected_workflow import ENVIRONMENT
from ftgate.cli.starter_workflows import NO_COMMIT

if TYPE_CHECKING:
    from ftgate.setup.draft import StarterTexts

_USED = re.compile(r"uses: ([\w.-]+/[\w.-]+)/(?:cpu|gpu|\.github/workflows/gate\.yml)(@[0-9a-f]{40})\b")
_RUNS = re.compile(r"\bftgate (?:run|publish|fetch)\b|uses: \S+/(?:cpu|gpu|\.github/workflows/gate\.yml)@")
"""What a workflow holds that runs ftgate, in whatever way."""


def say_next_steps(folder: Path, remote: Remote, root: str, action: str, texts: StarterTexts | None) -> None:
    """Say what is not measured, and the steps to the first verdict. Raises what is wrong with the files, last."""
    if texts is not None:
        _say_gaps(texts)
        if texts.problems:
            check = f"{_there(folder)}ftgate check --manifest models/{texts.manifest_file}"
            click.echo(f"next: repair what is named below, then {check}; `ftgate init` again says what follows")
            texts.raise_problems()
    _say_what_to_try(folder, texts)
    if root:
        click.echo(f"next: for GitHub, run `ftgate init` in {root}: it reads .github only there")
    elif remote.elsewhere:
        _say_other_server(folder, remote, texts)
    else:
        _say_github_steps(folder, remote, action)


def _say_gaps(texts: StarterTexts) -> None:
    from ftgate.report.escape import plain_line

    lines = [f"not measured: {name}: {reason}" for name, reason in texts.not_measured.items()]
    for line in lines + [f"warning: {text}" for text in texts.warnings]:
        click.echo(plain_line(line, 500))


def _say_what_to_try(folder: Path, texts: StarterTexts | None) -> None:
    """The commands that try the manifest, or what is to be written before."""
    manifests = sorted((folder / "models").glob("*.yaml")) if texts is None else [Path(texts.manifest_file)]
    if not manifests:
        click.echo("next: write a manifest such as models/NAME.yaml; `ftgate schema manifest` prints its fields")
        return
    manifest = f"--manifest models/{manifests[0].name}"
    check = f"{_there(folder)}ftgate check {manifest}"
    if texts is None:
        click.echo(f"next: {check} says whether a run would start")
    elif texts.complete:
        where = "" if texts.runs_here else ", on the machine with the GPUs,"
        click.echo(f"next: {check}, then{where} ftgate run {manifest}")
    else:
        in_manifest, in_policy = (f"{', '.join(most)} and {last}" for *most, last in texts.examples)
        click.echo(
            f"next: replace the examples ({in_manifest} in models/{texts.manifest_file}, {in_policy} in {POLICY}), "
            f"then {check}"
        )


def _there(folder: Path) -> str:
    return "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "


def _say_other_server(folder: Path, remote: Remote, texts: StarterTexts | None) -> None:
    named = texts.manifest_file if texts is not None else next(iter(sorted((folder / "models").glob("*.yaml"))), "NAME")
    click.echo(
        f"note: {remote.elsewhere} is not GitHub: there `ftgate run` works in any job, with its exit code (0 "
        "allow, 1 block, 4 hold), report.html and comment.md; workflow, status, comment, ledger and waivers need "
        "GitHub"
    )
    click.echo("next: merge these files")
    click.echo(
        f"next: let a job run `ftgate run --manifest models/{Path(named).name}`, and keep the folder out/ whatever its "
        "exit code (on GitLab, artifacts: {when: always, paths: [out/]})"
    )


def _say_github_steps(folder: Path, remote: Remote, action: str) -> None:
    _say_where_actions_are(folder, action)
    if remote.host != Remote.host:
        click.echo(f"note: {remote.host} is taken for a GitHub Enterprise Server; on any other, leave out the workflow")
    click.echo("next: merge these files in one pull request")
    click.echo(f"next: require the status ftgate/verdict for {remote.branch}: {remote.address}/settings/rules")
    click.echo(f"then: ftgate doctor --repo {remote.repository or 'OWNER/NAME'} says what is missing")


def _say_where_actions_are(folder: Path, action: str) -> None:
    """Say which workflows have no commit of the actions yet, or keep another one than ``action``, or run no ftgate."""
    for path in sorted((folder / ".github" / "workflows").glob("ftgate*.yml")):
        text = path.read_text(encoding="utf-8", errors="replace")
        named = sorted({match[1] + match[2] for match in _USED.finditer(text)})
        if NO_COMMIT in named:
            what = "with the repository and commit of ftgate's actions"
            click.echo(f"next: ftgate init --action OWNER/ftgate@COMMIT, {what}, which {path.name} lacks")
        elif action != NO_COMMIT and named and named != [action]:
            click.echo(f"note: {path.name} keeps {', '.join(named)}: for another commit, replace it there")
        elif not _RUNS.search(text):
            click.echo(f"next: move {path} away and run this again: it was here already, and does not run ftgate")


def say_settings(remote: Remote, app: str, *, forks: bool, pages: bool, **_: bool) -> None:
    """The settings of the platform that the options need."""
    if forks:
        click.echo(f"next: the environment ftgate-forks, with reviewers: {remote.address}/settings/environments")
    if app:
        click.echo(
            f"next: the environment {ENVIRONMENT} for the branch {remote.branch} alone, with the variable "
            f"FTGATE_APP_ID and the secret FTGATE_APP_PRIVATE_KEY: {remote.address}/settings/environments"
        )
    if pages:
        click.echo(f"next: Source: GitHub Actions in {remote.address}/settings/pages; see docs/github.md, Pages")
