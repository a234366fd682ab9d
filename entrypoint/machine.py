"""Whether this machine can run a model on its GPU: looked at before vLLM fails somewhere inside CUDA.

``inspect`` collects what the machine says; ``problem_of`` is pure and knows what it means and what mends it.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TOOLKIT = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
AS_DEFAULT = "sudo nvidia-ctk runtime configure --runtime=docker --set-as-default && sudo systemctl restart docker"
OLDEST_DRIVER = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
"""The first Linux driver for each major version of CUDA (NVIDIA, CUDA Compatibility, minor version compatibility)."""
SHARED_MEMORY = 1 << 30
"""Bytes of /dev/shm that several GPUs need: their processes exchange tensors there. Docker gives 64 MiB."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine said."""

    needed: bool
    """Whether the policy's engine runs on a GPU, and the installed vLLM is the one for GPUs."""
    smi: str = ""
    """Output of `nvidia-smi`, errors included; empty where there is no such program."""
    driver: str = ""
    """/proc/driver/nvidia/version, which a container sees of its host; empty where no driver is loaded."""
    shm: str = ""
    """Output of `df -Pk /dev/shm`."""
    cuda: str = ""
    """The version of CUDA that the image was built with."""
    gpus: int = 1
    """How many GPUs the policy's engine uses."""


def inspect(env: Mapping[str, str], policy: Path) -> Machine:
    """Ask the machine what matters to the engine of ``policy``."""
    gpus = _gpus(policy)
    if not gpus or not _built_for_gpu():
        return Machine(needed=False)
    try:
        driver = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        driver = ""
    smi, shm = _said("nvidia-smi"), _said("df", "-Pk", "/dev/shm")
    return Machine(True, smi, driver, shm, env.get("CUDA_VERSION", ""), gpus)


def problem_of(machine: Machine) -> str:
    """What is wrong, and on the lines after the first what to do; an empty text if nothing is."""
    if not machine.needed:
        return ""
    return _gpu_missing(machine) or _driver_too_old(machine) or _memory_too_small(machine)


def _gpu_missing(m: Machine) -> str:
    if "couldn't communicate with the NVIDIA driver" in m.smi or not (m.driver or m.smi):
        return (
            "no GPU: this machine has no NVIDIA driver loaded\n"
            "on the machine: `sudo modprobe nvidia`, or install the driver and restart; or choose another runner label"
        )
    if "version mismatch" in m.smi:
        return (
            "no GPU: the machine's NVIDIA driver was updated and its old kernel module is still loaded\n"
            "restart the machine"
        )
    if "Failed to initialize NVML" in m.smi:
        return (
            "no GPU: this container lost its access to the GPU\n"
            'run the job again; for good: {"exec-opts": ["native.cgroupdriver=cgroupfs"]} in /etc/docker/daemon.json, '
            "then `sudo systemctl restart docker`"
        )
    if "No devices were found" in m.smi:
        return "no GPU: the driver sees no device\nset `gpus: all`, and check NVIDIA_VISIBLE_DEVICES and the hardware"
    if not m.smi:
        return (
            "no GPU: the machine has an NVIDIA driver, but this container was started without it\n"
            f"use the action in gpu/, after `{TOOLKIT}`; or, for the container action, make that runtime the default: "
            f"`{AS_DEFAULT}`"
        )
    return ""


def _driver_too_old(m: Machine) -> str:
    # What the driver can do, a compatibility library in the image included, is in the header of nvidia-smi.
    speaks = re.search(r"CUDA Version:\s*(\d+)\.(\d+)", m.smi)
    built = re.match(r"(\d+)", m.cuda)
    if not speaks or not built or int(speaks[1]) >= int(built[1]):
        return ""
    found = re.search(r"Driver Version:\s*([\d.]+)", m.smi)
    oldest = OLDEST_DRIVER.get(int(built[1]))
    return (
        f"the NVIDIA driver{' ' + found[1] if found else ''} is too old: it supports CUDA {speaks[1]}.{speaks[2]}, "
        f"the image has CUDA {m.cuda}\n"
        f"install driver {oldest + ' or newer' if oldest else 'for CUDA ' + built[1]} on the machine, "
        f"or build the image on one with CUDA {speaks[1]} (build argument BASE_IMAGE)"
    )


def _memory_too_small(m: Machine) -> str:
    size = re.search(r"^\S+\s+(\d+)\s.*\s/dev/shm$", m.shm, re.MULTILINE)
    if m.gpus < 2 or not size or int(size[1]) * 1024 >= SHARED_MEMORY:
        return ""
    return (
        f"/dev/shm holds {int(size[1]) // 1024} MiB, too little for {m.gpus} GPUs\n"
        "set `shm-size: 8g` where the action in gpu/ is used (docker run --shm-size=8g); for the container action: "
        '{"default-shm-size": "8G"} in /etc/docker/daemon.json, then `sudo systemctl restart docker`'
    )


def _gpus(policy: Path) -> int:
    """How many GPUs the engine uses; 0 where it uses none, or where the policy cannot be read: `ftgate run` says so."""
    from ftgate.config.policy import read_policy
    from ftgate.errors import FtgateError

    try:
        engine = read_policy(policy).engine
    except FtgateError:
        return 0
    return engine.tensor_parallel_size if engine.kind == "vllm" else 0


def _built_for_gpu() -> bool:
    """The CPU build has another name, or says so in its version; without vLLM, `ftgate run` says what is missing."""
    try:
        return "+cpu" not in importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return False


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr
