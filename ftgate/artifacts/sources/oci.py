"""``oci://host/repository:tag`` and ``…@sha256:…``: files that oras, or a tool like it, pushed to a registry."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from ftgate.artifacts.reference import host_of, is_loopback
from ftgate.artifacts.sources.base import RemoteFile, Request, Stream, unauthorised
from ftgate.artifacts.sources.http import HttpClient
from ftgate.errors import ArtifactError

if TYPE_CHECKING:
    import httpx2

_PLACE = re.compile(
    r"(?P<host>[^/]+)/(?P<name>[a-z0-9]+([._/-]+[a-z0-9]+)*)(:(?P<tag>\w[\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
_TITLE, _UNPACK = "org.opencontainers.image.title", "io.deis.oras.content.unpack"
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_INDEX = ("index.docker.io", "docker.io", "registry-1.docker.io")
"""Names of one registry, whose login docker keeps under the address of its index, and which answers at the last."""
_HOW = "log in with a plain docker config (auths in config.json under DOCKER_CONFIG or ~/.docker)"


class OciSource:
    """The named layers of one manifest: each is a file; a folder that was pushed whole is an archive."""

    def __init__(self, request: Request) -> None:
        self._what = request.reference.text
        match = _PLACE.fullmatch(request.reference.place)
        if match is None:
            raise ArtifactError(
                f"{self._what}: not an image reference", hint="write oci://host/repository:tag, or @sha256:… for ever"
            )
        self._named, self._name, self._digest = match["host"], match["name"], match["digest"]
        self._host = _INDEX[-1] if self._named in _INDEX else self._named
        self._version = self._digest or match["tag"] or "latest"
        self.fixed, self.origin = self._digest is not None, ""
        plain = is_loopback(host_of(self._host))
        self._hosts = (*request.redirect_hosts, *(["auth.docker.io"] if self._host in _INDEX else []))
        self._http = HttpClient(f"{'http' if plain else 'https'}://{self._host}", self._hosts, _HOW)
        self._lock, self._allowed, self._until = threading.Lock(), "", 0.0

    def list(self) -> list[RemoteFile]:
        """The layers of the manifest, with size and digest."""
        at = f"{self._http.home}/v2/{self._name}/manifests/{self._version}"
        content = self._http.text(at, self._what, {"Accept": _MANIFESTS, **self._headers()})
        if self._digest not in (None, "sha256:" + hashlib.sha256(content).hexdigest()):
            raise ArtifactError(f"{self._what}: the registry sent another manifest", hint="do not trust this registry")
        manifest = json.loads(content)
        layers = manifest.get("layers")
        if not isinstance(layers, list):
            raise ArtifactError(f"{self._what}: not an image manifest", hint="name the manifest, not an index of many")
        return [self._described(layer, single=len(layers) == 1) for layer in layers]

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Stream]:
        """The blob of a layer, which many registries redirect to."""
        at = f"{self._http.home}/v2/{self._name}/blobs/{file.key}"
        return self._http.stream(at, f"{self._what}: {file.name}", offset, self._headers())

    def _described(self, layer: Any, *, single: bool) -> RemoteFile:
        notes, digest = layer.get("annotations") or {}, str(layer.get("digest"))
        name = notes.get(_TITLE)
        if not isinstance(name, str) or not digest.startswith("sha256:"):
            raise ArtifactError(
                f"{self._what}: a layer without a file name or a SHA-256", hint="push the files with: oras push"
            )
        if notes.get(_UNPACK) == "true":
            if not single:
                raise ArtifactError(f"{self._what}: {name} is a folder among files", hint="push its files one by one")
            name += ".tar.gz"
        return RemoteFile(name, digest, layer.get("size"), digest.removeprefix("sha256:"), digest)

    def _headers(self) -> dict[str, str]:
        """What authorises a request, asked for anew when it runs out; nothing where the registry wants nothing."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._allowed, seconds = self._ask()
                self._until = time.monotonic() + 0.8 * seconds
            return {"Authorization": self._allowed} if self._allowed else {}

    def _ask(self) -> tuple[str, float]:
        """The value of the Authorization header and how long it holds, in seconds."""
        challenge = ""

        def remember(response: httpx2.Response) -> None:
            nonlocal challenge
            challenge = response.headers.get("www-authenticate", "") if response.status_code == 401 else ""

        try:
            self._http.text(f"{self._http.home}/v2/", self._what, check=remember)
        except ArtifactError:
            if not challenge:
                raise
        login = _login(self._host)
        if challenge.lower().startswith("basic"):
            if login is None:
                raise unauthorised(self._what, _HOW)
            return f"Basic {login}", 3600.0
        return self._token(dict(_PARAMETER.findall(challenge)), login) if challenge else ("", 3600.0)

    def _token(self, asked: dict[str, str], login: str | None) -> tuple[str, float]:
        parts = urlsplit(asked.get("realm", ""))
        if parts.netloc != self._host and not self._http.permits(parts.netloc):
            raise ArtifactError(
                f"{self._what}: the registry sends logins to {parts.netloc}, which is not an allowed host",
                hint="if the host is trusted, add it to artifacts.redirect_hosts in the policy",
            )
        query = urlencode({"service": asked.get("service", ""), "scope": f"repository:{self._name}:pull"})
        address = parts._replace(query="&".join(filter(None, (parts.query, query))), fragment="").geturl()
        headers = {"Authorization": f"Basic {login}"} if login else {}
        found = json.loads(HttpClient(f"{parts.scheme}://{parts.netloc}", (), _HOW).text(address, self._what, headers))
        token = found.get("token") or found.get("access_token")
        return f"Bearer {token}", float(found.get("expires_in") or 60)


def _login(host: str) -> str | None:
    """User and password for ``host`` in base64, as ``docker login`` keeps them where no helper does.

    It keeps them under the host, or under an address on it, as it does for the registry that it asks by default.
    """
    folder = os.environ.get("DOCKER_CONFIG")
    path = (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    try:
        known = json.loads(path.read_bytes())["auths"]
        by_host = {re.sub(r"^https?://", "", key).partition("/")[0]: entry for key, entry in known.items()}
        names = _INDEX if host in _INDEX else (host,)
        entry = by_host[next(filter(by_host.__contains__, names), host)]
        auth = entry.get("auth") or base64.b64encode(f"{entry['username']}:{entry['password']}".encode()).decode()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return str(auth)
