"""What goes wrong between a job and the platform, drawn from a seed or planned one by one."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from dataclasses import dataclass, field

REFUSALS = ("422 before", "422 lag")
"""What a write meets that would be taken a moment later."""
BEFORE = ("secondary", "429", "502 before", "cut before", "slow", *REFUSALS)
AFTER = ("502 after", "cut after", "cut midway")
KINDS = (*BEFORE, *AFTER)
"""Those in AFTER strike once the request has taken effect."""


@dataclass
class Faults:
    """At most ``left`` faults, each request drawing one with probability ``rate``; ``planned`` ones come first."""

    seed: int = 0
    rate: float = 0.0
    left: int = 0
    kinds: tuple[str, ...] = KINDS
    planned: list[tuple[str, str, str]] = field(default_factory=list)
    """(kind, method, pattern of the path), each for one request."""
    injected: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random, self._lock = random.Random(self.seed), threading.Lock()

    def plan(self, kind: str, method: str, path: str, times: int = 1) -> None:
        self.planned += [(kind, method, path)] * times

    def draw(self, method: str, path: str) -> str:
        """The fault that strikes this request, or nothing."""
        with self._lock:
            for entry in self.planned:
                if entry[1] == method and re.search(entry[2], path):
                    self.planned.remove(entry)
                    self.injected[entry[0]] += 1
                    return entry[0]
            if self.left <= 0 or self._random.random() >= self.rate:
                return ""
            self.left -= 1
            kind = self._random.choice([k for k in self.kinds if method != "GET" or k not in REFUSALS])
            self.injected[kind] += 1
            return kind
