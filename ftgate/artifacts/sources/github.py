"""``github://owner/repo/releases/TAG[/ASSET]`` and ``github://owner/repo/actions/artifacts/ID``."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from typing import Any

from ftgate.artifacts.sources.base import RemoteFile, Request, Stream, missing
from ftgate.artifacts.sources.http import HttpClient
from ftgate.config.server_address import api_address
from ftgate.errors import ArtifactError

_CDN = ("*.githubusercontent.com", "*.blob.core.windows.net")
"""Hosts from which github.com serves release assets and artifacts."""
_TOKEN_VARIABLES = ("FTGATE_GITHUB_TOKEN", "GITHUB_TOKEN", "GH_TOKEN")
"""Where a token is looked for, first one first. The action hides the other two from evaluations."""
_CREDENTIALS_HINT = (
    "set FTGATE_GITHUB_TOKEN to a token with read access to the repository (contents: read, actions: read); "
    "gpu/action.yml hands it on with pass-env"
)


class GitHubSource:
    """All assets of a release, one asset, or the zip of an Actions artifact, of the environment's GitHub."""

    fixed = False

    def __init__(self, request: Request) -> None:
        self._reference = request.reference.text
        self.origin = api_address(os.environ)
        self._http = HttpClient(self.origin, (*_CDN, *request.redirect_hosts), _CREDENTIALS_HINT)
        match request.reference.parts:
            case [owner, repository, "releases", tag, *asset] if len(asset) <= 1:
                self._url = f"{self.origin}/repos/{owner}/{repository}/releases/tags/{tag}"
                self._asset = asset[0] if asset else None
            case [owner, repository, "actions", "artifacts", number] if number.isdigit():
                self._url = f"{self.origin}/repos/{owner}/{repository}/actions/artifacts/{number}"
            case _:
                raise ArtifactError(
                    f"{self._reference}: neither a release nor an Actions artifact",
                    hint="write github://owner/repo/releases/TAG/ASSET or github://owner/repo/actions/artifacts/ID",
                )

    def list(self) -> list[RemoteFile]:
        """Names, sizes and digests from the API."""
        answer = json.loads(self._http.text(self._url, self._reference, _headers("application/vnd.github+json")))
        if "assets" not in answer:
            return [self._artifact(answer)]
        assets = [_remote_file(asset["name"], asset["url"], asset.get("size"), asset) for asset in answer["assets"]]
        matching = [file for file in assets if self._asset in (None, file.name)]
        if not matching:
            raise missing(self._reference)
        return matching

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Stream]:
        """The content; the API redirects to it."""
        return self._http.stream(
            file.key, f"{self._reference}: {file.name}", offset, _headers("application/octet-stream")
        )

    def _artifact(self, answer: Any) -> RemoteFile:
        if answer.get("expired"):
            raise ArtifactError(f"{self._reference}: the artifact has expired", hint="run the job that built it again")
        # The API reports the size of the content, not of the zip.
        return _remote_file(f"{answer['name']}.zip", f"{self._url}/zip", None, answer)


def _headers(accept: str) -> dict[str, str]:
    token = next((value for name in _TOKEN_VARIABLES if (value := os.environ.get(name))), None)
    headers = {"Accept": accept, "X-GitHub-Api-Version": "2022-11-28"}
    return headers | ({"Authorization": f"Bearer {token}"} if token else {})


def _remote_file(name: str, url: str, size: int | None, answer: Any) -> RemoteFile:
    kind, _, digest = (answer.get("digest") or "").partition(":")
    version = f"{answer['id']} {answer.get('updated_at', '')}"
    return RemoteFile(name, url, size, digest if kind == "sha256" else None, version)
