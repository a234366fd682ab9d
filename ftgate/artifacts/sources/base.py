"""What every artifact source does: list the files of a reference, and stream a file from any byte offset."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ftgate.artifacts.reference import Reference
from ftgate.errors import ArtifactError

MIN_RATE, RATE_WINDOW = 1000, 60.0
"""Bytes per second, averaged over a window in seconds, below which a server counts as too slow."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as its source lists it, before its content is read."""

    name: str
    """POSIX path inside the snapshot."""
    key: str
    """The source's own identifier; never shown, since it may be a signed address."""
    size: int | None = None
    """Bytes, if listed."""
    sha256: str | None = None
    """Hex, if listed."""
    version: str = ""
    """Changes with the content. Empty if unknown; a broken download then starts again."""
    git_blob: str = ""
    """Hex SHA-1 of the git blob, if listed."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The content of a file from byte ``start`` on; 0 if the source does not support offsets."""

    start: int
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Request:
    """What a source is opened with: reference, commit if any, and the hosts that redirects may lead to."""

    reference: Reference
    revision: str | None = None
    redirect_hosts: Sequence[str] = ()


class ArtifactSource(Protocol):
    """One reference, ready to list and read. Raises ArtifactError, or TransientError where a retry may help."""

    @property
    def origin(self) -> str:
        """What else determines the files besides the reference, such as the address of the service."""
        ...

    @property
    def fixed(self) -> bool:
        """Whether the reference always names the same bytes, so that a cached copy needs no request to the source."""
        ...

    def list(self) -> list[RemoteFile]:
        """Every file under the reference; if the reference is a file, that one under its base name."""
        ...

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Stream]:
        """The content of ``file``, from byte ``offset`` on if the source supports it."""
        ...


class TransientError(Exception):
    """A failure that a retry may cure, such as a broken connection. ``wait``: seconds the server asked for, if any."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.wait = wait


class RangeError(TransientError):
    """The file is shorter than the part that was already downloaded: start again from the beginning."""


class SlowError(TransientError):
    """The server sends data, but more slowly than MIN_RATE."""


def require_min_rate(chunks: Iterator[bytes], what: str) -> Iterator[bytes]:
    """Pass ``chunks`` through. Raises SlowError when RATE_WINDOW seconds of waiting yield less than MIN_RATE."""
    waited, size = 0.0, 0
    while True:
        started = time.monotonic()
        chunk = next(chunks, None)
        if chunk is None:
            return
        waited, size = waited + time.monotonic() - started, size + len(chunk)
        if waited >= RATE_WINDOW:
            if size < MIN_RATE * waited:
                raise SlowError(f"{what}: only {size / waited:,.0f} bytes per second for {waited:,.0f} seconds")
            waited, size = 0.0, 0
        yield chunk


def missing(what: str) -> ArtifactError:
    """The error for a file or reference that does not exist."""
    return ArtifactError(f"{what}: not found", hint="check the spelling, and that this version still exists")


def unauthorised(what: str, credentials_hint: str) -> ArtifactError:
    """The error for missing or invalid credentials; ``credentials_hint`` says which ones the source takes."""
    return ArtifactError(f"{what}: not authorised: credentials are missing or invalid", hint=credentials_hint)


def forbidden(what: str, credentials_hint: str) -> ArtifactError:
    """The error for valid credentials without access."""
    return ArtifactError(f"{what}: access refused", hint=f"give the runner's account read access; {credentials_hint}")
