"""Object stores through their real file systems: faults on the way to S3, and emulators of the other two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.forge import taped
from support.object_store import passing_on
from support.remote import Fault, Server, digest, serving, tree
from support.stores import Azure, Google

from ftgate.artifacts.reference import parse
from ftgate.artifacts.snapshot import take_snapshot
from ftgate.artifacts.sources.base import Request
from ftgate.artifacts.sources.registry import open_source
from ftgate.errors import ArtifactError

BIG = np.random.default_rng(4).bytes(9_000_000)


@pytest.fixture
def way(bucket: Any, s3_server: str, monkeypatch: Any) -> Iterator[Server]:
    """A server in front of S3, with a large object behind it, that can be told to fail."""
    bucket.put_object(Bucket="models", Key="bot/v2/model.safetensors", Body=BIG)
    with serving(passing_on(s3_server), ranges=False) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        yield found


@pytest.mark.parametrize("fault", [Fault(cut_after=3_000_000, times=2), Fault(status=503, times=2), Fault(status=500)])
def test_s3_faults_that_pass(way: Server, resolve: Any, fault: Fault) -> None:
    way.faults["/models/bot/v2/model.safetensors"] = fault
    assert tree(resolve("s3://models/bot/v2").path) == {"model.safetensors": BIG}
    assert way.sent["/models/bot/v2/model.safetensors"] < 2 * len(BIG), "what was whole is not fetched again"


def test_s3_that_refuses(way: Server, resolve: Any) -> None:
    way.faults["/models/bot/v2/model.safetensors"] = Fault(status=403, times=999)
    with pytest.raises(ArtifactError, match="access refused"):
        resolve("s3://models/bot/v2")


def test_s3_without_credentials(s3_server: str, resolve: Any, monkeypatch: Any, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    with pytest.raises(ArtifactError, match="not authorised") as caught:
        resolve("s3://models/bot/v2")
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_a_checksum_that_s3_keeps_is_compared(bucket: Any, resolve: Any) -> None:
    bucket.put_object(Bucket="models", Key="bot/v3/config.json", Body=b"{}", ChecksumAlgorithm="SHA256")
    reference = parse("s3://models/bot/v3")
    assert reference is not None
    assert [file.sha256 for file in open_source(Request(reference)).list()] == [digest(b"{}")]
    with pytest.raises(ArtifactError, match="but the files have"):
        resolve("s3://models/bot/v3", digest="sha256:" + "0" * 64)


def test_what_the_reader_of_a_stream_raises_is_not_the_stores_failure(bucket: Any) -> None:
    reference = parse("s3://models/bot/v1")
    assert reference is not None
    source = open_source(Request(reference))
    with pytest.raises(OSError, match="disk"), source.open(source.list()[0], 0):
        raise OSError(28, "the disk is full")


@pytest.fixture(params=["gs", "az"])
def store(request: Any, files: dict[str, bytes], monkeypatch: Any) -> Iterator[tuple[str, Google | Azure]]:
    """One of the other two stores, behind its own client."""
    objects = {f"bot/v1/{name}": content for name, content in files.items()} | {"bot/v10/model.py": b"of another"}
    found: Google | Azure
    if request.param == "gs":
        monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it looks when it is imported
        pytest.importorskip("gcsfs", reason="gcsfs is not installed (the extra gcs)")
        found = Google(objects)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", found.server.url)
    else:
        pytest.importorskip("adlfs", reason="adlfs is not installed (the extra azure)")
        found = Azure(objects)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", found.connection)
    yield request.param, found
    found.server.close()


def test_google_and_azure(store: tuple[str, Any], files: dict[str, bytes], adapter: Path, resolve: Any) -> None:
    scheme, server = store
    assert resolve(f"{scheme}://models/bot/v1/").digest == take_snapshot(adapter, "local").digest
    assert resolve(f"{scheme}://models/bot/v1").digest == take_snapshot(adapter, "local").digest
    server.objects["bot.tar.gz"] = taped(files, "bot/")
    assert resolve(f"{scheme}://models/bot.tar.gz").digest == take_snapshot(adapter, "local").digest
    for place in ("models/none/", "nobucket/bot/"):
        with pytest.raises(ArtifactError, match="not found"):
            resolve(f"{scheme}://{place}")


def test_google_and_azure_listed_again_are_not_fetched_again(
    store: tuple[str, Any], files: dict[str, bytes], resolve: Any
) -> None:
    scheme, server = store
    first = resolve(f"{scheme}://models/bot/v1/")
    server.server.sent.clear()
    assert resolve(f"{scheme}://models/bot/v1/") == first
    assert not [path for path in server.server.sent if path.endswith("adapter_model.safetensors")]
    server.objects["bot/v1/adapter_config.json"] = b"{}"
    assert tree(resolve(f"{scheme}://models/bot/v1/").path) == {**files, "adapter_config.json": b"{}"}


def test_google_and_azure_that_refuse(store: tuple[str, Any], resolve: Any) -> None:
    scheme, server = store
    for path in server.weights("bot/v1/adapter_model.safetensors"):
        server.server.faults[path] = Fault(status=403, times=999)
    with pytest.raises(ArtifactError, match="access refused"):
        resolve(f"{scheme}://models/bot/v1/")


def test_google_and_azure_whose_connection_is_cut(
    store: tuple[str, Any], files: dict[str, bytes], resolve: Any
) -> None:
    scheme, server = store
    for path in server.weights("bot/v1/adapter_model.safetensors"):
        server.server.faults[path] = Fault(cut_after=100, times=2)
    assert tree(resolve(f"{scheme}://models/bot/v1/").path) == files


@pytest.mark.parametrize(
    ("name", "value", "reference"),
    [
        ("AWS_ENDPOINT_URL_S3", "http://store.example", "s3://models/bot"),
        ("STORAGE_EMULATOR_HOST", "http://store.example", "gs://models/bot"),
        (
            "AZURE_STORAGE_CONNECTION_STRING",
            "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=SECRET",
            "az://m/b",
        ),
    ],
)
def test_stores_are_spoken_to_encrypted(resolve: Any, monkeypatch: Any, name: str, value: str, reference: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ArtifactError, match="is not https") as caught:
        resolve(reference)
    assert "SECRET" not in str(caught.value)
