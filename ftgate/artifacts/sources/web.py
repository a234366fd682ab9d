"""``https://host/file`` and ``https://host/folder/``: a file, an archive, or a folder that says what is in it."""

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
"""The file that lists a folder: what ``sha256sum`` prints, one digest and name a line."""
_SUM = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")
_MOST_FOLDERS = 100
_HOW = "https sources take no credentials: use s3://, gs://, az://, hf://, oci:// or github:// for what is private"


class WebSource:
    """Files on a web server. A folder ends in a slash and holds SHA256SUMS, or the server lists it as a page."""

    fixed = False
    origin = ""

    def __init__(self, request: Request) -> None:
        reference = request.reference
        self._what, self._url = reference.text, f"{reference.scheme}://{reference.place}"
        self._http = HttpClient(f"{reference.scheme}://{reference.parts[0]}", request.redirect_hosts, _HOW)

    def list(self) -> list[RemoteFile]:
        """The file, or what SHA256SUMS or else the pages of the folder name."""
        if not self._url.endswith("/"):
            return [self._described(self._url, self._url.rpartition("/")[2], None)]
        named = self._sums() or dict.fromkeys(self._pages())
        require_clean_names(named, self._what)  # before any of them becomes part of an address
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda name: self._described(self._url + quote(name), name, named[name]), named))

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Stream]:
        """The file; a later part only if the file is still the one that was listed."""
        headers = {"If-Range": file.version} if offset and file.version else None
        return self._http.stream(file.key, f"{self._what}: {file.name}", offset, headers)

    def _described(self, url: str, name: str, sha256: str | None) -> RemoteFile:
        headers = self._http.head(url, f"{self._what}: {name}").headers
        size, tag = headers.get("content-length", ""), headers.get("etag", "")
        version = tag if tag.startswith('"') else headers.get("last-modified", "")
        return RemoteFile(name, url, int(size) if size.isdigit() else None, sha256, version)

    def _sums(self) -> dict[str, str | None] | None:
        try:
            content = self._http.text(self._url + SUMS, f"{self._what}{SUMS}")
        except ArtifactError as error:
            if error.message == missing(f"{self._what}{SUMS}").message:
                return None
            raise
        found: dict[str, str | None] = {}
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
            match = _SUM.fullmatch(line)
            if match is None:
                raise ArtifactError(
                    f"{self._what}{SUMS}:{number}: not a digest and a name", hint=f"write it with: sha256sum * > {SUMS}"
                )
            found[match[2].removeprefix("./")] = match[1]
        return found

    def _pages(self) -> Iterator[str]:
        """The files that the server's own page of the folder links to, and those of the folders in it."""
        waiting, seen = [""], 0
        while waiting:
            folder = waiting.pop()
            seen += 1
            if seen > _MOST_FOLDERS:
                raise ArtifactError(f"{self._what}: more than {_MOST_FOLDERS} folders", hint=f"add {SUMS} to it")
            address = self._url + quote(folder)
            page = _Links()
            page.feed(self._http.text(address, self._what).decode("utf-8", "replace"))
            for link in page.links:
                url = urljoin(address, link)
                if "?" in url or "#" in url or not url.startswith(address) or url == address:
                    continue  # sorting, the folder above, other places
                name = unquote(url.removeprefix(self._url))
                if name.endswith("/"):
                    waiting.append(name)
                elif name != SUMS:
                    yield name


class _Links(HTMLParser):
    """Every target of a link on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember the target."""
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]
