"""What trainers keep beside a model: the same digest with and without it, from everywhere, and no engine sees it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.forge import Forge, Registry, taped
from support.hub import COMMIT, HuggingFaceSource
from support.remote import folder_site, serving, tree

from ftgate.artifacts.snapshot import take_snapshot
from ftgate.errors import ArtifactError, SeveralError
from ftgate.models.open import open_model

from .conftest import log_in, make_resolver

LEFT = (
    "checkpoint-5/optimizer_1.bin",
    "checkpoint-5/rng_state_0.pth",
    "optimizer.pt",
    "scheduler.pt",
    "training_args.bin",
)


@pytest.fixture
def trained(files: dict[str, bytes]) -> dict[str, bytes]:
    """The adapter as a trainer leaves it."""
    return files | dict.fromkeys(LEFT, pickle.dumps({"lr": 1}))


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_every_source_gives_the_digest_of_the_rest(
    trained: dict[str, bytes],
    adapter: Path,
    files: dict[str, bytes],
    resolve: Any,
    forge: Forge,
    bucket: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = HuggingFaceSource(trained)
    monkeypatch.setenv("HF_ENDPOINT", hub.api.url)
    registry = Registry(trained)
    log_in(tmp_path, registry)
    forge.assets = {"bot.tar.gz": taped(trained, "bot/")}
    for name in LEFT:
        bucket.put_object(Bucket="models", Key=f"bot/v1/{name}", Body=trained[name])
    local = written(tmp_path / "trained", trained)
    with serving(folder_site(trained)) as site:
        found = {
            "folder": resolve(str(local)),
            "hub": resolve("hf://acme/bot", COMMIT),
            "store": resolve("s3://models/bot/v1/"),
            "registry": resolve(f"oci://{registry.api.host}/acme/bot:v1"),
            "release": resolve("github://acme/bot/releases/v1/bot.tar.gz"),
            "web": resolve(f"{site.url}/m/"),
        }
        assert not [name for name in LEFT if site.sent[f"/m/{name}"]], "nothing of them was fetched"
    hub.close()
    registry.close()
    expected = take_snapshot(adapter, "without").digest
    for source, snapshot in found.items():
        assert snapshot.digest == expected, source
        assert snapshot.ignored_files == LEFT, source
        assert tree(snapshot.path) == files, f"{source}: what an engine can open"


def test_a_cached_copy_still_says_what_was_left_aside(
    trained: dict[str, bytes], files: dict[str, bytes], resolve: Any
) -> None:
    now = dict(trained)
    with serving(folder_site(now)) as site:
        first = resolve(f"{site.url}/m/")
        assert resolve(f"{site.url}/m/", digest=first.digest).ignored_files == LEFT
        del now["optimizer.pt"]
        site.sent.clear()
        assert resolve(f"{site.url}/m/").ignored_files == tuple(name for name in LEFT if name != "optimizer.pt")
        assert not [name for name in files if site.sent[f"/m/{name}"]]


def test_a_glance_names_them_too(trained: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftgate.artifacts.headers_only.PREFLIGHT_FILE_BYTES", 2000)
    with serving(folder_site({**trained, "more.safetensors": bytes(3000)})) as site:
        resolver = replace(make_resolver(tmp_path), headers_only=True)
        assert resolver.snapshot(f"{site.url}/m/", relative_to=tmp_path).ignored_files == LEFT


def test_an_engine_is_shown_a_local_folder_without_them(
    trained: dict[str, bytes], files: dict[str, bytes], tmp_path: Path, resolve: Any
) -> None:
    local = written(tmp_path / "trained", {**trained, ".cache/huggingface/x.lock": b"", ".git/config": b"x"})
    first, again = resolve(str(local)), resolve(str(local))
    assert tree(first.path) == files
    assert first.path == again.path, "engines know what they compiled by the path"
    assert resolve(str(written(tmp_path / "plain", files))).path == tmp_path / "plain"
    (local / "more.json").write_text("{}")
    assert set(tree(resolve(str(local)).path)) == {*files, "more.json"}


def test_skip_leaves_aside_on_this_machine_as_it_does_elsewhere(
    files: dict[str, bytes], tmp_path: Path, resolve: Any
) -> None:
    more = {**files, "onnx/model.onnx": b"x", "zero_to_fp32.py": b"x"}
    local, skip = written(tmp_path / "more", more), ["onnx/*", "*.py"]
    with serving(folder_site(more)) as site:
        here, there = resolve(str(local), skip=skip), resolve(f"{site.url}/m/", skip=skip)
    assert here.digest == there.digest == take_snapshot(written(tmp_path / "plain", files), "plain").digest
    assert here.ignored_files == there.ignored_files == ("onnx/model.onnx", "zero_to_fp32.py")
    with pytest.raises(SeveralError, match="code in a model snapshot"):
        open_model("x", resolve(str(local), skip=["onnx/*"]), None)


def test_many_are_counted(files: dict[str, bytes], tmp_path: Path, resolve: Any) -> None:
    local = written(tmp_path / "x", {**files, **{f"checkpoint-{i}/optimizer.pt": b"" for i in range(30)}})
    assert len(resolve(str(local)).ignored_files) == 30


def test_nothing_but_leftovers_is_no_model(tmp_path: Path, resolve: Any) -> None:
    local = written(tmp_path / "x", {"optimizer.pt": b""})
    with pytest.raises(ArtifactError, match="is empty"):
        resolve(str(local))
    with serving(folder_site({"optimizer.pt": b""})) as site, pytest.raises(ArtifactError, match="no files"):
        resolve(f"{site.url}/m/")
