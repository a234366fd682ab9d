"""The policy's settings for models behind an OpenAI-compatible endpoint: how to ask them, and at which address."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from ftgate.config.strict import Section


def checked_address(address: str) -> str:
    """``address`` without a trailing slash. Raises ValueError, whose message never quotes what may be secret.

    A key in the address would end up in logs and reports, and plain HTTP would send it in the clear: both are refused.
    Plain HTTP is only allowed to this machine.
    """
    if not re.fullmatch(r"[!-\[\]-~]+", address):
        raise ValueError("an address must be printable ASCII without spaces or backslashes")
    try:
        url = urlsplit(address)
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    if not host or url.scheme not in ("https", "http"):
        raise ValueError("expected an address like https://host/v1")
    if "@" in url.netloc or "?" in address or "#" in address:
        raise ValueError("only https://host/path, without user, password, query or fragment: use api_key_env for keys")
    if url.scheme == "http" and not on_this_machine(host):
        raise ValueError(f"http:// would send the key and the answers in the clear to {host}: use https://")
    return url._replace(netloc=url.netloc.lower(), path=url.path.rstrip("/")).geturl()


def on_this_machine(host: str) -> bool:
    """Whether ``host`` is the loopback interface, by name or number."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class EndpointPace(Section):
    """With which key and at which pace an endpoint is asked. Nothing here can change a result."""

    api_key_env: str | None = Field(default=None, pattern=r"^[A-Z_][A-Z0-9_]*$")
    """Name of the environment variable that holds the key, in capitals. Without it no key is sent."""
    concurrency: int = Field(default=8, ge=1, le=256)
    """Maximum number of requests in flight."""
    timeout: float = Field(default=60.0, gt=0, le=3600)
    """Seconds after which a request counts as failed."""
    max_retries: int = Field(default=5, ge=0, le=20)
    """Retries after a timeout, a broken connection, or status 408, 409, 429 or 5xx."""
    requests_per_minute: float | None = Field(default=None, gt=0, le=1_000_000)
    """Maximum number of requests per minute, retries included; by default unlimited."""
    request_budget: int | None = Field(default=None, ge=1)
    """Maximum number of requests in one run, retries included; answers received so far are kept for the next run."""


class EndpointSettings(EndpointPace):
    """How a judge at an endpoint is asked. Only `samples` can change a result; the rest sets pace and cost."""

    samples: int = Field(default=10, ge=8, le=128)
    """Replies sampled per question at temperature 1, if the server gives no log-probabilities."""


Address = Annotated[str, AfterValidator(checked_address)]


class ModelEndpoint(EndpointPace):
    """An OpenAI-compatible server that serves the models to be judged; the manifest names them `endpoint://NAME`."""

    address: Address
    """Address of the server, such as `https://host/v1`; plain http only on this machine."""
