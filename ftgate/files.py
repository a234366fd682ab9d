"""Files: writing them whole, noticing that one changed, and what to do when the operating system refuses."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from ftgate.errors import StoreError

REMEDIES = {
    errno.ENOSPC: "free some space on that disk and run again: answers so far are kept",
    errno.EDQUOT: "free some space or have the quota raised, and run again: answers so far are kept",
    errno.EROFS: "that file system is read-only: mount it for writing, or choose another folder",
    errno.EACCES: "check the owner and the permissions of the file and of the folders above it",
    errno.EPERM: "check the owner and the permissions of the file and of the folders above it",
    errno.EISDIR: "a folder has the name of that file: move it away",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away",
    errno.EEXIST: "a file stands where a folder is needed: move it away",
    errno.ENOENT: "check the path: a folder or file on it does not exist, or was removed meanwhile",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f) and run again",
    errno.EMFILE: "raise the limit on open files (ulimit -n) and run again",
    errno.ENFILE: "the machine has too many open files: stop other programs and run again",
    errno.ENOMEM: "free memory or raise its limit, and run again: answers so far are kept",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EIO: "the disk or the network file system failed: see the machine's log (dmesg), then run again",
    errno.ESTALE: "the network file system went away: mount it again and run again",
    errno.ELOOP: "links lead in a circle: replace them by the file",
}
"""What to do about an error of the operating system, by its number."""
Stamp = tuple[int, ...]
"""Of a file: size in bytes, mtime and ctime in nanoseconds, and inode; empty for anything but a regular file."""
CLOCK_TICK = 0.02
"""Seconds. The clock of a file system stands still for up to ten milliseconds between two ticks."""


def write_whole(path: Path, content: str | bytes) -> None:
    """Write ``path`` whole or not at all: a reader, or a run after a kill, never sees a part of it.

    Text is written as UTF-8. Raises StoreError, with the path and what to do.
    """
    data = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)  # a kill left it, or it is a link that leads elsewhere
    except OSError as error:
        raise cannot_write(partial, len(data), error) from None
    try:
        with partial.open("xb") as file:
            file.write(data)
        partial.replace(path)
    except OSError as error:
        raise cannot_write(path, len(data), error) from None


def cannot_write(path: Path, size: int, error: OSError) -> StoreError:
    """That ``size`` bytes could not be written to ``path``, and what to do."""
    return StoreError(f"cannot write {path} ({size:,} bytes): {error.strerror}", hint=remedy_for(error))


def remedy_for(error: OSError) -> str:
    """What to do about ``error``."""
    return REMEDIES.get(error.errno or 0, "check the disk, the path and its permissions, then run again")


def operating_system_error(error: OSError) -> StoreError:
    """``error`` as an error that a user can act on."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    reason = error.strerror or str(error) or type(error).__name__
    return StoreError(f"{' -> '.join(names)}: {reason}" if names else reason, hint=remedy_for(error))


def file_stamp(path: Path) -> Stamp:
    """The stamp of a file, links not followed.

    Tools that copy files can set mtime back; ctime is set by the operating system alone.
    """
    try:
        status = path.lstat()
    except OSError:
        return ()
    is_regular = stat.S_ISREG(status.st_mode)
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino) if is_regular else ()


def folder_stamps(folder: Path, names: Iterable[str]) -> dict[str, Stamp]:
    """The stamps of ``folder`` and of the folders below it that hold ``names``, by absolute path with ``/`` at the end.

    A folder that is moved away and back leaves its files as they were, whatever was read in its place meanwhile. Its
    ctime tells.
    """
    folders = {folder} | {parent for name in names for parent in (folder / name).parents if folder in parent.parents}
    return {f"{at.absolute()}/": folder_stamp(at) for at in sorted(folders)}


def folder_stamp(path: Path) -> Stamp:
    """The ctime in nanoseconds and the inode of a folder, links not followed; empty for anything else."""
    try:
        status = path.lstat()
    except OSError:
        return ()
    return (status.st_ctime_ns, status.st_ino) if stat.S_ISDIR(status.st_mode) else ()


def settled_stamps(paths: Iterable[Path]) -> list[Stamp]:
    """The stamps of what ``paths`` lead to, to be taken before the files are hashed.

    Waits until the newest is older than a tick of the clock: without that, a change right after the hashing could leave
    the same stamp.
    """
    stamps = [file_stamp(path.resolve()) for path in paths]
    newest = max((stamp[2] for stamp in stamps if stamp), default=0)
    if 0 <= (age := time.time() - newest / 1e9) < CLOCK_TICK:
        time.sleep(CLOCK_TICK - age)
    return stamps


ROOTS = (".git", "ftgate-job.json")
"""What stands at the top of a repository, and of what `ftgate fetch` takes from one."""


def in_repository(path: Path) -> str:
    """``path`` from the top of its repository, for people; without one as it was given.

    A whole path of this machine is shortened to its name: it says nothing elsewhere, and who works here.
    """
    whole = path.absolute()
    top = next((folder for folder in whole.parents if any((folder / name).exists() for name in ROOTS)), None)
    if top is None:
        return path.name if path.is_absolute() else path.as_posix()
    return whole.relative_to(top).as_posix()
