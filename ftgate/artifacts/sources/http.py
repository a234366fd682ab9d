"""The HTTP client of all HTTP sources: redirects only to allowed hosts, credentials only to the source's own host."""

from __future__ import annotations

import email.utils
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ftgate.artifacts.reference import require_encrypted
from ftgate.artifacts.sources.base import (
    RangeError,
    Stream,
    TransientError,
    forbidden,
    missing,
    require_min_rate,
    unauthorised,
)
from ftgate.errors import ArtifactError

if TYPE_CHECKING:
    import httpx2

MAX_TEXT_BYTES = 20_000_000
"""Longest listing that is read."""
_MAX_RETRY_AFTER = 300.0
_SECRET_HEADERS = ("authorization", "cookie", "x-api-key", "private-token")

Check = Callable[["httpx2.Response"], None]


class HttpClient:
    """Requests to ``home`` (an address) and, by redirect, to hosts that match the globs ``hosts``.

    Every hop must be https or loopback. Authorization headers are sent to ``home`` only. ``credentials_hint`` tells
    users how to provide credentials.
    """

    def __init__(self, home: str, hosts: Sequence[str], credentials_hint: str) -> None:
        self.home = require_encrypted(home, "address").rstrip("/")
        self._hosts = tuple(host.lower() for host in hosts)
        self._credentials_hint = credentials_hint

    def permits(self, netloc: str) -> bool:
        """Whether a redirect may lead to this host, given with its port unless that is the default one."""
        return any(fnmatchcase(netloc.lower(), host) for host in self._hosts)

    @cached_property
    def client(self) -> httpx2.Client:
        """The client of this source, created on first use."""
        return self.new_client()

    def new_client(self) -> httpx2.Client:
        """A new client with these rules; the caller closes it."""
        import httpx2

        # Both log every address they request, and some of those carry a signature.
        for name in ("httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._origin = httpx2.URL(self.home).origin
        return httpx2.Client(
            follow_redirects=True,
            max_redirects=5,
            timeout=httpx2.Timeout(60.0, connect=15.0),
            event_hooks={"request": [self._guard]},
            headers={"Accept-Encoding": "identity", "User-Agent": "ftgate"},
        )

    def text(self, url: str, what: str, headers: Mapping[str, str] | None = None, check: Check | None = None) -> bytes:
        """The body of a small response. ``check`` may raise its own errors for a status before the general ones."""
        with self._send("GET", url, what, headers, check) as response:
            return b"".join(_bounded(require_min_rate(response.iter_bytes(), what), what))

    def head(self, url: str, what: str) -> httpx2.Response:
        """The response to HEAD ``url``, after redirects."""
        with self._send("HEAD", url, what, None, None) as response:
            return response

    @contextmanager
    def stream(
        self,
        url: str,
        what: str,
        offset: int,
        headers: Mapping[str, str] | None = None,
        check: Check | None = None,
    ) -> Iterator[Stream]:
        """The content of ``url`` from ``offset`` on, or from 0 if the server does not support ranges."""
        request_headers = dict(headers or {}) | ({"Range": f"bytes={offset}-"} if offset else {})
        with self._send("GET", url, what, request_headers, check) as response:
            start = 0
            if response.status_code == 206:
                start = _range_start(response.headers.get("content-range", ""), what)
            if response.headers.get("content-encoding", "identity") != "identity":
                raise ArtifactError(
                    f"{what}: the server compresses the content", hint="serve the file without Content-Encoding"
                )
            yield Stream(start, self._chunks(response, what))

    def _chunks(self, response: httpx2.Response, what: str) -> Iterator[bytes]:
        with self._explain_errors(what):
            yield from require_min_rate(
                response.iter_raw(), what
            )  # unbuffered, so that a broken connection loses nothing

    @contextmanager
    def _send(
        self, method: str, url: str, what: str, headers: Mapping[str, str] | None, check: Check | None
    ) -> Iterator[httpx2.Response]:
        with self._explain_errors(what), self.client.stream(method, url, headers=dict(headers or {})) as response:
            if check is not None:
                check(response)
            require_success(response.status_code, response.headers, what, self._credentials_hint)
            yield response

    @contextmanager
    def _explain_errors(self, what: str) -> Iterator[None]:
        """Turn the client's errors into ours: theirs may quote an address with a signature."""
        import httpx2

        try:
            yield
        except (httpx2.TooManyRedirects, httpx2.UnsupportedProtocol, httpx2.InvalidURL):
            raise ArtifactError(f"{what}: too many or invalid redirects", hint="name the file itself") from None
        except httpx2.TransportError as error:
            raise TransientError(f"{what}: the connection failed ({type(error).__name__})") from None

    def _guard(self, request: httpx2.Request) -> None:
        """Event hook before every hop: enforce host rules and drop credentials elsewhere."""
        url = request.url
        if url.origin == self._origin:
            return
        for name in _SECRET_HEADERS:
            request.headers.pop(name, None)
        netloc = url.netloc.decode("ascii").lower()
        if url.userinfo or not self.permits(netloc):
            raise ArtifactError(
                f"{self.home} redirects to {netloc[-200:]}, which is not an allowed host",
                hint="if you trust the host, add it to artifacts.redirect_hosts in the policy",
            )
        require_encrypted(f"{url.scheme}://{netloc}", f"{self.home}: redirect")


def require_success(status: int, headers: Mapping[str, Any], what: str, credentials_hint: str) -> None:
    """Raise TransientError for the statuses 408, 425, 429 and 5xx, ArtifactError for other failures."""
    if status < 300:
        return
    if status in (404, 410):
        raise missing(what)
    if status == 401:
        raise unauthorised(what, credentials_hint)
    if status == 403:
        raise forbidden(what, credentials_hint)
    if status == 416:
        raise RangeError(f"{what}: the server answered 416")
    if status in (408, 425, 429) or status >= 500:
        raise TransientError(f"{what}: the server answered {status}", _retry_after(headers.get("retry-after")))
    raise ArtifactError(f"{what}: the server answered {status}", hint="check the reference")


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header, which holds a number or a date."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER) if seconds == seconds else None


def _range_start(value: str, what: str) -> int:
    try:
        return int(value.removeprefix("bytes").strip().partition("-")[0])
    except ValueError:
        raise TransientError(f"{what}: the server sent a range without a valid Content-Range") from None


def _bounded(chunks: Iterator[bytes], what: str) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_TEXT_BYTES:
            raise ArtifactError(
                f"{what}: the listing is longer than {MAX_TEXT_BYTES:,} bytes", hint="name a smaller folder"
            )
        yield chunk
