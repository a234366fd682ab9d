"""A chat-completions server on loopback with any fault that a test wants, so that the real client can be run."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the server sends: ``body`` as it is if bytes, else as JSON. With ``cut`` the connection ends after so many
    bytes of a longer body; with ``trickle`` every byte takes so many seconds."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    trickle: float = 0.0


def listed(probabilities: Mapping[str, float], tokens: int = 1, **message: Any) -> Reply:
    """A reply of one token with the log-probabilities of the likeliest."""
    top = [{"token": t, "logprob": math.log(p), "bytes": None} for t, p in probabilities.items()]
    content = [{**top[0], "top_logprobs": top}] * tokens
    return completion([{"message": {"content": top[0]["token"], **message}, "logprobs": {"content": content}}])


def said(*texts: str | None, **choice: Any) -> Reply:
    """One choice a text, without log-probabilities."""
    return completion([{"message": {"content": text}, "logprobs": None, **choice} for text in texts])


def completion(choices: Sequence[Body]) -> Reply:
    numbered = [{"index": i, "finish_reason": "length", **choice} for i, choice in enumerate(choices)]
    return Reply({"id": "c", "object": "chat.completion", "model": "m", "choices": numbered})


def refusal(status: int, message: str, **headers: str) -> Reply:
    """An error as servers word it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply({"error": {"message": message, "type": "error", "code": status}}, status, named)


class ChatServer:
    """Answers by ``talk``, but first by what is left in ``faults``; other paths by ``aside``.

    ``asked`` holds the body of every chat completion that was asked for, ``times`` when, ``keys`` with which header.
    """

    def __init__(self, talk: Callable[[Body], Reply], models: Body | None = None) -> None:
        self.talk = talk
        self.models = models
        self.faults: deque[Reply] = deque()
        self.asked: list[Body] = []
        self.times: list[float] = []
        self.keys: set[str | None] = set()
        self.down = False
        self.aside: Callable[[str, Body], Reply] = lambda path, _: refusal(404, f"no page {path}")
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.chat = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> ChatServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Be down: whoever connects is refused, and who is connected is cut off."""
        self.down = True
        self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    chat: ChatServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http
    disable_nagle_algorithm = True  # headers and body are two packets, and the second would wait 40 ms for an answer

    def do_GET(self) -> None:
        chat = self.server.chat
        known = self.path == "/v1/models" and chat.models is not None
        self._send(Reply(chat.models) if known else refusal(404, "no such page"))

    def do_POST(self) -> None:
        chat = self.server.chat
        if chat.down:
            self.close_connection = True
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/chat/completions":
            chat.keys.add(self.headers["Authorization"])
            chat.asked.append(body)
            chat.times.append(time.monotonic())
            self._send(chat.faults.popleft() if chat.faults else chat.talk(body))
        else:
            self._send(chat.aside(self.path, body))

    def _send(self, reply: Reply) -> None:
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        time.sleep(reply.delay)
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for piece in [bytes([byte]) for byte in content] if reply.trickle else [content[: reply.cut]]:
            self.wfile.write(piece)
            time.sleep(reply.trickle)
        self.close_connection |= reply.cut is not None

    def handle(self) -> None:
        with suppress(OSError):  # the client had enough, as some tests want
            super().handle()

    def log_message(self, *_: Any) -> None:
        pass
