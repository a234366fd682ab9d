"""Checks that this machine can run models on its GPU, before vLLM fails somewhere inside CUDA.

``inspect`` collects the facts; ``problem_of`` is pure and turns them into a problem and its fix.
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
"""The oldest Linux driver for each major CUDA version (NVIDIA, CUDA Compatibility, minor version compatibility)."""
SHARED_MEMORY = 1 << 30
"""Bytes of /dev/shm that several GPUs need to exchange tensors. Docker's default is 64 MiB."""


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """The facts about the machine's GPU setup."""

    needed: bool
    """Whether a GPU is needed: the policy's engine runs on one, and the installed vLLM is the GPU build."""
    smi: str = ""
    """Output of `nvidia-smi`, including errors; empty if it is not installed."""
    driver: str = ""
    """/proc/driver/nvidia/version, which shows the host's driver in a container too; empty if none is loaded."""
    shm: str = ""
    """Output of `df -Pk /dev/shm`."""
    cuda: str = ""
    """The CUDA version of the image."""
    gpus: int = 1
    """The number of GPUs that the policy's engine uses."""


def inspect(env: Mapping[str, str], policy: Path) -> MachineFacts:
    """Collect the facts that matter for the engine of ``policy``."""
    gpus = _gpus(policy)
    if not gpus or not _built_for_gpu():
        return MachineFacts(needed=False)
    try:
        driver = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        driver = ""
    smi, shm = _output_of("nvidia-smi"), _output_of("df", "-Pk", "/dev/shm")
    return MachineFacts(True, smi, driver, shm, env.get("CUDA_VERSION", ""), gpus)


def problem_of(machine: MachineFacts) -> str:
    """The problem on the first line and its fix on the lines after it; an empty text if there is none."""
    if not machine.needed:
        return ""
    return _gpu_missing(machine) or _driver_too_old(machine) or _memory_too_small(machine)


def _gpu_missing(m: MachineFacts) -> str:
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


def _driver_too_old(m: MachineFacts) -> str:
    # The header of nvidia-smi shows the supported CUDA version, including a compatibility library in the image.
    supported = re.search(r"CUDA Version:\s*(\d+)\.(\d+)", m.smi)
    image_cuda = re.match(r"(\d+)", m.cuda)
    if not supported or not image_cuda or int(supported[1]) >= int(image_cuda[1]):
        return ""
    driver = re.search(r"Driver Version:\s*([\d.]+)", m.smi)
    oldest = OLDEST_DRIVER.get(int(image_cuda[1]))
    return (
        f"the NVIDIA driver{' ' + driver[1] if driver else ''} is too old: "
        f"it supports CUDA {supported[1]}.{supported[2]}, the image has CUDA {m.cuda}\n"
        f"install driver {oldest + ' or newer' if oldest else 'for CUDA ' + image_cuda[1]} on the machine, "
        f"or build the image on one with CUDA {supported[1]} (build argument BASE_IMAGE)"
    )


def _memory_too_small(m: MachineFacts) -> str:
    size = re.search(r"^\S+\s+(\d+)\s.*\s/dev/shm$", m.shm, re.MULTILINE)
    if m.gpus < 2 or not size or int(size[1]) * 1024 >= SHARED_MEMORY:
        return ""
    return (
        f"/dev/shm holds {int(size[1]) // 1024} MiB, too little for {m.gpus} GPUs\n"
        "set `shm-size: 8g` where the action in gpu/ is used (docker run --shm-size=8g); for the container action: "
        '{"default-shm-size": "8G"} in /etc/docker/daemon.json, then `sudo systemctl restart docker`'
    )


def _gpus(policy: Path) -> int:
    """The number of GPUs that the engine uses; 0 if the policy cannot be read, which `ftgate run` will report."""
    from ftgate.config.policy import read_policy
    from ftgate.errors import FtgateError

    try:
        engine = read_policy(policy).engine
    except FtgateError:
        return 0
    return engine.tensor_parallel_size if engine.kind == "vllm" else 0


def _built_for_gpu() -> bool:
    """Whether vLLM is the GPU build; False without vLLM, which `ftgate run` will report."""
    try:
        return "+cpu" not in importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return False


def _output_of(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr
