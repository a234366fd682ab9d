"""What `ftgate init` cannot add, because it writes over nothing: refused, instead of written by half."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ftgate.cli.git_remote import Remote
from ftgate.cli.starter_workflows import GATE, NO_COMMIT
from ftgate.errors import ConfigurationError

POLICY = Path(".github", "ftgate.yml")
WORKFLOW = Path(".github", "workflows", "ftgate.yml")
_ACTION = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})")
_APP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,98}")


def require_on_host(remote: Remote, root: str, options: dict[str, Any]) -> None:
    """Raise ConfigurationError if ``options`` are about GitHub, and the files would not be read there.

    That is so where the clone's remote is another server, and below ``root``, that of the clone, if it is not empty.
    """
    given = " and ".join(f"--{name}" for name, value in options.items() if value and value != NO_COMMIT)
    if remote.elsewhere and given:
        raise ConfigurationError(
            f"{given}: only for GitHub, and origin is {remote.elsewhere}; nothing was written",
            hint="leave it out; there `ftgate run` works in any job",
        )
    if root and given:
        raise ConfigurationError(
            f"{given}: only for the root of the clone, because GitHub reads no other .github; nothing was written",
            hint=f"run this in {root}",
        )


def require_names(action: str, app: str) -> re.Match[str]:
    """The parts of ``action``. Raises ConfigurationError if it, or the name of the App, is malformed or made up."""
    match = _ACTION.fullmatch(action)
    if not match:
        raise ConfigurationError(
            f"--action {action!r}: not owner/name@<commit of 40 hexadecimal digits>",
            hint="give a full commit: branches and tags can be moved",
        )
    if action != NO_COMMIT and match["repository"].startswith("OWNER/"):
        raise ConfigurationError(
            f"--action {action}: OWNER stands for the account that holds ftgate's actions", hint="write its name"
        )
    if action != NO_COMMIT and not match["commit"].strip("0"):
        raise ConfigurationError(
            f"--action {action}: no repository has this commit",
            hint=f"`git ls-remote https://HOST/{match['repository']} HEAD` prints the newest",
        )
    if app and not _APP_NAME.fullmatch(app):
        raise ConfigurationError(f"--app {app!r}: not the name of an App", hint="give it as in its address: my-app")
    return match


def require_valid_policy(folder: Path) -> None:
    """Raise ConfigurationError for an existing policy that `ftgate check` would refuse."""
    if (folder / POLICY).exists():
        from ftgate.config.policy import read_policy
        from ftgate.measurements.registry import read_measurements

        read_measurements(read_policy(folder / POLICY).measurements, f"policy {folder / POLICY}")


def require_room(folder: Path, paths: Iterable[Path]) -> None:
    """Raise ConfigurationError if something that is no file, or no folder, is where one of ``paths`` must be."""
    for path in paths:
        for above in reversed((folder / path).parents):
            if os.path.lexists(above) and not above.is_dir():
                raise ConfigurationError(
                    f"{above} is not a folder, and {path} must be in it; nothing was written", hint=f"move {above} away"
                )
        if os.path.lexists(folder / path) and not (folder / path).is_file():
            raise ConfigurationError(
                f"{folder / path} is not a file; nothing was written", hint=f"move {folder / path} away"
            )


def require_writable(folder: Path) -> None:
    """Raise ConfigurationError if a folder that files are written to is one that this user may not write to."""
    for name in (".github", "models", ".ftgate"):
        place = folder / name if (folder / name).is_dir() else folder
        if not os.access(place, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"{place.resolve()} cannot be written to; nothing was written",
                hint="make it writable, or name another folder: ftgate init FOLDER",
            )


def require_addable(folder: Path, options: dict[str, Any]) -> None:
    """Raise ConfigurationError if an existing policy or workflow lacks what one of the ``options`` of init needs."""
    needed = [name for name, given in options.items() if given]
    lacking = [*_policy_lacks(folder, options), *_workflow_lacks(folder, options)] if needed else []
    if lacking:
        names = " and ".join(dict.fromkeys(name for name, *_ in lacking))
        steps = "; ".join(dict.fromkeys(step for *_, step in lacking))
        files = " and ".join(dict.fromkeys(str(path) for _, path, _ in lacking))
        raise ConfigurationError(
            f"{names}: {files} exist without it, and init changes no file that exists; nothing was written",
            hint=f"{steps}; then repeat this",
        )


def _policy_lacks(folder: Path, options: dict[str, Any]) -> Iterator[tuple[str, Path, str]]:
    """Option, file and what to do about it, for each option whose part of the policy is missing."""
    if not (folder / POLICY).exists() or not any(options[name] for name in ("ledger", "waivers", "sign", "app")):
        return
    from ftgate.config.policy import read_policy

    publish = read_policy(folder / POLICY).publish
    write = f"write into {POLICY}: publish: {{"
    for name in ("ledger", "waivers", "sign"):
        if options[name] and publish.ledger != "branch":
            yield f"--{name}", POLICY, f"{write}ledger: branch}}"
            break
    if options["app"] and publish.expected_creator != f"{options['app']}[bot]":
        yield "--app", POLICY, f'{write}expected_creator: "{options["app"]}[bot]"}}'
    if options["sign"] and publish.sign is None:
        yield "--sign", POLICY, f"{write}sign: sigstore, certificate_identity: …}}, as docs/audit.md shows"


def _workflow_lacks(folder: Path, options: dict[str, Any]) -> Iterator[tuple[str, Path, str]]:
    """As :func:`_policy_lacks`, for the workflow."""
    try:
        text = (folder / WORKFLOW).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    has = {
        "forks": "pull_request_target:" in text and "`ftgate init --forks` writes" not in text,
        "ledger": "contents: write" in text,
        "pages": "pages: write" in text,
        "jobs": GATE not in text,
        "app": "FTGATE_APP_ID" in text,
        "sign": "id-token: write # signs" in text or "id-token: write} # signs" in text,
    }
    has["waivers"] = has["ledger"] or has["app"]
    for name, present in has.items():
        if options[name] and not present and not (name == "ledger" and has["app"]):
            yield f"--{name}", WORKFLOW, f"move {WORKFLOW} away, so that it is written anew"
