"""The budget and the rate limit of one server: all who ask it in one run share them."""

from __future__ import annotations

import threading
import time

from ftgate.config.endpoint import EndpointPace


class SpentError(Exception):
    """The run has sent as many requests as it may."""


class Pace:
    """Counts requests and spaces them. Safe to use from several threads."""

    def __init__(self, settings: EndpointPace) -> None:
        self._budget = settings.request_budget
        self._gap = 60 / settings.requests_per_minute if settings.requests_per_minute is not None else 0.0
        self._next = 0.0
        self._lock = threading.Lock()
        self.sent = 0

    def claim(self) -> float:
        """Count one more request; the seconds to wait before it is sent. Raises SpentError."""
        with self._lock:
            if self._budget is not None and self.sent >= self._budget:
                raise SpentError
            self.sent += 1
            now = time.monotonic()
            send_at = max(now, self._next)
            self._next = send_at + self._gap
            return send_at - now
