"""Downloading the files of one listing: in parallel, resumable, hashed while downloading."""

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

from ftgate.artifacts.checkpoints import Checkpoints
from ftgate.artifacts.snapshot import FileEntry
from ftgate.artifacts.sources.base import MIN_RATE, ArtifactSource, RangeError, RemoteFile, TransientError
from ftgate.errors import ArtifactError, DownloadError

MAX_ATTEMPTS = 6
"""Consecutive attempts without progress before a file is given up."""
MAX_RETRY_WAIT = 60.0
_THREADS = 8
Advance = Callable[[int], None]


class _StoppedError(Exception):
    """Another file failed, so this download stops."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one reference may contain: number of files, and bytes of all of them together."""

    files: int
    size: int


def partial_path(folder: Path, file: RemoteFile) -> Path:
    """Where ``file`` is downloaded to. Every version has its own path, so that parts of two versions never mix."""
    identity = "\0".join((file.name, str(file.size), file.sha256 or "", file.version))
    return folder / hashlib.sha256(identity.encode()).hexdigest()[:40]


def bytes_present(folder: Path, files: Sequence[RemoteFile]) -> int:
    """Bytes left by an earlier attempt that need not be downloaded again."""
    return sum(_size(partial_path(folder, file)) for file in files if file.version or file.sha256)


def download(
    source: ArtifactSource, files: Sequence[RemoteFile], folder: Path, limits: Limits, advance: Advance, reference: str
) -> list[FileEntry]:
    """Download ``files`` to their partial paths in ``folder``; returns their entries in the order given.

    ``advance`` gets the number of bytes of every piece, including those that were already present. Raises DownloadError
    when network, server or disk fail for good, ArtifactError when a file is refused, missing or too large.
    """
    job = _Download(source, folder, limits, advance, reference)
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            tasks = [pool.submit(job.fetch, file) for file in files]
            wait(tasks, return_when=FIRST_EXCEPTION)
        finally:
            job.stop.set()  # all done, or one failed, or the user interrupted
    errors = [error for task in tasks if (error := task.exception()) and not isinstance(error, _StoppedError)]
    if errors:
        raise errors[0]
    return [task.result() for task in tasks]


class _Download:
    def __init__(self, source: ArtifactSource, folder: Path, limits: Limits, advance: Advance, reference: str) -> None:
        self.stop = threading.Event()
        self._source, self._folder, self._limits, self._reference = source, folder, limits, reference
        self._advance, self._lock, self._total = advance, threading.Lock(), 0
        self._mismatched: set[str] = set()

    def fetch(self, file: RemoteFile) -> FileEntry:
        """Download one file, retrying as long as attempts make progress."""
        path = partial_path(self._folder, file)
        retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=_StopWithoutProgress(path),
            wait=retry_wait,
            sleep=tenacity.sleep_using_event(self.stop),
            reraise=True,
        )
        counter = _ByteCounter(self._count)
        try:
            return retry(self._attempt, file, path, counter)
        except TransientError as error:
            raise DownloadError(
                f"{error.message} ({MAX_ATTEMPTS} attempts in a row)",
                hint="run the same command again later: what was downloaded is kept",
            ) from None

    def _attempt(self, file: RemoteFile, path: Path, counter: _ByteCounter) -> FileEntry:
        if self.stop.is_set():
            raise _StoppedError
        where = f"{self._reference}: {file.name}"
        digest, size = _Digest(file), 0
        if not (file.version or file.sha256):
            path.unlink(missing_ok=True)  # nothing tells whether the rest would be of the same version
        checkpoints = Checkpoints(path, listed=bool(file.sha256 or file.git_blob))
        with self._explain_disk_errors(where), path.open("a+b") as part:
            part.truncate(checkpoints.verified_length(part))
            part.seek(0)
            while chunk := part.read(1 << 20):
                digest.update(chunk)
            size = part.tell()
            counter.advance_to(size)
            if file.size is None or size < file.size:
                try:
                    digest, size = self._append(file, part, digest, size, counter, checkpoints)
                except RangeError:
                    part.truncate(0)
                    raise
            os.fsync(part.fileno())
        if file.size is not None and size != file.size:
            raise self._incomplete(where, path, size, file.size)
        problem = digest.problem()
        if problem:
            path.unlink()
            raise self._mismatch(f"{where}: {problem}", file)
        return FileEntry(size, digest.sha256)

    def _append(
        self,
        file: RemoteFile,
        part: Any,
        digest: _Digest,
        size: int,
        counter: _ByteCounter,
        checkpoints: Checkpoints,
    ) -> tuple[_Digest, int]:
        with self._source.open(file, size) as stream:
            if stream.start != size:  # the server ignored the offset, or the file changed
                if stream.start:
                    raise TransientError(
                        f"{self._reference}: {file.name}: the server sent another range than requested"
                    )
                part.truncate(0)
                digest, size = _Digest(file), 0
            try:
                for chunk in stream.chunks:
                    if file.size is not None and size + len(chunk) > file.size:
                        part.truncate(0)
                        raise TransientError(
                            f"{self._reference}: {file.name}: longer than the {file.size:,} bytes listed"
                        )
                    part.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    counter.advance_to(size)
                    if checkpoints.is_due(size):
                        checkpoints.add(part, size, digest.sha256)
                    if self.stop.is_set():
                        raise _StoppedError
            finally:
                checkpoints.add(part, size, digest.sha256)
        return digest, size

    def _mismatch(self, problem: str, file: RemoteFile) -> Exception:
        """The error for content that differs from the listing: worth one retry, not many downloads of a whole file."""
        if file.name not in self._mismatched:
            self._mismatched.add(file.name)
            return TransientError(problem)
        return DownloadError(problem, hint="the source or the network corrupts the file: do not use it")

    def _incomplete(self, where: str, path: Path, size: int, listed: int) -> TransientError:
        if size > listed:
            path.unlink()
        return TransientError(f"{where}: ended after {size:,} of {listed:,} bytes")

    def _count(self, size: int) -> None:
        with self._lock:
            self._total += size
            if self._total > self._limits.size:
                raise too_large(self._reference, self._limits)
            self._advance(size)

    @contextmanager
    def _explain_disk_errors(self, where: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise DownloadError(
                f"{where}: cannot write it to {self._folder}: {'the disk is full' if full else error.strerror}",
                hint="free disk space, or set FTGATE_CACHE to a folder on a larger disk; complete files are kept",
            ) from None


class _Digest:
    """Hashes of a file's content, and how they compare with those that its source lists."""

    def __init__(self, file: RemoteFile) -> None:
        self._file, self._whole = file, hashlib.sha256()
        # A git blob id is the SHA-1 of a header and the content: it proves integrity, not authenticity.
        header = b"blob %d\0" % (file.size or 0)
        self._git = hashlib.sha1(header, usedforsecurity=False) if file.git_blob else None

    def update(self, chunk: bytes) -> None:
        """Add the next chunk."""
        self._whole.update(chunk)
        if self._git is not None:
            self._git.update(chunk)

    @property
    def sha256(self) -> str:
        """Hex."""
        return self._whole.hexdigest()

    def problem(self) -> str:
        """How the content differs from the listing; empty if it does not."""
        if self._file.sha256 not in (None, self.sha256):
            return f"its SHA-256 is {self.sha256}, but {self._file.sha256} is listed"
        if self._git is not None and self._git.hexdigest() != self._file.git_blob:
            return f"its git blob id is {self._git.hexdigest()}, but {self._file.git_blob} is listed"
        return ""


class _ByteCounter:
    """Reports every byte of a file once, however often it is downloaded again."""

    def __init__(self, advance: Advance) -> None:
        self._advance, self._reached = advance, 0

    def advance_to(self, size: int) -> None:
        """The file has ``size`` bytes now."""
        if size > self._reached:
            step, self._reached = size - self._reached, size
            self._advance(step)


class _StopWithoutProgress(tenacity.stop.stop_base):
    """Gives up after MAX_ATTEMPTS consecutive attempts that bring nothing, or less than MIN_RATE."""

    def __init__(self, path: Path) -> None:
        self._path, self._largest, self._attempts_without_progress, self._worked_before = path, 0, 0, 0.0

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        size, ended = _size(self._path), retry_state.outcome_timestamp or 0.0
        worked = ended - retry_state.start_time - retry_state.idle_for
        if size - self._largest > MIN_RATE * (worked - self._worked_before):
            self._attempts_without_progress = 0
        self._largest, self._worked_before = max(size, self._largest), worked
        self._attempts_without_progress += 1
        return self._attempts_without_progress >= MAX_ATTEMPTS


def call_with_retries(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """The result of ``call``, tried up to MAX_ATTEMPTS times. Raises the last TransientError."""
    retry = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        stop=tenacity.stop_after_attempt(MAX_ATTEMPTS),
        wait=retry_wait,
        reraise=True,
    )
    return retry(call, *arguments, **keywords)


def retry_wait(state: tenacity.RetryCallState) -> float:
    """Seconds before the next attempt: what the server asked for, else exponential backoff with jitter."""
    error = state.outcome.exception() if state.outcome else None
    requested = error.wait if isinstance(error, TransientError) else None
    backoff = tenacity.wait_exponential_jitter(multiplier=0.5, max=MAX_RETRY_WAIT, jitter=0.5)(state)
    return requested if requested is not None else float(backoff)


def too_large(reference: str, limits: Limits) -> ArtifactError:
    """The error for more bytes than the policy allows."""
    return ArtifactError(
        f"{reference}: more than {limits.size:,} bytes, the policy's limit",
        hint="name a smaller snapshot, ignore files with artifacts.skip, or raise artifacts.max_gb",
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
