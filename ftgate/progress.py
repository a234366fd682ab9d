"""The protocol for reporting progress, and an implementation that prints nothing. report/progress_bar prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Clock = Callable[[], float]
Advance = Callable[[int], None]


class Progress(Protocol):
    """Receives the begin, the steps and the end of each phase."""

    seconds: dict[str, float]
    """Time spent in each phase so far; phases of the same name are added up."""

    def phase(self, name: str, total: int | None) -> AbstractContextManager[Advance]:
        """A phase of ``total`` steps (None: unknown). Yields a function to call with the number of steps done."""
        ...

    def note(self, text: str) -> None:
        """Print one line about what happens next."""
        ...

    def expect(self, steps: int) -> None:
        """Announce the whole run: at most so many ``steps`` are left."""
        ...

    def step(self, steps: int) -> None:
        """Count ``steps`` of the whole run as done."""
        ...


class SilentProgress:
    """Prints nothing; records the time of each phase."""

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

    def expect(self, steps: int) -> None:
        """Nothing."""

    def step(self, steps: int) -> None:
        """Nothing."""
