"""Real HTTP servers on loopback that tell what they were asked, and fail when they are told to."""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

SEND_BUFFER = 1 << 15
"""Bytes that a server may send ahead of its reader."""


@dataclass(frozen=True)
class Reply:
    """What a server says. ``content`` is sent in ranges if asked; ``sized`` is whether HEAD tells its length."""

    content: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    sized: bool = True


@dataclass(frozen=True)
class Asked:
    """A request that came in."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass
class Fault:
    """What happens instead of the true reply, ``times`` times: a status, a cut, other bytes, or seconds for each."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    change: Callable[[bytes], bytes] | None = None
    drip: float = 0.0
    times: int = 1


class Server:
    """One server on a free port. ``sent`` counts the bytes of content by path; ``asked`` holds every request."""

    def __init__(self, reply: Callable[[Asked], Reply], *, ranges: bool = True, slow: float = 0.0) -> None:
        self.reply, self.ranges, self.slow = reply, ranges, slow
        self.asked: list[Asked] = []
        self.sent: dict[str, int] = defaultdict(int)
        self.faults: dict[str, Fault] = {}
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def do_HEAD(self) -> None:
                outer.answer(self)

            def do_POST(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Small buffers, which accepted connections take over: otherwise ``sent`` counts megabytes that nobody read.
        self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        headers = {name.title(): value for name, value in handler.headers.items()}
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        asked = Asked(handler.command, unquote(parts.path), parts.query, headers, body)
        with self._lock:
            self.asked.append(asked)
            fault = self.faults.get(asked.path) if asked.method == "GET" else None
            if fault is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.pop(asked.path, None)
        if fault is not None and fault.status:
            return self._send(handler, asked, Reply(b"", fault.status, fault.headers), None)
        return self._send(handler, asked, self.reply(asked), fault)

    def _send(self, handler: BaseHTTPRequestHandler, asked: Asked, reply: Reply, fault: Fault | None) -> None:
        content, status, headers = reply.content, reply.status, dict(reply.headers)
        wanted = asked.headers.get("Range", "")
        same = asked.headers.get("If-Range") in (None, headers.get("ETag"), headers.get("Last-Modified"))
        if wanted and status == 200 and self.ranges and same:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(content)), len(content) - 1)
            if start >= len(content):
                content, status = b"", 416
            else:
                status, headers["Content-Range"] = 206, f"bytes {start}-{end}/{len(content)}"
                content = content[start : end + 1]
        if fault is not None and fault.change is not None:
            content = fault.change(content)
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if asked.method != "HEAD" or reply.sized:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if asked.method == "HEAD":
            return
        self._write(handler, asked.path, content, fault)

    def _write(self, handler: BaseHTTPRequestHandler, path: str, content: bytes, fault: Fault | None) -> None:
        most = len(content) if fault is None or fault.cut_after is None else min(fault.cut_after, len(content))
        try:
            drip = fault.drip if fault is not None else 0.0
            step = 1 if drip else 1 << 14
            for start in range(0, most, step):
                piece = content[start : min(start + step, most)]
                handler.wfile.write(piece)
                with self._lock:
                    self.sent[path] += len(piece)
                time.sleep(drip or self.slow)
            handler.wfile.flush()
        except OSError:
            handler.close_connection = True  # whoever read this has gone
        if most < len(content):
            handler.close_connection = True
            handler.connection.close()


@contextmanager
def serving(reply: Callable[[Asked], Reply], **how: Any) -> Iterator[Server]:
    """A server for as long as the context lasts."""
    server = Server(reply, **how)
    try:
        yield server
    finally:
        server.close()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its POSIX path."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return sha256(content).hexdigest()


def folder_site(files: Mapping[str, bytes], *, sums: bool = True) -> Callable[[Asked], Reply]:
    """A web server's view of ``files`` below ``/m/``: SHA256SUMS, or else pages of links."""

    def reply(asked: Asked) -> Reply:
        name = asked.path.removeprefix("/m/")
        if name == "SHA256SUMS" and sums:
            return Reply("".join(f"{digest(c)}  {n}\n" for n, c in files.items()).encode())
        if name in files:
            return Reply(files[name], headers={"ETag": f'"{digest(files[name])[:20]}"'})
        inside = {n.removeprefix(name).partition("/") for n in files if n.startswith(name) or not name}
        if asked.path.endswith("/") and inside:
            links = sorted({a + slash for a, slash, _ in inside})
            return Reply(
                b'<a href="../">up</a><a href="?C=N">sort</a>' + "".join(f'<a href="{x}">x</a>' for x in links).encode()
            )
        return Reply(status=404)

    return reply


class TwoHosts:
    """A service that answers on one host, ``api``, and keeps its contents on another, ``cdn``."""

    def __init__(self) -> None:
        self.cdn = Server(self._blob)
        self.api = Server(self._answer)

    def close(self) -> None:
        self.api.close()
        self.cdn.close()

    def _blob(self, asked: Asked) -> Reply:
        raise NotImplementedError

    def _answer(self, asked: Asked) -> Reply:
        raise NotImplementedError
