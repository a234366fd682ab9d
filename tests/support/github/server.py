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

from support.github import models
from support.github.faults import Faults
from support.github.repository import GitRepository
from support.github.routes import ROUTES, RefusedError, Request
from support.github.state import Caller, Check, IssueComment, PullRequest, Status

ALL = dict.fromkeys(("statuses", "checks", "issues", "pull_requests", "contents"), "write")
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
}
BOT = "github-actions[bot]"


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
        self.log: list[tuple[str, str, int]] = []
        self.invalid: list[str] = []
        """Bodies that the platform's own models refuse."""
        self.merge_sha = "f" * 40
        self.truncate_trees = False
        self._ids, self._lock = 1000, threading.RLock()

    def __enter__(self) -> FakeGitHub:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    def edit(self, comment: IssueComment, who: str, body: str) -> None:
        """Change a comment and remember its versions, the first one too once there is another."""
        comment.edits = [*(comment.edits or [(comment.author, comment.body)]), (who, body)]
        comment.body = body

    def status_of(self, sha: str, context: str = "ftgate/verdict") -> Status | None:
        """The status that counts."""
        return next((s for s in reversed(self.statuses) if s.sha == sha and s.context == context), None)

    def writes(self) -> list[tuple[str, str]]:
        """Every request that changed something."""
        return [(m, p) for m, p, status in self.log if m != "GET" and status < 300 and "graphql" not in p]

    def answer(self, method: str, target: str, token: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and body of a request; one at a time, as a database would."""
        with self._lock:
            caller = self.callers.get(token)
            path = re.sub(r"^/api(/v3)?", "", unquote(urlsplit(target).path))
            try:
                if caller is None:
                    raise RefusedError(401, "Bad credentials")
                status, found = (
                    (200, self._graphql(caller, body))
                    if path == "/graphql"
                    else self._rest(method, path, dict(parse_qsl(urlsplit(target).query)), caller, body)
                )
            except RefusedError as refusal:
                status, found = refusal.status, refusal.body
            self.log.append((method, path, status))
            return status, found

    def _rest(
        self, method: str, path: str, query: dict[str, str], caller: Caller, body: dict[str, Any]
    ) -> tuple[int, Any]:
        below = path.removeprefix(f"/repos/{self.name}")
        for route in ROUTES:
            match = route.path.fullmatch(below)
            if match is None or route.method != method or below == path:
                continue
            if not caller.may(route.scope, "read" if method == "GET" else "write"):
                raise RefusedError(403, "Resource not accessible by integration")
            self._check(route.takes, body, f"{method} {below} took")
            found = route.handler(Request(self, caller, query, body, match.groupdict()))
            self._check(route.answers, found, f"{method} {below} answered")
            return (201 if method == "POST" else 200), found
        raise RefusedError(404, "Not Found")

    def _check(self, kind: str, body: Any, where: str) -> None:
        if kind:
            try:
                models.require(kind, body)
            except ValueError as error:
                self.invalid.append(f"{where}: {error}")

    def _graphql(self, caller: Caller, body: dict[str, Any]) -> Any:
        query, variables = body["query"], body.get("variables", {})
        if "viewer" in query:
            return {"data": {"viewer": {"login": caller.login}}}
        found = next((c for c in self.comments if f"IC_{c.id}" == variables.get("id")), None)
        if found is None:
            return {"data": None, "errors": [{"type": "NOT_FOUND", "message": "no such node"}]}
        if "minimizeComment" in query:
            if not caller.may("issues", "write"):
                raise RefusedError(403, "Resource not accessible by integration")
            found.minimised = "DUPLICATE"
            return {"data": {"minimizeComment": {"minimizedComment": {"isMinimized": True}}}}
        edits = [
            {"editedAt": "2025-03-04T09:00:00Z", "diff": body, "editor": {"login": who.removesuffix("[bot]")}}
            for who, body in reversed(found.edits)
        ]
        return {"data": {"node": {"userContentEdits": {"nodes": edits}}}}


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

    do_POST = do_PATCH = do_GET  # noqa: N815 - the names that the base class asks for

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
        status, found = self.hub.answer(self.command, self.path, token, body)
        if fault == "502 after":
            return self._send(502, {"message": "Server Error"}, {})
        if fault == "cut after":
            return self._cut()
        return self._send(status, found, {}, midway=fault == "cut midway")

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
