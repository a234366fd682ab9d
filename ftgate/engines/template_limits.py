"""Limits on processor time and memory, for programs that came with a model."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

TEMPLATE_BYTES = 1 << 29
"""Memory that one conversation may take: texts of a few megabytes need a small part of it."""
_PAGES = Path("/proc/self/statm")
"""The size of this process's address space, in pages; Linux alone has it, and enforces a limit on it."""


def within_limits(work: Callable[[], str], seconds: float, size: int = TEMPLATE_BYTES) -> str:
    """The result of ``work``, which raises whatever it raises.

    Raises TimeoutError if it takes more than ``seconds`` of processor time, MemoryError if more than ``size`` bytes.
    """
    try:
        with time_limit(seconds), memory_limit(size):
            return work()
    except (MemoryError, TimeoutError) as error:
        kind, reason = type(error), str(error)
    gc.collect()  # a template's variables and its frames hold each other, and what it took would never be given back
    raise kind(reason)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError if the body takes more processor time. No effect outside the main thread."""
    if not _in_main_thread() or not hasattr(signal, "SIGVTALRM"):
        yield
        return

    def expired(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"it took longer than {seconds:g} s")

    previous = signal.signal(signal.SIGVTALRM, expired)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)


@contextmanager
def memory_limit(size: int = TEMPLATE_BYTES) -> Iterator[None]:
    """Raise MemoryError if the body takes more than ``size`` bytes. No effect outside the main thread and Linux.

    The limit is the process's: other threads have the same ``size`` bytes meanwhile.
    """
    used = _address_space() if _in_main_thread() else None
    if used is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = min([used + size, *(bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _address_space() -> int | None:
    """Bytes of this process's address space; None where the system does not say."""
    with suppress(OSError, ValueError, ImportError):
        import resource

        return int(_PAGES.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    return None
