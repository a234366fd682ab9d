"""An HTTP client for one server's chat completions: rate-limited, with a budget and actionable errors.

The ``openai`` client sends and retries (timeouts, broken connections, 408, 409, 429 and 5xx, with growing pauses and
Retry-After). This adds a rate limit and a budget that include retries, a time limit on slow replies, and errors that
name endpoint, status and remedy and never contain the key.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from ftgate.config.endpoint import EndpointPace, on_this_machine
from ftgate.domain import Question
from ftgate.engines.openai.capabilities import RejectedError
from ftgate.engines.openai.pace import Pace, SpentError
from ftgate.engines.openai.replies import MalformedError
from ftgate.errors import EngineError
from ftgate.scoring.tool_calls import openai_turn

CONNECT_SECONDS = 10.0
MAX_QUOTE = 200
"""Characters of a server's message that are quoted."""
_REJECTED_STATUSES = (400, 413, 422)
_UNAVAILABLE_STATUSES = (408, 409)


@dataclass(frozen=True, slots=True)
class ErrorWording:
    """What errors call the server's model, and where its settings, address and name are given."""

    who: str
    section: str
    address: str
    model: str


JUDGE_WORDS = ErrorWording("judge", "judge", "judge.endpoint", "judge.model")
MODEL_WORDS = ErrorWording("model", "engine.endpoint", "engine.endpoint", "the manifest's endpoint://NAME")


class UnavailableError(MalformedError):
    """The server failed after all the client's retries: another request is pointless."""


class _BudgetSpentError(openai.OpenAIError):
    """Raised while a request is being sent; the client passes its own error type through."""


class ChatClient:
    """Sends questions to one model of one server. For a single event loop.

    Errors speak in ``words``. Clients of one server share its ``pace``.
    """

    def __init__(
        self,
        url: str,
        model: str,
        settings: EndpointPace,
        key: str | None,
        *,
        words: ErrorWording = JUDGE_WORDS,
        pace: Pace | None = None,
    ) -> None:
        self.url = url
        self._words = words
        self._pace = pace or Pace(settings)
        self.model = model
        self.served: tuple[str, ...] = ()
        self._settings = settings
        self._key = key
        bearer = key or "none"
        self._client = openai.AsyncOpenAI(
            base_url=url,
            api_key=bearer,
            default_headers={"Authorization": f"Bearer {bearer}"},  # overrides OPENAI_CUSTOM_HEADERS
            timeout=openai.Timeout(settings.timeout, connect=min(CONNECT_SECONDS, settings.timeout)),
            max_retries=settings.max_retries,
            http_client=openai.DefaultAsyncHttpxClient(
                # A redirect or a local proxy would send prompts and key elsewhere than the policy says.
                follow_redirects=False,
                trust_env=not on_this_machine(urlsplit(url).hostname or ""),
                event_hooks={"request": [self._before_request], "response": [self._read_in_time]},
            ),
        )

    async def post(self, question: Question, fields: dict[str, Any]) -> bytes:
        """The server's reply to ``question``, asked with ``fields``.

        Raises RejectedError for a request that the server refuses, UnavailableError if the server fails, and
        EngineError if no request can succeed.
        """
        turns = (replace(m, content=_without_surrogates(m.content)) for m in question.messages)
        messages: Any = [openai_turn(turn) for turn in turns]
        try:
            reply = await self._client.chat.completions.with_raw_response.create(
                model=self.model, messages=messages, extra_body=fields
            )
        except openai.APIStatusError as error:
            raise self._status_error(error) from None
        except (openai.OpenAIError, TimeoutError) as error:
            raise self._connection_error(error) from None
        return reply.content

    async def call(self, path: str, value: dict[str, Any]) -> Any:
        """The JSON reply to ``value`` at ``path`` beside ``/v1``; None if there is none."""
        root = self.url.removesuffix("/v1")
        try:
            return await self._client.post(f"{root}{path}", body={"model": self.model, **value}, cast_to=object)
        except (openai.OpenAIError, TimeoutError, ValueError, RecursionError):
            return None

    async def models(self) -> bytes | None:
        """The server's list of models; None if it has none. Raises EngineError if it cannot be reached."""
        try:
            return (await self._client.models.with_raw_response.list()).content
        except openai.APIStatusError:
            return None  # many servers have no list, or not for this key
        except (openai.OpenAIError, TimeoutError) as error:
            raise self._connection_error(error) from None

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    def server_error(self, text: str, hint: str) -> EngineError:
        """An error about the server as a whole, with the key removed from ``text``."""
        return EngineError(f"{self._words.who} endpoint {self.url} {self._without_key(text)}", hint=hint)

    async def _before_request(self, request: Any) -> None:
        """Enforce budget and rate limit; called for every retry too."""
        if not request.url.path.endswith("/chat/completions"):
            return
        try:
            wait = self._pace.claim()
        except SpentError:
            raise _BudgetSpentError from None
        if wait:
            await asyncio.sleep(wait)

    async def _read_in_time(self, response: Any) -> None:
        """Limit the time of a whole reply; the client's timeout only limits the gap between two chunks.

        Raises ReadTimeout, which the client answers with another try.
        """
        try:
            async with asyncio.timeout(self._settings.timeout):
                await response.aread()
        except TimeoutError:
            raise httpx2.ReadTimeout("the reply began and did not end", request=response.request) from None

    def _connection_error(self, error: Exception) -> EngineError:
        kept_note = "answers so far are kept"
        if isinstance(error, _BudgetSpentError):
            return self.server_error(
                f"was sent {self._pace.sent} requests in this run: {self._words.section}.request_budget is used up",
                f"run again to continue, or raise {self._words.section}.request_budget: {kept_note}",
            )
        if isinstance(error, openai.APITimeoutError | TimeoutError):
            return self.server_error(
                f"took longer than {self._settings.timeout:g} s for one reply{_retries(error)}",
                f"raise {self._words.section}.timeout, or lower {self._words.section}.concurrency: {kept_note}",
            )
        cause = error.__cause__ or error
        return self.server_error(
            f"could not be reached or closed the connection{_retries(error)}: {type(cause).__name__}: {cause}",
            f"check that the server is running and that {self._words.address} is its address: {kept_note}",
        )

    def _status_error(self, error: openai.APIStatusError) -> Exception:
        status = error.status_code
        description = f"HTTP {status}: {self._server_message(error)}"
        if status in (401, 403):  # the body may quote the key, or part of it
            name = self._settings.api_key_env
            missing = f"set {self._words.section}.api_key_env to the variable that holds the key"
            hint = f"check the key in ${name}" if name else missing
            return self.server_error(f"refused the key (HTTP {status}) for model {self.model!r}", hint)
        if status in _REJECTED_STATUSES:
            return RejectedError(description)
        if status == 429:
            retry_after = error.response.headers.get("retry-after", "")
            wait_note = f"; it asks to wait {retry_after[:40]} s" if retry_after else ""
            return self.server_error(
                f"limits the rate{_retries(error)} (HTTP 429){wait_note}",
                f"lower {self._words.section}.concurrency or set {self._words.section}.requests_per_minute, and run "
                "again: answers so far are kept",
            )
        if status >= 500 or status in _UNAVAILABLE_STATUSES:
            return UnavailableError(description)
        served_note = f" (it serves {', '.join(self.served[:5])})" if self.served else ""
        return self.server_error(
            f"does not answer for model {self.model!r}: {description}",
            f"check {self._words.address}, which usually ends in /v1, and {self._words.model}{served_note}",
        )

    def _server_message(self, error: openai.APIStatusError) -> str:
        message = self._without_key(" ".join(error.message.removeprefix(f"Error code: {error.status_code}").split()))
        return message.lstrip(" -")[:MAX_QUOTE] or "no message"

    def _without_key(self, text: str) -> str:
        """``text`` with the key removed: servers quote keys in full and truncated."""
        return re.sub(re.escape(self._key[:8]) + r"\S*", "[key]", text, flags=re.IGNORECASE) if self._key else text


def _without_surrogates(text: str) -> str:
    """Replace lone surrogates, which have no UTF-8, by U+FFFD."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _retries(error: Exception) -> str:
    """How often the client retried the request, in words."""
    request = getattr(error, "request", None)
    retries = request.headers.get("x-stainless-retry-count", "0") if request is not None else "0"
    return "" if retries == "0" else f", after {retries} {'retry' if retries == '1' else 'retries'}"
