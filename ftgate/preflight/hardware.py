"""What this machine has for a run: graphics processors as their driver reports them, memory, free disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_QUERY = ("--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits")
_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True, slots=True)
class Gpu:
    """One graphics processor; ``memory`` in bytes."""

    name: str
    memory: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is: ``gpus`` that this process may use, and ``memory`` in bytes that it may take."""

    gpus: tuple[Gpu, ...]
    memory: int


def detect() -> Machine:
    """What this machine has. Starts no library of any GPU: the driver's own tool is asked, if it is there."""
    return Machine(_gpus(), _memory())


def free_disk(folder: Path) -> int:
    """Free bytes where ``folder`` lies or will lie."""
    folder = folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free


def _gpus() -> tuple[Gpu, ...]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    try:
        done = subprocess.run([tool, *_QUERY], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ()
    found: dict[str, Gpu] = {}
    ids: dict[str, str] = {}
    for line in done.stdout.splitlines():
        with suppress(ValueError):  # a line of another form: "[N/A]" on devices that share the system's memory
            index, uuid, name, megabytes = (part.strip() for part in line.split(","))
            found[index], ids[uuid] = Gpu(name, int(megabytes) << 20), index
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(found.values())
    wanted = (ids.get(part.strip(), part.strip()) for part in visible.split(","))
    return tuple(found[index] for index in wanted if index in found)


def _memory() -> int:
    """Bytes of memory that this process may take: the machine's, or less where a control group says so."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CGROUPS:
        with suppress(OSError, ValueError):  # "max" is no number
            total = min(total, int(path.read_text()))
    return total
