"""An engine without weights, whose answers come from a function. For tests, ftgate's own and those of users."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from ftgate.domain import Answer, EngineInfo, Message, Model, Question
from ftgate.engines.base import Ask, base_of
from ftgate.errors import EngineError

Script = Callable[[Model, Question], Answer]
NextToken = Callable[[Model, Sequence[Message]], Mapping[int, float]]
_VOCABULARY = 64


class ScriptedDevice:
    """A device with room for the models of one engine; ``holder`` is the engine that is on it."""

    holder: ScriptedEngine | None = None


class ScriptedEngine:
    """Answers with ``script``; records what was asked in ``asked`` and loaded in ``loaded``.

    With ``fail_after`` it fails like a real engine: that many answers, then EngineError. ``next_token`` gives the
    log-probabilities for :meth:`probe`; by default they depend on the model's digest, so that two models differ. With
    ``one_at_a_time`` it holds one folder of full weights at a time, and every change is a start. Engines with the same
    ``device`` do not fit on it together: each takes the other's place.
    """

    def __init__(
        self,
        script: Script,
        *,
        fail_after: int | None = None,
        next_token: NextToken | None = None,
        one_at_a_time: bool = False,
        device: ScriptedDevice | None = None,
    ) -> None:
        self._script = script
        self._one_at_a_time = one_at_a_time
        self._device = device
        self._current: Model | None = None
        self._fail_after = fail_after
        self._next_token = next_token or next_token_by_digest
        self._starts = 0
        self.asked: list[Ask] = []
        self.loaded: list[Model] = []
        self.closed = 0

    @property
    def starts(self) -> int:
        """How many engines a real one would have started: one per base and per other full model."""
        return self._starts

    def info(self) -> EngineInfo:
        """A fixed description."""
        return EngineInfo(kind="scripted", versions={}, device="none", dtype="none")

    def require(self, models: Sequence[Model]) -> None:
        """Record ``models`` as loaded."""
        bases = {base_of(model).path for model in self.loaded}
        for model in models:
            if model not in self.loaded:
                self.loaded.append(model)
            base = base_of(model).path
            if base not in bases and not self._one_at_a_time and self._device is None:
                bases.add(base)
                self._starts += 1

    @property
    def yields_device(self) -> bool:
        """Whether it shares a device."""
        return self._device is not None

    @property
    def runs_ahead(self) -> bool:
        """Never: it answers when it is asked."""
        return False

    def reserve(self, models: Sequence[Model]) -> None:
        """There is nothing to share: engines of one ``device`` never fit together."""

    def release(self, models: Sequence[Model]) -> None:
        """Forget the adapters among ``models``; their base stays loaded."""
        self.loaded += [m.base for m in models if m in self.loaded and m.base and m.base not in self.loaded]
        self.loaded = [model for model in self.loaded if model not in models or model.kind != "adapter"]

    def needs_swap(self, models: Sequence[Model]) -> bool:
        """Whether more than one folder of full weights is needed, with ``one_at_a_time``."""
        return self._one_at_a_time and len({base_of(model).path for model in (*self.loaded, *models)}) > 1

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """Answer in the order of ``asks``; with ``one_at_a_time``, those for the current model first."""
        order = sorted(range(len(asks)), key=lambda i: self._one_at_a_time and base_of(asks[i].model) != self._current)
        for index in order:
            ask = asks[index]
            self._check(ask.model)
            if self._fail_after is not None and len(self.asked) >= self._fail_after:
                raise EngineError(
                    f"the scripted engine stops after {self._fail_after} answers", hint="as fail_after says"
                )
            self.asked.append(ask)
            yield index, self._script(ask.model, ask.question)

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int = 20) -> list[Mapping[int, float]]:
        """The ``top`` entries of ``next_token`` for each prompt."""
        self._check(model)
        tables = [self._next_token(model, prompt) for prompt in prompts]
        return [dict(sorted(table.items(), key=lambda entry: (-entry[1], entry[0]))[:top]) for table in tables]

    def close(self) -> None:
        """Count the call and forget what was loaded."""
        self.closed += 1
        self.loaded.clear()

    def _check(self, model: Model) -> None:
        available = (*self.loaded, *(loaded.base for loaded in self.loaded))
        if model not in available:
            raise EngineError(f"model {model.name} ({model.path}) is not loaded", hint="call require() first")
        base = base_of(model)
        if self._device is not None and self._device.holder is not self:
            self._device.holder, self._current = self, None
            self._starts += 0 if self._one_at_a_time else len({base_of(each).path for each in self.loaded})
        if self._one_at_a_time and base != self._current:
            self._current = base
            self._starts += 1


def next_token_by_digest(model: Model, prompt: Sequence[Message]) -> Mapping[int, float]:
    """Log-probabilities over 64 tokens that depend on the model's digest and the prompt, and on nothing else."""
    text = "\x00".join([model.digest, *(part for message in prompt for part in (message.role, message.text))])
    seed = hashlib.sha512(text.encode("utf-8", errors="surrogatepass")).digest()
    logits = [4.0 * byte / 255 for byte in seed[:_VOCABULARY]]
    total = math.log(sum(math.exp(logit) for logit in logits))
    return {token: logit - total for token, logit in enumerate(logits)}
