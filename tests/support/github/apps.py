"""Apps on the fake: what proves that one is who it says, and tokens for where it is installed."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt

from support.github import bodies
from support.github.state import Caller, RefusedError

if TYPE_CHECKING:
    from support.github.server import FakeGitHub

ISSUED = "must be an Integer representing the time that the assertion was issued"
EXPIRES = "must be a numeric value representing the future time at which the assertion expires"
LONGEST = 600
"""Seconds that an App's own token may be good for."""


@dataclass(frozen=True)
class App:
    """An App: ``installation`` is its number on this repository, 0 where it is not installed."""

    number: int
    slug: str
    public_key: str
    permissions: dict[str, str]
    installation: int = 501


def answer(hub: FakeGitHub, method: str, path: str, token: str) -> Any:
    """What an App gets that speaks for itself, or None if the path is for others."""
    if (method, path) == ("GET", f"/repos/{hub.name}/installation"):
        return installation(authenticated(hub, token), hub)
    if method == "POST" and (match := re.fullmatch(r"/app/installations/(\d+)/access_tokens", path)):
        app = authenticated(hub, token)
        if not app.installation or int(match[1]) != app.installation:
            raise RefusedError(404, "Not Found")
        made = f"ghs_{app.slug}{hub.next_id()}"
        hub.callers[made] = Caller(f"{app.slug}[bot]", app.permissions)
        expires = datetime.now(UTC) + timedelta(hours=1)
        return {"token": made, "expires_at": f"{expires:%Y-%m-%dT%H:%M:%SZ}", "permissions": app.permissions}
    if method == "GET" and path.startswith("/apps/"):
        slug = path.removeprefix("/apps/")
        numbers = {"github-actions": 15368} | {a.slug: a.number for a in hub.apps}
        if slug not in numbers:
            raise RefusedError(404, "Not Found")
        permissions = next((a.permissions for a in hub.apps if a.slug == slug), {})
        return bodies.app(f"{slug}[bot]") | {"id": numbers[slug], "permissions": permissions}
    return None


def authenticated(hub: FakeGitHub, token: str) -> App:
    """The App whose key signed ``token``: RS256, its own number as issuer, good for ten minutes at most."""
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        app = next((a for a in hub.apps if str(a.number) == str(issuer)), None)
        if app is None:
            raise RefusedError(404, "Integration not found")
        claims = jwt.decode(token, app.public_key, algorithms=["RS256"], options={"require": ["iat", "exp", "iss"]})
    except jwt.ImmatureSignatureError:
        raise RefusedError(401, f"'Issued at' claim ('iat') {ISSUED}") from None
    except jwt.ExpiredSignatureError:
        raise RefusedError(401, f"'Expiration time' claim ('exp') {EXPIRES}") from None
    except jwt.PyJWTError:
        raise RefusedError(401, "A JSON web token could not be decoded") from None
    if claims["exp"] > time.time() + LONGEST:
        raise RefusedError(401, "'Expiration time' claim ('exp') is too far in the future")
    return app


def installation(app: App, hub: FakeGitHub) -> dict[str, Any]:
    if not app.installation:
        raise RefusedError(404, "Not Found")
    at = f"https://api.github.test/app/installations/{app.installation}"
    return {
        "id": app.installation,
        "account": bodies.user("acme"),
        "repository_selection": "selected",
        "access_tokens_url": f"{at}/access_tokens",
        "repositories_url": "https://api.github.test/installation/repositories",
        "html_url": f"https://github.test/settings/installations/{app.installation}",
        "app_id": app.number,
        "target_id": bodies.number_of("acme"),
        "target_type": "Organization",
        "permissions": app.permissions,
        "events": [],
        "created_at": bodies.NOW,
        "updated_at": bodies.NOW,
        "single_file_name": None,
        "app_slug": app.slug,
        "suspended_by": None,
        "suspended_at": None,
    }
