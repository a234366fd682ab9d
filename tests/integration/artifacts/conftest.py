"""A tiny adapter, and every place that it can be pulled from, each spoken to over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.forge import GITHUB_TOKEN, LOGIN, Forge, Registry
from support.hub import TOKEN, HuggingFaceSource
from support.object_store import s3_server
from support.remote import tree
from support.world import write_adapter

from ftgate.artifacts import download
from ftgate.artifacts.resolve import Resolver
from ftgate.config.policy import ArtifactSettings

AWS_SECRET = "aws_averysecretkey"
Resolve = Callable[..., Any]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache, a home and credentials of our own, and pauses that no test has to wait for."""
    for name in ("HF_ENDPOINT", "FTGATE_CACHE_GB", "FTGATE_VERIFY_DAYS", "GH_TOKEN", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FTGATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("GITHUB_TOKEN", GITHUB_TOKEN)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setattr(download, "MAX_RETRY_WAIT", 0.01)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A folder with a tiny adapter, a file in a folder, and a name with a space in it."""
    folder = write_adapter(tmp_path / "adapter")
    (folder / "notes").mkdir()
    (folder / "notes" / "how it was made.md").write_text("with care\n")
    return folder


@pytest.fixture
def files(adapter: Path) -> dict[str, bytes]:
    """The content of the adapter's folder."""
    return tree(adapter)


def make_resolver(tmp_path: Path, offline: bool = False, note: Any = None, **settings: Any) -> Resolver:
    """A resolver that lets in everything that the tests use."""
    wide = [f"{scheme}://**" for scheme in ("hf", "s3", "gs", "az", "http", "https", "oci", "github")]
    chosen = {"allow": [*wide, "**"], "redirect_hosts": ["127.0.0.1:*"], **settings}
    return Resolver(ArtifactSettings(**chosen), tmp_path, offline, note=note or (lambda _: None))


@pytest.fixture
def resolve(tmp_path: Path) -> Resolve:
    """Resolve a reference: ``resolve(reference, revision=…, digest=…, offline=…, **settings)``."""

    def call(
        reference: str, revision: str | None = None, digest: str | None = None, offline: bool = False, **settings: Any
    ) -> Any:
        resolver = make_resolver(tmp_path, offline, **settings)
        return resolver.snapshot(reference, relative_to=tmp_path, revision=revision, digest=digest)

    return call


@pytest.fixture
def hub(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFaceSource]:
    """A hub with the adapter."""
    found = HuggingFaceSource(files)
    monkeypatch.setenv("HF_ENDPOINT", found.api.url)
    yield found
    found.close()


@pytest.fixture
def forge(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Forge]:
    """A GitHub with the adapter as an artifact; tests add assets."""
    found = Forge({}, files)
    monkeypatch.setenv("GITHUB_API_URL", found.api.url)
    yield found
    found.close()


@pytest.fixture
def registry(files: dict[str, bytes], tmp_path: Path) -> Iterator[Registry]:
    """A registry with the adapter's files as layers, and a login for it."""
    found = Registry(files)
    log_in(tmp_path, found)
    yield found
    found.close()


def log_in(tmp_path: Path, registry: Registry, form: str = "{}") -> None:
    """What ``docker login`` leaves behind, with the host in the ``form`` of its address."""
    (tmp_path / "docker").mkdir(exist_ok=True)
    config = {"auths": {form.format(registry.api.host): {"auth": LOGIN}}}
    (tmp_path / "docker" / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="session", name="s3_server")
def _s3_server() -> Iterator[str]:
    for module in ("moto", "s3fs"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(s3_server: str, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bucket ``models`` with the adapter under ``bot/v1/``; gives the client that filled it."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    for key in [o["Key"] for o in client.list_objects_v2(Bucket="models").get("Contents", [])]:
        client.delete_object(Bucket="models", Key=key)
    for name, content in files.items():
        client.put_object(Bucket="models", Key=f"bot/v1/{name}", Body=content)
    return client
