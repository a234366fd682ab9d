"""``hf://org/name`` and ``hf://datasets/org/name``, at one commit: a model hub, through its own client."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from ftgate.artifacts.sources.base import RemoteFile, Request, Stream, TransientError, forbidden, missing, unauthorised
from ftgate.artifacts.sources.http import HttpClient, require_success
from ftgate.errors import ArtifactError

if TYPE_CHECKING:
    import httpx2

_COMMIT = re.compile(r"[0-9a-f]{40}")
_CDN = ("*.hf.co", "*.huggingface.co")
"""Where the public hub keeps large files."""
_HOW = "set HF_TOKEN to a token that may read the repository"


class HuggingFaceSource:
    """A repository, or what lies below a path in it: ``org/name@commit/path``. HF_ENDPOINT names another hub."""

    fixed = True

    def __init__(self, request: Request) -> None:
        from huggingface_hub import constants

        self._what = request.reference.text
        parts = request.reference.parts
        self._type = "dataset" if parts[0] == "datasets" else "model"
        parts = parts[1:] if parts[0] == "datasets" else parts
        if len(parts) < 2:
            raise ArtifactError(
                f"{self._what}: not a repository", hint="write hf://org/name or hf://datasets/org/name/file"
            )
        name, _, commit = parts[1].partition("@")
        self._repository, self._path = f"{parts[0]}/{name}", "/".join(parts[2:])
        self._revision = self._pinned(commit or None, request.revision)
        self.origin = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
        self._http = HttpClient(self.origin, (*_CDN, *request.redirect_hosts), _HOW)

    def list(self) -> list[RemoteFile]:
        """The tree at the commit, with the SHA-256 of every large file."""
        from huggingface_hub import HfApi, RepoFile, constants, set_client_factory

        if constants.is_offline_mode():
            raise ArtifactError(
                f"{self._what}: not in the cache, and HF_HUB_OFFLINE is set", hint="unset it for the run that fetches"
            )
        # The hub's client has one session for the whole process; ours keeps its redirects on the allowed hosts.
        set_client_factory(self._http.new_client)
        api = HfApi(endpoint=self.origin, token=_token() or False)
        where: dict[str, Any] = {"repo_type": self._type, "revision": self._revision}
        with self._translated():
            api.auth_check(self._repository, repo_type=self._type)
            found = api.get_paths_info(self._repository, [self._path], **where) if self._path else []
            if found and isinstance(found[0], RepoFile):
                return [_described(found[0], found[0].path.rpartition("/")[2])]
            if self._path and not found:
                raise missing(self._what)
            tree = api.list_repo_tree(self._repository, self._path or None, recursive=True, **where)
            start = len(self._path) + 1 if self._path else 0
            return [_described(entry, entry.path[start:]) for entry in tree if isinstance(entry, RepoFile)]

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Stream]:
        """The file at the commit; a large one comes from the hub's content network."""
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(
            self._repository, file.key, repo_type=self._type, revision=self._revision, endpoint=self.origin
        )
        token = _token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self._http.stream(url, f"{self._what}: {file.name}", offset, headers, self._check)

    def _pinned(self, written: str | None, given: str | None) -> str:
        revision = written or given
        if revision is None or not _COMMIT.fullmatch(revision):
            raise ArtifactError(
                f"{self._what}: revision {revision!a} is not a full commit",
                hint="set revision to the 40 hexadecimal digits of the commit (or write org/name@commit): "
                "a branch can change after it was reviewed",
            )
        if given not in (None, revision):
            raise ArtifactError(f"{self._what}: the field revision says {given}", hint="name one commit, once")
        return revision

    def _check(self, response: httpx2.Response) -> None:
        from huggingface_hub import hf_raise_for_status

        if response.status_code in (401, 403, 404):
            with self._translated():
                hf_raise_for_status(response)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What the hub's client raises, in our words: a gated repository is not a missing one."""
        import httpx2
        from huggingface_hub import errors

        try:
            yield
        except errors.GatedRepoError:
            raise forbidden(
                f"{self._what}: the repository is gated",
                "its owner must grant access to the account of HF_TOKEN: open the repository's page and ask for it",
            ) from None
        except errors.RevisionNotFoundError:
            raise ArtifactError(
                f"{self._what}: no commit {self._revision}", hint="check the revision; the repository exists"
            ) from None
        except errors.RepositoryNotFoundError as error:
            if error.response.status_code == 401 and error.response.headers.get("x-error-code") != "RepoNotFound":
                raise unauthorised(self._what, _HOW) from None
            raise ArtifactError(
                f"{self._what}: no such repository, or a private one that the token does not open",
                hint=f"check the spelling; for a private repository {_HOW}",
            ) from None
        except errors.EntryNotFoundError:
            raise missing(self._what) from None
        except errors.HFValidationError:
            raise ArtifactError(f"{self._what}: not the name of a repository", hint="write hf://org/name") from None
        except errors.HfHubHTTPError as error:
            require_success(error.response.status_code, error.response.headers, self._what, _HOW)
            raise
        except (errors.OfflineModeIsEnabled, httpx2.TransportError) as error:
            raise TransientError(f"{self._what}: the hub cannot be reached ({type(error).__name__})") from None


def _token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


def _described(entry: Any, name: str) -> RemoteFile:
    if entry.lfs:  # git keeps a pointer to a large file
        return RemoteFile(name, entry.path, entry.size, entry.lfs.sha256, entry.lfs.sha256)
    return RemoteFile(name, entry.path, entry.size, version=entry.blob_id, git_blob=entry.blob_id)
