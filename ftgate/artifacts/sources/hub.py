"""``hf://org/name`` and ``hf://datasets/org/name`` at one commit: the Hugging Face Hub, through its own client."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from ftgate.artifacts.sources.base import RemoteFile, Request, Stream, TransientError, forbidden, missing, unauthorised
from ftgate.artifacts.sources.http import HttpClient, require_success
from ftgate.config.manifest import COMMIT, how_to_pin
from ftgate.errors import ArtifactError

if TYPE_CHECKING:
    import httpx2

_SHARD = re.compile(r"(.+?)(?:-\d+-of-\d+(?:-[0-9a-f]+)?)?\.(?:jsonl?|csv|tsv|parquet)(?:\.gz|\.zst)?")
"""The path of a data file: folder and split, then the number of the shard and, in older data sets, a fingerprint."""
_SPLITS_SHOWN = 8
_CDN = ("*.hf.co", "*.huggingface.co")
"""Hosts from which the public hub serves large files."""
_CREDENTIALS_HINT = "set HF_TOKEN to a token with read access to the repository"


class HuggingFaceSource:
    """A repository, or a path in it: ``org/name@commit/path``. HF_ENDPOINT names another hub.

    Of a data set the path may also be that of a split, as the hub's own tools name them: ``config/test`` are the files
    ``config/test-00000-of-00002.parquet`` and so on, perhaps in the folder ``data``; of a data set with one
    configuration ``test`` or ``default/test`` are ``data/test-00000-of-00001.parquet`` or ``test.jsonl``.
    """

    fixed = True

    def __init__(self, request: Request) -> None:
        from huggingface_hub import constants

        self._reference = request.reference.text
        parts = request.reference.parts
        self._type = "dataset" if parts[0] == "datasets" else "model"
        parts = parts[1:] if parts[0] == "datasets" else parts
        if len(parts) < 2:
            raise ArtifactError(
                f"{self._reference}: not a repository", hint="write hf://org/name or hf://datasets/org/name/file"
            )
        name, _, commit = parts[1].partition("@")
        self._repository, self._path = f"{parts[0]}/{name}", "/".join(parts[2:])
        self._revision = self._pinned(commit or None, request.revision)
        self.origin = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
        self._http = HttpClient(self.origin, (*_CDN, *request.redirect_hosts), _CREDENTIALS_HINT)

    def list(self) -> list[RemoteFile]:
        """The tree at the commit, with the SHA-256 of every LFS file."""
        from huggingface_hub import HfApi, RepoFile, constants, set_client_factory

        if constants.is_offline_mode():
            raise ArtifactError(
                f"{self._reference}: not in the cache, and HF_HUB_OFFLINE is set",
                hint="unset it for the run that downloads",
            )
        # huggingface_hub has one session per process; ours keeps its redirects on the allowed hosts.
        set_client_factory(self._http.new_client)
        api = HfApi(endpoint=self.origin, token=_token() or False)
        location: dict[str, Any] = {"repo_type": self._type, "revision": self._revision}
        with self._explain_errors():
            api.auth_check(self._repository, repo_type=self._type)
            info = api.get_paths_info(self._repository, [self._path], **location) if self._path else []
            if info and isinstance(info[0], RepoFile):
                return [_remote_file(info[0], info[0].path.rpartition("/")[2])]
            if self._path and not info:
                return [*self._split(api, location)]
            tree = api.list_repo_tree(self._repository, self._path or None, recursive=True, **location)
            prefix = len(self._path) + 1 if self._path else 0
            return [_remote_file(entry, entry.path[prefix:]) for entry in tree if isinstance(entry, RepoFile)]

    def _split(self, api: Any, location: Mapping[str, Any]) -> Sequence[RemoteFile]:
        """The files of a split of a data set, of which the path names the configuration and the split."""
        from huggingface_hub import RepoFile

        folder, _, split = self._path.rpartition("/")
        folders = ("", "data") if folder in ("", "default") else (folder, f"data/{folder}")
        tree = api.list_repo_tree(self._repository, None, recursive=True, **location) if self._type == "dataset" else ()
        splits: dict[str, list[RemoteFile]] = {}
        for entry in tree:
            if isinstance(entry, RepoFile) and (match := _SHARD.fullmatch(entry.path)):
                splits.setdefault(match[1], []).append(_remote_file(entry, entry.path.rpartition("/")[2]))
        for at in folders:
            if files := splits.get(f"{at}/{split}" if at else split):
                return files
        raise _no_split(self._reference, list(splits)) if splits else missing(self._reference)

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Stream]:
        """The file at the commit; large files come from the hub's CDN."""
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(
            self._repository, file.key, repo_type=self._type, revision=self._revision, endpoint=self.origin
        )
        token = _token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self._http.stream(url, f"{self._reference}: {file.name}", offset, headers, self._check)

    def _pinned(self, in_reference: str | None, in_field: str | None) -> str:
        revision = in_reference or in_field
        if revision is None or not COMMIT.fullmatch(revision):
            raise ArtifactError(
                f"{self._reference}: it names no commit"
                if revision is None
                else f"{self._reference}: revision {revision!a} is not a full commit",
                hint=f"write {self._reference.partition('@')[0]}@<commit> (40 hexadecimal digits), or set revision: "
                f"a branch can change after review; {how_to_pin(self._reference, revision or 'HEAD')}",
            )
        if in_field not in (None, revision):
            raise ArtifactError(
                f"{self._reference}: the field revision says {in_field}", hint="name the commit in one place only"
            )
        return revision

    def _check(self, response: httpx2.Response) -> None:
        from huggingface_hub import hf_raise_for_status

        if response.status_code in (401, 403, 404):
            with self._explain_errors():
                hf_raise_for_status(response)

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        """Turn huggingface_hub's errors into ours, telling gated, private and missing repositories apart."""
        import httpx2
        from huggingface_hub import errors

        try:
            yield
        except errors.GatedRepoError:
            raise forbidden(
                f"{self._reference}: the repository is gated",
                "request access on the repository's page with the account of HF_TOKEN",
            ) from None
        except errors.RevisionNotFoundError:
            raise ArtifactError(
                f"{self._reference}: no commit {self._revision}", hint="check the revision; the repository exists"
            ) from None
        except errors.RepositoryNotFoundError as error:
            if error.response.status_code == 401 and error.response.headers.get("x-error-code") != "RepoNotFound":
                raise unauthorised(self._reference, _CREDENTIALS_HINT) from None
            raise ArtifactError(
                f"{self._reference}: no such repository, or it is private and the token has no access",
                hint=f"check the spelling; for a private repository {_CREDENTIALS_HINT}",
            ) from None
        except errors.EntryNotFoundError:
            raise missing(self._reference) from None
        except errors.HFValidationError:
            raise ArtifactError(
                f"{self._reference}: not the name of a repository", hint="write hf://org/name"
            ) from None
        except errors.HfHubHTTPError as error:
            require_success(error.response.status_code, error.response.headers, self._reference, _CREDENTIALS_HINT)
            raise
        except (errors.OfflineModeIsEnabled, httpx2.TransportError) as error:
            raise TransientError(f"{self._reference}: the hub cannot be reached ({type(error).__name__})") from None


def _no_split(reference: str, splits: Sequence[str]) -> ArtifactError:
    """The error for a split that a data set does not have, with those that it has."""
    shown = sorted(splits)
    more = f" and {len(shown) - _SPLITS_SHOWN} more" if len(shown) > _SPLITS_SHOWN else ""
    return ArtifactError(
        f"{reference}: not found", hint=f"the data set has {', '.join(shown[:_SPLITS_SHOWN])}{more}: name one of them"
    )


def _token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


def _remote_file(entry: Any, name: str) -> RemoteFile:
    if entry.lfs:  # git stores only a pointer to a large file
        return RemoteFile(name, entry.path, entry.size, entry.lfs.sha256, entry.lfs.sha256)
    return RemoteFile(name, entry.path, entry.size, version=entry.blob_id, git_blob=entry.blob_id)
