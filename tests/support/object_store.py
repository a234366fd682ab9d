"""An S3 server in a process of its own: what it imports would break an engine that this one starts later."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support.remote import Asked, Reply

PASSED_ON = ("etag", "content-range", "content-type", "last-modified", "x-amz-checksum-sha256")


@contextmanager
def s3_server() -> Iterator[str]:
    """The server's address, on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not _listens(port):
                if server.poll() is not None:
                    raise RuntimeError(f"{' '.join(command)} ended with {server.returncode}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def passing_on(upstream: str) -> Callable[[Asked], Reply]:
    """What the server at ``upstream`` says."""

    def reply(asked: Asked) -> Reply:
        sent = {name: v for name, v in asked.headers.items() if name in ("Range", "Authorization") or "Amz" in name}
        request = urllib.request.Request(f"{upstream}{asked.path}?{asked.query}", headers=sent)
        try:
            with urllib.request.urlopen(request) as found:
                headers = {name: found.headers[name] for name in PASSED_ON if found.headers[name]}
                return Reply(found.read(), found.status, headers)
        except urllib.error.HTTPError as error:
            return Reply(error.read(), error.code)

    return reply
