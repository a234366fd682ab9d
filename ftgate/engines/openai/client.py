"""One server's chat completions over HTTP: paced, counted, and with one plain message for whatever cannot be mended.

The ``openai`` client sends, waits and sends again (timeouts, broken connections, 408, 409, 429 and 5xx, with growing
pauses and by Retry-After). Here is what it does not do: a pace and a budget that count its retries too, an end to
replies that trickle, and errors that name endpoint, status and remedy and never hold the key.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import urlsplit

import openai

from ftgate.config.endpoint import EndpointSettings, on_this_machine
from ftgate.domain import Question
from ftgate.engines.openai.capabilities import RejectedError
from ftgate.engines.openai.replies import MalformedError
from ftgate.errors import EngineError

CONNECT_SECONDS = 10.0
QUOTED = 200
"""Characters of a server's own words in a message."""
_TOO_MUCH = (400, 413, 422)
_GIVEN_UP = (408, 409)


class UnavailableError(MalformedError):
    """The server failed after all the client's retries: no use asking once more."""


class _BudgetSpentError(openai.OpenAIError):
    """Raised while a request is being sent; the client passes its own kind of error on at once."""


class ChatClient:
    """Sends questions to one model of one server. For one event loop."""

    def __init__(self, url: str, model: str, settings: EndpointSettings, key: str | None) -> None:
        self.url = url
        self.model = model
        self.served: tuple[str, ...] = ()
        self._settings = settings
        self._key = key
        self._sent = 0
        self._next_slot = 0.0
        bearer = key or "none"
        self._client = openai.AsyncOpenAI(
            base_url=url,
            api_key=bearer,
            default_headers={"Authorization": f"Bearer {bearer}"},  # and not what OPENAI_CUSTOM_HEADERS may hold
            timeout=openai.Timeout(settings.timeout, connect=min(CONNECT_SECONDS, settings.timeout)),
            max_retries=settings.max_retries,
            http_client=openai.DefaultAsyncHttpxClient(
                # A redirect or, on this machine, a proxy would take prompts and key elsewhere than the policy says.
                follow_redirects=False,
                trust_env=not on_this_machine(urlsplit(url).hostname or ""),
                event_hooks={"request": [self._before_request], "response": [self._read_in_time]},
            ),
        )

    async def post(self, question: Question, fields: dict[str, Any]) -> bytes:
        """The server's reply to ``question``, asked with ``fields``.

        Raises RejectedError for a request that the server will not have, UnavailableError when it fails over it, and
        EngineError when no request can succeed.
        """
        messages: Any = [{"role": m.role, "content": _without_surrogates(m.content)} for m in question.messages]
        try:
            reply = await self._client.chat.completions.with_raw_response.create(
                model=self.model, messages=messages, extra_body=fields
            )
        except openai.APIStatusError as error:
            raise self._explained(error) from None
        except (openai.OpenAIError, TimeoutError) as error:
            raise self._unreached(error) from None
        return reply.content

    async def call(self, path: str, value: dict[str, Any]) -> Any:
        """The JSON that the server gives for ``value`` at ``path`` beside ``/v1``; None where it gives none."""
        root = self.url.removesuffix("/v1")
        try:
            return await self._client.post(f"{root}{path}", body={"model": self.model, **value}, cast_to=object)
        except (openai.OpenAIError, TimeoutError, ValueError, RecursionError):
            return None

    async def models(self) -> bytes | None:
        """The server's list of models, or None where it gives none. Raises EngineError when it cannot be reached."""
        try:
            return (await self._client.models.with_raw_response.list()).content
        except openai.APIStatusError:
            return None  # many servers have no list, or not for every key
        except (openai.OpenAIError, TimeoutError) as error:
            raise self._unreached(error) from None

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    def broken(self, text: str, hint: str) -> EngineError:
        """An error about the server as a whole, without the key, whoever wrote ``text``."""
        return EngineError(f"judge endpoint {self.url} {self._without_key(text)}", hint=hint)

    async def _before_request(self, request: Any) -> None:
        """Count against the budget and wait for the pace; called for every retry too."""
        if not request.url.path.endswith("/chat/completions"):
            return
        if self._settings.request_budget is not None and self._sent >= self._settings.request_budget:
            raise _BudgetSpentError
        self._sent += 1
        if self._settings.requests_per_minute is not None:
            now = asyncio.get_running_loop().time()
            slot = max(now, self._next_slot)
            self._next_slot = slot + 60 / self._settings.requests_per_minute
            await asyncio.sleep(slot - now)

    async def _read_in_time(self, response: Any) -> None:
        """The client's timeout is one between two pieces of a reply; a reply that trickles must end too."""
        async with asyncio.timeout(self._settings.timeout):
            await response.aread()

    def _unreached(self, error: Exception) -> EngineError:
        kept = "answers so far are kept"
        if isinstance(error, _BudgetSpentError):
            return self.broken(
                f"was sent {self._sent} requests in this run: judge.request_budget is used up",
                f"run again to go on, or raise judge.request_budget: {kept}",
            )
        if isinstance(error, openai.APITimeoutError | TimeoutError):
            return self.broken(
                f"took longer than {self._settings.timeout:g} s for one reply{_retried(error)}",
                f"raise judge.timeout, or lower judge.concurrency: {kept}",
            )
        cause = error.__cause__ or error
        return self.broken(
            f"could not be reached, or broke off{_retried(error)}: {type(cause).__name__}: {cause}",
            f"check that the server runs and that judge.endpoint is its address: {kept}",
        )

    def _explained(self, error: openai.APIStatusError) -> Exception:
        status = error.status_code
        said = f"HTTP {status}: {self._quoted(error)}"
        if status in (401, 403):  # what comes with these may hold the key, or a part of it
            name = self._settings.api_key_env
            hint = f"check the key in ${name}" if name else "name the variable that holds a key in judge.api_key_env"
            return self.broken(f"refused the key (HTTP {status}) for model {self.model!r}", hint)
        if status in _TOO_MUCH:
            return RejectedError(said)
        if status == 429:
            pause = error.response.headers.get("retry-after", "")
            wanted = f"; it asks to wait {pause[:40]} s" if pause else ""
            return self.broken(
                f"limits the rate{_retried(error)} (HTTP 429){wanted}",
                "lower judge.concurrency or set judge.requests_per_minute, and run again: answers so far are kept",
            )
        if status >= 500 or status in _GIVEN_UP:
            return UnavailableError(said)
        served = f" (it serves {', '.join(self.served[:5])})" if self.served else ""
        return self.broken(
            f"does not answer for model {self.model!r}: {said}",
            f"check judge.endpoint, which usually ends in /v1, and judge.model{served}",
        )

    def _quoted(self, error: openai.APIStatusError) -> str:
        words = self._without_key(" ".join(error.message.removeprefix(f"Error code: {error.status_code}").split()))
        return words.lstrip(" -")[:QUOTED] or "without a word"

    def _without_key(self, text: str) -> str:
        """``text`` with the key, or what begins like it, struck out: servers quote keys whole and cut short."""
        return re.sub(re.escape(self._key[:8]) + r"\S*", "[key]", text, flags=re.IGNORECASE) if self._key else text


def _without_surrogates(text: str) -> str:
    """Half a surrogate pair has no UTF-8; the replacement character shows that something stood there."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _retried(error: Exception) -> str:
    """How often the client had sent the request again."""
    request = getattr(error, "request", None)
    retries = request.headers.get("x-stainless-retry-count", "0") if request is not None else "0"
    return "" if retries == "0" else f", after {retries} {'retry' if retries == '1' else 'retries'}"
