"""`ftgate init`: writes a starter policy, manifest and workflow, and more on request. Existing files are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ftgate.cli.common import Command, Interrupted
from ftgate.cli.existing_setup import (
    POLICY,
    WORKFLOW,
    require_addable,
    require_names,
    require_on_host,
    require_room,
    require_valid_policy,
    require_writable,
)
from ftgate.cli.git_remote import Remote, below_root, read_remote
from ftgate.cli.next_steps import say_next_steps, say_settings
from ftgate.cli.protected_workflow import protected_workflow, publish_section
from ftgate.cli.questions import can_ask, filled_in
from ftgate.cli.starter_workflows import NO_COMMIT, starter_workflow, with_action
from ftgate.errors import ConfigurationError

if TYPE_CHECKING:
    from ftgate.setup.draft import StarterTexts

STARTER = Path(__file__).resolve().parent.parent / "starter"
WAIVE = "ftgate-waive.yml"
"""The workflow that `--waivers` adds."""
NO_REMOTE = Remote()
_LEDGER_OFF = "# publish: {ledger: branch} "
_LEDGER_ON = "publish:   {ledger: branch} "
_PUBLISH_LINE = re.compile(rf"{re.escape(_LEDGER_OFF)}.*")
HOSTS_WITH_SELF_REFERENCES = ("github.com",)
"""Where a reusable workflow can name the actions of its own repository (`$/cpu`): no GitHub Enterprise Server."""
SCHEMAS = Path(".ftgate")
"""Folder of the schemas for editors. It ignores itself, so that nothing of it is in the pull request."""
Outcome = Literal["wrote", "kept", "filled in", "renewed"]


def write_starter_files(
    folder: Path,
    action: str,
    remote: Remote = NO_REMOTE,
    texts: StarterTexts | None = None,
    *,
    forks: bool = False,
    ledger: bool = False,
    waivers: bool = False,
    settle: bool = False,
    jobs: bool = False,
    pages: bool = False,
    app: str = "",
    sign: bool = False,
) -> Iterator[tuple[Path, Outcome]]:
    """Write policy, manifest and workflow below ``folder``. Yields each path and what was done with it.

    ``action`` is the repository of ftgate's actions and one of its commits, ``owner/name@<40 hex>``; workflows that
    were written without one get it filled in. ``texts`` are policy and manifest with what is known filled in.
    ``forks`` and ``ledger`` add the trigger for forks and the ledger branch, ``settle`` the workflow for runs that were
    cut short, ``waivers`` the workflow that waives, with the ledger that it needs, and ``pages`` the job that publishes
    the page of each run. With ``jobs``, and on a server without reusable workflows that can name their own actions, all
    jobs are written into the workflow. With ``app``, the name of a GitHub App, the jobs publish as that App, and with
    ``sign`` they sign their records: both with all jobs, run from the protected branch. Raises ConfigurationError if
    the action or the App's name is malformed, or if a file cannot be written.
    """
    match = require_names(action, app)
    ledger, protected = ledger or waivers or sign, bool(app) or sign
    policy, manifest = (texts.policy, texts.manifest) if texts else starters()
    files = {POLICY: _with_publishing(policy, remote, ledger=ledger, app=app, sign=sign, waivers=waivers)}
    named = Path("models", texts.manifest_file if texts else "my-model.yaml")
    others = [path for path in (folder / "models").glob("*.yaml") if path.name != named.name]
    if texts or (folder / named).exists() or not (others or _has_models(folder)):
        files[named] = manifest  # no example beside manifests or models of the user's own
    workflows = _workflow_texts(remote, settle=settle, waivers=waivers, jobs=jobs or protected)
    asked: dict[str, Any] = {**match.groupdict(), "host": remote.host, "branch": remote.branch}
    asked |= {"forks": forks or protected, "ledger": ledger, "pages": remote.pages if pages else ""}
    for name, text in workflows.items() if not remote.elsewhere else ():
        text = protected_workflow(text, forks=forks, app=bool(app), sign=sign) if protected else text
        files[Path(".github", "workflows", name)] = starter_workflow(text, **asked)
    require_room(folder, [*files, SCHEMAS / ".gitignore"])
    for path, text in files.items():
        if _write(folder / path, text):
            yield path, "wrote"
        else:
            may_fill = path.name in workflows and path.parent.name == "workflows" and action != NO_COMMIT
            filled = may_fill and _fill_in(folder / path, **match.groupdict())
            yield path, "filled in" if filled else "kept"
    yield from ((path, "renewed") for path in _write_schemas(folder))


def _workflow_texts(remote: Remote, *, settle: bool, waivers: bool, jobs: bool) -> dict[str, str]:
    """The workflows to write by name, as they come with ftgate."""
    whole = jobs or remote.host not in HOSTS_WITH_SELF_REFERENCES
    workflows = {"ftgate.yml": _text(_workflow("ftgate.yml") if whole else STARTER / "workflow.yml")}
    more = {"ftgate-settle.yml": settle, WAIVE: waivers}
    return workflows | {name: _text(_workflow(name)) for name, wanted in more.items() if wanted}


def _has_models(folder: Path) -> bool:
    """Whether a model lies where manifests do."""
    from ftgate.setup.model_folders import read_model_folder

    return any(read_model_folder(path) for path in (folder / "models").glob("*") if path.is_dir())


def starters() -> tuple[str, str]:
    """The starter policy and manifest as they come with ftgate."""
    return _text(STARTER / "policy.yml"), _text(STARTER / "manifest.yaml")


@click.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path())
@click.option("--yes", "-y", is_flag=True, help="Ask nothing: take every default.")
@click.option("--action", default=NO_COMMIT, help="Where ftgate's actions are: owner/name@<commit>, all 40 digits.")
@click.option("--forks", is_flag=True, help="Judge pull requests from forks too, each after an approval.")
@click.option("--ledger", is_flag=True, help="Keep the audit trail on a branch; `verify` and `waive` need it.")
@click.option("--waivers", is_flag=True, help="Add the workflow in which maintainers waive a block; with --ledger.")
@click.option("--settle", is_flag=True, help="Also the workflow that ends a status that a lost run left pending.")
@click.option("--pages", is_flag=True, help="Publish the page of each run on GitHub Pages: mind who can read it.")
@click.option("--jobs", is_flag=True, help="All jobs in the workflow, instead of a call of the actions' own one.")
@click.option("--app", default="", metavar="NAME", help="Publish as the GitHub App of this name; with --jobs.")
@click.option("--sign", is_flag=True, help="Sign each record as the workflow that wrote it; with --ledger and --jobs.")
def init(folder: Path, yes: bool, action: str, app: str, **options: bool) -> None:
    """Write a starter policy, manifest and workflow into FOLDER. Existing files are kept.

    Looks for models, adapters and data files in FOLDER, and asks what they are; with --yes, and where no one can
    answer, it takes what their names and rows say. Run it again with --action to fill in the actions' repository and
    commit, and with a new version of ftgate to renew the schemas for editors. An option that would change an existing
    file is refused, with what to do.

    Exit codes: 0 the files are written; 2 they are, and what would stop a run is named last, or nothing was written.
    """
    remote, texts = read_remote(folder), None
    root = "" if remote.elsewhere else below_root(folder)
    _require_possible(folder, remote, root, {**options, "action": action, "app": app})
    if root:
        click.echo(f"note: {folder.resolve()} is not the root of the clone, {root}: GitHub reads .github only there")
    written: list[str] = []
    try:
        if not (folder / POLICY).exists():
            texts = filled_in(folder, *starters(), ask=not yes and can_ask())
        for path, outcome in write_starter_files(folder, action, remote, texts, app=app, **options):
            click.echo(f"{outcome:<9} {path}")
            written += [path.as_posix()] if outcome != "kept" else []
    except (KeyboardInterrupt, click.Abort) as stop:
        if can_ask():
            click.echo()  # ends the line of the question
        what = f"wrote {', '.join(written)}, and no more" if written else "nothing was written"
        raise Interrupted(f"interrupted: {what}") from stop
    say_next_steps(folder, remote, root, action, texts)
    say_settings(remote, app, **options)


def _require_possible(folder: Path, remote: Remote, root: str, options: dict[str, Any]) -> None:
    """Raise ConfigurationError for whatever cannot be done, before anything is asked or written."""
    require_names(options["action"], options["app"])
    require_on_host(remote, root, options)
    require_valid_policy(folder)
    require_addable(folder, {name: value for name, value in options.items() if name != "action"})
    require_room(
        folder, [POLICY, *([] if remote.elsewhere else [WORKFLOW]), Path("models", "NAME.yaml"), SCHEMAS / ".gitignore"]
    )
    require_writable(folder)


def _with_publishing(text: str, remote: Remote, *, ledger: bool, app: str, sign: bool, waivers: bool) -> str:
    """The policy ``text``; signatures are those of this repository's workflows on its default branch."""
    if not app and not sign:
        return text.replace(_LEDGER_OFF, _LEDGER_ON) if ledger else text
    names = ["ftgate.yml", *([WAIVE] if waivers else [])] if sign else []
    repository = f"https://{remote.host}/{remote.repository or 'OWNER/NAME'}"
    signers = [f"{repository}/.github/workflows/{name}@refs/heads/{remote.branch}" for name in names]
    section = publish_section(ledger=ledger, app=app, signers=signers)
    return _PUBLISH_LINE.sub(lambda _: section, text)


def _fill_in(path: Path, repository: str, commit: str) -> bool:
    """Replace the placeholder of an earlier `init` in the workflow at ``path``. Returns whether there was one."""
    before = _text(path)
    after = with_action(before, NO_COMMIT, repository, commit)
    if after != before:
        _replace(path, after)
    return after != before


def _write_schemas(folder: Path) -> Iterator[Path]:
    """The schemas that policy and manifest name for editors, which each clone writes for itself.

    One of another version of ftgate, which would call new fields errors, is replaced. Yields the paths of these.
    """
    from ftgate.cli.schema import schema_of

    _write(folder / SCHEMAS / ".gitignore", "*\n")
    for kind in ("policy", "manifest"):
        path, schema = SCHEMAS / f"{kind}.schema.json", schema_of(kind) + "\n"
        if not _write(folder / path, schema) and _text(folder / path) != schema:
            _replace(folder / path, schema)
            yield path


def _replace(path: Path, text: str) -> None:
    if path.is_symlink():
        raise ConfigurationError(f"{path} is a link, and links are not written through", hint="replace it with a file")
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}", hint="make it writable") from None


def _workflow(name: str) -> Path:
    """The workflow's file in the installed package, or in the checkout that it was installed from."""
    installed = STARTER / "workflows" / name
    return installed if installed.is_file() else STARTER.parents[1] / ".github" / "workflows" / name


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}", hint="repair it, or move it away") from None


def _write(path: Path, text: str) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        if path.is_file():
            return False
        raise ConfigurationError(f"cannot write {path}: it is no file", hint="move it away") from None
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}", hint="choose another folder") from None
    return True
