"""References to files elsewhere: ``scheme://place``, taken apart and refused where they could mean two things."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ftgate.errors import ArtifactError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/(/?)")
_CLEAN = re.compile(r"[A-Za-z0-9._~!$&'()+,;=:@\[\]*-]+(/[A-Za-z0-9._~!$&'()+,;=:@\[\]*-]+)*/?")
_SECRETS = re.compile(r"(?<=//)[^/@\s]*@(?=[^/])|[?#]\S*")
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Reference:
    """``text`` as it was written, its ``scheme`` in lower case, and the ``place`` after the two slashes.

    ``place`` holds no empty part, no ``.`` or ``..``, no escape, query or fragment; a slash at its end is kept.
    """

    text: str
    scheme: str
    place: str

    @property
    def parts(self) -> list[str]:
        """The place between its slashes."""
        return self.place.rstrip("/").split("/")


def parse(text: str) -> Reference | None:
    """The reference in ``text``, or None for a local path. Raises ArtifactError for one that is no clean reference."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    shown, place = redact(text), text[scheme.end() :]
    if not scheme[2]:
        raise ArtifactError(f"{shown!a}: one slash after {scheme[1]}:", hint=f"write {scheme[1]}://")
    if _SECRETS.search(text):
        raise ArtifactError(
            f"{shown}: a reference holds no user, password, query or fragment",
            hint="name the file alone; credentials come from the environment of the runner",
        )
    odd = {"", ".", ".."} & set(place.rstrip("/").split("/"))
    if odd or len(text) > _LONGEST or not _CLEAN.fullmatch(place):
        raise ArtifactError(
            f"{shown[:200]!a}: not a clean reference",
            hint="write scheme://place/name with letters, digits and plain signs, without empty parts, '.', '..', '%'",
        )
    return Reference(text, scheme[1].lower(), place)


def redact(text: str) -> str:
    """``text`` without what may be secret in the addresses in it: users, passwords, queries, fragments."""
    return _SECRETS.sub("", text)


def host_of(netloc: str) -> str | None:
    """The host of ``host:port``, or None where there is none to be found."""
    try:
        return urlsplit(f"//{netloc}").hostname
    except ValueError:
        return None


def is_loopback(host: str | None) -> bool:
    """Whether ``host`` is this machine by its name: the only one that may be spoken to without encryption."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def require_encrypted(url: str, what: str) -> str:
    """``url`` itself if it is https or leads to this machine. Raises ArtifactError otherwise, naming ``what``."""
    try:
        parts = urlsplit(url)
        safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
    except ValueError:
        safe = False
    if not safe or not parts.hostname:
        raise ArtifactError(f"{what}: {redact(url)[:200]!a} is not https", hint="give an https address")
    return url
