"""The GitHub client for one repository: plain values in and out, every call retried.

Paths and payloads are those of the REST API, version 2022-11-28. PyGithub provides authentication, addresses (including
GitHub Enterprise Server), errors and GraphQL.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from github import Auth, Github, GithubRetry

from ftgate.config.manifest import COMMIT
from ftgate.errors import PublishError
from ftgate.github.retry import Retry, or_none

TIMEOUT = 30
"""Seconds to wait for one response."""
PAGE = 100
"""Entries per page, the most that the API returns."""
TOGETHER = 500
"""Files that one GraphQL request asks for."""
SUBMODULE = "160000"
"""Git's file mode of a submodule: a commit of another repository."""


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request in its current state."""

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
    """One status of a commit, or a check run as one."""

    state: str
    description: str
    target_url: str
    creator: str = field(default="", compare=False)
    """Login that set it, which GitHub gives."""
    identity: str | None = field(default=None, compare=False)
    """Digest of its record that a check run also holds, or ""; a status has no place for it (None)."""


@dataclass(frozen=True, slots=True)
class File:
    """An entry of a commit's tree: git's mode (``120000`` is a link) and the content's hash."""

    mode: str
    sha: str


def connect(
    url: str, auth: str | Auth.Auth, *, pause: float | None = 0.25, backoff: float = 1.0, timeout: int = TIMEOUT
) -> Github:
    """A client for the API at ``url``, with a token or as an App. ``pause``: least time between writes, in seconds.

    Only idempotent requests are retried here; requests that create something are left to
    :class:`~ftgate.github.retry.Retry`.
    """
    return Github(
        auth=Auth.Token(auth) if isinstance(auth, str) else auth,
        base_url=url,
        retry=retries(backoff),
        timeout=timeout,
        seconds_between_requests=None,
        seconds_between_writes=pause,
    )


def retries(backoff: float = 1.0) -> GithubRetry:
    """What is repeated at once: idempotent requests, with waits that grow from ``backoff`` seconds."""
    return GithubRetry(
        total=5,
        allowed_methods={"GET", "HEAD", "PUT", "DELETE", "PATCH"},
        status_forcelist=[429, 500, 502, 503, 504],
        backoff_factor=backoff,
        max_rate_limit_wait=120,
        raise_on_status=False,  # return the last response: it says why
    )


class GitHubRepo:
    """One repository. A request that creates something checks whether it did before it is sent again."""

    def __init__(self, client: Github, repository: str, sleep: Callable[[float], None]) -> None:
        self._client = client
        self.name = repository
        self._path = f"/repos/{repository}"
        self.retry = Retry(sleep)
        self._trees: dict[str, dict[str, File]] = {}
        self._login = ""
        self._blobs: dict[str, bytes] = {}

    def call(self, verb: str, path: str, body: Mapping[str, Any] | None = None, **parameters: Any) -> Any:
        """One request below the repository, sent once. Raises what PyGithub raises."""
        requester = self._client.requester
        return requester.requestJsonAndCheck(verb, self._path + path, parameters=parameters or None, input=body)[1]

    def read(self, path: str, what: str, **parameters: Any) -> Any:
        """The response to a GET. Raises PublishError."""
        return self.retry.repeat(lambda: self.call("GET", path, **parameters), what)

    def read_all(self, path: str, what: str, *, within: str = "", **parameters: Any) -> list[Any]:
        """Every entry of a list, however many pages it has; ``within`` names the field that holds the list."""
        entries: list[Any] = []
        for page in range(1, 1000):
            answer = self.read(path, what, per_page=PAGE, page=page, **parameters)
            page_entries = answer[within] if within else answer
            entries += page_entries
            if len(page_entries) < PAGE:
                break
        return entries

    def organisation_runners(self) -> list[dict[str, Any]]:
        """The runners of the organisation that this repository may use; none if its owner is a person."""
        owner, name = self._path.removeprefix("/repos/").split("/")
        groups, what = f"/orgs/{owner}/actions/runner-groups", f"list the runner groups of {owner}"
        requester = self._client.requester

        def get(path: str, **parameters: Any) -> Any:
            parameters |= {"per_page": PAGE}
            return self.retry.repeat(lambda: requester.requestJsonAndCheck("GET", path, parameters=parameters)[1], what)

        usable = (or_none(lambda: get(groups, visible_to_repository=name)) or {"runner_groups": []})["runner_groups"]
        return [runner for group in usable for runner in get(f"{groups}/{group['id']}/runners")["runners"]]

    def graphql(self, query: str, variables: Mapping[str, Any], what: str) -> Any:
        """The data of a GraphQL response. Only for queries that may be repeated."""
        query_once = self._client.requester.graphql_query
        return self.retry.repeat(lambda: query_once(query, dict(variables))[1], what)["data"]

    def login(self) -> str:
        """The token's owner: a user, or ``github-actions[bot]``."""
        if not self._login:
            answer = self.graphql("query { viewer { login } }", {}, "find the token's owner")
            self._login = str(answer["viewer"]["login"])
        return self._login

    def app(self, slug: str) -> Mapping[str, Any] | None:
        """The App of this name, with its `id` and `permissions`; None if there is none that the token may see."""
        get = self._client.requester.requestJsonAndCheck
        return or_none(lambda: self.retry.repeat(lambda: get("GET", f"/apps/{quote(slug)}")[1], f"find the App {slug}"))

    def default_branch(self) -> str:
        """The name of the repository's default branch."""
        return str(self.read("", f"read the repository {self.name}")["default_branch"])

    def required_checks(self, branch: str) -> list[tuple[str, int | None]]:
        """Name and source of each status or check that the rulesets on ``branch`` require before a merge."""
        rules = self.read_all(f"/rules/branches/{quote(branch, safe='')}", f"read the rules of {branch}")
        return [
            (check["context"], check.get("integration_id"))
            for rule in rules
            if rule["type"] == "required_status_checks"
            for check in rule["parameters"]["required_status_checks"]
        ]

    def role(self, login: str) -> str:
        """The role of ``login`` on this repository: ``admin``, ``maintain``, ``write``, ``triage``, ``read``, ``none``.

        An organisation's own role counts as the permission that GitHub says it rests on.
        """
        path, what = f"/collaborators/{quote(login, safe='')}/permission", f"read the permission of {login}"
        answer = or_none(lambda: self.read(path, what)) or {"permission": "none"}
        return str(answer.get("role_name") if answer.get("role_name") == "maintain" else answer["permission"])

    def pull(self, number: int) -> Pull:
        """Pull request ``number``."""
        return _pull(self.read(f"/pulls/{number}", f"read pull request {number}"))

    def pulls_of(self, owner: str, branch: str) -> list[Pull]:
        """The open pull requests from ``branch`` of ``owner``, which may be a fork."""
        what = f"find the pull request of {owner}:{branch}"
        return [_pull(p) for p in self.read_all("/pulls", what, state="open", head=f"{owner}:{branch}")]

    def commits_of_pull(self, number: int) -> list[str]:
        """The commits of pull request ``number``, oldest first; GitHub lists at most 250."""
        return [c["sha"] for c in self.read_all(f"/pulls/{number}/commits", f"list the commits of {number}")]

    def changed_between(self, base: str, head: str) -> list[str]:
        """Paths that differ between ``head`` and its merge base with ``base``; a renamed file counts under both names.

        Computed from the two trees, because GitHub cuts lists of changed files at 300 (3,000 for a pull request)
        without saying so. Raises PublishError if a tree is too large to list.
        """
        fork = self.read(f"/compare/{quote(base)}...{head}", f"compare {base[:7]} with {head[:7]}")["merge_base_commit"]
        before, after = self._entries(fork["sha"]), self._entries(head)
        return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))

    def tip(self, branch: str) -> str | None:
        """The commit that ``branch`` points to, or None if there is no such branch."""
        ref = or_none(lambda: self.read(f"/git/ref/heads/{quote(branch)}", f"read the branch {branch}"))
        return str(ref["object"]["sha"]) if ref else None

    def tree(self, commit: str) -> Mapping[str, File]:
        """Every file of a commit by its path, without submodules. Raises PublishError if there are too many to list."""
        return {path: file for path, file in self._entries(commit).items() if file.mode != SUBMODULE}

    def tree_of(self, commit: str) -> str:
        """The hash of the tree of ``commit``."""
        return str(self.read(f"/git/commits/{commit}", f"read the commit {commit[:7]}")["tree"]["sha"])

    def blob(self, sha: str) -> bytes:
        """The content of a file by its hash. The content of a link is its target path; links are not followed."""
        if sha in self._blobs:
            return self._blobs[sha]
        return base64.b64decode(self.read(f"/git/blobs/{sha}", f"read the file {sha[:7]}")["content"])

    def prefetch(self, hashes: Sequence[str]) -> None:
        """Read files ahead of :meth:`blob`, 500 in one request. Only content that has its hash is kept.

        GraphQL returns no binary files, cuts long ones and replaces invalid UTF-8: these are left to :meth:`blob`.
        """
        wanted = [sha for sha in dict.fromkeys(hashes) if sha not in self._blobs and COMMIT.fullmatch(sha)]
        owner, name = self._path.removeprefix("/repos/").split("/")
        for start in range(0, len(wanted), TOGETHER):
            part = wanted[start : start + TOGETHER]
            objects = " ".join(f'f{n}: object(oid: "{sha}") {{ ... on Blob {{ text }} }}' for n, sha in enumerate(part))
            query = f"query Q($o: String!, $n: String!) {{ repository(owner: $o, name: $n) {{ {objects} }} }}"
            files = self.graphql(query, {"o": owner, "n": name}, f"read {len(part)} files")["repository"]
            for n, sha in enumerate(part):
                content = ((files[f"f{n}"] or {}).get("text") or "").encode()
                if _git_hash(content) == sha:
                    self._blobs[sha] = content

    def text_at(self, path: str, ref: str) -> str | None:
        """The text of the file ``path`` at ``ref``, or None if there is no such file."""
        what = f"read {path} at {ref}"
        answer = or_none(lambda: self.read(f"/contents/{quote(path)}", what, ref=ref))
        if answer is None:
            return None
        if isinstance(answer, dict) and answer.get("encoding") == "none":
            raise PublishError(f"{path} at {ref} is larger than 1 MB", hint="keep policies and manifests small")
        if not isinstance(answer, dict) or answer.get("encoding") != "base64":
            raise PublishError(f"{path} at {ref} is not a regular file", hint="replace it with a regular file")
        return base64.b64decode(answer["content"]).decode("utf-8", "replace")

    def comments(self, number: int) -> list[Comment]:
        """Every comment of pull request ``number``, oldest first."""
        path = f"/issues/{number}/comments"
        return [_comment(c) for c in self.read_all(path, f"list the comments of pull request {number}")]

    def create_comment(self, number: int, body: str, find: Callable[[], Comment | None]) -> Comment:
        """A new comment. ``find`` looks for it after a request whose outcome is unknown."""
        path = f"/issues/{number}/comments"
        what = f"comment on pull request {number}"
        return self.retry.once(lambda: _comment(self.call("POST", path, {"body": body})), find, what)

    def edit_comment(self, comment: Comment, body: str) -> None:
        """Replace the comment's text with ``body``."""
        path = f"/issues/comments/{comment.id}"
        self.retry.repeat(lambda: self.call("PATCH", path, {"body": body}), f"edit {comment.url}")

    def minimise(self, comment: Comment) -> None:
        """Hide the comment as a duplicate."""
        mutation = (
            "mutation M($id: ID!) { minimizeComment(input: {subjectId: $id, classifier: DUPLICATE}) "
            "{ minimizedComment { isMinimized } } }"
        )
        self.graphql(mutation, {"id": comment.node_id}, f"hide {comment.url}")

    def edits(self, comment: Comment) -> list[Edit]:
        """Every version of an edited comment, including the first, as far back as GitHub keeps them."""
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
        """The statuses of ``sha`` under ``context``, newest first; the first one is in effect.

        GitHub does not tell upper from lower case in their names (its REST reference on creating a status).
        """
        statuses = self.read_all(f"/commits/{sha}/statuses", f"list the statuses of {sha[:7]}")
        return [
            # The creator is null once the account is deleted.
            CommitStatus(
                s["state"], s["description"] or "", s["target_url"] or "", (s["creator"] or {}).get("login", "")
            )
            for s in statuses
            if s["context"].casefold() == context.casefold()
        ]

    def set_status(self, sha: str, context: str, status: CommitStatus) -> None:
        """Set ``status`` unless the token's owner already did and it is in effect."""

        def current() -> bool | None:
            latest = self.statuses(sha, context)[:1]
            return (latest == [status] and latest[0].creator == self.login()) or None

        def post() -> bool:
            body = {"state": status.state, "description": status.description, "context": context}
            # The API rejects an empty target_url.
            self.call(
                "POST", f"/statuses/{sha}", body | ({"target_url": status.target_url} if status.target_url else {})
            )
            return True

        if not current():
            self.retry.once(post, current, f"set the status {context} of {sha[:7]}")

    def create_check_run(self, body: Mapping[str, Any]) -> None:
        """Create a check run unless it exists; ``body`` as the API takes it, with name, head_sha and external_id."""
        sha, name = body["head_sha"], body["name"]

        def exists() -> bool | None:
            path, what = f"/commits/{sha}/check-runs", f"list the checks of {sha[:7]}"
            runs = self.read_all(path, what, within="check_runs", check_name=name)
            return any(run["external_id"] == body["external_id"] for run in runs) or None

        if not exists():
            self.retry.once(lambda: bool(self.call("POST", "/check-runs", body)), exists, f"annotate {sha[:7]}")

    def _entries(self, commit: str) -> dict[str, File]:
        """Every file and submodule of a commit by its path. Cached: a commit's tree never changes."""
        if commit in self._trees:
            return self._trees[commit]
        answer = self.read(f"/git/trees/{commit}", f"list the files of {commit[:7]}", recursive="1")
        if answer["truncated"]:
            raise PublishError(
                f"{commit[:7]} has more files than GitHub lists at once",
                hint="keep the manifests in a smaller repository",
            )
        self._trees[commit] = {e["path"]: File(e["mode"], e["sha"]) for e in answer["tree"] if e["type"] != "tree"}
        return self._trees[commit]


def _git_hash(content: bytes) -> str:
    """The hash by which git, and the API, name a file of this ``content``."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _pull(answer: Mapping[str, Any]) -> Pull:
    base, merged = answer["base"], bool(answer.get("merged_at"))
    return Pull(answer["number"], answer["head"]["sha"], base["ref"], base["sha"], merged)


def _comment(answer: Mapping[str, Any]) -> Comment:
    # The author is null once the account is deleted.
    author = (answer["user"] or {}).get("login", "")
    return Comment(answer["id"], answer["node_id"], author, answer.get("body") or "", answer["html_url"])
