"""Fetching the files of one listing: several at a time, each from where it broke off, hashed as it comes."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tenacity

from ftgate.artifacts.snapshot import FileEntry
from ftgate.artifacts.sources.base import LEAST_RATE, RangeError, RemoteFile, Source, TransientError
from ftgate.errors import ArtifactError, DownloadError

TRIES = 6
"""Attempts in a row that bring nothing before a file is given up."""
LONGEST_PAUSE = 60.0
_THREADS = 8
Advance = Callable[[int], None]


class _StoppedError(Exception):
    """Another file failed, so this one need not go on."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one reference may bring: files, and bytes of all of them together."""

    files: int
    size: int


def slot(folder: Path, file: RemoteFile) -> Path:
    """Where ``file`` is fetched to: another place for every version, so that a part is never continued with another."""
    known = "\0".join((file.name, str(file.size), file.sha256 or "", file.version))
    return folder / hashlib.sha256(known.encode()).hexdigest()[:40]


def present(folder: Path, files: Sequence[RemoteFile]) -> int:
    """Bytes that an earlier attempt left behind and that need not be fetched again."""
    return sum(_size(slot(folder, file)) for file in files if file.version or file.sha256)


def download(
    source: Source, files: Sequence[RemoteFile], folder: Path, limits: Limits, advance: Advance, reference: str
) -> list[FileEntry]:
    """Fetch ``files`` into their slots in ``folder``; their sizes and digests in the order given.

    ``advance`` is told the bytes of every piece, those that are there already included. Raises DownloadError when the
    network, the server or the disk fails for good, ArtifactError when a file is refused, missing or too large.
    """
    one = _Download(source, folder, limits, advance, reference)
    with ThreadPoolExecutor(_THREADS) as pool:
        tasks = [pool.submit(one.fetch, file) for file in files]
        try:
            wait(tasks, return_when=FIRST_EXCEPTION)
        finally:
            one.stop.set()  # all is done, or one has failed, or someone pressed a key
    errors = [error for task in tasks if (error := task.exception()) and not isinstance(error, _StoppedError)]
    if errors:
        raise errors[0]
    return [task.result() for task in tasks]


class _Download:
    def __init__(self, source: Source, folder: Path, limits: Limits, advance: Advance, reference: str) -> None:
        self.stop = threading.Event()
        self._source, self._folder, self._limits, self._reference = source, folder, limits, reference
        self._advance, self._lock, self._total = advance, threading.Lock(), 0
        self._wrong: set[str] = set()

    def fetch(self, file: RemoteFile) -> FileEntry:
        """One file, tried again for as long as that brings something."""
        path = slot(self._folder, file)
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=_Patience(path),
            wait=pause,
            sleep=tenacity.sleep_using_event(self.stop),
            reraise=True,
        )
        counted = _Counted(self._count)
        try:
            return again(self._attempt, file, path, counted)
        except TransientError as error:
            raise DownloadError(
                f"{error.message}, {TRIES} times in a row",
                hint="run the same command again later: what has been fetched is kept",
            ) from None

    def _attempt(self, file: RemoteFile, path: Path, counted: _Counted) -> FileEntry:
        if self.stop.is_set():
            raise _StoppedError
        where = f"{self._reference}: {file.name}"
        digest, size = _Digest(file), 0
        if not (file.version or file.sha256):
            path.unlink(missing_ok=True)  # nothing would tell whether the rest belongs to it
        with self._disk(where), path.open("a+b") as part:
            part.seek(0)
            while chunk := part.read(1 << 20):
                digest.update(chunk)
            size = part.tell()
            counted.reach(size)
            if file.size is None or size < file.size:
                try:
                    digest, size = self._append(file, part, digest, size, counted)
                except RangeError:
                    part.truncate(0)
                    raise
            os.fsync(part.fileno())
        if file.size is not None and size != file.size:
            raise self._cut(where, path, size, file.size)
        problem = digest.problem()
        if problem:
            path.unlink()
            raise self._other(f"{where}: {problem}", file)
        return FileEntry(size, digest.sha256)

    def _append(
        self, file: RemoteFile, part: Any, digest: _Digest, size: int, counted: _Counted
    ) -> tuple[_Digest, int]:
        with self._source.open(file, size) as stream:
            if stream.start != size:  # the server does not continue, or the file is another by now
                if stream.start:
                    raise TransientError(f"{self._reference}: {file.name}: another range than asked for")
                part.truncate(0)
                digest, size = _Digest(file), 0
            for chunk in stream.chunks:
                size += len(chunk)
                if file.size is not None and size > file.size:
                    part.truncate(0)
                    raise TransientError(f"{self._reference}: {file.name}: longer than the {file.size:,} bytes listed")
                part.write(chunk)
                digest.update(chunk)
                counted.reach(size)
                if self.stop.is_set():
                    raise _StoppedError
        return digest, size

    def _other(self, problem: str, file: RemoteFile) -> Exception:
        """Another content than listed: worth one more try, but not the whole file again and again."""
        if file.name not in self._wrong:
            self._wrong.add(file.name)
            return TransientError(problem)
        return DownloadError(problem, hint="the source or something on the way damages the file: do not use it")

    def _cut(self, where: str, path: Path, size: int, listed: int) -> TransientError:
        if size > listed:
            path.unlink()
        return TransientError(f"{where}: it ended after {size:,} of {listed:,} bytes")

    def _count(self, size: int) -> None:
        with self._lock:
            self._total += size
            if self._total > self._limits.size:
                raise too_large(self._reference, self._limits)
            self._advance(size)

    @contextmanager
    def _disk(self, where: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise DownloadError(
                f"{where}: cannot be written to {self._folder}: {'the disk is full' if full else error.strerror}",
                hint="free some space, or set FTGATE_CACHE to a folder on a larger disk; what is whole is kept",
            ) from None


class _Digest:
    """What a file's content comes to, for itself and in comparison with what its source says."""

    def __init__(self, file: RemoteFile) -> None:
        self._file, self._whole = file, hashlib.sha256()
        # Git's name for a content is a SHA-1 over its length and itself: no proof against a forger, but against damage.
        head = b"blob %d\0" % (file.size or 0)
        self._git = hashlib.sha1(head, usedforsecurity=False) if file.git_blob else None

    def update(self, chunk: bytes) -> None:
        """The next part of the content."""
        self._whole.update(chunk)
        if self._git is not None:
            self._git.update(chunk)

    @property
    def sha256(self) -> str:
        """Hex."""
        return self._whole.hexdigest()

    def problem(self) -> str:
        """What differs from the listing, or nothing."""
        if self._file.sha256 not in (None, self.sha256):
            return f"its SHA-256 is {self.sha256}, not {self._file.sha256} as listed"
        if self._git is not None and self._git.hexdigest() != self._file.git_blob:
            return f"as a git blob it is {self._git.hexdigest()}, not {self._file.git_blob} as listed"
        return ""


class _Counted:
    """Tells about every byte of a file once, however often it is fetched again."""

    def __init__(self, tell: Advance) -> None:
        self._tell, self._reached = tell, 0

    def reach(self, size: int) -> None:
        """The file has ``size`` bytes now."""
        if size > self._reached:
            step, self._reached = size - self._reached, size
            self._tell(step)


class _Patience(tenacity.stop.stop_base):
    """Gives up after TRIES attempts in a row that brought nothing, or less than they took time for."""

    def __init__(self, path: Path) -> None:
        self._path, self._longest, self._idle, self._until = path, 0, 0, 0.0

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        size, ended = _size(self._path), retry_state.outcome_timestamp or 0.0
        worked = ended - retry_state.start_time - retry_state.idle_for
        if size - self._longest > LEAST_RATE * (worked - self._until):
            self._idle = 0
        self._longest, self._until = max(size, self._longest), worked
        self._idle += 1
        return self._idle >= TRIES


def persistently(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What ``call`` gives, tried TRIES times where it fails in a way that may pass. Raises the last TransientError."""
    again = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        stop=tenacity.stop_after_attempt(TRIES),
        wait=pause,
        reraise=True,
    )
    return again(call, *arguments, **named)


def pause(state: tenacity.RetryCallState) -> float:
    """Seconds before the next attempt: what the server asked for, else twice as long each time, a little at random."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait if isinstance(error, TransientError) else None
    grown = tenacity.wait_exponential_jitter(multiplier=0.5, max=LONGEST_PAUSE, jitter=0.5)(state)
    return asked if asked is not None else float(grown)


def too_large(reference: str, limits: Limits) -> ArtifactError:
    """More bytes than the policy lets in."""
    return ArtifactError(
        f"{reference}: more than {limits.size:,} bytes, the most that the policy lets in",
        hint="name a smaller snapshot, leave files aside with artifacts.skip, or raise artifacts.max_gb",
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
