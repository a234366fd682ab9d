"""Enough of the two other object stores' HTTP interfaces for their real clients to list and to read objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import md5
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from support.remote import Asked, Reply, Server

ACCOUNT, KEY = "devstoreaccount1", "c2VjcmV0IGtleQ=="
_XML = '<?xml version="1.0" encoding="utf-8"?>'
_DATE = "Wed, 25 Nov 2026 10:00:00 GMT"


class Google:
    """A bucket ``models`` behind the JSON interface, a page of two objects at a time."""

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        self.objects = dict(objects)
        self.server = Server(self._answer)

    def weights(self, name: str) -> list[str]:
        """The path from which the content of an object comes."""
        return [f"/download/storage/v1/b/models/o/{name}"]

    def _answer(self, asked: Asked) -> Reply:
        _, _, name = asked.path.partition("/b/models/o")
        query = {key: values[0] for key, values in parse_qs(asked.query).items()}
        if not asked.path.partition("/b/models")[1]:
            return Reply(b'{"error": {"code": 404, "message": "not found"}}', 404, {"Content-Type": "application/json"})
        name = name.strip("/")
        if not name:
            return self._json(self._page(query.get("prefix", ""), int(query.get("pageToken") or 0)))
        if name not in self.objects:
            return Reply(b'{"error": {"code": 404, "message": "not found"}}', 404, {"Content-Type": "application/json"})
        if query.get("alt") == "media":
            return Reply(self.objects[name])
        return self._json(self._described(name))

    def _page(self, prefix: str, start: int) -> dict[str, Any]:
        names = sorted(name for name in self.objects if name.startswith(prefix))
        page: dict[str, Any] = {"kind": "storage#objects", "items": [self._described(n) for n in names[start:][:2]]}
        return page | ({"nextPageToken": str(start + 2)} if start + 2 < len(names) else {})

    def _described(self, name: str) -> dict[str, Any]:
        content = self.objects[name]
        told = {"name": name, "bucket": "models", "size": str(len(content)), "generation": md5(content).hexdigest()}
        return {"kind": "storage#object", "contentType": "text/plain", "updated": "2026-11-25T10:00:00Z", **told}

    def _json(self, value: dict[str, Any]) -> Reply:
        return Reply(json.dumps(value).encode(), headers={"Content-Type": "application/json"})


class Azure:
    """A container ``models`` of one account behind the blob interface."""

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        self.objects = dict(objects)
        self.server = Server(self._answer)
        self.connection = (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint={self.server.url}/{ACCOUNT};"
        )

    def weights(self, name: str) -> list[str]:
        """The path from which the content of an object comes."""
        return [f"/{ACCOUNT}/models/{name}"]

    def _answer(self, asked: Asked) -> Reply:
        container, _, name = asked.path.removeprefix(f"/{ACCOUNT}/").partition("/")
        query = {key: values[0] for key, values in parse_qs(asked.query).items()}
        signed = asked.headers.get("Authorization", "").startswith(f"SharedKey {ACCOUNT}:")
        if not signed:
            return self._refused("AuthenticationFailed", 403)
        if container != "models":
            return self._refused("ContainerNotFound", 404)
        if not name:
            return self._listing(query) if query.get("comp") == "list" else Reply(headers=self._headers(b""))
        if name not in self.objects:
            return self._refused("BlobNotFound", 404)
        return self._part(self.objects[name], asked.headers.get("X-Ms-Range", ""))

    def _part(self, content: bytes, wanted: str) -> Reply:
        headers = self._headers(content)
        if not wanted:
            return Reply(content, headers=headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        return Reply(content[start : end + 1], 206, headers)

    def _headers(self, content: bytes) -> dict[str, str]:
        version = f'"{md5(content).hexdigest()}"'
        return {"ETag": version, "Last-Modified": _DATE, "x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-12-02"}

    def _listing(self, query: Mapping[str, str]) -> Reply:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        entries: dict[str, str] = {}
        for name, content in sorted(self.objects.items()):
            if not name.startswith(prefix):
                continue
            first, more, _ = name.removeprefix(prefix).partition(delimiter) if delimiter else (name, "", "")
            if more:
                folder = f"{prefix}{first}{delimiter}"
                entries[folder] = f"<BlobPrefix><Name>{escape(folder)}</Name></BlobPrefix>"
            else:
                entries[name] = (
                    f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{_DATE}</Last-Modified>"
                    f"<Etag>{md5(content).hexdigest()}</Etag><Content-Length>{len(content)}</Content-Length>"
                    "<Content-Type>text/plain</Content-Type><BlobType>BlockBlob</BlobType></Properties></Blob>"
                )
        blobs = f"<Blobs>{''.join(entries.values())}</Blobs><NextMarker />"
        body = f'{_XML}<EnumerationResults ContainerName="models">{blobs}</EnumerationResults>'
        return Reply(body.encode(), headers={"Content-Type": "application/xml"})

    def _refused(self, code: str, status: int) -> Reply:
        body = f"{_XML}<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        return Reply(body.encode(), status, {"Content-Type": "application/xml", "x-ms-error-code": code})
