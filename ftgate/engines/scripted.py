"""An engine without weights: answers come from a function. For tests, ftgate's own and those of its users."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from ftgate.domain import Answer, EngineInfo, Message, Model, Question
from ftgate.engines.base import Ask, root_of
from ftgate.errors import EngineError

Script = Callable[[Model, Question], Answer]
NextToken = Callable[[Model, Sequence[Message]], Mapping[int, float]]
_VOCABULARY = 64


class ScriptedEngine:
    """Plays ``script``, and keeps what it was asked in ``asked`` and what it had to load in ``loaded``.

    With ``fail_after`` it breaks like a real engine: that many answers, then EngineError. ``next_token`` gives the
    log-probabilities of a probe; by default they follow from the model's digest, so that two models differ. With
    ``in_turn`` it holds one folder of full weights at a time, and every change is a start.
    """

    def __init__(
        self,
        script: Script,
        *,
        fail_after: int | None = None,
        next_token: NextToken | None = None,
        in_turn: bool = False,
    ) -> None:
        self._script = script
        self._in_turn = in_turn
        self._held: Model | None = None
        self._fail_after = fail_after
        self._next_token = next_token or next_token_by_digest
        self._starts = 0
        self.asked: list[Ask] = []
        self.loaded: list[Model] = []
        self.closed = 0

    @property
    def starts(self) -> int:
        """How many engines a real one would have started: one for each base and each other full model."""
        return self._starts

    def info(self) -> EngineInfo:
        """A fixed description."""
        return EngineInfo(kind="scripted", versions={}, device="none", dtype="none")

    def require(self, models: Sequence[Model]) -> None:
        """Remember ``models``."""
        bases = {root_of(model).path for model in self.loaded}
        for model in models:
            if model not in self.loaded:
                self.loaded.append(model)
            base = root_of(model).path
            if base not in bases and not self._in_turn:
                bases.add(base)
                self._starts += 1

    def in_turn(self, models: Sequence[Model]) -> bool:
        """As it was told."""
        return self._in_turn and len({root_of(model).path for model in (*self.loaded, *models)}) > 1

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """One answer of the script after another, in the order of ``asks``; of models in turn, the held one's first."""
        order = sorted(range(len(asks)), key=lambda i: self._in_turn and root_of(asks[i].model) != self._held)
        for index in order:
            ask = asks[index]
            self._check(ask.model)
            if self._fail_after is not None and len(self.asked) >= self._fail_after:
                raise EngineError(f"the scripted engine stops after {self._fail_after} answers", hint="as told")
            self.asked.append(ask)
            yield index, self._script(ask.model, ask.question)

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int = 20) -> list[Mapping[int, float]]:
        """The ``top`` entries of ``next_token`` for each prompt."""
        self._check(model)
        tables = [self._next_token(model, prompt) for prompt in prompts]
        return [dict(sorted(table.items(), key=lambda entry: (-entry[1], entry[0]))[:top]) for table in tables]

    def close(self) -> None:
        """Count the call; what was loaded is forgotten."""
        self.closed += 1
        self.loaded.clear()

    def _check(self, model: Model) -> None:
        known = (*self.loaded, *(loaded.base for loaded in self.loaded))
        if model not in known:
            raise EngineError(f"model {model.name} ({model.path}) is not loaded", hint="require() it before asking")
        if self._in_turn and root_of(model) != self._held:
            self._held = root_of(model)
            self._starts += 1


def next_token_by_digest(model: Model, prompt: Sequence[Message]) -> Mapping[int, float]:
    """Log-probabilities over 64 tokens that depend on the model's digest and the prompt, and on nothing else."""
    text = "\x00".join([model.digest, *(part for message in prompt for part in (message.role, message.content))])
    seed = hashlib.sha512(text.encode("utf-8", errors="surrogatepass")).digest()
    logits = [4.0 * byte / 255 for byte in seed[:_VOCABULARY]]
    total = math.log(sum(math.exp(logit) for logit in logits))
    return {token: logit - total for token, logit in enumerate(logits)}
