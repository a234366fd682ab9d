"""What every source can do: list the files that a reference names, and stream one of them from any byte on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ftgate.artifacts.reference import Reference
from ftgate.errors import ArtifactError

LEAST_RATE, WINDOW = 1000, 60.0
"""Bytes a second, on average over so many seconds, below which a server is not waited for any longer."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as its source describes it before anything of it has been read."""

    name: str
    """POSIX path inside the snapshot."""
    key: str
    """How the source finds it again; never shown, as it may be an address with a signature."""
    size: int | None = None
    """Bytes, if known beforehand."""
    sha256: str | None = None
    """Hex, if the source knows it."""
    version: str = ""
    """Changes whenever the content does; empty when nothing tells, and a broken download must start again."""
    git_blob: str = ""
    """Hex SHA-1 that git gives to the content, if the source knows it."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The bytes of a file from ``start`` on: 0 where the source could not begin later."""

    start: int
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Request:
    """What a source is opened with: the reference, its commit if it has one, and hosts that redirects may lead to."""

    reference: Reference
    revision: str | None = None
    redirect_hosts: Sequence[str] = ()


class Source(Protocol):
    """One reference, ready to be listed and read. Raises ArtifactError, or TransientError where trying again helps."""

    @property
    def origin(self) -> str:
        """What besides the reference decides which files it names: the address of the service, for example."""
        ...

    @property
    def fixed(self) -> bool:
        """Whether the reference names the same bytes for ever, so that a copy needs no look at the source."""
        ...

    def list(self) -> list[RemoteFile]:
        """Every file under the reference; one file, under its base name, when the reference is that file."""
        ...

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Stream]:
        """The content of ``file``, if possible from byte ``offset`` on."""
        ...


class TransientError(Exception):
    """A failure that may pass: a cut connection, a busy server. ``wait`` is how many seconds the server asked for."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.wait = wait


class RangeError(TransientError):
    """The file is not as long as the part that is there already: it must be fetched from its beginning."""


class SlowError(TransientError):
    """The server sends, but so little that it would never end."""


def paced(chunks: Iterator[bytes], what: str) -> Iterator[bytes]:
    """The same chunks. Raises SlowError where waiting for WINDOW seconds brought less than LEAST_RATE asks for."""
    waited, size = 0.0, 0
    while True:
        asked = time.monotonic()
        chunk = next(chunks, None)
        if chunk is None:
            return
        waited, size = waited + time.monotonic() - asked, size + len(chunk)
        if waited >= WINDOW:
            if size < LEAST_RATE * waited:
                raise SlowError(f"{what}: it came at {size / waited:,.0f} bytes a second, for {waited:,.0f} seconds")
            waited, size = 0.0, 0
        yield chunk


def missing(what: str) -> ArtifactError:
    """Nothing is there."""
    return ArtifactError(f"{what}: not found", hint="check the spelling, and that the version still exists")


def unauthorised(what: str, how: str) -> ArtifactError:
    """Who asks is not known; ``how`` says which credentials the source takes."""
    return ArtifactError(f"{what}: not authorised: credentials are missing or not valid", hint=how)


def forbidden(what: str, how: str) -> ArtifactError:
    """Who asks is known, and may not."""
    return ArtifactError(f"{what}: access refused", hint=f"give the account of the runner read access; {how}")
