"""One repository on GitHub, as the publisher needs it: plain values in and out, every call patient.

Paths and payloads are those of the REST API, version 2022-11-28; the client library brings authentication, addresses
(GitHub Enterprise Server included), errors and GraphQL.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from github import Auth, Github, GithubRetry

from ftgate.errors import PublishError
from ftgate.github.retry import Retry, or_none

TIMEOUT = 30
"""Seconds that one answer may take."""
PAGE = 100
SUBMODULE = "160000"
"""Git's mode of an entry that is a commit of another repository."""


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request as it now stands."""

    number: int
    head: str
    base_ref: str
    base: str
    merged: bool = False


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment in a pull request's thread."""

    id: int
    node_id: str
    author: str
    body: str
    url: str


@dataclass(frozen=True, slots=True)
class Edit:
    """One version of a comment: who wrote it (a bot without its ``[bot]``), when, and its whole text."""

    editor: str
    time: str
    body: str


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """One status of a commit."""

    state: str
    description: str
    target_url: str


@dataclass(frozen=True, slots=True)
class File:
    """An entry of a commit's tree: git's mode (``120000`` is a link) and the content's hash."""

    mode: str
    sha: str


def connect(
    url: str, token: str, *, pause: float | None = 0.25, backoff: float = 1.0, timeout: int = TIMEOUT
) -> Github:
    """A client for the API at ``url``. ``pause`` is the least time between two writes, in seconds: they are few.

    Only what can be repeated blindly is repeated here; creating is left to :class:`~ftgate.github.retry.Retry`.
    """
    retry = GithubRetry(
        total=5,
        allowed_methods={"GET", "HEAD", "PUT", "DELETE", "PATCH"},
        status_forcelist=[429, 500, 502, 503, 504],
        backoff_factor=backoff,
        max_rate_limit_wait=120,
        raise_on_status=False,  # hand on the last answer: it says why
    )
    return Github(
        auth=Auth.Token(token),
        base_url=url,
        retry=retry,
        timeout=timeout,
        seconds_between_requests=None,
        seconds_between_writes=pause,
    )


class GitHubRepo:
    """One repository. What creates something looks for it before it tries again."""

    def __init__(self, client: Github, repository: str, sleep: Callable[[float], None]) -> None:
        self._client = client
        self._at = f"/repos/{repository}"
        self.patience = Retry(sleep)
        self._known: dict[str, dict[str, File]] = {}

    def call(self, verb: str, path: str, body: Mapping[str, Any] | None = None, **parameters: Any) -> Any:
        """One request below the repository, tried once. Raises what the client library raises."""
        requester = self._client.requester
        return requester.requestJsonAndCheck(verb, self._at + path, parameters=parameters or None, input=body)[1]

    def read(self, path: str, what: str, **parameters: Any) -> Any:
        """The answer to a GET. Raises PublishError."""
        return self.patience.repeat(lambda: self.call("GET", path, **parameters), what)

    def read_all(self, path: str, what: str, *, within: str = "", **parameters: Any) -> list[Any]:
        """Every entry of a list, however many pages it has; ``within`` names the field that holds the list."""
        found: list[Any] = []
        for page in range(1, 1000):
            answer = self.read(path, what, per_page=PAGE, page=page, **parameters)
            entries = answer[within] if within else answer
            found += entries
            if len(entries) < PAGE:
                break
        return found

    def graphql(self, query: str, variables: Mapping[str, Any], what: str) -> Any:
        """The data of a GraphQL answer. Only for what may be repeated."""
        ask = self._client.requester.graphql_query
        return self.patience.repeat(lambda: ask(query, dict(variables))[1], what)["data"]

    def login(self) -> str:
        """Who the token speaks as: a user, or ``github-actions[bot]``."""
        return str(self.graphql("query { viewer { login } }", {}, "ask whose token this is")["viewer"]["login"])

    def permission(self, login: str) -> str:
        """What ``login`` may do here: ``admin``, ``write``, ``read`` or ``none``."""
        path, what = f"/collaborators/{quote(login, safe='')}/permission", f"ask what {login} may do"
        return str(or_none(lambda: self.read(path, what)["permission"]) or "none")

    def pull(self, number: int) -> Pull:
        """Pull request ``number``."""
        return _pull(self.read(f"/pulls/{number}", f"read pull request {number}"))

    def pulls_of(self, owner: str, branch: str) -> list[Pull]:
        """The open pull requests from ``branch`` of ``owner``, which may be a fork."""
        what = f"look for the pull request of {owner}:{branch}"
        return [_pull(p) for p in self.read_all("/pulls", what, state="open", head=f"{owner}:{branch}")]

    def commits_of_pull(self, number: int) -> list[str]:
        """The commits of pull request ``number``, oldest first; the platform lists 250 at most."""
        return [c["sha"] for c in self.read_all(f"/pulls/{number}/commits", f"list the commits of {number}")]

    def changed_between(self, base: str, head: str) -> list[str]:
        """Paths that ``head`` changes since it left ``base``, renamed ones under both names. PublishError for too many.

        Told from the two trees: a list of changed files ends at 300 (of a pull request at 3,000) without a word.
        """
        fork = self.read(f"/compare/{quote(base)}...{head}", f"compare {base[:7]} with {head[:7]}")["merge_base_commit"]
        before, after = self._entries(fork["sha"]), self._entries(head)
        return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))

    def tip(self, branch: str) -> str | None:
        """The commit that ``branch`` points to, or None where there is no such branch."""
        found = or_none(lambda: self.read(f"/git/ref/heads/{quote(branch)}", f"read the branch {branch}"))
        return str(found["object"]["sha"]) if found else None

    def tree(self, commit: str) -> Mapping[str, File]:
        """Every file of a commit by its path. PublishError if there are too many to list."""
        return {path: file for path, file in self._entries(commit).items() if file.mode != SUBMODULE}

    def blob(self, sha: str) -> bytes:
        """The content of a file by its hash. A link's content is the path that it names: none is followed."""
        return base64.b64decode(self.read(f"/git/blobs/{sha}", f"read the file {sha[:7]}")["content"])

    def text_at(self, path: str, ref: str) -> str | None:
        """The file ``path`` at ``ref``, or None where there is none."""
        what = f"read {path} at {ref}"
        answer = or_none(lambda: self.read(f"/contents/{quote(path)}", what, ref=ref))
        if answer is None:
            return None
        if not isinstance(answer, dict) or answer.get("encoding") != "base64":
            raise PublishError(f"{path} at {ref} is no file that can be read", hint="make it a plain file")
        return base64.b64decode(answer["content"]).decode("utf-8", "replace")

    def comments(self, number: int) -> list[Comment]:
        """Every comment of pull request ``number``, oldest first."""
        path = f"/issues/{number}/comments"
        return [_comment(c) for c in self.read_all(path, f"list the comments of pull request {number}")]

    def create_comment(self, number: int, body: str, find: Callable[[], Comment | None]) -> Comment:
        """A new comment; ``find`` looks for it where nobody knows whether it was made."""
        path = f"/issues/{number}/comments"
        what = f"comment on pull request {number}"
        return self.patience.once(lambda: _comment(self.call("POST", path, {"body": body})), find, what)

    def edit_comment(self, comment: Comment, body: str) -> None:
        """Put ``body`` in the comment's place."""
        path = f"/issues/comments/{comment.id}"
        self.patience.repeat(lambda: self.call("PATCH", path, {"body": body}), f"edit {comment.url}")

    def minimise(self, comment: Comment) -> None:
        """Fold the comment as a duplicate."""
        mutation = (
            "mutation M($id: ID!) { minimizeComment(input: {subjectId: $id, classifier: DUPLICATE}) "
            "{ minimizedComment { isMinimized } } }"
        )
        self.graphql(mutation, {"id": comment.node_id}, f"fold {comment.url}")

    def edits(self, comment: Comment) -> list[Edit]:
        """Every version of an edited comment, the first one among them, as far back as the platform remembers."""
        query = (
            "query Q($id: ID!) { node(id: $id) { ... on IssueComment "
            "{ userContentEdits(first: 100) { nodes { editedAt diff editor { login } } } } } }"
        )
        answer = self.graphql(query, {"id": comment.node_id}, f"read the edits of {comment.url}")
        edits = ((answer["node"] or {}).get("userContentEdits") or {}).get("nodes") or []
        return [
            Edit(str((edit["editor"] or {}).get("login", "ghost")), str(edit["editedAt"]), edit["diff"] or "")
            for edit in edits
        ]

    def statuses(self, sha: str, context: str) -> list[CommitStatus]:
        """The statuses of ``sha`` under ``context``, newest first: the first one counts."""
        found = self.read_all(f"/commits/{sha}/statuses", f"list the statuses of {sha[:7]}")
        return [
            CommitStatus(s["state"], s["description"] or "", s["target_url"] or "")
            for s in found
            if s["context"] == context
        ]

    def set_status(self, sha: str, context: str, status: CommitStatus) -> None:
        """Make ``status`` the one that counts, if it is not already."""

        def current() -> bool | None:
            return self.statuses(sha, context)[:1] == [status] or None

        def post() -> bool:
            body = {"state": status.state, "description": status.description, "context": context}
            # An empty address is refused, so none is given.
            self.call(
                "POST", f"/statuses/{sha}", body | ({"target_url": status.target_url} if status.target_url else {})
            )
            return True

        if not current():
            self.patience.once(post, current, f"set the status {context} of {sha[:7]}")

    def create_check_run(self, body: Mapping[str, Any]) -> None:
        """A new check run, unless there is one; ``body`` as the API takes it, with name, head_sha and external_id."""
        sha, name = body["head_sha"], body["name"]

        def made() -> bool | None:
            path, what = f"/commits/{sha}/check-runs", f"list the checks of {sha[:7]}"
            found = self.read_all(path, what, within="check_runs", check_name=name)
            return any(run["external_id"] == body["external_id"] for run in found) or None

        if not made():
            self.patience.once(lambda: bool(self.call("POST", "/check-runs", body)), made, f"annotate {sha[:7]}")

    def _entries(self, commit: str) -> dict[str, File]:
        """Every file and submodule of a commit by its path, asked for once: what a hash names does not change."""
        if commit in self._known:
            return self._known[commit]
        answer = self.read(f"/git/trees/{commit}", f"list the files of {commit[:7]}", recursive="1")
        if answer["truncated"]:
            raise PublishError(
                f"{commit[:7]} holds more files than the platform lists at once", hint="keep manifests in a smaller one"
            )
        self._known[commit] = {e["path"]: File(e["mode"], e["sha"]) for e in answer["tree"] if e["type"] != "tree"}
        return self._known[commit]


def _pull(found: Mapping[str, Any]) -> Pull:
    base, merged = found["base"], bool(found.get("merged_at"))
    return Pull(found["number"], found["head"]["sha"], base["ref"], base["sha"], merged)


def _comment(found: Mapping[str, Any]) -> Comment:
    # The author is null once the account is gone.
    author = (found["user"] or {}).get("login", "")
    return Comment(found["id"], found["node_id"], author, found.get("body") or "", found["html_url"])
