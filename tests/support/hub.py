"""Enough of a model hub's HTTP interface for its real client: one repository, its large files on another host."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from urllib.parse import parse_qs, quote

from support.remote import Asked, Reply, TwoHosts, digest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_averysecrettoken"


class HuggingFaceSource(TwoHosts):
    """``acme/bot`` (a model or a data set) at one commit. ``access`` is open, gated, private, or a bad token's."""

    def __init__(self, files: Mapping[str, bytes], kind: str = "models", access: str = "open") -> None:
        self.files, self.kind, self.access = files, kind, access
        super().__init__()

    def _blob(self, asked: Asked) -> Reply:
        for content in self.files.values():
            if asked.path == f"/blob/{digest(content)}":
                return Reply(content, headers={"ETag": f'"{digest(content)}"'})
        return Reply(status=404)

    def _answer(self, asked: Asked) -> Reply:
        prefix = "" if self.kind == "models" else f"{self.kind}/"
        api, resolve = f"/api/{self.kind}/acme/bot", f"/{prefix}acme/bot/resolve/{COMMIT}/"
        if not asked.path.startswith((api, f"/{prefix}acme/bot/")):
            return self._refused("RepoNotFound", 404 if "Authorization" in asked.headers else 401)
        if (refused := self._access(asked)) is not None:
            return refused
        if asked.path == f"{api}/auth-check":
            return Reply(b"{}")
        if COMMIT not in asked.path:
            return self._refused("RevisionNotFound", 404)
        if asked.path.startswith(f"{api}/tree/{COMMIT}"):
            return self._tree(asked, asked.path.removeprefix(f"{api}/tree/{COMMIT}").strip("/"))
        if asked.path.startswith(f"{api}/paths-info/{COMMIT}"):
            return self._paths(parse_qs(asked.body.decode()).get("paths", []))
        return self._file(asked.path.removeprefix(resolve))

    def _access(self, asked: Asked) -> Reply | None:
        known = asked.headers.get("Authorization") == f"Bearer {TOKEN}"
        if self.access == "gated" or (self.access == "gated for some" and not known):
            return self._refused("GatedRepo", 403 if known else 401)
        if self.access == "private" and not known:
            return self._refused("RepoNotFound", 401)
        if self.access == "bad token":
            message = {"X-Error-Message": "Invalid credentials in Authorization header"}
            return Reply(status=401, headers=message)
        return None

    def _refused(self, code: str, status: int) -> Reply:
        return Reply(status=status, headers={"X-Error-Code": code, "X-Error-Message": code})

    def _tree(self, asked: Asked, below: str) -> Reply:
        """Two files a page, as a large repository would come."""
        names = sorted(n for n in self.files if not below or n.startswith(f"{below}/"))
        start = int(parse_qs(asked.query).get("cursor", ["0"])[0])
        page = [self.described(name) for name in names[start : start + 2]]
        headers = {"Content-Type": "application/json"}
        if start + 2 < len(names):
            following = f"{self.api.url}{quote(asked.path)}?recursive=True&cursor={start + 2}"
            headers["Link"] = f'<{following}>; rel="next"'
        return Reply(json.dumps(page).encode(), headers=headers)

    def _paths(self, paths: list[str]) -> Reply:
        found: list[dict[str, object]] = [self.described(path) for path in paths if path in self.files]
        folders = [path for path in paths if any(name.startswith(f"{path}/") for name in self.files)]
        found += [{"type": "directory", "path": path, "oid": "0" * 40} for path in folders]
        return Reply(json.dumps(found).encode(), headers={"Content-Type": "application/json"})

    def described(self, name: str) -> dict[str, object]:
        content = self.files[name]
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": blob}
        if name.endswith(".safetensors"):
            entry["lfs"] = {"oid": digest(content), "size": len(content), "pointerSize": 134}
        return entry

    def _file(self, name: str) -> Reply:
        if name not in self.files:
            return self._refused("EntryNotFound", 404)
        content = self.files[name]
        common = {"X-Repo-Commit": COMMIT, "ETag": f'"{digest(content)[:40]}"'}
        if name.endswith(".safetensors"):
            linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest(content)}"'}
            return Reply(
                status=302,
                headers={**common, **linked, "Location": f"{self.cdn.url}/blob/{digest(content)}?sig=SIGNED"},
            )
        return Reply(content, headers=common)
