"""How much processor time other processes took: unlike the clock, it is the same on a busy machine."""

from __future__ import annotations

import resource


def of_children() -> float:
    """User and system seconds of every child process that has ended so far, and of its own children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
