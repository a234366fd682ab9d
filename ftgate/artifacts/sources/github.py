"""``github://owner/repo/releases/TAG[/ASSET]`` and ``github://owner/repo/actions/artifacts/ID``."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from typing import Any

from ftgate.artifacts.sources.base import RemoteFile, Request, Stream, missing
from ftgate.artifacts.sources.http import HttpClient
from ftgate.errors import ArtifactError

_API = "https://api.github.com"
_CDN = ("*.githubusercontent.com", "*.blob.core.windows.net")
"""Where github.com keeps release assets and artifacts."""
_HOW = "set GITHUB_TOKEN to a token that may read the repository (contents: read, actions: read)"


class GitHubSource:
    """The assets of a release, one of them, or the archive of an artifact. GITHUB_API_URL names another server."""

    fixed = False

    def __init__(self, request: Request) -> None:
        self._what = request.reference.text
        self.origin = (os.environ.get("GITHUB_API_URL") or _API).rstrip("/")
        self._http = HttpClient(self.origin, (*_CDN, *request.redirect_hosts), _HOW)
        match request.reference.parts:
            case [owner, repository, "releases", tag, *asset] if len(asset) <= 1:
                self._at = f"{self.origin}/repos/{owner}/{repository}/releases/tags/{tag}"
                self._asset = asset[0] if asset else None
            case [owner, repository, "actions", "artifacts", number] if number.isdigit():
                self._at = f"{self.origin}/repos/{owner}/{repository}/actions/artifacts/{number}"
            case _:
                raise ArtifactError(
                    f"{self._what}: neither a release nor an artifact",
                    hint="write github://owner/repo/releases/TAG/ASSET or github://owner/repo/actions/artifacts/ID",
                )

    def list(self) -> list[RemoteFile]:
        """Names, sizes and digests as the API gives them."""
        found = json.loads(self._http.text(self._at, self._what, _headers("application/vnd.github+json")))
        if "assets" not in found:
            return [self._artifact(found)]
        assets = [_described(asset["name"], asset["url"], asset.get("size"), asset) for asset in found["assets"]]
        wanted = [file for file in assets if self._asset in (None, file.name)]
        if not wanted:
            raise missing(self._what)
        return wanted

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Stream]:
        """The content, which the API redirects to."""
        return self._http.stream(file.key, f"{self._what}: {file.name}", offset, _headers("application/octet-stream"))

    def _artifact(self, found: Any) -> RemoteFile:
        if found.get("expired"):
            raise ArtifactError(f"{self._what}: the artifact has expired", hint="run the job that made it again")
        # The size that the API tells is that of the content, not of the archive.
        return _described(f"{found['name']}.zip", f"{self._at}/zip", None, found)


def _headers(accept: str) -> dict[str, str]:
    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
    headers = {"Accept": accept, "X-GitHub-Api-Version": "2022-11-28"}
    return headers | ({"Authorization": f"Bearer {token}"} if token else {})


def _described(name: str, url: str, size: int | None, found: Any) -> RemoteFile:
    kind, _, digest = (found.get("digest") or "").partition(":")
    version = f"{found['id']} {found.get('updated_at', '')}"
    return RemoteFile(name, url, size, digest if kind == "sha256" else None, version)
