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
_OTHER_HOST = re.compile(
    r"(?:\w+://)?(?:[^@/\s]+@)?(?P<host>(?:[\w-]+\.)*(?:gitlab|bitbucket|codeberg|gitea)\b[\w.-]*)"
)
"""Servers that are not GitHub, by their names."""
_NESTED = re.compile(
    r"(?:(?:https?|ssh|git)://(?:[^@/\s]+@)?(?P<host>[\w.-]+)(?::\d+)?/|(?:[\w.-]+@)(?P<scp_host>[\w.-]+):)"
    r"[^/\s]+(?:/[^/\s]+){2,}/?"
)
"""Repositories in groups of groups, which GitHub does not have."""
_SAME_SERVER = {"ssh.github.com": "github.com", "www.github.com": "github.com"}
_OTHER_FILES = (".gitlab-ci.yml", "bitbucket-pipelines.yml", "azure-pipelines.yml")
"""What the root of a clone holds whose server is not GitHub, as far as that is not github.com."""
_USUAL = ("main", "master", "trunk")
"""Names of default branches, where a clone does not say which one is."""
_BRANCH = re.compile(r"[A-Za-z][\w./-]*")


@dataclass(frozen=True)
class Remote:
    """Where the repository is: host, ``owner/name`` and default branch; the repository is empty if unknown."""

    host: str = "github.com"
    repository: str = ""
    branch: str = "main"
    elsewhere: str = ""
    """The host, if it is not GitHub: then ``host`` and ``repository`` are the defaults."""

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
    address, branch = _git(folder, "remote", "get-url", "origin"), _default_branch(folder)
    if other := _OTHER_HOST.match(address):
        return Remote(branch=branch, elsewhere=other["host"])
    match = _ADDRESS.fullmatch(address)
    if match is None:
        nested = _NESTED.fullmatch(address)
        return Remote(branch=branch, elsewhere=(nested["host"] or nested["scp_host"]) if nested else "")
    host = _SAME_SERVER.get(match["host"] or match["scp_host"], match["host"] or match["scp_host"])
    root = Path(_git(folder, "rev-parse", "--show-toplevel"))
    if host != Remote.host and any((root / name).is_file() for name in _OTHER_FILES):
        return Remote(branch=branch, elsewhere=host)
    port = match["port"] or "" if address.startswith("http") and host != Remote.host else ""  # SSH has another one
    return Remote(f"{host}{port}", match["repository"], branch)


def _default_branch(folder: Path) -> str:
    """What origin's HEAD says; else the first branch of a usual name, or the current one where there is none."""
    named = _git(folder, "symbolic-ref", "--short", "refs/remotes/origin/HEAD").removeprefix("origin/")
    listed = _git(folder, "for-each-ref", "--format=%(refname:lstrip=-1)", "refs/heads", "refs/remotes/origin")
    usual = [name for name in _USUAL if name in listed.splitlines()]
    names = (named, *usual, _git(folder, "symbolic-ref", "--short", "HEAD"))
    return next((name for name in names if _BRANCH.fullmatch(name)), Remote.branch)


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
