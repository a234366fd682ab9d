"""What the tools of a machine print, and what of it is a problem, with the remedy."""

from __future__ import annotations

import dataclasses

import pytest

from entrypoint.machine import AS_DEFAULT, TOOLKIT, MachineFacts, inspect, problem_of

HEALTHY = """\
Tue Mar  4 09:00:00 2025
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 580.82.07              Driver Version: 580.82.07      CUDA Version: 13.0     |
|-----------------------------------------+------------------------+----------------------+
|   0  NVIDIA L4                      Off |   00000000:00:04.0 Off |                    0 |
+-----------------------------------------------------------------------------------------+
"""
OLD = HEALTHY.replace("580.82.07", "535.183.01").replace("CUDA Version: 13.0", "CUDA Version: 12.2")
UNREACHABLE = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n\n"
)
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.183\n"
DRIVER = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release Build  (root@)
GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)
"""


def shm(kilobytes: int) -> str:
    return (
        "Filesystem     1024-blocks  Used Available Capacity Mounted on\n"
        f"shm            {kilobytes:>11}     0 {kilobytes:>9}       0% /dev/shm\n"
    )


FINE = MachineFacts(needed=True, smi=HEALTHY, driver=DRIVER, shm=shm(65536), cuda="13.0.1")


@pytest.mark.parametrize(
    "machine",
    [
        FINE,
        MachineFacts(needed=False),
        dataclasses.replace(FINE, cuda="12.9.1"),
        dataclasses.replace(FINE, cuda=""),
        dataclasses.replace(FINE, driver=""),
        dataclasses.replace(FINE, smi=OLD, cuda="12.9.1"),
        dataclasses.replace(FINE, gpus=4, shm=shm(8 * 1024 * 1024)),
        dataclasses.replace(FINE, gpus=4, shm=""),
        dataclasses.replace(FINE, gpus=4, shm="df: /dev/shm: No such file or directory\n"),
    ],
)
def test_a_machine_that_can_do_it_is_left_alone(machine: MachineFacts) -> None:
    assert problem_of(machine) == ""


@pytest.mark.parametrize(
    ("changes", "problem", "remedy"),
    [
        ({"smi": "", "driver": ""}, "no NVIDIA driver loaded", "modprobe nvidia"),
        ({"smi": UNREACHABLE, "driver": ""}, "no NVIDIA driver loaded", "modprobe nvidia"),
        ({"smi": ""}, "started without it", TOOLKIT),
        ({"smi": ""}, "started without it", AS_DEFAULT),
        ({"smi": MISMATCH}, "was updated", "restart the machine"),
        ({"smi": "Failed to initialize NVML: Unknown Error\n"}, "lost its access", "native.cgroupdriver=cgroupfs"),
        ({"smi": "No devices were found\n"}, "no device", "NVIDIA_VISIBLE_DEVICES"),
        ({"smi": OLD}, "535.183.01 is too old: it supports CUDA 12.2, the image has CUDA 13.0.1", "580.65.06 or newer"),
        ({"smi": OLD, "cuda": "14.0"}, "too old", "driver for CUDA 14"),
        ({"gpus": 2}, "/dev/shm holds 64 MiB, too little for 2 GPUs", "shm-size: 8g"),
        ({"gpus": 2}, "/dev/shm", '"default-shm-size": "8G"'),
    ],
)
def test_what_is_wrong_comes_with_what_mends_it(changes: dict[str, object], problem: str, remedy: str) -> None:
    found, _, to_do = problem_of(dataclasses.replace(FINE, **changes)).partition("\n")
    assert problem in found
    assert remedy in to_do
    assert "\n" not in to_do


def test_without_vllm_for_gpus_nobody_looks_for_one(tmp_path) -> None:
    assert not inspect({}, tmp_path / "no-policy.yml").needed


def test_only_vllm_needs_a_gpu(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entrypoint.machine._built_for_gpu", lambda: True)
    policy = tmp_path / "ftgate.yml"
    text = "version: 1\nmeasurements: {target: {dataset: x.jsonl, scorer: choice}}\nengine: {kind: %s}\n"
    policy.write_text(text % "transformers")
    assert not inspect({}, policy).needed
    policy.write_text(text % "vllm, tensor_parallel_size: 2")
    found = inspect({"CUDA_VERSION": "13.0.1"}, policy)
    assert (found.needed, found.gpus, found.cuda) == (True, 2, "13.0.1")
    assert "/dev/shm" in found.shm
