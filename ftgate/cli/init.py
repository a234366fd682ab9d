"""`ftgate init`: writes a starter policy, manifest and workflows. Existing files are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ftgate.errors import ConfigurationError

STARTER = Path(__file__).resolve().parent.parent / "starter"
WORKFLOWS = ("ftgate.yml", "ftgate-settle.yml")
NO_COMMIT = "OWNER/ftgate@" + "0" * 40
"""Placeholder for the action's repository and commit. No such commit exists, so nothing runs by mistake."""
_ACTION = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})")
_CHECKOUT_STEP = re.compile(r" +- (?:if: .*\n +)?uses: actions/checkout@.*\n +with: .*\n")


def write_starter_files(folder: Path, action: str) -> Iterator[tuple[Path, bool]]:
    """Write policy, manifest and workflows below ``folder``. Yields each path and whether it was written (else kept).

    ``action`` is the repository of ftgate's actions and one of its commits, ``owner/name@<40 hex>``. Raises
    ConfigurationError if it is malformed, or if a file cannot be written.
    """
    match = _ACTION.fullmatch(action)
    if not match:
        raise ConfigurationError(
            f"--action {action!r}: not owner/name@<commit of 40 hexadecimal digits>",
            hint="give a full commit: branches and tags can be moved",
        )
    files = {
        Path(".github", "ftgate.yml"): _text(STARTER / "policy.yml"),
        Path("models", "my-model.yaml"): _text(STARTER / "manifest.yaml"),
    }
    for name in WORKFLOWS:
        files[Path(".github", "workflows", name)] = for_other_repository(_text(_workflow(name)), **match.groupdict())
    for path, text in files.items():
        yield path, _write(folder / path, text)


def for_other_repository(workflow: str, repository: str, commit: str) -> str:
    """The project's own workflow, changed for another repository: it uses the actions from ``repository``."""
    text = _CHECKOUT_STEP.sub("", workflow)
    return re.sub(r"uses: \./(\w+)$", rf"uses: {repository}/\1@{commit}", text, flags=re.MULTILINE)


def _workflow(name: str) -> Path:
    """The workflow's file in the installed package, or in the checkout that it was installed from."""
    installed = STARTER / "workflows" / name
    return installed if installed.is_file() else STARTER.parents[1] / ".github" / "workflows" / name


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _write(path: Path, text: str) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        if path.is_file():
            return False
        raise ConfigurationError(
            f"{path}, or a folder above it, is not a regular file or folder", hint="move it away"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}", hint="choose another folder") from None
    return True
