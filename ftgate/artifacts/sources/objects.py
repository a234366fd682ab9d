"""``s3://``, ``gs://`` and ``az://``: object stores, through fsspec."""

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
    """A kind of object store: the extra that installs it, how to give credentials, and its endpoint variables."""

    extra: str
    credentials_hint: str
    endpoints: tuple[str, ...]
    """Environment variables that name another endpoint."""
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


def file_system(scheme: str, reference: str) -> Any:
    """The fsspec file system for ``scheme``. Raises ArtifactError, naming ``reference``, when it cannot be opened."""
    import fsspec

    if scheme == "gs":
        # gcsfs queries the bucket type over gRPC by default, and hangs for a minute where only HTTPS is open.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    store = STORES[scheme]
    try:
        return fsspec.filesystem(scheme, skip_instance_cache=True, **store.settings)
    except ImportError:
        raise ArtifactError(
            f"{reference}: {scheme}:// needs a package that is not installed",
            hint=f'pip install "finetune-gate[{store.extra}]"',
        ) from None
    except ValueError:
        raise unauthorised(reference, store.credentials_hint) from None


class ObjectStoreSource:
    """The objects below a prefix, or one object."""

    fixed = False

    def __init__(self, request: Request) -> None:
        reference = request.reference
        self._reference, self._scheme = reference.text, reference.scheme
        self._path = reference.location.rstrip("/")
        self._store = STORES[reference.scheme]
        endpoint = next((os.environ[name] for name in self._store.endpoints if os.environ.get(name)), "")
        self.origin = _azure_endpoint(endpoint) if "AccountName=" in endpoint else endpoint
        if "://" in self.origin:
            require_encrypted(self.origin, f"{self._reference}: {' or '.join(self._store.endpoints)}")

    @cached_property
    def files(self) -> Any:
        """The fsspec file system. Raises ArtifactError when its package is not installed."""
        return file_system(self._scheme, self._reference)

    def list(self) -> list[RemoteFile]:
        """Every object below the prefix, with its ETag, and its SHA-256 if S3 has one."""
        with self._explain_errors(self._reference):
            objects: Any = self.files.find(self._path, detail=True, refresh=True)
            if isinstance(objects, list):  # adlfs returns a list if the path is an object itself
                objects = {path: self.files.info(path) for path in objects}
            if not objects:
                raise missing(self._reference)
            files = [
                self._remote_file(path, info)
                for path, info in objects.items()
                if not path.endswith("/") and f"{path.lstrip('/')}/".startswith(f"{self._path}/")
            ]
            if self._scheme != "s3":
                return files
            with ThreadPoolExecutor(8) as pool:
                digests = pool.map(self._sha256, [file.key for file in files])
                return [replace(file, sha256=sha256) for file, sha256 in zip(files, digests, strict=True)]

    @contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[Stream]:
        """The object; the file systems send the listed ETag, so that a replaced object is noticed."""
        with self._explain_errors(self._reference):
            content = self.files.open(file.key, "rb", cache_type="none")
            content.seek(offset)
        with content:  # an error of the stream's reader is not the store's
            yield Stream(offset, self._chunks(content.read))

    def _chunks(self, read: Callable[[int], bytes]) -> Iterator[bytes]:
        with self._explain_errors(self._reference):
            while chunk := read(_BLOCK):
                yield chunk

    def _remote_file(self, path: str, info: Mapping[str, Any]) -> RemoteFile:
        key = path.lstrip("/")
        name = key.rpartition("/")[2] if key == self._path else key.removeprefix(f"{self._path}/")
        version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
        return RemoteFile(name, path, info.get("size"), None, version)

    def _sha256(self, path: str) -> str | None:
        bucket, _, key = path.partition("/")
        head = self.files.call_s3("head_object", Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        digest = head.get("ChecksumSHA256", "")
        # For a multipart upload S3 keeps a digest of digests, which ends in the number of parts.
        return base64.b64decode(digest).hex() if digest and "-" not in digest else None

    @contextmanager
    def _explain_errors(self, what: str) -> Iterator[None]:
        """Turn the file systems' errors into ours: theirs may quote requests."""
        try:
            yield
        except (ArtifactError, TransientError):
            raise
        except FileNotFoundError:
            raise missing(what) from None
        except PermissionError:
            raise forbidden(what, self._store.credentials_hint) from None
        except Exception as error:
            name = type(error).__name__
            if name in _NO_CREDENTIALS:
                raise unauthorised(what, self._store.credentials_hint) from None
            if name == "FileExpired":
                raise ArtifactError(f"{what}: changed while being read", hint="run it again") from None
            status = getattr(error, "code", getattr(error, "status_code", None))
            refused = isinstance(error, OSError) and str(error).startswith(
                "Forbidden: "
            )  # gcsfs has no error class for this
            if refused or status in (401, 403, "401", "403"):
                raise forbidden(what, self._store.credentials_hint) from None
            raise TransientError(f"{what}: the object store failed ({name})") from None


def _azure_endpoint(connection: str) -> str:
    """The endpoint in a connection string, without the key."""
    fields = dict(part.partition("=")[::2] for part in connection.split(";"))
    scheme, account = fields.get("DefaultEndpointsProtocol", "https"), fields.get("AccountName", "")
    return fields.get("BlobEndpoint") or f"{scheme}://{account}.blob.core.windows.net"
