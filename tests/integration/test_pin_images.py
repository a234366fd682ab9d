"""`make pin` and the release that refuses without it, against a registry that speaks the OCI distribution API."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftgate.artifacts.sources.oci import image_digest
from ftgate.errors import ArtifactError
from scripts import pin_images

ROOT = Path(__file__).resolve().parents[2]
INDEX = "application/vnd.oci.image.index.v1+json"


class Registry:
    """Images of several platforms, by their tags: each is an index, which is sent only to those who accept one."""

    def __init__(self) -> None:
        self.tags: dict[str, bytes] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"registry": self}))
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()

    def push(self, name: str, tag: str, build: int) -> str:
        """A build under a tag. Returns its digest."""
        manifests = [
            {
                "mediaType": INDEX.replace("index", "manifest"),
                "digest": f"sha256:{build:064x}",
                "size": 2,
                "platform": p,
            }
            for p in ({"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64"})
        ]
        content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, indent=3).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.tags |= {f"/v2/{name}/manifests/{tag}": content, f"/v2/{name}/manifests/{digest}": content}
        return digest

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    registry: Registry

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        content = b"{}" if self.path == "/v2/" else self.registry.tags.get(self.path)
        accepted = self.path == "/v2/" or INDEX in self.headers.get("Accept", "")
        status = 404 if content is None or not accepted else 200
        body = content if content is not None and status == 200 else b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}'
        self.send_response(status)
        self.send_header("Content-Type", INDEX)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def registry() -> Iterator[Registry]:
    running = Registry()
    yield running
    running.close()


@pytest.fixture
def dockerfile(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's Dockerfile, whose base images are in the registry."""
    path = tmp_path / "Dockerfile"
    text = pin_images.BASE.sub(
        lambda match: match[1] + registry.host + "/" + match[2].replace("docker.io/", "").replace("library/", ""),
        (ROOT / "Dockerfile").read_text(encoding="utf-8"),
    )
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(pin_images, "DOCKERFILE", path)
    return path


def bases(path: Path) -> dict[str, str]:
    found = pin_images.BASE.finditer(path.read_text(encoding="utf-8"))
    return {match[1][4:-1]: match[2] + (match[3] or "") for match in found}


def released(path: Path, base: str) -> subprocess.CompletedProcess[str]:
    """What the release does before it builds an image."""
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))["jobs"].values()
    (step,) = (step for job in jobs for step in job.get("steps", []) if step.get("id") == "base")
    env = {"BASE": base, "GITHUB_OUTPUT": str(path.parent / "output"), "PATH": "/usr/bin:/bin"}
    command = ["bash", "-e", "-c", step["run"]]
    return subprocess.run(command, cwd=path.parent, env=env, capture_output=True, text=True, check=False)


def test_make_pin_writes_the_digests_that_the_release_asks_for_and_follows_a_tag_that_moved(
    registry: Registry, dockerfile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = bases(dockerfile)
    assert len(images) == 2
    for base, image in images.items():
        refused = released(dockerfile, base)
        assert (refused.returncode, f"{base} has no digest: make pin" in refused.stdout) == (1, True)
        name, tag = image.removeprefix(registry.host + "/").rsplit(":", 1)
        registry.push(name, tag, 1)
    for build in (1, 2):
        digests = {
            base: registry.push(*image.removeprefix(registry.host + "/").rsplit(":", 1), build)
            for base, image in images.items()
        }
        assert pin_images.main() == 0
        assert bases(dockerfile) == {base: f"{image}@{digests[base]}" for base, image in images.items()}
        assert all(digest in capsys.readouterr().out for digest in list(digests.values())[:1])
        for base, image in images.items():
            assert released(dockerfile, base).returncode == 0
            written = (dockerfile.parent / "output").read_text(encoding="utf-8").splitlines()[-1]
            assert written == f"image={image}@{digests[base]}"


def test_an_image_that_the_registry_does_not_have_changes_nothing(
    registry: Registry, dockerfile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = next(iter(bases(dockerfile).values())).removeprefix(registry.host + "/")
    registry.push(*first.rsplit(":", 1), 1)
    before = dockerfile.read_text(encoding="utf-8")
    assert pin_images.main() == 1
    assert "make pin: nothing was changed: " in capsys.readouterr().err
    assert dockerfile.read_text(encoding="utf-8") == before


def test_a_registry_that_sends_another_image_for_a_digest_is_not_believed(registry: Registry) -> None:
    digest = registry.push("acme/python", "3.12", 1)
    assert image_digest(f"{registry.host}/acme/python@{digest}") == digest
    registry.tags[f"/v2/acme/python/manifests/{digest}"] += b" "
    with pytest.raises(ArtifactError, match="a manifest with another digest"):
        image_digest(f"{registry.host}/acme/python@{digest}")
