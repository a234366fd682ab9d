"""``oci://host/repository:tag`` and ``…@sha256:…``: files in an OCI registry, pushed with oras or a similar tool."""

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

from ftgate.artifacts.reference import host_of, is_loopback, parse
from ftgate.artifacts.sources.base import RemoteFile, Request, Stream, TransientError, unauthorised
from ftgate.artifacts.sources.http import HttpClient
from ftgate.errors import ArtifactError

if TYPE_CHECKING:
    import httpx2

_IMAGE = re.compile(
    r"(?P<host>[^/]+)/(?P<name>[a-z0-9]+([._/-]+[a-z0-9]+)*)(:(?P<tag>\w[\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
_INDEXES = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
_TITLE, _UNPACK = "org.opencontainers.image.title", "io.deis.oras.content.unpack"
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_DOCKER_HUB = ("index.docker.io", "docker.io", "registry-1.docker.io")
"""Names of Docker Hub: docker stores its login under the index's address, and the last one serves the API."""
_CREDENTIALS_HINT = "log in with a plain docker config (auths in config.json under DOCKER_CONFIG or ~/.docker)"


class OciSource:
    """The named layers of one manifest, each a file; a folder that was pushed whole is an archive."""

    def __init__(self, request: Request) -> None:
        self._reference = request.reference.text
        match = _IMAGE.fullmatch(request.reference.location)
        if match is None:
            raise ArtifactError(
                f"{self._reference}: not an image reference",
                hint="write oci://host/repository:tag, or @sha256:… to pin it",
            )
        self._given_host, self._name, self._digest = match["host"], match["name"], match["digest"]
        self._host = _DOCKER_HUB[-1] if self._given_host in _DOCKER_HUB else self._given_host
        self._version = self._digest or match["tag"] or "latest"
        self.fixed, self.origin = self._digest is not None, ""
        plain = is_loopback(host_of(self._host))
        self._hosts = (*request.redirect_hosts, *(["auth.docker.io"] if self._host in _DOCKER_HUB else []))
        self._http = HttpClient(f"{'http' if plain else 'https'}://{self._host}", self._hosts, _CREDENTIALS_HINT)
        self._lock, self._authorization, self._expires = threading.Lock(), "", 0.0

    def list(self) -> list[RemoteFile]:
        """The layers of the manifest, with size and digest."""
        content, _ = self._manifest(_MANIFESTS)
        manifest = json.loads(content)
        layers = manifest.get("layers")
        if not isinstance(layers, list):
            raise ArtifactError(
                f"{self._reference}: not an image manifest", hint="name a single manifest, not an index"
            )
        return [self._remote_file(layer, single=len(layers) == 1) for layer in layers]

    def digest(self) -> str:
        """The digest (``sha256:…``) of the manifest or index that the reference names, as the registry has it now."""
        return self._manifest(f"{_MANIFESTS}, {_INDEXES}")[1]

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Stream]:
        """The blob of a layer; many registries redirect to it."""
        at = f"{self._http.home}/v2/{self._name}/blobs/{file.key}"
        return self._http.stream(at, f"{self._reference}: {file.name}", offset, self._headers())

    def _manifest(self, accept: str) -> tuple[bytes, str]:
        """The manifest that the reference names, of one of the types ``accept``, and its digest."""
        at = f"{self._http.home}/v2/{self._name}/manifests/{self._version}"
        content = self._http.text(at, self._reference, {"Accept": accept, **self._headers()})
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        if self._digest not in (None, digest):
            raise ArtifactError(
                f"{self._reference}: the registry sent a manifest with another digest",
                hint="do not trust this registry",
            )
        return content, digest

    def _remote_file(self, layer: Any, *, single: bool) -> RemoteFile:
        annotations, digest = layer.get("annotations") or {}, str(layer.get("digest"))
        name = annotations.get(_TITLE)
        if not isinstance(name, str) or not digest.startswith("sha256:"):
            raise ArtifactError(
                f"{self._reference}: a layer without a file name or SHA-256", hint="push the files with: oras push"
            )
        if annotations.get(_UNPACK) == "true":
            if not single:
                raise ArtifactError(
                    f"{self._reference}: {name} is a folder among files", hint="push its files one by one"
                )
            name += ".tar.gz"
        return RemoteFile(name, digest, layer.get("size"), digest.removeprefix("sha256:"), digest)

    def _headers(self) -> dict[str, str]:
        """The authorization header, renewed when it expires; empty if the registry needs none."""
        with self._lock:
            if time.monotonic() >= self._expires:
                self._authorization, seconds = self._authorize()
                self._expires = time.monotonic() + 0.8 * seconds
            return {"Authorization": self._authorization} if self._authorization else {}

    def _authorize(self) -> tuple[str, float]:
        """The value of the Authorization header and its lifetime in seconds."""
        challenge = ""

        def remember(response: httpx2.Response) -> None:
            nonlocal challenge
            challenge = response.headers.get("www-authenticate", "") if response.status_code == 401 else ""

        try:
            self._http.text(f"{self._http.home}/v2/", self._reference, check=remember)
        except ArtifactError:
            if not challenge:
                raise
        login = _login(self._host)
        if challenge.lower().startswith("basic"):
            if login is None:
                raise unauthorised(self._reference, _CREDENTIALS_HINT)
            return f"Basic {login}", 3600.0
        return self._token(dict(_PARAMETER.findall(challenge)), login) if challenge else ("", 3600.0)

    def _token(self, challenge: dict[str, str], login: str | None) -> tuple[str, float]:
        parts = urlsplit(challenge.get("realm", ""))
        if parts.netloc != self._host and not self._http.permits(parts.netloc):
            raise ArtifactError(
                f"{self._reference}: the registry's login server {parts.netloc} is not an allowed host",
                hint="if you trust the host, add it to artifacts.redirect_hosts in the policy",
            )
        query = urlencode({"service": challenge.get("service", ""), "scope": f"repository:{self._name}:pull"})
        address = parts._replace(query="&".join(filter(None, (parts.query, query))), fragment="").geturl()
        headers = {"Authorization": f"Basic {login}"} if login else {}
        answer = json.loads(
            HttpClient(f"{parts.scheme}://{parts.netloc}", (), _CREDENTIALS_HINT).text(
                address, self._reference, headers
            )
        )
        token = answer.get("token") or answer.get("access_token")
        return f"Bearer {token}", float(answer.get("expires_in") or 60)


def image_digest(image: str) -> str:
    """The digest of a container image, named as for `docker run`. Raises ArtifactError if it cannot be read."""
    host, _, rest = image.partition("/")
    if not rest or not (set(host) & {".", ":"} or host == "localhost"):
        host, rest = _DOCKER_HUB[1], image if rest else f"library/{image}"
    reference = parse(f"oci://{host}/{rest}")
    assert reference is not None
    try:
        return OciSource(Request(reference)).digest()
    except TransientError as error:
        raise ArtifactError(f"{error}", hint="repeat this later, or where the registry can be reached") from None


def _login(host: str) -> str | None:
    """User and password for ``host`` in base64, from docker's config.json; None if a credential helper keeps them.

    Docker stores them under the host or an address on it; for Docker Hub under the index's address.
    """
    folder = os.environ.get("DOCKER_CONFIG")
    path = (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    try:
        logins = json.loads(path.read_bytes())["auths"]
        by_host = {re.sub(r"^https?://", "", key).partition("/")[0]: entry for key, entry in logins.items()}
        names = _DOCKER_HUB if host in _DOCKER_HUB else (host,)
        entry = by_host[next(filter(by_host.__contains__, names), host)]
        auth = entry.get("auth") or base64.b64encode(f"{entry['username']}:{entry['password']}".encode()).decode()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return str(auth)
