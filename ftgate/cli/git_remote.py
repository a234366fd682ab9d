"""The repository's address and default branch, as its clone knows them: nothing is asked over the network."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_ADDRESS = re.compile(
    r"(?:(?:https?|ssh|git)://(?:[^@/\s]+@)?(?P<host>[\w.-]+)(?P<port>:\d+)?/|(?:[\w.-]+@)(?P<scp_host>[\w.-]+):)"
    r"(?P<repository>[\w.-]+/[\w.-]+?)(?:\.git)?/?"
)
_BRANCH = re.compile(r"[A-Za-z][\w./-]*")


@dataclass(frozen=True)
class Remote:
    """Where the repository is: host, ``owner/name`` and default branch; the repository is empty if unknown."""

    host: str = "github.com"
    repository: str = ""
    branch: str = "main"

    @property
    def address(self) -> str:
        """The repository's page."""
        return f"https://{self.host}/{self.repository or 'OWNER/NAME'}"

    @property
    def pages(self) -> str:
        """The address of the repository's GitHub Pages, if they have no domain of their own."""
        owner, _, name = (self.repository or "OWNER/NAME").partition("/")
        if self.host != Remote.host:
            return f"https://pages.{self.host}/{owner}/{name}"
        own = f"{owner.lower()}.github.io"
        return f"https://{own}" if name.lower() == own else f"https://{own}/{name}"


def read_remote(folder: Path) -> Remote:
    """The remote ``origin`` of the clone that holds ``folder``; the defaults where there is none or no git."""
    match = _ADDRESS.fullmatch(_git(folder, "remote", "get-url", "origin"))
    if match is None:
        return Remote()
    branch = _git(folder, "symbolic-ref", "--short", "refs/remotes/origin/HEAD").removeprefix("origin/")
    default = branch if _BRANCH.fullmatch(branch) else Remote.branch
    return Remote(match["host"] or match["scp_host"], match["repository"], default)


def below_root(folder: Path) -> str:
    """The root of the clone that holds ``folder``, if that is another folder; else, and without git, nothing."""
    root = _git(folder, "rev-parse", "--show-toplevel")
    return root if root and Path(root).resolve() != folder.resolve() else ""


def _git(folder: Path, *arguments: str) -> str:
    """The output of git; empty if it fails."""
    command = ("git", "-C", str(folder), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 - our words
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
