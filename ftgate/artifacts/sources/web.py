"""``https://host/file`` and ``https://host/folder/``: a file, an archive, or a folder with a listing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urljoin

from ftgate.artifacts.file_names import require_clean_names
from ftgate.artifacts.sources.base import RemoteFile, Request, Stream, missing
from ftgate.artifacts.sources.http import HttpClient
from ftgate.errors import ArtifactError

SUMS = "SHA256SUMS"
"""The listing of a folder, as ``sha256sum`` prints it: one digest and name per line."""
_SUM = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")
_MAX_FOLDERS = 100
_CREDENTIALS_HINT = (
    "https:// takes no credentials: use s3://, gs://, az://, hf://, oci:// or github:// for private files"
)


class WebSource:
    """Files on a web server. A folder ends in a slash and has SHA256SUMS or the server's own index page."""

    fixed = False
    origin = ""

    def __init__(self, request: Request) -> None:
        reference = request.reference
        self._reference, self._url = reference.text, f"{reference.scheme}://{reference.location}"
        self._http = HttpClient(f"{reference.scheme}://{reference.parts[0]}", request.redirect_hosts, _CREDENTIALS_HINT)

    def list(self) -> list[RemoteFile]:
        """The file itself, or the files in SHA256SUMS, or else those on the folder's index pages."""
        if not self._url.endswith("/"):
            return [self._remote_file(self._url, self._url.rpartition("/")[2], None)]
        digests = self._sums() or dict.fromkeys(self._pages())
        require_clean_names(digests, self._reference)  # before any of them becomes part of an address
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda name: self._remote_file(self._url + quote(name), name, digests[name]), digests))

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Stream]:
        """The file; a range only if the file is still the listed version."""
        headers = {"If-Range": file.version} if offset and file.version else None
        return self._http.stream(file.key, f"{self._reference}: {file.name}", offset, headers)

    def _remote_file(self, url: str, name: str, sha256: str | None) -> RemoteFile:
        headers = self._http.head(url, f"{self._reference}: {name}").headers
        size, tag = headers.get("content-length", ""), headers.get("etag", "")
        version = tag if tag.startswith('"') else headers.get("last-modified", "")
        return RemoteFile(name, url, int(size) if size.isdigit() else None, sha256, version)

    def _sums(self) -> dict[str, str | None] | None:
        try:
            content = self._http.text(self._url + SUMS, f"{self._reference}{SUMS}")
        except ArtifactError as error:
            if error.message == missing(f"{self._reference}{SUMS}").message:
                return None
            raise
        digests: dict[str, str | None] = {}
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
            match = _SUM.fullmatch(line)
            if match is None:
                raise ArtifactError(
                    f"{self._reference}{SUMS}:{number}: not a digest and a name",
                    hint=f"create it with: sha256sum * > {SUMS}",
                )
            digests[match[2].removeprefix("./")] = match[1]
        return digests

    def _pages(self) -> Iterator[str]:
        """Files linked from the folder's index page and from those of its subfolders."""
        pending, seen = [""], 0
        while pending:
            folder = pending.pop()
            seen += 1
            if seen > _MAX_FOLDERS:
                raise ArtifactError(
                    f"{self._reference}: more than {_MAX_FOLDERS} folders", hint=f"add a {SUMS} file to it"
                )
            address = self._url + quote(folder)
            page = _Links()
            page.feed(self._http.text(address, self._reference).decode("utf-8", "replace"))
            for link in page.links:
                url = urljoin(address, link)
                if "?" in url or "#" in url or not url.startswith(address) or url == address:
                    continue  # sort links, the parent folder, other sites
                name = unquote(url.removeprefix(self._url))
                if name.endswith("/"):
                    pending.append(name)
                elif name != SUMS:
                    yield name


class _Links(HTMLParser):
    """Collects the targets of all links on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the target."""
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]
