"""`ftgate init`: the files that a repository starts with. Nothing that is there is written over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ftgate.errors import ConfigurationError

HERE = Path(__file__).resolve().parent.parent / "starter"
WORKFLOWS = ("ftgate.yml", "ftgate-settle.yml")
NOWHERE = "OWNER/ftgate@" + "0" * 40
"""Stands for the action where nobody said which; no such commit exists, so nothing runs by mistake."""
_ACTION = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})")
_OWN_CHECKOUT = re.compile(r" +- (?:if: .*\n +)?uses: actions/checkout@.*\n +with: .*\n")


def write_start(folder: Path, action: str) -> Iterator[tuple[Path, bool]]:
    """Write policy, manifest and workflows below ``folder``. Yields each path and whether it was written or kept.

    ``action`` is the repository of ftgate's actions and a commit of it, ``owner/name@<40 hex>``. Raises
    ConfigurationError when it is not, or when a file cannot be written.
    """
    found = _ACTION.fullmatch(action)
    if not found:
        raise ConfigurationError(
            f"--action {action!r}: not owner/name@<commit of 40 hexadecimal digits>",
            hint="a branch or tag can be moved, so the action is named by a commit",
        )
    files = {
        Path(".github", "ftgate.yml"): _text(HERE / "policy.yml"),
        Path("models", "my-model.yaml"): _text(HERE / "manifest.yaml"),
    }
    for name in WORKFLOWS:
        files[Path(".github", "workflows", name)] = from_elsewhere(_text(_workflow(name)), **found.groupdict())
    for path, text in files.items():
        yield path, _write(folder / path, text)


def from_elsewhere(workflow: str, repository: str, commit: str) -> str:
    """The project's own workflow as it must be in another repository: it takes the actions from ``repository``."""
    text = _OWN_CHECKOUT.sub("", workflow)
    return re.sub(r"uses: \./(\w+)$", rf"uses: {repository}/\1@{commit}", text, flags=re.MULTILINE)


def _workflow(name: str) -> Path:
    """In the installed package, or in the repository that it was installed from."""
    installed = HERE / "workflows" / name
    return installed if installed.is_file() else HERE.parents[1] / ".github" / "workflows" / name


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
        raise ConfigurationError(f"{path} or a folder above it is no plain file or folder", hint="move it") from None
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}", hint="choose another folder") from None
    return True
