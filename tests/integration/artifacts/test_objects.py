"""Object stores through their real file systems: faults on the way to S3, and emulators of the other two."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.remote import Asked, Fault, Reply, Server, digest, serving, tree

from ftgate.artifacts.digest import take_snapshot
from ftgate.artifacts.reference import parse
from ftgate.artifacts.sources.base import Request
from ftgate.artifacts.sources.registry import open_source
from ftgate.errors import ArtifactError

BIG = np.random.default_rng(4).bytes(9_000_000)
PASSED_ON = ("etag", "content-range", "content-type", "last-modified", "x-amz-checksum-sha256")


def passing_on(upstream: str) -> Callable[[Asked], Reply]:
    """What the server at ``upstream`` says."""

    def reply(asked: Asked) -> Reply:
        sent = {name: v for name, v in asked.headers.items() if name in ("Range", "Authorization") or "Amz" in name}
        request = urllib.request.Request(f"{upstream}{asked.path}?{asked.query}", headers=sent)
        try:
            with urllib.request.urlopen(request) as found:
                headers = {name: found.headers[name] for name in PASSED_ON if found.headers[name]}
                return Reply(found.read(), found.status, headers)
        except urllib.error.HTTPError as error:
            return Reply(error.read(), error.code)

    return reply


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


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_google(files: dict[str, bytes], adapter: Path, resolve: Any, monkeypatch: Any) -> None:
    pytest.importorskip("gcsfs", reason="gcsfs is not installed (the extra gcs)")
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed")
    port = free_port()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="models")
    server.start()
    try:
        import gcsfs

        store = gcsfs.GCSFileSystem(token="anon", endpoint_url=f"http://127.0.0.1:{port}")
        for name, content in files.items():
            store.pipe_file(f"models/bot/v1/{name}", content)
        assert resolve("gs://models/bot/v1/").digest == take_snapshot(adapter, "local").digest
        with pytest.raises(ArtifactError, match="not found"):
            resolve("gs://models/none/")
    finally:
        server.stop()


AZURITE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey="
    # The key that every installation of the emulator has.
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
)


def test_azure(files: dict[str, bytes], adapter: Path, resolve: Any, monkeypatch: Any, tmp_path: Path) -> None:
    pytest.importorskip("adlfs", reason="adlfs is not installed (the extra azure)")
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("azurite-blob is not installed (npm install azurite)")
    from azure.storage.blob import BlobServiceClient

    port = free_port()
    quiet = ("--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence")
    process = subprocess.Popen([program, "--blobPort", str(port), *quiet], cwd=tmp_path)
    try:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", AZURITE.format(port=port))
        wait_for(port)
        container = BlobServiceClient.from_connection_string(AZURITE.format(port=port)).get_container_client("models")
        container.create_container()
        for name, content in files.items():
            container.upload_blob(f"bot/v1/{name}", content)
        assert resolve("az://models/bot/v1/").digest == take_snapshot(adapter, "local").digest
        with pytest.raises(ArtifactError, match="not found"):
            resolve("az://models/none/")
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
        else:
            return


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
