"""Questions to a running vLLM: in order, a bounded number in flight, each answer as soon as it is done.

Nothing waits for the last of a batch: what is finished is replaced while the rest goes on.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ftgate.domain import NEUTRAL, Answer, Model, Question
from ftgate.engines.base import Ask
from ftgate.engines.chat_template import Renderer, TokenizedQuestion, log_sum, read_scores
from ftgate.engines.engine_log import cause_of, redirected, size_of
from ftgate.engines.thought_budget import Thought, after, budget, text_answer, thought_before_options, without_option
from ftgate.engines.vllm.startup import RunningEngine
from ftgate.engines.vllm.tools import parsed
from ftgate.errors import EngineError

REFILL_SHARE = 0.25
"""New requests are added once this share of ``max_num_seqs`` has finished: each call costs time of its own."""


@dataclass(frozen=True, slots=True)
class VllmRequest:
    """One prompt for ``model``. ``read`` takes vLLM's output; ``apart`` is explained at :class:`AnswerStream`."""

    ids: list[int]
    sampling: Any
    model: Model
    read: Callable[[Any], None]
    apart: bool = False


class AnswerStream:
    """The questions ``order``, indices into ``asks``, to one engine; ``pull`` gives the answers to whoever asks.

    Twice as many requests as the engine runs at once are in flight, so that it never waits for the next one. Those for
    the log-probabilities of a prompt go ``apart``, when nothing else is in flight: vLLM computes them without its
    prefix cache. ``close`` takes back what is not finished.
    """

    def __init__(
        self, running: RunningEngine, asks: Sequence[Ask], order: Sequence[int], log: Path, tool_parser: str | None
    ) -> None:
        self._running, self._asks, self._log, self._tool_parser = running, asks, log, tool_parser
        self._unsent = deque(order)
        self._ready: deque[VllmRequest] = deque()
        self._apart: deque[VllmRequest] = deque()
        self._look_apart = 0
        self._in_flight: dict[str, VllmRequest] = {}
        self._answers: list[tuple[int, Answer]] = []
        self._since = size_of(log)
        self._seqs: int = running.llm.llm_engine.vllm_config.scheduler_config.max_num_seqs

    @property
    def done(self) -> bool:
        """Whether every question is answered."""
        return not (self._unsent or self._ready or self._apart or self._in_flight or self._answers)

    def pull(self) -> list[tuple[int, Answer]]:
        """The answers that one step of the engine finished, perhaps none, by index. Raises EngineError if it fails."""
        self._refill()
        if self._in_flight and not self._answers:
            with _watched(self._log, self._since):
                outputs = self._running.llm.llm_engine.step()
            for output in outputs:
                if output.finished:
                    self._in_flight.pop(output.request_id).read(output)
            if not self._running.llm.llm_engine.has_unfinished_requests():
                self._in_flight.clear()  # what vLLM lost stays without an answer, and whoever asked says so
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        """Abort what is in flight: it would be computed with the next questions."""
        _abort(self._running, list(self._in_flight), self._log)
        self._in_flight.clear()

    def _refill(self) -> None:
        """Send as many requests as have room, if enough have; those that go apart once nothing else is in flight."""
        room = 2 * self._seqs - len(self._in_flight)
        if self._in_flight and room < REFILL_SHARE * self._seqs:
            return
        is_apart = any(request.apart for request in self._in_flight.values())
        batch: list[VllmRequest] = []
        while room > len(batch) and not is_apart and (request := self._next()) is not None:
            batch.append(request)
        if not batch and self._apart and (is_apart or not self._in_flight):
            batch = [self._apart.popleft() for _ in range(min(room, len(self._apart)))]
        self._in_flight |= zip(_send(self._running, batch, self._log, self._since), batch, strict=True)

    def _next(self) -> VllmRequest | None:
        """The next request that does not go apart; None where one that does comes first, or nothing is left."""
        while not self._ready:
            if not self._unsent or (self._apart and self._look(self._unsent[0]) > self._look_apart):
                return None
            index = self._unsent.popleft()
            prepared = self._renderer(index).prepare(self._asks[index].question)
            if isinstance(prepared, Answer):
                self._answers.append((index, prepared))
            elif prepared.continuations:
                self._look_apart = self._look(index)
                self._apart += self._continuations(index, prepared)
            else:
                self._ready.append(self._request(index, prepared, self._read))
        return self._ready.popleft()

    def _look(self, index: int) -> int:
        return self._asks[index].look

    def _renderer(self, index: int) -> Renderer:
        return self._running.renderers.of(self._asks[index].model)

    def _request(self, index: int, prepared: TokenizedQuestion, read: Callable[..., None]) -> VllmRequest:
        ask = self._asks[index]
        sampling = sampling_of(ask.question, prepared, self._renderer(index))
        return VllmRequest(prepared.ids, sampling, ask.model, partial(read, index, prepared))

    def _read(self, index: int, prepared: TokenizedQuestion, output: Any) -> None:
        """What was generated: an answer, or a thought after which the options are read next."""
        question, renderer, completion = self._asks[index].question, self._renderer(index), output.outputs[0]
        if prepared.options:
            self._answers.append((index, replace(read_options(completion, prepared), continued=question.continued)))
        elif not question.options:
            stopped = completion.finish_reason == "stop"
            answer = text_answer(renderer, question, prepared, list(completion.token_ids), ended=stopped)
            self._answers.append((index, self._with_calls(answer, renderer, question)))
        else:
            thought = thought_before_options(renderer, question, prepared, list(completion.token_ids))
            if isinstance(thought.question, TokenizedQuestion):
                self._ready.append(self._request(index, thought.question, partial(self._read_after, thought)))
            else:
                self._answers.append((index, without_option(thought, question)))

    def _read_after(self, thought: Thought, index: int, prepared: TokenizedQuestion, output: Any) -> None:
        self._answers.append((index, after(thought, read_options(output.outputs[0], prepared))))

    def _with_calls(self, answer: Answer, renderer: Renderer, question: Question) -> Answer:
        """The answer with the tool calls that the parser named in the policy reads in it."""
        if self._tool_parser is None or not question.tools:
            return answer
        with redirected(self._log):
            return parsed(answer, self._tool_parser, renderer.tokenizer, question)

    def _continuations(self, index: int, prepared: TokenizedQuestion) -> Iterator[VllmRequest]:
        """A request for each option, whose score is the sum of its tokens' log-probabilities."""
        from vllm import SamplingParams

        of_prompt = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False)
        scores: dict[int, float] = {}
        for number, (context, own) in enumerate(prepared.continuations):

            def read(output: Any, number: int = number, own: list[int] = own) -> None:
                table = output.prompt_logprobs[-len(own) :]
                scores[number] = math.fsum(entry[token].logprob for entry, token in zip(table, own, strict=True))
                if len(scores) == len(prepared.continuations):
                    answer = read_scores([scores[each] for each in sorted(scores)])
                    self._answers.append((index, replace(answer, continued=True)))

            yield VllmRequest(context + own, of_prompt, self._asks[index].model, read, apart=True)


def outputs_of(
    running: RunningEngine, ids: Sequence[list[int]], sampling: Sequence[Any], model: Model, log: Path
) -> Iterator[tuple[int, Any]]:
    """The index of each prompt and its output, as soon as vLLM has finished it; all are sent at once."""
    since = size_of(log)
    requests = [VllmRequest(prompt, each, model, lambda _: None) for prompt, each in zip(ids, sampling, strict=True)]
    index_of = {name: index for index, name in enumerate(_send(running, requests, log, since))}
    try:
        while running.llm.llm_engine.has_unfinished_requests():
            with _watched(log, since):
                outputs = running.llm.llm_engine.step()
            yield from ((index_of.pop(output.request_id), output) for output in outputs if output.finished)
    finally:
        _abort(running, list(index_of), log)


def _send(running: RunningEngine, requests: Sequence[VllmRequest], log: Path, since: int) -> list[str]:
    """The name that vLLM gives to each request: it is sent with random characters behind, which outputs lack."""
    if not requests:
        return []
    with _watched(log, since):
        names = running.llm.enqueue(
            [{"prompt_token_ids": request.ids} for request in requests],
            [request.sampling for request in requests],
            lora_request=[running.lora_requests.get(request.model.path) for request in requests],
            use_tqdm=False,
        )
    return [name.partition("-")[0] for name in names]


def _abort(running: RunningEngine, names: list[str], log: Path) -> None:
    if names:
        with suppress(Exception), redirected(log):
            running.llm.llm_engine.abort_request(names)


@contextmanager
def _watched(log: Path, since: int) -> Iterator[None]:
    """Have what the body prints in the log, and raise what stops vLLM as an EngineError with its cause."""
    try:
        with redirected(log):
            yield
    except Exception as error:
        raise EngineError(
            f"vLLM stopped while answering: {cause_of(error, log, since)}",
            hint=f"see the engine's log: {log}; answers so far are kept",
        ) from error


def sampling_of(question: Question, prepared: TokenizedQuestion, renderer: Renderer) -> Any:
    """What vLLM generates: one token with the options' log-probabilities, or an answer, perhaps after a thought."""
    from vllm import SamplingParams

    if prepared.options:
        tokens = [token for variants in prepared.options for token in variants]
        return SamplingParams(max_tokens=1, temperature=0, logprob_token_ids=tokens, detokenize=False)
    decoding = (
        {"temperature": question.temperature, "seed": question.seed} if question.temperature else {"temperature": 0}
    )
    decoding |= {name: getattr(question, name) for name in NEUTRAL}
    # vLLM looks for stop texts in what it has decoded. One that ends an answer may occur in a thought.
    thinks = bool(prepared.thinks_after)
    texts = (renderer.thoughts.closings if question.options else ()) if thinks else question.stop
    ends: dict[str, Any] = {"stop": list(texts), "detokenize": True} if texts else {"detokenize": False}
    if thinks:
        ends["skip_special_tokens"] = False
    limit = budget(renderer, question, prepared)
    return SamplingParams(max_tokens=limit, stop_token_ids=sorted(renderer.stops), **ends, **decoding)


def read_options(completion: Any, prepared: TokenizedQuestion) -> Answer:
    """Sum the probabilities of each option's tokens. A missing value or NaN is an error, not a score."""
    logprobs = completion.logprobs[0]
    scores = []
    for variants in prepared.options:
        values = [logprobs[token].logprob if token in logprobs else math.nan for token in variants]
        scores.append(math.nan if any(map(math.isnan, values)) else log_sum(values))
    return read_scores(scores)
