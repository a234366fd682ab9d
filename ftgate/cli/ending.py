"""How the program ends: what stops it, and with which exit code.

0, 1 and 4 are verdicts, so that nothing else may end with them: click, rich and Python itself exit with 1 on a closed
pipe or an error that nobody caught.
"""

from __future__ import annotations

import _thread
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn, TextIO

FAILED = 3
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
CLOSED_PIPE = 128 + signal.SIGPIPE
ASKED = (signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a process to end: from another process, or because its terminal was closed."""
GRACE = 30.0
"""Seconds that an interrupted program has to stop its engines and threads."""


class Terminated(KeyboardInterrupt):
    """Something asked the process to end: SIGTERM, as CI does to cancel a job, or SIGHUP from a closed terminal."""


_signals: list[int] = []
"""Those that asked this process to end."""


def end_on_signals() -> None:
    """End on SIGTERM and SIGHUP as on SIGINT: files are closed, engines stopped. A second one is ignored meanwhile.

    What does not end within GRACE is left: an exception between two steps of a lock leaves it locked for ever, and
    then a thread is waited for in vain. No file suffers, as none does from SIGKILL.
    """
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # otherwise nohup had it ignored
        signal.signal(signal.SIGHUP, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # otherwise the shell had it ignored
        signal.signal(signal.SIGINT, _stop)
    sys.unraisablehook = _interrupt_again


def _stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the handler's signature
    if number in ASKED:
        signal.signal(number, signal.SIG_IGN)
    if not _signals:  # a thread of threading would need locks, which the code below this handler may hold
        _thread.start_new_thread(_end_anyway, (128 + number,))
    _signals.append(number)
    raise _interruption(number)


def _interrupt_again(ignored: sys.UnraisableHookArgs) -> None:
    """Interrupt once more, a moment later, where an interruption came in code whose errors Python ignores.

    Such code are finalizers and the callbacks of weak references, of which every import runs some.
    """
    if not issubclass(ignored.exc_type, KeyboardInterrupt) or not _signals:
        sys.__unraisablehook__(ignored)
        return
    if _signals[-1] in ASKED:
        signal.signal(_signals[-1], _stop)
    _thread.start_new_thread(_interrupt_later, (_signals[-1],))


def _interrupt_later(number: int) -> None:
    time.sleep(0.05)
    _thread.interrupt_main(signal.Signals(number))


def _interruption(number: int) -> KeyboardInterrupt:
    return Terminated() if number in ASKED else KeyboardInterrupt()


def _end_anyway(code: int) -> NoReturn:
    time.sleep(GRACE)
    with suppress(OSError):
        os.write(2, b"ftgate: stopped without waiting for the rest: run the same command again to resume\n")
    os._exit(code)


@contextmanager
def interruptions_kept() -> Iterator[None]:
    """Raise an interruption again if a library has put an error of its own in its place, as numpy does in sorts."""
    try:
        yield
    except Exception as error:
        if _signals:
            raise _interruption(_signals[0]) from error
        raise


def interruption_code(error: BaseException) -> int:
    """The exit code for an interruption, which click wraps in an error of its own."""
    return TERMINATED if isinstance(error, Terminated) or isinstance(error.__cause__, Terminated) else INTERRUPTED


def exit_code_of(main: Callable[[], NoReturn]) -> int:
    """Run ``main`` and return the code that it exits with; 3 if it ends in any other way.

    After a signal it is never that of a verdict: a library may have swallowed the interruption, and gone on with less.
    """
    code = _exit_code_of(main)
    return 128 + _signals[0] if _signals else code


def _exit_code_of(main: Callable[[], NoReturn]) -> int:
    try:
        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else FAILED
    except KeyboardInterrupt as error:
        return interruption_code(error)
    except BaseException:  # an error while an error was shown, for instance on a full disk
        return FAILED


def end(code: int) -> NoReturn:
    """Exit with ``code``, or with 3 instead of 0 if what was printed did not arrive.

    If vLLM was loaded, at once: inference libraries leave threads and child processes behind whose clean-up can hang or
    crash at exit.
    """
    for stream in (sys.stdout, sys.stderr):
        if not _flushed(stream):
            code = code or FAILED
    if "vllm" in sys.modules:
        os._exit(code)
    if "torch" not in sys.modules:  # with it, compiled modules print what is never freed as leaks
        gc.freeze()  # otherwise Python would look through all answers for garbage once more
    sys.exit(code)


def _flushed(stream: TextIO | None) -> bool:
    """Flush ``stream``. If that fails, discard what it holds, or Python would try again and exit with 120."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]
        except (OSError, ValueError):
            os._exit(FAILED)
        return False
    return True
