"""The fake as an HTTP server on loopback. ``with FakeGitHub(folder) as hub:`` starts and stops it."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from support.github import apps, queries
from support.github.description import interface
from support.github.faults import Faults
from support.github.limits import BOT, TOO_MANY, RateLimits
from support.github.repository import GitRepository
from support.github.routes import ROUTES, Request
from support.github.state import Caller, Check, IssueComment, PullRequest, RefusedError, Status

ALL = {**dict.fromkeys(("statuses", "checks", "pull_requests", "contents"), "write"), "actions": "read"}
"""What the workflow's report job may do."""
READ = dict.fromkeys(ALL, "read")
QUICK = {"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": "was submitted too quickly"}
ANSWERS: dict[str, tuple[int, dict[str, Any]]] = {
    "secondary": (
        403,
        {"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."},
    ),
    "429": (429, {"message": "Too many requests"}),
    "502 before": (502, {"message": "Server Error"}),
    "422 before": (422, {"message": "Validation Failed", "errors": [QUICK]}),
    "422 lag": (422, {"message": "No commit found for SHA: its servers do not agree yet"}),
    "422": (422, {"message": "Repository rule violations found"}),
    "409": (409, {"message": "Reference cannot be updated"}),
}


class FakeGitHub:
    """One repository, ``acme/models``, and everyone who speaks to it."""

    name = "acme/models"

    def __init__(self, folder: Path, faults: Faults | None = None, *, slow: float = 0.02) -> None:
        self.git = GitRepository(folder / "repository")
        self.faults = faults or Faults()
        self.slow = slow
        """Seconds that a slow answer takes."""
        self.pulls: dict[int, PullRequest] = {}
        self.comments: list[IssueComment] = []
        self.statuses: list[Status] = []
        self.checks: list[Check] = []
        self.collaborators: dict[str, str] = {}
        self.callers: dict[str, Caller] = {"token": Caller(BOT, ALL)}
        self.apps: list[apps.App] = []
        self.log: list[tuple[str, str, int]] = []
        self.invalid: list[str] = []
        """Requests and answers that differ from the published interface. On leaving there must be none."""
        self.merge_sha = "f" * 40
        self.truncate_trees = False
        self.rules: dict[str, list[dict[str, Any]]] = {}
        """Active rules of rulesets, by branch."""
        self.protection: dict[str, dict[str, int | None]] = {}
        """Required checks and their apps of the classic protection, by branch."""
        self.runners: dict[str, tuple[str, list[str]]] = {}
        """Status and labels, by name."""
        self.organisation_runners: dict[str, tuple[str, list[str]]] | None = {}
        """Those of the organisation that the repository may use; None: the token may not list them."""
        self.environments: dict[str, list[str]] = {"ftgate-forks": ["maintainer"]}
        """Logins of each environment's required reviewers."""
        self.deployment_branches: dict[str, list[str]] = {}
        """Branches that alone may use an environment, by its name; none: those that are protected."""
        self.bypass: dict[str, list[str]] = {}
        """Who may do what a branch's rules forbid, by branch."""
        self.limits = RateLimits()
        self.largest_blob, self.most_shown = 100_000_000, 1_000_000
        """Bytes: of a file that the API returns at all, and whose content it returns with its name."""
        self._ids, self._lock = 1000, threading.RLock()

    def __enter__(self) -> FakeGitHub:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        if kind is None:
            assert not self.invalid, "\n".join(self.invalid)

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    def edit(self, comment: IssueComment, who: str, body: str) -> None:
        """Change a comment and remember its versions, the first one too once there is another."""
        comment.edits = [*(comment.edits or [(comment.author, comment.body)]), (who, body)]
        comment.body = body

    def status_of(self, sha: str, context: str = "ftgate/verdict") -> Status | None:
        """The status that counts."""
        same = (s for s in reversed(self.statuses) if s.sha == sha and s.context.casefold() == context.casefold())
        return next(same, None)

    def writes(self) -> list[tuple[str, str]]:
        """Every request that changed something."""
        return [(m, p) for m, p, status in self.log if m != "GET" and status < 300 and "graphql" not in p]

    def answer(self, method: str, target: str, token: str, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers of the answer to a request; one at a time, as a database would."""
        with self._lock:
            caller = self.callers.get(token)
            path = re.sub(r"^/api(/v3)?", "", unquote(urlsplit(target).path))
            query = dict(parse_qsl(urlsplit(target).query))
            headers: dict[str, str] = {}
            try:
                found = apps.answer(self, method, path, token)
                status = 201 if method == "POST" else 200
                if found is None:
                    if caller is None:
                        raise RefusedError(401, "Bad credentials")
                    within, headers = self.limits.spend(token, caller, "graphql" if path == "/graphql" else "core")
                    if path == "/graphql":
                        status, found = 200, queries.answer(self, caller, body) if within else queries.too_many()
                    elif not within:
                        raise RefusedError(403, TOO_MANY)
                    else:
                        status, found = self._rest(method, path, query, caller, body)
            except RefusedError as refusal:
                status, found = refusal.status, refusal.body
            if path != "/graphql":
                self.invalid += self._differences(method, path, query, body, status, found)
            self.log.append((method, path, status))
            return status, found, headers

    def _rest(
        self, method: str, path: str, query: dict[str, str], caller: Caller, body: dict[str, Any]
    ) -> tuple[int, Any]:
        below = path.removeprefix(f"/repos/{self.name}")
        for route in ROUTES:
            match = route.path.fullmatch(below)
            if match is None or route.method != method or (below == path and not path.startswith("/orgs/")):
                continue
            if not caller.may(route.scope, "read" if method == "GET" else "write"):
                raise RefusedError(403, "Resource not accessible by integration")
            return (201 if method == "POST" else 200), route.handler(
                Request(self, caller, query, body, match.groupdict())
            )
        raise RefusedError(404, "Not Found")

    def _differences(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any], status: int, found: Any
    ) -> list[str]:
        """How a call differs from the published interface."""
        operation = interface().operation(method, path)
        if operation is None:
            return [f"{method} {path}: not in the published interface, as far as it is kept"]
        asked = interface().request_problems(operation, query, body)
        return [*asked, *interface().response_problems(operation, status, found)]


class Handler(BaseHTTPRequestHandler):
    """One connection. ``hub`` is set on a subclass for each server."""

    hub: FakeGitHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Say nothing: the fake keeps its own log."""

    def do_GET(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the caller did not wait
            self._serve()

    do_POST = do_PATCH = do_PUT = do_GET  # noqa: N815 - the names that the base class asks for

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        token = self.headers.get("Authorization", "").split(" ")[-1]
        fault = self.hub.faults.draw(self.command, self.path)
        if fault == "slow":
            time.sleep(self.hub.slow)
        elif fault == "cut before":
            return self._cut()
        elif fault in ANSWERS:
            status, found = ANSWERS[fault]
            return self._send(status, found, {"Retry-After": "0"})
        status, found, headers = self.hub.answer(self.command, self.path, token, body)
        if fault == "502 after":
            return self._send(502, {"message": "Server Error"}, {})
        if fault == "cut after":
            return self._cut()
        return self._send(status, found, headers, midway=fault == "cut midway")

    def _send(self, status: int, found: Any, headers: dict[str, str], *, midway: bool = False) -> None:
        content = json.dumps(found).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json; charset=utf-8"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if midway else content)
        if midway:
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
