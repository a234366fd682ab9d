"""Publishing as a GitHub App of one's own: an installation token that is made from the App's private key.

Nobody but the holder of the key can set a status as the App, whatever workflow they push. Id and key come from the
environment of the job that publishes, never from a file of the repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from github import Auth, GithubIntegration

from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.client import TIMEOUT, retries
from ftgate.github.retry import RefusedError, Retry

APP_ID, PRIVATE_KEY = "FTGATE_APP_ID", "FTGATE_APP_PRIVATE_KEY"


def app_auth(
    env: Mapping[str, str], url: str, repository: str, retry: Retry, *, backoff: float = 1.0
) -> Auth.AppInstallationAuth | None:
    """Who speaks as the App that ``env`` names, installed on ``repository`` (owner/name); None if it names none.

    The token is good for an hour and made anew after that. Raises ConfigurationError for an id without a key and for an
    unreadable key, PublishError if the key is not the App's or the App is not installed.
    """
    app_id, key = env.get(APP_ID, "").strip(), env.get(PRIVATE_KEY, "").strip()
    if not app_id and not key:
        return None
    if not app_id or not key:
        given, missing = (APP_ID, PRIVATE_KEY) if app_id else (PRIVATE_KEY, APP_ID)
        raise ConfigurationError(f"{given} is set and {missing} is not", hint="set both, or neither to use the token")
    app = Auth.AppAuth(app_id, key)
    try:
        app.create_jwt()
    except Exception:  # several libraries read the key, each with exceptions of its own, which may quote it
        hint = "give the whole PEM file that GitHub made, from -----BEGIN to the last line"
        raise ConfigurationError(f"{PRIVATE_KEY} is not an RSA private key in PEM format", hint=hint) from None
    integration = GithubIntegration(auth=app, base_url=url, timeout=TIMEOUT, retry=retries(backoff))
    owner, name = repository.split("/")
    what = f"act as the App {app_id} on {repository}"
    try:
        number = retry.repeat(lambda: integration.get_repo_installation(owner, name).id, what)
        auth = app.get_installation_auth(number, requester=integration.requester)
        retry.repeat(lambda: auth.token, what)
    except RefusedError as error:
        raise PublishError(error.message, hint=_hint(error, app_id, repository)) from None
    return auth


def _hint(error: RefusedError, app_id: str, repository: str) -> str:
    """What to do where the App is refused; its own message tells what is wrong with the token that the key signed."""
    if error.status == 404:
        unknown = "integration not found" in error.message.lower()
        return f"no App has the id {app_id}: {APP_ID} is wrong" if unknown else f"install the App on {repository}"
    if error.status == 401 and any(claim in error.message for claim in ("'iat'", "'exp'")):
        return f"set this machine's clock, which says {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if error.status == 401:
        return f"{PRIVATE_KEY} is not a key of the App {app_id}, or was revoked: make a new one in its settings"
    return error.hint
