"""The repository behind the fake: git itself, in a bare folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WHO = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Tester"), ("EMAIL", "tester@example.invalid"), ("DATE", "2025-03-04T09:00:00Z"))
}
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


class GitRepository:
    """A bare repository; content is given and read as bytes or text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[tuple[str, str], Any] = {}
        """What git said of objects by their hash: they never change."""
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--bare", "--template=", "--initial-branch=main", ".")

    def run(self, *arguments: str, given: bytes = b"", index: Path | None = None) -> subprocess.CompletedProcess[bytes]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        env = kept | WHO | {"GIT_CONFIG_NOSYSTEM": "1"} | ({"GIT_INDEX_FILE": str(index)} if index else {})
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, input=given, capture_output=True, env=env, check=False
        )

    def git(self, *arguments: str, given: bytes = b"", index: Path | None = None) -> str:
        done = self.run(*arguments, given=given, index=index)
        if done.returncode != 0:
            raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr.decode()}")
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def commit(
        self,
        files: Mapping[str, str | bytes | None],
        parent: str | None = None,
        message: str = "change",
        links: Mapping[str, str] | None = None,
        branch: str | None = None,
    ) -> str:
        """A commit after ``parent``: ``files`` written, or removed where None; ``links`` symbolic. Moves ``branch``."""
        made = self.commit_tree(self.tree(files, parent, links), [parent] if parent else [], message)
        if branch:
            self.move(branch, made)
        return made

    def tree(
        self, files: Mapping[str, str | bytes | None], base: str | None = None, links: Mapping[str, str] | None = None
    ) -> str:
        """The tree of ``base``, a tree or a commit, with ``files`` and ``links`` changed as in :meth:`commit`."""
        index = self.folder / "index.tmp"
        index.unlink(missing_ok=True)
        if base:
            self.git("read-tree", base, index=index)
        entries = [("100644", path, content) for path, content in files.items()]
        entries += [("120000", path, target) for path, target in (links or {}).items()]
        # A mode of 0 removes the entry.
        lines = [
            f"0 {'0' * 40}\t{path}\0" if content is None else f"{mode} {self.blob(_bytes(content))}\t{path}\0"
            for mode, path, content in entries
        ]
        self.git("update-index", "-z", "--index-info", given="".join(lines).encode(), index=index)
        return self.git("write-tree", index=index)

    def kind(self, sha: str) -> str:
        """``commit``, ``tree`` or ``blob``; nothing if there is no such object."""
        return self.run("cat-file", "-t", sha).stdout.decode().strip()

    def commit_fields(self, sha: str) -> tuple[str, list[str], str]:
        """Tree, parents and message of a commit."""
        tree, parents, message = self.git("show", "-s", "--format=%T%n%P%n%B", sha).split("\n", 2)
        return tree, parents.split(), message

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", given=content)

    def commit_tree(self, tree: str, parents: list[str], message: str) -> str:
        return self.git("commit-tree", tree, *(a for p in parents for a in ("-p", p)), given=message.encode())

    def move(self, branch: str, commit: str) -> None:
        self.git("update-ref", f"refs/heads/{branch}", commit)

    def resolve(self, name: str) -> str | None:
        """The commit that a branch, a full ref or a hash names."""
        if ("commit", name) in self._known:
            return name
        for candidate in (f"refs/heads/{name}", name):
            done = self.run("rev-parse", "--verify", "--quiet", f"{candidate}^{{commit}}")
            if done.returncode == 0:
                found = done.stdout.decode().strip()
                self._known["commit", found] = True
                return found
        return None

    def content(self, sha: str) -> bytes | None:
        if ("blob", sha) not in self._known:
            done = self.run("cat-file", "blob", sha)
            if done.returncode != 0:
                return None
            self._known["blob", sha] = done.stdout
        return self._known["blob", sha]

    def entries(self, commit: str) -> list[tuple[str, str, str, str]]:
        """(mode, type, hash, path) of everything in a commit's tree."""
        if ("tree", commit) in self._known:
            return self._known["tree", commit]
        out = self.run("ls-tree", "-r", "-t", "-z", commit).stdout.decode("utf-8", "surrogateescape")
        found = []
        for line in filter(None, out.split("\0")):
            head, path = line.split("\t", 1)
            mode, kind, sha = head.split()
            found.append((mode, kind, sha, path))
        self._known["tree", commit] = found
        return found

    def changes(self, base: str, head: str) -> list[tuple[str, str, str, str]]:
        """(status letter, hash at head, path, previous path) between the merge base and ``head``."""
        fork = self.fork_point(base, head) or EMPTY_TREE
        out = self.run("diff-tree", "-r", "-z", "-M", "--raw", "--no-abbrev", fork, head).stdout
        parts = [p.decode("utf-8", "surrogateescape") for p in out.split(b"\0")]
        found = []
        i = 0
        while i + 1 < len(parts):
            _, _, _, sha, status = parts[i].split()
            moved = status[0] in "RC"
            found.append((status[0], sha, parts[i + (2 if moved else 1)], parts[i + 1] if moved else ""))
            i += 3 if moved else 2
        return found

    def fork_point(self, base: str, head: str) -> str:
        """The merge base of two commits, or nothing."""
        return self.run("merge-base", base, head).stdout.decode().strip()

    def is_ancestor(self, old: str, new: str) -> bool:
        return self.run("merge-base", "--is-ancestor", old, new).returncode == 0

    def log(self, base: str, head: str) -> list[str]:
        return self.git("rev-list", "--reverse", f"{base}..{head}").split()


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
