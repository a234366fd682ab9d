"""Remote references of the form ``scheme://location``: parsed, and refused where they are ambiguous."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ftgate.errors import ArtifactError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/(/?)")
_VALID_LOCATION = re.compile(r"[A-Za-z0-9._~!$&'()+,;=:@\[\]*-]+(/[A-Za-z0-9._~!$&'()+,;=:@\[\]*-]+)*/?")
_SECRET_PARTS = re.compile(r"(?<=//)[^/@\s]*@(?=[^/])|[?#]\S*")
_MAX_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class Reference:
    """A remote reference: ``text`` as written, ``scheme`` in lower case, and the ``location`` after ``://``.

    ``location`` has no empty part, no ``.`` or ``..``, no escape, query or fragment; a trailing slash is kept.
    """

    text: str
    scheme: str
    location: str

    @property
    def parts(self) -> list[str]:
        """The location, split at its slashes."""
        return self.location.rstrip("/").split("/")


def parse(text: str) -> Reference | None:
    """Parse ``text``; None for a local path. Raises ArtifactError for a reference that is malformed or ambiguous."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    shown, location = redact(text), text[scheme.end() :]
    if not scheme[2]:
        raise ArtifactError(f"{shown!a}: only one slash after {scheme[1]}:", hint=f"write {scheme[1]}://")
    if _SECRET_PARTS.search(text):
        raise ArtifactError(
            f"{shown}: a reference must not hold a user, password, query or fragment",
            hint="name the file only; credentials come from the runner's environment",
        )
    suspicious_parts = {"", ".", ".."} & set(location.rstrip("/").split("/"))
    if suspicious_parts or len(text) > _MAX_LENGTH or not _VALID_LOCATION.fullmatch(location):
        raise ArtifactError(
            f"{shown[:200]!a}: not a valid reference",
            hint="write scheme://location/name; no empty parts, '.', '..', '%', spaces or characters beyond ASCII",
        )
    return Reference(text, scheme[1].lower(), location)


def redact(text: str) -> str:
    """``text`` with users, passwords, queries and fragments removed from every address in it: they may be secret."""
    return _SECRET_PARTS.sub("", text)


def host_of(netloc: str) -> str | None:
    """The host of ``host:port``, or None if it cannot be parsed."""
    try:
        return urlsplit(f"//{netloc}").hostname
    except ValueError:
        return None


def is_loopback(host: str | None) -> bool:
    """Whether ``host`` is this machine's loopback address, the only host allowed without encryption."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def require_encrypted(url: str, what: str) -> str:
    """Return ``url`` if it is https or a loopback address. Otherwise raises ArtifactError starting with ``what``."""
    try:
        parts = urlsplit(url)
        safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
    except ValueError:
        safe = False
    if not safe or not parts.hostname:
        raise ArtifactError(f"{what}: {redact(url)[:200]!a} is not https", hint="use an https address")
    return url
