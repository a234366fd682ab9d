"""``s3://``, ``gs://`` and ``az://``: object stores, through fsspec and the file system of each."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ftgate.artifacts.reference import require_encrypted
from ftgate.artifacts.sources.base import RemoteFile, Request, Stream, TransientError, forbidden, missing, unauthorised
from ftgate.errors import ArtifactError

_BLOCK = 8 << 20
_VERSIONS = ("ETag", "etag", "generation", "md5Hash", "LastModified", "mtime", "created")
_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "RefreshError",
    "ClientAuthenticationError",
)


@dataclass(frozen=True, slots=True)
class Store:
    """A kind of object store: the extra that installs it, how to give credentials, what may move it elsewhere."""

    extra: str
    how: str
    endpoints: tuple[str, ...]
    """Environment variables that name another address."""
    settings: Mapping[str, Any]


STORES = {
    "s3": Store("s3", "see AWS_PROFILE, AWS_ACCESS_KEY_ID", ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), {}),
    "gs": Store("gcs", "see GOOGLE_APPLICATION_CREDENTIALS", ("STORAGE_EMULATOR_HOST",), {}),
    "az": Store(
        "azure",
        "set AZURE_STORAGE_ACCOUNT_NAME, and a key, a token or a managed identity (AZURE_STORAGE_*, AZURE_CLIENT_ID)",
        ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME"),
        {"anon": False},
    ),
}


class ObjectStoreSource:
    """The objects below a prefix, or one object."""

    fixed = False

    def __init__(self, request: Request) -> None:
        reference = request.reference
        self._what, self._scheme = reference.text, reference.scheme
        self._path = reference.place.rstrip("/")
        self._store = STORES[reference.scheme]
        given = next((os.environ[name] for name in self._store.endpoints if os.environ.get(name)), "")
        self.origin = _azure_endpoint(given) if "AccountName=" in given else given
        if "://" in self.origin:
            require_encrypted(self.origin, f"{self._what}: {' or '.join(self._store.endpoints)}")

    @cached_property
    def files(self) -> Any:
        """The file system. Raises ArtifactError when its package is not installed."""
        import fsspec

        if self._scheme == "gs":
            # Its experimental part asks over gRPC what kind a bucket is, and waits a minute where only HTTPS gets out.
            os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        try:
            return fsspec.filesystem(self._scheme, skip_instance_cache=True, **self._store.settings)
        except ImportError:
            raise ArtifactError(
                f"{self._what}: {self._scheme}:// needs a package that is not installed",
                hint=f'pip install "finetune-gate[{self._store.extra}]"',
            ) from None
        except ValueError:
            raise unauthorised(self._what, self._store.how) from None

    def list(self) -> list[RemoteFile]:
        """Every object below the prefix, with its ETag, and its SHA-256 where S3 keeps one."""
        with self._translated(self._what):
            found: Any = self.files.find(self._path, detail=True, refresh=True)
            if isinstance(found, list):  # as adlfs answers where the path is an object itself
                found = {path: self.files.info(path) for path in found}
            if not found:
                raise missing(self._what)
            described = [
                self._described(path, info)
                for path, info in found.items()
                if not path.endswith("/") and f"{path.lstrip('/')}/".startswith(f"{self._path}/")
            ]
            if self._scheme != "s3":
                return described
            with ThreadPoolExecutor(8) as pool:
                sums = pool.map(self._sha256, [file.key for file in described])
                return [replace(file, sha256=sha256) for file, sha256 in zip(described, sums, strict=True)]

    @contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[Stream]:
        """The object; the file systems ask for the ETag that was listed, so a replaced object is noticed."""
        with self._translated(self._what):
            content = self.files.open(file.key, "rb", cache_type="none")
            content.seek(offset)
        with content:  # what the reader of the stream raises is not the store's failure
            yield Stream(offset, self._chunks(content.read))

    def _chunks(self, read: Callable[[int], bytes]) -> Iterator[bytes]:
        with self._translated(self._what):
            while chunk := read(_BLOCK):
                yield chunk

    def _described(self, path: str, info: Mapping[str, Any]) -> RemoteFile:
        place = path.lstrip("/")
        name = place.rpartition("/")[2] if place == self._path else place.removeprefix(f"{self._path}/")
        version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
        return RemoteFile(name, path, info.get("size"), None, version)

    def _sha256(self, path: str) -> str | None:
        bucket, _, key = path.partition("/")
        head = self.files.call_s3("head_object", Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        known = head.get("ChecksumSHA256", "")
        # Of an object sent in parts, S3 keeps a digest of digests, which ends in the number of parts.
        return base64.b64decode(known).hex() if known and "-" not in known else None

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """What the three file systems raise, in our words: theirs may quote requests."""
        try:
            yield
        except (ArtifactError, TransientError):
            raise
        except FileNotFoundError:
            raise missing(what) from None
        except PermissionError:
            raise forbidden(what, self._store.how) from None
        except Exception as error:
            name = type(error).__name__
            if name in _NO_CREDENTIALS:
                raise unauthorised(what, self._store.how) from None
            if name == "FileExpired":
                raise ArtifactError(f"{what}: changed while it was read", hint="run it again") from None
            status = getattr(error, "code", getattr(error, "status_code", None))
            refused = isinstance(error, OSError) and str(error).startswith("Forbidden: ")  # as gcsfs words it
            if refused or status in (401, 403, "401", "403"):
                raise forbidden(what, self._store.how) from None
            raise TransientError(f"{what}: the object store failed ({name})") from None


def _azure_endpoint(connection: str) -> str:
    """Where a connection string leads, without the key in it."""
    fields = dict(part.partition("=")[::2] for part in connection.split(";"))
    scheme, account = fields.get("DefaultEndpointsProtocol", "https"), fields.get("AccountName", "")
    return fields.get("BlobEndpoint") or f"{scheme}://{account}.blob.core.windows.net"
