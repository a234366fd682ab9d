"""How work tells that it goes on: the protocol, and the one that says nothing. report/progress_bar shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Clock = Callable[[], float]
Advance = Callable[[int], None]


class Progress(Protocol):
    """Told about phases as they begin, advance and end."""

    seconds: dict[str, float]
    """Time spent in each phase so far; phases of the same name are added up."""

    def phase(self, name: str, total: int | None) -> AbstractContextManager[Advance]:
        """A phase of ``total`` steps (None: unknown). It gives a function to call with the number of steps done."""
        ...

    def note(self, text: str) -> None:
        """One line about what happens next."""
        ...


class SilentProgress:
    """Says nothing and remembers how long everything took."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Advance]:  # noqa: ARG002 - the protocol's signature
        """Time the phase, also when it fails."""
        started = self._clock()
        try:
            yield lambda _steps: None
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._clock() - started

    def note(self, text: str) -> None:
        """Nothing."""
