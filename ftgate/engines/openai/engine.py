"""An engine for a model behind an OpenAI-compatible endpoint: concurrent questions, answers as they arrive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from ftgate.config.endpoint import EndpointPace, EndpointSettings
from ftgate.config.engine import Thinking
from ftgate.domain import Answer, EngineInfo, Message, Model, Question, digest_of
from ftgate.engines.base import Ask, UnprobedError
from ftgate.engines.chat_template import failed_answer
from ftgate.engines.openai.capabilities import DIGITS, LETTERS, RejectedError, detect_capabilities, read_models
from ftgate.engines.openai.client import JUDGE_WORDS, MODEL_WORDS, ChatClient, UnavailableError
from ftgate.engines.openai.pace import Pace
from ftgate.engines.openai.replies import (
    Capabilities,
    MalformedError,
    count_samples,
    read_likeliest,
    read_options,
    read_samples,
    read_text,
    served_name,
)
from ftgate.engines.thought_budget import cut_after_thought
from ftgate.errors import ArtifactError, EngineError
from ftgate.scoring.trace import begins_trace

T = TypeVar("T")
Remember = Callable[[str, Callable[[], Any]], Any]
"""Returns the cached JSON value for a key, computed by the function if missing."""

MAX_UNUSABLE = 20
"""Consecutive questions without a usable reply that mean a broken server; one bad text causes at most six."""


class OpenAIEngine:
    """Asks one model of one server. It has no weights to load; a small question shows what the server supports.

    With :class:`EndpointSettings` it asks a judge, for digits; with any other pace a model that is measured, for
    letters, log-probabilities and texts, and what the server does not give is not sampled instead. Engines for one
    server share its ``pace``. ``thinking`` says whether it thinks before it answers, and for how many tokens at most.

    ``remember`` keeps what the server supports across runs, so that answers stay comparable and a run that only has to
    compute asks nothing. The server's tokenizer is unknown: in untrusted text, control tokens beyond the common ones
    that ``ftgate.judge.sanitize`` breaks remain effective.
    """

    def __init__(
        self,
        url: str,
        model: str,
        settings: EndpointPace,
        *,
        key: str | None = None,
        remember: Remember = lambda _, compute: compute(),
        pace: Pace | None = None,
        thinking: tuple[Thinking, int] = ("off", 0),
    ) -> None:
        self._settings = settings
        self._thinking, self._thinking_tokens = thinking
        self._samples = settings.samples if isinstance(settings, EndpointSettings) else None
        self._remember = remember
        words = MODEL_WORDS if self._samples is None else JUDGE_WORDS
        self._client = ChatClient(url, model, settings, key, words=words, pace=pace)
        self._thread = _LoopThread()
        self._capabilities: Capabilities | None = None
        self._unusable = 0

    @property
    def starts(self) -> int:
        """0: the server loads its weights itself."""
        return 0

    def info(self) -> EngineInfo:
        """Endpoint, model, and how its replies are read. Asks the server unless that is cached."""
        capabilities = self._server_capabilities()
        endpoint = {"endpoint": self._client.url, "model": self._client.model, "reads": capabilities.description()}
        return EngineInfo("openai", {}, device="endpoint", dtype="unknown", settings=endpoint | capabilities.settings())

    def require(self, models: Sequence[Model]) -> None:
        """There is nothing to load. Raises ArtifactError for a model on disk."""
        for model in models:
            if model.kind != "endpoint":
                raise ArtifactError(
                    f"{model.name} ({model.path}) is a folder; {self._client.url} serves its own models",
                    hint="run it with vLLM, or name what the server calls it: endpoint://NAME",
                )

    @property
    def yields_device(self) -> bool:
        """Never: the server manages its models."""
        return False

    @property
    def runs_ahead(self) -> bool:
        """Never: what early stopping saves would be paid for."""
        return False

    def reserve(self, models: Sequence[Model]) -> None:
        """There is nothing to share, and nothing to take out."""

    release = reserve

    def needs_swap(self, models: Sequence[Model]) -> bool:  # noqa: ARG002
        """Never: the server manages its models."""
        return False

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """Answer in the order in which replies arrive. After a failure, pending replies are awaited first."""
        self.require(list(dict.fromkeys(ask.model for ask in asks)))
        unsent = iter(enumerate(asks))
        pending: dict[Future[Answer | EngineError], int] = {}
        failure: EngineError | None = None
        try:
            while True:
                if failure is None:
                    for index, ask in islice(unsent, self._settings.concurrency - len(pending)):
                        pending[self._thread.start(self._answer(ask.question, self._server_capabilities()))] = index
                done, _ = wait(pending, self._settings.timeout if failure else None, FIRST_COMPLETED)
                if not done:
                    break
                for future in done:
                    index, result = pending.pop(future), future.result()
                    if isinstance(result, Answer):
                        yield index, result
                    else:
                        failure = failure or result
        finally:
            for future in pending:
                future.cancel()
        if failure is not None:
            raise failure

    def probe(
        self,
        model: Model,  # noqa: ARG002 - the protocol's signature
        prompts: Sequence[Sequence[Message]],
        top: int = 20,
    ) -> list[Mapping[Any, float]]:
        """The likeliest next tokens by their text, as an endpoint does not number them; at most as many as it lists.

        Raises UnprobedError if it lists none.
        """
        capabilities = self._server_capabilities()
        if capabilities.scores not in ("tokens", "top"):
            raise UnprobedError(f"{self._client.url} gives no log-probabilities", hint="its texts are compared alone")
        fields = {capabilities.length: 1, "temperature": 0, "logprobs": True, "top_logprobs": capabilities.top or top}
        fields |= capabilities.template_fields
        return [self._thread.start(self._likeliest(prompt, fields)).result() for prompt in prompts]

    def close(self) -> None:
        """Close connections and thread."""
        self._thread.close(self._client.close)

    def _server_capabilities(self) -> Capabilities:
        if self._capabilities is None:
            own = [] if self._thinking == "off" else [self._thinking, self._thinking_tokens]
            key = digest_of(["endpoint", self._client.url, self._client.model, self._samples or "letters", *own])
            settings = self._remember(key, lambda: self._thread.start(self._detect_capabilities()).result().settings())
            self._capabilities = Capabilities(**settings)
        return self._capabilities

    async def _detect_capabilities(self) -> Capabilities:
        client = self._client
        owners = read_models(await client.models())
        client.served = tuple(owners)
        vllm = owners.get(client.model) == "vllm"
        options = LETTERS if self._samples is None else DIGITS
        try:
            return await detect_capabilities(
                client.post,
                client.call,
                self._samples or 0,
                vllm=vllm,
                options=options,
                thinking=self._thinking,
                thinking_tokens=self._thinking_tokens,
            )
        except (MalformedError, RejectedError) as problem:
            judge = "it must serve chat completions of a model that answers without reasoning"
            raise client.server_error(
                f"cannot be asked for {'one digit' if options is DIGITS else 'an answer'}: {problem}",
                judge if options is DIGITS else "it must serve chat completions (/v1/chat/completions)",
            ) from None

    async def _likeliest(self, prompt: Sequence[Message], fields: dict[str, Any]) -> dict[str, float]:
        question = Question("trial", "trial", tuple(prompt))
        try:
            return read_likeliest(await self._client.post(question, fields))
        except (MalformedError, RejectedError) as problem:
            raise self._client.server_error(
                f"gave no log-probabilities after a prompt: {problem}", "see the server's log, and run again"
            ) from None

    async def _answer(self, question: Question, capabilities: Capabilities) -> Answer | EngineError:
        """The answer, a failed one if this question has none, or the error that ends all asking."""
        served: set[str] = set()
        try:
            answer = await self._read(question, capabilities, served)
        except EngineError as error:
            return error
        except RejectedError as problem:
            return failed_answer(str(problem))
        except MalformedError as problem:
            self._unusable += 1
            if self._unusable < MAX_UNUSABLE:
                return failed_answer(str(problem))
            return self._client.server_error(
                f"gave no usable reply to {MAX_UNUSABLE} questions in a row, the last time: {problem}",
                "check the server's log; if the server was changed, start again with another --out",
            )
        self._unusable = 0
        return replace(answer, served=", ".join(sorted(served)))

    async def _read(self, question: Question, capabilities: Capabilities, served: set[str]) -> Answer:
        options = question.options
        if question.raw or question.continued:
            return failed_answer("a chat endpoint gives neither raw continuations nor their log-likelihoods")
        if not options:
            answer = await self._reply(question, capabilities.body(question), read_text, served)
            if capabilities.opening and answer.error is None and not begins_trace(answer.text):
                answer = replace(answer, text=f"{capabilities.opening}\n{answer.text}")
            text = cut_after_thought(answer.text, question.stop)
            return replace(answer, text=text, finish="stop") if text != answer.text else answer
        if capabilities.scores == "text":
            return failed_answer("the endpoint gives no log-probabilities, from which letters are read")
        capabilities = capabilities.for_options(options)
        if capabilities.scores != "samples":
            return await self._reply(
                question, capabilities.body(question), lambda reply: read_options(reply, capabilities, options), served
            )
        samples: list[str] = []
        while len(samples) < capabilities.samples:
            count = min(capabilities.each, capabilities.samples - len(samples))
            body = capabilities.body(question, count)
            samples += (await self._reply(question, body, read_samples, served))[:count]
        return count_samples(samples, options)

    async def _reply(
        self, question: Question, fields: dict[str, Any], read: Callable[[bytes], T], served: set[str]
    ) -> T:
        """A parsed reply; an unreadable one is requested once more. The model's name in it is added to ``served``."""
        try:
            reply = await self._client.post(question, fields)
            value = read(reply)
        except UnavailableError:
            raise
        except MalformedError:
            reply = await self._client.post(question, fields)
            value = read(reply)
        served.update({served_name(reply)} - {""})
        return value


class _LoopThread:
    """An event loop on its own thread, so that requests continue while the caller writes down answers."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ftgate-endpoint", daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start ``work``; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``last``, then end the thread. Safe to call twice."""
        if self._loop.is_closed():
            return
        self.start(_finish(last)).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _finish(last: Callable[[], Coroutine[Any, Any, None]]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await last()
