"""A look at remote weights fetches their headers and nothing else of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support.hub import COMMIT, HuggingFaceSource
from support.remote import Fault, folder_site, serving, tree
from support.world import World, write_adapter, write_full
from support.zoo import rewritten

from ftgate.artifacts import headers_only
from ftgate.artifacts.resolve import Resolver
from ftgate.artifacts.snapshot import take_snapshot
from ftgate.cli.main import main
from ftgate.errors import ArtifactError, DownloadError
from ftgate.models.open import open_model

from .conftest import make_resolver


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Full weights of which all but the smallest files count as large, with two megabytes that no header mentions."""
    monkeypatch.setattr(headers_only, "PREFLIGHT_FILE_BYTES", 1500)
    folder = write_full(tmp_path / "model")
    weights = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    end = len(weights) - 8 - length
    header["model.ballast"] = {"dtype": "U8", "shape": [2_000_000], "data_offsets": [end, end + 2_000_000]}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(
        len(text).to_bytes(8, "little") + text + weights[8 + length :] + bytes(2_000_000)
    )
    return folder


def glancing(tmp_path: Path, **settings: Any) -> Resolver:
    """A resolver that only looks."""
    found = make_resolver(tmp_path, **settings)
    return Resolver(found.settings, found.policy_folder, headers_only=True)


def preflight_snapshot(tmp_path: Path, reference: str, **more: Any) -> Any:
    return glancing(tmp_path).snapshot(reference, relative_to=tmp_path, **more)


def test_headers_are_enough_and_the_weights_stay_where_they_are(tmp_path: Path, model: Path) -> None:
    with serving(folder_site(tree(model), sums=True)) as site:
        snapshot = preflight_snapshot(tmp_path, f"{site.url}/m/")
        assert sum(site.sent.values()) < 400_000
    local = take_snapshot(model, "local")
    assert snapshot.digest == local.digest, "the site tells the digests of its files"
    assert (snapshot.path / "model.safetensors").stat().st_size == (model / "model.safetensors").stat().st_size
    one, two = open_model("x", snapshot, None), open_model("x", local, None)
    assert one.facts == two.facts
    assert not (tmp_path / "cache" / "trees").exists() or not list((tmp_path / "cache" / "trees").iterdir())


def test_a_digest_that_nobody_tells_is_not_made_up(tmp_path: Path, model: Path) -> None:
    with serving(folder_site(tree(model), sums=False)) as site:
        assert preflight_snapshot(tmp_path, f"{site.url}/m/").digest == ""


def test_hub(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = HuggingFaceSource(tree(model))
    monkeypatch.setenv("HF_ENDPOINT", hub.api.url)
    snapshot = preflight_snapshot(tmp_path, "hf://acme/bot", revision=COMMIT)
    assert open_model("x", snapshot, None).facts["parameters"] > 2_000_000
    hub.close()


def test_what_may_not_be_fetched_is_refused(tmp_path: Path, model: Path) -> None:
    (model / "model.py").write_text("x")
    with serving(folder_site(tree(model))) as site, pytest.raises(ArtifactError, match=r"model\.py: code"):
        preflight_snapshot(tmp_path, f"{site.url}/m/")


def test_a_cut_is_tried_again_and_a_dead_server_named(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(folder_site(tree(model))) as site:
        site.faults["/m/model.safetensors"] = Fault(status=503, times=1)
        assert open_model("x", preflight_snapshot(tmp_path, f"{site.url}/m/"), None).kind == "full"
        site.faults["/m/model.safetensors"] = Fault(status=503, times=99)
        with pytest.raises(DownloadError, match=r"\(6 attempts in a row\)"):
            preflight_snapshot(tmp_path, f"{site.url}/m/")


def test_a_copy_that_is_pinned_and_cached_is_used(tmp_path: Path, model: Path, resolve: Any) -> None:
    with serving(folder_site(tree(model))) as site:
        digest = take_snapshot(model, "local").digest
        fetched = resolve(f"{site.url}/m/", digest=digest)
        asked = len(site.asked)
        assert preflight_snapshot(tmp_path, f"{site.url}/m/", digest=digest).path == fetched.path
        assert len(site.asked) == asked


def test_check_looks_and_fetches_no_weights(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path / "world")
    with serving(folder_site(tree(model))) as site:
        world.manifest["base"]["source"] = f"{site.url}/m/"
        world.policy["artifacts"]["allow"] = ["models/*", f"{site.url}/**"]
        world.policy_path.write_text(yaml.safe_dump(world.policy))
        world.manifest_path.write_text(yaml.safe_dump(world.manifest))
        with pytest.raises(SystemExit) as left:
            main(["check", "--json", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)])
        document = json.loads(capsys.readouterr().out)
        assert left.value.code == 0, document["problems"]
        assert document["models"]["base"]["parameters"] > 2_000_000
        assert sum(site.sent.values()) < 400_000


def checked(world: World, capsys: pytest.CaptureFixture[str], url: str) -> Any:
    """What ``ftgate check`` says of a candidate at ``url``."""
    world.manifest["candidate"]["source"] = url
    world.policy["artifacts"]["allow"] = ["models/*", f"{url}**"]
    world.policy_path.write_text(yaml.safe_dump(world.policy))
    world.manifest_path.write_text(yaml.safe_dump(world.manifest))
    with pytest.raises(SystemExit):
        main(["check", "--json", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("most", [4 << 30, 1500], ids=["fetched whole", "left where it is"])
def test_a_large_adapter_is_not_taken_for_one_of_zeros(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(headers_only, "PREFLIGHT_FILE_BYTES", 1500)
    monkeypatch.setattr(headers_only, "PREFLIGHT_TREE_BYTES", most)
    world = World(tmp_path / "world")
    adapter = write_adapter(tmp_path / "adapter", rank=64)
    with serving(folder_site(tree(adapter))) as site:
        document = checked(world, capsys, f"{site.url}/m/")
    assert not document["problems"]
    assert any("not checked for NaN" in note for note in document["notes"]) == (most == 1500)


def test_a_broken_number_in_a_large_adapter_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headers_only, "PREFLIGHT_FILE_BYTES", 1500)
    world = World(tmp_path / "world")
    adapter = write_adapter(tmp_path / "adapter", rank=64)
    rewritten(lambda tensors: {name: np.full_like(value, np.nan) for name, value in tensors.items()})(adapter)
    with serving(folder_site(tree(adapter))) as site:
        document = checked(world, capsys, f"{site.url}/m/")
    assert any("contains NaN or infinity" in problem["message"] for problem in document["problems"])


def test_the_holes_of_full_weights_are_not_said_to_be_numbers(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path / "world")
    with serving(folder_site(tree(model))) as site:
        document = checked(world, capsys, f"{site.url}/m/")
    assert any(f"{site.url}/m/: not checked for NaN" in note for note in document["notes"])
