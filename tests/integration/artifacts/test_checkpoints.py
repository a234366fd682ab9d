"""A download that goes on from a part: bytes that were damaged meanwhile are fetched again, hash listed or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.remote import Asked, Fault, Reply, Server, folder_site, serving

from ftgate.artifacts import checkpoints
from ftgate.artifacts.checkpoints import Checkpoints
from ftgate.errors import ArtifactError, DownloadError

BIG = np.random.default_rng(3).bytes(300_000)
FILES = {"model.safetensors": BIG, "config.json": b"{}"}
STEP = 50_000


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "STEP", STEP)


@pytest.fixture
def part(tmp_path: Path, resolve: Any) -> Any:
    """A site without listed hashes, and the 200,000 bytes that a broken download left."""
    whole, broken = folder_site(FILES, sums=False), [True]

    def reply(asked: Asked) -> Reply:
        return Reply(status=404) if broken and "Range" in asked.headers else whole(asked)

    with serving(reply) as site:
        site.faults["/m/model.safetensors"] = Fault(cut_after=200_000, times=1)
        with pytest.raises(ArtifactError, match="model"):
            resolve(f"{site.url}/m/")
        broken.clear()
        (found,) = (path for path in (tmp_path / "cache" / "incoming").glob("*/*") if path.stat().st_size == 200_000)
        yield site, found


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("position", "fetched", "most"), [(None, 0, 0), (170_000, 30_000, 30_000 + 2 * STEP), (10, 200_000, 200_000)]
)
def test_what_is_damaged_is_fetched_again_and_what_is_not_is_kept(
    part: tuple[Server, Path], resolve: Any, position: int | None, fetched: int, most: int
) -> None:
    site, path = part
    before = site.sent["/m/model.safetensors"]
    if position is not None:
        flip(path, position)
    snapshot = resolve(f"{site.url}/m/")
    assert (snapshot.path / "model.safetensors").read_bytes() == BIG
    again = site.sent["/m/model.safetensors"] - before - (len(BIG) - 200_000)
    assert fetched <= again <= most


@pytest.mark.parametrize("position", [0, 3, 30, -1])
def test_a_damaged_checkpoint_costs_bytes_and_nothing_else(
    part: tuple[Server, Path], resolve: Any, position: int
) -> None:
    site, path = part
    flip(path.with_name(f"{path.name}.sums"), position)
    assert (resolve(f"{site.url}/m/").path / "model.safetensors").read_bytes() == BIG


def test_bytes_after_the_last_checkpoint_do_not_count(tmp_path: Path) -> None:
    """A kill may come between the bytes and their checkpoint."""
    path = tmp_path / "part"
    with path.open("a+b") as file:
        marks = Checkpoints(path, listed=False)
        assert marks.verified_length(file) == 0
        file.write(BIG[:70_000])
        assert marks.is_due(70_000)
        marks.add(file, 70_000, checkpoints.hashlib.sha256(BIG[:70_000]).hexdigest())
        assert not marks.is_due(71_000)
        file.write(BIG[70_000:90_000])
    with path.open("a+b") as file:
        assert Checkpoints(path, listed=False).verified_length(file) == 70_000
        assert Checkpoints(path, listed=True).verified_length(file) == 90_000, "its listed hash decides in the end"
        file.truncate(60_000)
        assert Checkpoints(path, listed=False).verified_length(file) == 0
    assert path.with_name("part.sums").read_text() == ""


def test_a_listed_hash_still_decides(tmp_path: Path, resolve: Any) -> None:
    with serving(folder_site(FILES)) as site:
        site.faults["/m/model.safetensors"] = Fault(change=lambda content: content[:-1] + b"x", times=9)
        with pytest.raises(DownloadError, match="SHA-256"):
            resolve(f"{site.url}/m/")
    assert not list((tmp_path / "cache" / "incoming").glob("*/*.sums"))
