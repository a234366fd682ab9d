"""What a machine has is asked of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftgate.preflight import hardware as machine
from ftgate.preflight.hardware import Gpu, detect, free_disk

LISTED = "0, GPU-aa, NVIDIA H100, 81920\n1, GPU-bb, NVIDIA A10, 24564\n2, GPU-cc, odd, [N/A]\n"


def tool(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["NVIDIA H100", "NVIDIA A10"]),
        ("1", ["NVIDIA A10"]),
        ("GPU-bb, GPU-aa", ["NVIDIA A10", "NVIDIA H100"]),
        ("", []),
        ("7", []),
    ],
)
def test_gpus_that_may_be_used(
    visible: str | None, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "listed").write_text(LISTED)
    tool(tmp_path / "bin", f"cat {tmp_path}/listed", monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = detect().gpus
    assert [gpu.name for gpu in found] == expected
    if visible is None:
        assert found[0] == Gpu("NVIDIA H100", 80 << 30)


@pytest.mark.parametrize("script", ["exit 9", "echo nonsense", "echo"])
def test_a_driver_that_does_not_answer_means_no_gpu(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path / "bin", script, monkeypatch)
    assert detect().gpus == ()


def test_memory_is_the_machines_or_what_its_group_may_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUPS", (tmp_path / "max",))
    whole = detect().memory
    assert whole == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for text, expected in (("max\n", whole), ("1000000\n", 1_000_000), (str(2**63), whole)):
        (tmp_path / "max").write_text(text)
        assert detect().memory == expected


def test_free_disk_of_a_folder_that_is_yet_to_be_made(tmp_path: Path) -> None:
    assert free_disk(tmp_path / "a" / "b") > 0
