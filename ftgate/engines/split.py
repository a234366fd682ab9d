"""An engine for each of the two models: where they are served with different settings, or by servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftgate.domain import Answer, EngineInfo, Message, Model
from ftgate.engines.base import Ask, Engine


class SplitEngine:
    """Asks ``base`` with one engine and every other model with another, which may be split in turn."""

    def __init__(self, base: Model, of_base: Engine, of_others: Engine) -> None:
        self._base = base
        self.of_base, self.of_others = of_base, of_others
        self._engines = (of_base, of_others)
        self._waiting: dict[Engine, list[Model]] = {}

    def engine_of(self, model: Model) -> Engine:
        """The engine that runs ``model``."""
        return self.of_base if model == self._base else self.of_others

    def loaded_for(self, model: Model) -> Engine:
        """The engine that runs ``model``, with what it was required to load."""
        engine = self.engine_of(model)
        self._load(engine)
        return engine

    @property
    def starts(self) -> int:
        """The starts of both engines."""
        return self.of_base.starts + self.of_others.starts

    def info(self) -> EngineInfo:
        """What the base runs on."""
        return self.of_base.info()

    @property
    def yields_device(self) -> bool:
        """Whether either of the engines does."""
        return any(engine.yields_device for engine in self._engines)

    @property
    def runs_ahead(self) -> bool:
        """Never: one engine is asked after the other."""
        return False

    def reserve(self, models: Sequence[Model]) -> None:
        """Note the models of each engine."""
        for engine, own in self._by_engine(models):
            engine.reserve(own)

    def release(self, models: Sequence[Model]) -> None:
        """Take the adapters out of each engine."""
        for engine, own in self._by_engine(models):
            self._waiting[engine] = [model for model in self._waiting.get(engine, []) if model not in own]
            engine.release(own)

    def require(self, models: Sequence[Model]) -> None:
        """Load each model into its engine; if only one engine fits, the other's when they are asked."""
        self.reserve(models)
        for engine, own in self._by_engine(models):
            self._waiting[engine] = [*self._waiting.get(engine, ()), *own]
        engines = [engine for engine in self._engines if engine in self._waiting]
        for engine in engines[:1] if self.yields_device else engines:
            self._load(engine)

    def needs_swap(self, models: Sequence[Model]) -> bool:
        """Whether either engine would have to swap its models, or both engines do not fit beside each other."""
        by_engine = list(self._by_engine(models))
        return (len(by_engine) > 1 and self.yields_device) or any(engine.needs_swap(own) for engine, own in by_engine)

    def _load(self, engine: Engine) -> None:
        if models := self._waiting.pop(engine, None):
            engine.require(models)

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """All that is for the base first, then the rest."""
        for engine in self._engines:
            chosen = [index for index, ask in enumerate(asks) if self.engine_of(ask.model) is engine]
            if chosen:
                self._load(engine)
                for position, answer in engine.ask([asks[index] for index in chosen]):
                    yield chosen[position], answer

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int = 20) -> list[Mapping[Any, float]]:
        """As the model's engine."""
        return self.loaded_for(model).probe(model, prompts, top)

    def close(self) -> None:
        """Close both."""
        self.of_base.close()
        self.of_others.close()

    def _by_engine(self, models: Sequence[Model]) -> Iterator[tuple[Engine, list[Model]]]:
        for engine in self._engines:
            if own := [model for model in models if self.engine_of(model) is engine]:
                yield engine, own
