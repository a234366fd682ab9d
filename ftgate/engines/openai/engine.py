"""A model behind an OpenAI-compatible endpoint, as an engine: several questions at once, each answer as it comes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from typing import Any, TypeVar

from ftgate.config.endpoint import EndpointSettings
from ftgate.domain import Answer, EngineInfo, Message, Model, Question, digest_of
from ftgate.engines.base import Ask
from ftgate.engines.chat_template import failed
from ftgate.engines.openai.capabilities import RejectedError, find_way, read_models
from ftgate.engines.openai.client import ChatClient, UnavailableError
from ftgate.engines.openai.replies import (
    Capabilities,
    MalformedError,
    count_samples,
    read_options,
    read_samples,
    read_text,
)
from ftgate.errors import ArtifactError, EngineError

T = TypeVar("T")
Remember = Callable[[str, Callable[[], Any]], Any]
"""Gives the JSON value under a key, worked out by the function where it is not known yet."""

MOST_TROUBLE = 20
"""So many questions in a row without a usable reply are the server's fault: one bad text is behind six."""


class OpenAIEngine:
    """Asks one model of one server. It has no weights to load; one small question shows what the server can do.

    ``remember`` keeps what was found out from run to run: answers of both runs stay comparable, and a run that only has
    to finish its arithmetic asks nothing. A server's tokenizer cannot be seen: of untrusted text it reads as control
    tokens what the asker left in it, beyond the known ones that ``ftgate.judge.sanitize`` breaks.
    """

    def __init__(
        self,
        url: str,
        model: str,
        settings: EndpointSettings,
        *,
        key: str | None = None,
        remember: Remember = lambda _, compute: compute(),
    ) -> None:
        self._settings = settings
        self._remember = remember
        self._client = ChatClient(url, model, settings, key)
        self._thread = _LoopThread()
        self._known_way: Capabilities | None = None
        self._trouble = 0

    @property
    def starts(self) -> int:
        """None: others loaded the server's weights."""
        return 0

    def info(self) -> EngineInfo:
        """Endpoint, model, and how its replies are read. Asks the server unless that is remembered."""
        way = self._way()
        named = {"endpoint": self._client.url, "model": self._client.model, "reads": way.words()}
        return EngineInfo("openai", {}, device="endpoint", dtype="unknown", settings=named | way.settings())

    def require(self, models: Sequence[Model]) -> None:
        """Nothing to load. Raises ArtifactError for a model that is on disk."""
        for model in models:
            if model.kind != "endpoint":
                raise ArtifactError(
                    f"{model.name} ({model.path}) is a folder, and {self._client.url} serves models of its own",
                    hint="run it with vLLM: only a judge can be behind an endpoint",
                )

    def in_turn(self, models: Sequence[Model]) -> bool:  # noqa: ARG002
        """Never: who answers is the server's affair."""
        return False

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """Answer in the order in which replies come. When something breaks, what is under way is waited for."""
        self.require(list(dict.fromkeys(ask.model for ask in asks)))
        waiting = iter(enumerate(asks))
        pending: dict[Future[Answer | EngineError], int] = {}
        broken: EngineError | None = None
        try:
            while True:
                if broken is None:
                    for index, ask in islice(waiting, self._settings.concurrency - len(pending)):
                        pending[self._thread.start(self._answer(ask.question, self._way()))] = index
                done, _ = wait(pending, self._settings.timeout if broken else None, FIRST_COMPLETED)
                if not done:
                    break
                for future in done:
                    index, said = pending.pop(future), future.result()
                    if isinstance(said, Answer):
                        yield index, said
                    else:
                        broken = broken or said
        finally:
            for future in pending:
                future.cancel()
        if broken is not None:
            raise broken

    def probe(
        self,
        model: Model,  # noqa: ARG002 - the protocol's signature
        prompts: Sequence[Sequence[Message]],  # noqa: ARG002
        top: int = 20,  # noqa: ARG002
    ) -> list[Mapping[int, float]]:
        """Not possible: an endpoint does not say which tokens it means."""
        raise EngineError(f"{self._client.url} cannot be probed token by token", hint="run the model with vLLM")

    def close(self) -> None:
        """Let go of connections and thread."""
        self._thread.close(self._client.close)

    def _way(self) -> Capabilities:
        if self._known_way is None:
            key = digest_of(["endpoint", self._client.url, self._client.model, self._settings.samples])
            found = self._remember(key, lambda: self._thread.start(self._find_way()).result().settings())
            self._known_way = Capabilities(**found)
        return self._known_way

    async def _find_way(self) -> Capabilities:
        client = self._client
        owners = read_models(await client.models())
        client.served = tuple(owners)
        vllm = owners.get(client.model) == "vllm"
        try:
            return await find_way(client.post, client.call, self._settings.samples, vllm=vllm)
        except (MalformedError, RejectedError) as problem:
            raise client.broken(
                f"cannot be asked for one digit: {problem}",
                "it must serve chat completions of a model that answers without reasoning first",
            ) from None

    async def _answer(self, question: Question, way: Capabilities) -> Answer | EngineError:
        """The answer, a failed one where this question has none, or the error that ends all asking."""
        try:
            answer = await self._read(question, way)
        except EngineError as broken:
            return broken
        except RejectedError as problem:
            return failed(str(problem))
        except MalformedError as problem:
            self._trouble += 1
            if self._trouble < MOST_TROUBLE:
                return failed(str(problem))
            return self._client.broken(
                f"gave no usable reply to {MOST_TROUBLE} questions in a row, the last time: {problem}",
                "look at the server's log; where the server has been changed, start again in another --out",
            )
        self._trouble = 0
        return answer

    async def _read(self, question: Question, way: Capabilities) -> Answer:
        options = question.options
        if not options:
            return await self._reply(question, way.body(question), read_text)
        way = way.reading(options)
        if way.scores != "samples":
            return await self._reply(question, way.body(question), lambda reply: read_options(reply, way, options))
        said: list[str] = []
        while len(said) < way.samples:
            count = min(way.each, way.samples - len(said))
            said += (await self._reply(question, way.body(question, count), read_samples))[:count]
        return count_samples(said, options)

    async def _reply(self, question: Question, fields: dict[str, Any], read: Callable[[bytes], T]) -> T:
        """A reply, read; one that cannot be read is asked for a second time."""
        try:
            return read(await self._client.post(question, fields))
        except UnavailableError:
            raise
        except MalformedError:
            return read(await self._client.post(question, fields))


class _LoopThread:
    """An event loop on a thread of its own, so that requests go on while the caller writes down what came."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ftgate-endpoint", daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin ``work``; cancelling the future cancels it."""
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
