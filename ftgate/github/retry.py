"""Doing a thing again when the platform stumbled, without ever doing it twice.

Reads, and writes that say what shall be, can be repeated blindly. A write that makes something new cannot: its answer
may be lost after it took effect. So it is looked for before it is tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from github import GithubException
from requests import RequestException

from ftgate.errors import PublishError

T = TypeVar("T")
STUMBLES = frozenset({429, 500, 502, 503, 504})
TRIES = 8
LONGEST_WAIT = 120.0
"""Seconds. A server that asks for more is not waited for that long at once."""
TOO_QUICK = "submitted too quickly"
"""What the platform says, with status 422, to whoever writes much in a short time: a rate limit by another name."""
LAGGING = ("no commit found for sha", "could not resolve to a node")
"""What it says, with status 422, of something that is gone, or so new that not all of its servers know it yet."""
LAG_TRIES = 4
_HINTS = {
    401: "the token is not valid here: pass GITHUB_TOKEN, and GITHUB_API_URL on a server of your own",
    403: "give the job the permission that it lacks, under `permissions:` (statuses, pull-requests, contents: write)",
    404: "the token cannot see it, or it does not exist",
    422: "the platform takes this request in no circumstances, and says why; of a commit that is gone (a force push) "
    "nothing needs to be told: the new head is judged on its own",
}
_LATER = "run the job again; what has been written already is kept and not repeated"


@dataclass(frozen=True, slots=True)
class Retry:
    """How to wait (``sleep`` takes seconds) and how often to try."""

    sleep: Callable[[float], None]
    tries: int = TRIES

    def repeat(self, action: Callable[[], T], what: str) -> T:
        """Do ``action``, which may be done any number of times, until it succeeds. Raises PublishError."""
        return self.once(action, lambda: None, what)

    def once(self, action: Callable[[], T], find: Callable[[], T | None], what: str) -> T:
        """Do ``action``, which must take effect once. ``find`` returns what it made, if it did. Raises PublishError."""
        for tried in range(1, self.tries + 1):
            try:
                return action()
            except (GithubException, RequestException) as error:
                wait = wait_after(error, tried)
                if wait is None or tried == self.tries:
                    raise refused(error, what) from None
                self.sleep(wait)
            if (found := find()) is not None:
                return found
        raise AssertionError("the last try returns or raises")


def refused(error: Exception, what: str) -> PublishError:
    """``error`` as something that a person can act on."""
    if isinstance(error, GithubException):
        return RefusedError(error.status, f"could not {what}: {error.status} {_message(error)}")
    return PublishError(f"could not {what}: the connection failed ({type(error).__name__})", hint=_LATER)


class RefusedError(PublishError):
    """The platform answered, and its answer was no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, hint=_HINTS.get(status, _LATER))
        self.status = status


def or_none(get: Callable[[], T]) -> T | None:
    """What ``get`` returns, or None where the platform says that there is no such thing."""
    try:
        return get()
    except RefusedError as error:
        if error.status == 404:
            return None
        raise


def wait_after(error: Exception, tried: int) -> float | None:
    """Seconds to wait before trying again after ``tried`` times; None where that would change nothing."""
    backoff = min(2.0 ** (tried - 1), 30.0)
    if not isinstance(error, GithubException):
        return backoff
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    asked = str(headers.get("retry-after", ""))
    if error.status in STUMBLES or (error.status == 403 and (asked or "rate limit" in _message(error).lower())):
        return min(float(asked), LONGEST_WAIT) if asked.isdigit() else backoff
    if error.status == 422:
        said = _message(error).lower()
        if TOO_QUICK in said or (tried < LAG_TRIES and any(words in said for words in LAGGING)):
            return backoff
    return None


def _message(error: GithubException) -> str:
    """What the platform said, with the reasons that it lists apart where a field did not please it."""
    data = error.data
    if not isinstance(data, dict):
        return str(data)[:300]
    listed = data.get("errors")
    return ": ".join([str(data.get("message", data)), *map(_reason, listed if isinstance(listed, list) else [])])[:300]


def _reason(entry: object) -> str:
    """One of the listed reasons: its own words, or the field and what is the matter with it."""
    if not isinstance(entry, dict):
        return str(entry)
    return str(entry.get("message") or f"{entry.get('field')} {entry.get('code')}")
