"""Retries requests after failures of GitHub or the connection, without creating anything twice.

Idempotent requests are simply repeated. A request that creates something may have taken effect although its response
was lost, so its result is looked for before it is sent again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from github import GithubException
from requests import RequestException

from ftgate.errors import PublishError

T = TypeVar("T")
RETRYABLE = frozenset({429, 500, 502, 503, 504})
TRIES = 8
LONGEST_WAIT = 120.0
"""Seconds. The longest single wait, even if the server asks for more."""
LONGEST_RESET = 480.0
"""Seconds. A request waits this long for a new hour's requests; the generated jobs end after 15 minutes."""
TOO_QUICK = "submitted too quickly"
"""GitHub's message, with status 422, for too many writes in a short time: a rate limit."""
LAGGING = ("no commit found for sha", "could not resolve to a node")
"""GitHub's messages, with status 422, for an object that is gone or not yet replicated to all of its servers."""
LAG_TRIES = 4
_HINTS = {
    401: "the token is not valid here: set GITHUB_TOKEN, and GITHUB_API_URL for GitHub Enterprise Server",
    403: "give the job the missing permission under `permissions:` (statuses, pull-requests, contents: write); if an "
    "App publishes, give it to the App, and accept it where the App is installed",
    404: "it does not exist, or the token has no access to it",
    422: "GitHub rejected the request for the reason above; after a force push the old commit is gone and needs no "
    "status: the new head is judged on its own",
}
_REASONS = {
    "too large": "keep the policy and what it names small, and store models elsewhere: GitHub returns no file above "
    "100 MB",
    "maximum number of statuses": "GitHub keeps at most 1,000 statuses of a commit under one name, whoever sets them: "
    "push a new commit",
}
"""Hints for refusals whose status code alone would give another one, by what GitHub's message says."""
_LATER = "run the job again; what is already written is kept and not repeated"


@dataclass(frozen=True, slots=True)
class Retry:
    """Retries with backoff: ``sleep`` takes seconds, ``tries`` counts the first attempt."""

    sleep: Callable[[float], None]
    tries: int = TRIES

    def repeat(self, action: Callable[[], T], what: str) -> T:
        """The result of an idempotent ``action``, retried until it succeeds. Raises PublishError (could not {what})."""
        return self.once(action, lambda: None, what)

    def once(self, action: Callable[[], T], find: Callable[[], T | None], what: str) -> T:
        """The result of an ``action`` that must take effect once. Raises PublishError (could not {what}).

        After each failure ``find`` looks for what the action created; None means that it did not take effect.
        """
        for tried in range(1, self.tries + 1):
            try:
                return action()
            except (GithubException, RequestException) as error:
                wait = wait_after(error, tried)
                if wait is None or tried == self.tries:
                    raise refused(error, what) from None
                self.sleep(wait)
            if (result := find()) is not None:
                return result
        raise AssertionError("the last try returns or raises")


def refused(error: Exception, what: str) -> PublishError:
    """``error`` as a PublishError with a hint."""
    if isinstance(error, GithubException):
        return RefusedError(error.status, f"could not {what}: {error.status} {_message(error)}", _hint(error))
    return PublishError(f"could not {what}: the connection failed ({type(error).__name__})", hint=_LATER)


class RefusedError(PublishError):
    """GitHub rejected the request; ``status`` is the HTTP status code."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint=hint or _HINTS.get(status, _LATER))
        self.status = status


def or_none(get: Callable[[], T]) -> T | None:
    """What ``get`` returns, or None for status 404."""
    try:
        return get()
    except RefusedError as error:
        if error.status == 404:
            return None
        raise


def wait_after(error: Exception, tried: int) -> float | None:
    """Seconds to wait before the next attempt after ``tried`` attempts; None if a retry would not help."""
    backoff = min(2.0 ** (tried - 1), 30.0)
    if not isinstance(error, GithubException):
        return backoff
    retry_after = _header(error, "retry-after")
    if (reset := _reset(error)) is not None:
        # One second more: it is not clear when within that second the hour ends.
        wait = max(reset - time.time(), 0.0) + 1
        return wait if wait <= LONGEST_RESET else None
    if error.status in RETRYABLE or (error.status == 403 and (retry_after or "rate limit" in _message(error).lower())):
        return min(float(retry_after), LONGEST_WAIT) if retry_after.isdigit() else backoff
    if error.status == 422:
        message = _message(error).lower()
        if TOO_QUICK in message or (tried < LAG_TRIES and any(phrase in message for phrase in LAGGING)):
            return backoff
    return None


def _reset(error: GithubException) -> float | None:
    """When the token's hour ends, in seconds since 1970, if all requests of the hour are used; else None."""
    reset = _header(error, "x-ratelimit-reset")
    used = _header(error, "x-ratelimit-remaining") == "0" and "rate limit" in _message(error).lower()
    return float(reset) if used and reset.isdigit() else None


def _header(error: GithubException, name: str) -> str:
    return next((str(value) for key, value in (error.headers or {}).items() if key.lower() == name), "")


def _hint(error: GithubException) -> str:
    """What to do; empty if the status code says it."""
    if (reset := _reset(error)) is not None:
        limit, end = _header(error, "x-ratelimit-limit"), datetime.fromtimestamp(reset, UTC)
        return (
            f"the token's {limit} requests of this hour are used: run the job again after {end:%H:%M} UTC; what is "
            "already written is kept and not repeated, and until then the pull request stays unmerged"
        )
    message = _message(error).lower()
    if error.status == 403 and "rate limit" in message:
        return _LATER
    return next((hint for phrase, hint in _REASONS.items() if phrase in message), "")


def _message(error: GithubException) -> str:
    """GitHub's error message, followed by the reasons that it lists for invalid fields."""
    data = error.data
    if not isinstance(data, dict):
        return str(data)[:300]
    listed = data.get("errors")
    return ": ".join([str(data.get("message", data)), *map(_reason, listed if isinstance(listed, list) else [])])[:300]


def _reason(entry: object) -> str:
    """One listed reason: its message, or the field and the error code."""
    if not isinstance(entry, dict):
        return str(entry)
    return str(entry.get("message") or f"{entry.get('field')} {entry.get('code')}")
