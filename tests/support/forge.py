"""Fakes at the network's edge: a GitHub that keeps assets and artifacts elsewhere, and a registry of layers."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping

from support.github import bodies
from support.github.description import interface
from support.remote import Asked, Reply, TwoHosts, digest

GITHUB_TOKEN = "ghs_averysecrettoken"
LOGIN = base64.b64encode(b"robot:averysecretpassword").decode()
REGISTRY_TOKEN = "registry_averysecrettoken"


def zipped(files: Mapping[str, bytes], top: str = "") -> bytes:
    """A zip of ``files``, all below ``top``."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(top + name, content)
    return out.getvalue()


def taped(files: Mapping[str, bytes], top: str = "", mode: str = "w:gz") -> bytes:
    """A tar of ``files``, all below ``top``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(top + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Forge(TwoHosts):
    """``acme/bot``: release ``v1`` with ``assets``, and artifact 7 with ``artifact`` in a zip. A token is needed."""

    def __init__(self, assets: Mapping[str, bytes], artifact: Mapping[str, bytes]) -> None:
        self.assets, self.zip = dict(assets), zipped(artifact)
        self.expired = False
        self.invalid: list[str] = []
        """Answers that differ from the published interface."""
        super().__init__()

    def _blob(self, asked: Asked) -> Reply:
        for content in (*self.assets.values(), self.zip):
            if asked.path == f"/{digest(content)}":
                return Reply(content)
        return Reply(status=404)

    def _answer(self, asked: Asked) -> Reply:
        if asked.headers.get("Authorization") != f"Bearer {GITHUB_TOKEN}":
            return Reply(status=404)
        reply = self._found(asked)
        operation = interface().operation("GET", asked.path)  # a HEAD is answered as a GET
        if operation is None:
            self.invalid.append(f"{asked.path}: not in the published interface, as far as it is kept")
        else:
            body = json.loads(reply.content) if reply.status == 200 else {"message": "Not Found"}
            self.invalid += interface().response_problems(operation, reply.status, body)
        return reply

    def close(self) -> None:
        super().close()
        assert not self.invalid, "\n".join(self.invalid)

    def _found(self, asked: Asked) -> Reply:
        ids = dict(enumerate(self.assets, 100))
        at = f"{self.api.url}/repos/acme/bot/releases"
        match asked.path.removeprefix("/repos/acme/bot/").split("/"):
            case ["releases", "tags", "v1"]:
                found = [
                    bodies.asset(i, name, f"{at}/assets/{i}", len(content), f"sha256:{digest(content)}")
                    for i, (name, content) in zip(ids, self.assets.items(), strict=True)
                ]
                return Reply(json.dumps(bodies.release(found)).encode())
            case ["releases", "assets", number] if int(number) in ids:
                assert asked.headers["Accept"] == "application/octet-stream"
                return self._elsewhere(self.assets[ids[int(number)]])
            case ["actions", "artifacts", "7"]:
                sha = f"sha256:{digest(self.zip)}"
                return Reply(json.dumps(bodies.artifact(7, "bot", 1, sha, expired=self.expired)).encode())
            case ["actions", "artifacts", "7", "zip"]:
                return self._elsewhere(self.zip)
        return Reply(status=404)

    def _elsewhere(self, content: bytes) -> Reply:
        return Reply(status=302, headers={"Location": f"{self.cdn.url}/{digest(content)}?sig=SIGNED"})


class Registry(TwoHosts):
    """``acme/bot:v1`` in a registry that wants a token and keeps blobs on another host."""

    def __init__(self, layers: Mapping[str, bytes], *, unpack: bool = False) -> None:
        self.layers = dict(layers)
        self.realm = ""
        """A query that the address for logins already has."""
        annotations = {"io.deis.oras.content.unpack": "true"} if unpack else {}
        described = [
            {
                "mediaType": "application/octet-stream",
                "digest": f"sha256:{digest(content)}",
                "size": len(content),
                "annotations": {"org.opencontainers.image.title": name, **annotations},
            }
            for name, content in layers.items()
        ]
        self.manifest = json.dumps({"schemaVersion": 2, "layers": described}).encode()
        super().__init__()

    def _blob(self, asked: Asked) -> Reply:
        for content in self.layers.values():
            if asked.path == f"/sha256:{digest(content)}":
                return Reply(content)
        return Reply(status=404)

    def _answer(self, asked: Asked) -> Reply:
        allowed = asked.headers.get("Authorization")
        if asked.path == "/token":
            assert "?" not in asked.query
            if allowed != f"Basic {LOGIN}":
                return Reply(status=401)
            return Reply(json.dumps({"token": REGISTRY_TOKEN, "expires_in": 300}).encode())
        if allowed != f"Bearer {REGISTRY_TOKEN}":
            challenge = f'Bearer realm="{self.api.url}/token{self.realm}",service="reg",scope="x"'
            return Reply(status=401, headers={"WWW-Authenticate": challenge})
        if asked.path in ("/v2/", "/v2"):
            return Reply(b"{}")
        if asked.path in ("/v2/acme/bot/manifests/v1", f"/v2/acme/bot/manifests/sha256:{digest(self.manifest)}"):
            return Reply(self.manifest)
        if asked.path.startswith("/v2/acme/bot/blobs/"):
            blob = asked.path.rpartition("/")[2]
            return Reply(status=307, headers={"Location": f"{self.cdn.url}/{blob}?sig=SIGNED"})
        return Reply(status=404)
