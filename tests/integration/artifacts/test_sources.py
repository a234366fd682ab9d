"""The same tree gives the same digest from every source; and what each source refuses, in its own words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.forge import Forge, Registry, taped, zipped
from support.hub import COMMIT, HuggingFaceSource
from support.remote import digest, folder_site, serving, tree

from ftgate.artifacts.snapshot import take_snapshot
from ftgate.artifacts.sources.objects import ObjectStoreSource
from ftgate.errors import ArtifactError

from .conftest import log_in


def same(snapshot: Any, adapter: Path) -> bool:
    """Whether the snapshot is the adapter: by digest, by manifest, and byte by byte."""
    local = take_snapshot(adapter, "local")
    assert dict(snapshot.files) == dict(local.files)
    assert tree(snapshot.path) == tree(adapter)
    return snapshot.digest == local.digest


def test_hub(hub: HuggingFaceSource, resolve: Any, adapter: Path) -> None:
    assert same(resolve("hf://acme/bot", COMMIT), adapter)
    assert same(resolve(f"hf://acme/bot@{COMMIT}"), adapter)


def test_hub_folder_of_a_data_set(files: dict[str, bytes], monkeypatch: Any, resolve: Any, adapter: Path) -> None:
    hub = HuggingFaceSource({f"v1/{name}": content for name, content in files.items()} | {"other.md": b"x"}, "datasets")
    monkeypatch.setenv("HF_ENDPOINT", hub.api.url)
    assert same(resolve("hf://datasets/acme/bot/v1", COMMIT), adapter)
    with pytest.raises(ArtifactError, match="not found"):
        resolve("hf://datasets/acme/bot/v2", COMMIT)
    hub.close()


def test_s3(bucket: Any, resolve: Any, adapter: Path) -> None:
    bucket.put_object(Bucket="models", Key="bot/v10/model.py", Body=b"of another version")
    assert same(resolve("s3://models/bot/v1/"), adapter)
    assert same(resolve("s3://models/bot/v1"), adapter)


def test_s3_archive(bucket: Any, resolve: Any, adapter: Path, files: dict[str, bytes]) -> None:
    bucket.put_object(Bucket="models", Key="bot.tar.gz", Body=taped(files, "bot/"))
    assert same(resolve("s3://models/bot.tar.gz"), adapter)


@pytest.mark.parametrize("sums", [True, False])
def test_web_folder(files: dict[str, bytes], resolve: Any, adapter: Path, sums: bool) -> None:
    with serving(folder_site(files, sums=sums)) as site:
        assert same(resolve(f"{site.url}/m/"), adapter)


@pytest.mark.parametrize("top", ["", "bot/"])
@pytest.mark.parametrize(("name", "pack"), [("bot.zip", zipped), ("bot.tgz", taped)])
def test_web_archive(files: dict[str, bytes], resolve: Any, adapter: Path, name: str, pack: Any, top: str) -> None:
    with serving(folder_site({name: pack(files, top)})) as site:
        assert same(resolve(f"{site.url}/m/{name}"), adapter)


def test_github_release(forge: Forge, resolve: Any, adapter: Path, files: dict[str, bytes]) -> None:
    forge.assets = {"bot.tar.gz": taped(files), "notes.txt": b"x"}
    assert same(resolve("github://acme/bot/releases/v1/bot.tar.gz"), adapter)
    with pytest.raises(ArtifactError, match="not found"):
        resolve("github://acme/bot/releases/v1/other.zip")
    with pytest.raises(ArtifactError, match="not found"):
        resolve("github://acme/bot/releases/v2/bot.tar.gz")


def test_github_release_as_a_folder(forge: Forge, resolve: Any, files: dict[str, bytes]) -> None:
    forge.assets = {name: content for name, content in files.items() if "/" not in name}
    assert tree(resolve("github://acme/bot/releases/v1").path) == forge.assets


def test_github_artifact(forge: Forge, resolve: Any, adapter: Path) -> None:
    assert same(resolve("github://acme/bot/actions/artifacts/7"), adapter)
    forge.expired = True
    with pytest.raises(ArtifactError, match="has expired"):
        resolve("github://acme/bot/actions/artifacts/7")


def test_registry(registry: Registry, resolve: Any, adapter: Path) -> None:
    assert same(resolve(f"oci://{registry.api.host}/acme/bot:v1"), adapter)
    assert same(resolve(f"oci://{registry.api.host}/acme/bot@sha256:{digest(registry.manifest)}"), adapter)


@pytest.mark.parametrize("form", ["{}", "http://{}", "https://{}/v1/", "{}/v2/"])
def test_every_form_in_which_docker_keeps_a_login(
    registry: Registry, resolve: Any, adapter: Path, tmp_path: Path, form: str
) -> None:
    log_in(tmp_path, registry, form)
    assert same(resolve(f"oci://{registry.api.host}/acme/bot:v1"), adapter)


def test_a_registry_whose_address_for_logins_has_a_query(registry: Registry, resolve: Any, adapter: Path) -> None:
    registry.realm = "?client=any"
    assert same(resolve(f"oci://{registry.api.host}/acme/bot:v1"), adapter)


def test_registry_folder(files: dict[str, bytes], resolve: Any, adapter: Path, tmp_path: Path) -> None:
    registry = Registry({"bot": taped(files, "bot/")}, unpack=True)
    log_in(tmp_path, registry)
    assert same(resolve(f"oci://{registry.api.host}/acme/bot:v1"), adapter)
    registry.close()


def test_any_file_system_of_fsspec(files: dict[str, bytes], resolve: Any, adapter: Path, monkeypatch: Any) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for name, content in files.items():
        memory.pipe_file(f"/bucket/bot/{name}", content)
    monkeypatch.setattr(ObjectStoreSource, "files", memory)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    assert same(resolve("gs://bucket/bot"), adapter)


@pytest.mark.parametrize(
    ("access", "token", "message"),
    [
        ("gated", True, "the repository is gated"),
        ("gated", False, "the repository is gated"),
        ("gated for some", False, "the repository is gated"),
        ("private", False, "no such repository, or it is private"),
        ("bad token", True, "not authorised"),
    ],
)
def test_the_hub_says_why(
    files: dict[str, bytes], monkeypatch: Any, resolve: Any, access: str, token: bool, message: str
) -> None:
    hub = HuggingFaceSource(files, access=access)
    monkeypatch.setenv("HF_ENDPOINT", hub.api.url)
    if not token:
        monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(ArtifactError, match=message):
        resolve("hf://acme/bot", COMMIT)
    hub.close()


def test_a_missing_repository_and_a_missing_commit_are_told_apart(hub: HuggingFaceSource, resolve: Any) -> None:
    with pytest.raises(ArtifactError, match="no such repository"):
        resolve("hf://acme/other", COMMIT)
    with pytest.raises(ArtifactError, match="no commit ffff"):
        resolve("hf://acme/bot", "f" * 40)


@pytest.mark.parametrize("reference", ["hf://acme/bot", "hf://acme/bot@main", "hf://acme/bot@0123abc"])
def test_a_branch_is_no_revision(hub: HuggingFaceSource, resolve: Any, reference: str) -> None:
    with pytest.raises(ArtifactError, match=r"is not a full commit|it names no commit"):
        resolve(reference)
    assert not hub.api.asked


def test_s3_says_why(bucket: Any, resolve: Any, monkeypatch: Any) -> None:
    with pytest.raises(ArtifactError, match="not found"):
        resolve("s3://models/none/")
    with pytest.raises(ArtifactError, match="not found"):
        resolve("s3://nobucket/none/")


def test_a_missing_extra_is_named() -> None:
    # In a process of its own: what another test has imported stays known to fsspec.
    code = (
        "import sys\nfrom pathlib import Path\nsys.modules['adlfs'] = None\n"
        "from ftgate.artifacts.resolve import Resolver\nfrom ftgate.config.policy import ArtifactSettings\n"
        "resolver = Resolver(ArtifactSettings(allow=('az://**',)), Path())\n"
        "resolver.snapshot('az://container/bot', relative_to=Path())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ArtifactError" in done.stderr
    assert 'pip install "finetune-gate[azure]"' in done.stderr


@pytest.mark.parametrize("reference", ["ftp://host/x", "http://host.example/x", "file:///etc/passwd", "hf:/acme/bot"])
def test_other_schemes(resolve: Any, reference: str) -> None:
    with pytest.raises(ArtifactError, match=r"is not supported|one slash|not a valid reference|does not allow"):
        resolve(reference, allow=["**", "ftp://**", "http://**", "file://**"])


def test_plain_http_is_for_this_machine_alone(monkeypatch: Any, resolve: Any) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    with pytest.raises(ArtifactError, match="is not https"):
        resolve("hf://acme/bot", COMMIT)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example")
    with pytest.raises(ArtifactError, match="is not https"):
        resolve("s3://models/bot")
