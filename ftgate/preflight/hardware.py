"""Detects this machine's hardware: GPUs as their driver reports them, memory and free disk space."""

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
    """One GPU; ``memory`` in bytes."""

    name: str
    memory: int


@dataclass(frozen=True, slots=True)
class Machine:
    """The ``gpus`` that this process may use, and its ``memory`` limit in bytes."""

    gpus: tuple[Gpu, ...]
    memory: int


def detect() -> Machine:
    """The hardware of this machine. GPUs come from nvidia-smi, if it is installed; no GPU library is loaded."""
    return Machine(_gpus(), _memory())


def free_disk(folder: Path) -> int:
    """Free bytes on the disk of ``folder``, which need not exist yet."""
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free


def _gpus() -> tuple[Gpu, ...]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    try:
        done = subprocess.run([tool, *_QUERY], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ()
    gpus: dict[str, Gpu] = {}
    index_of: dict[str, str] = {}
    for line in done.stdout.splitlines():
        with suppress(ValueError):  # another format: "[N/A]" on devices that share the system's memory
            index, uuid, name, megabytes = (part.strip() for part in line.split(","))
            gpus[index], index_of[uuid] = Gpu(name, int(megabytes) << 20), index
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(gpus.values())
    visible_indices = (index_of.get(part.strip(), part.strip()) for part in visible.split(","))
    return tuple(gpus[index] for index in visible_indices if index in gpus)


def _memory() -> int:
    """Bytes of memory that this process may use: the machine's, or the limit of its control group."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CGROUPS:
        with suppress(OSError, ValueError):  # "max" is no number
            total = min(total, int(path.read_text()))
    return total
