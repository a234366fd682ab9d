"""How the program ends: what stops it, and with which exit code.

0, 1 and 4 are verdicts, so that nothing else may end with them: click, rich and Python itself exit with 1 on a closed
pipe or an error that nobody caught.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn, TextIO

FAILED = 3
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
CLOSED_PIPE = 128 + signal.SIGPIPE


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM), as every CI does when a job is cancelled."""


def terminate_like_an_interrupt() -> None:
    """End on SIGTERM as on SIGINT: files are closed, engines stopped. A second SIGTERM is ignored meanwhile."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the handler's signature
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    signal.signal(signal.SIGTERM, stop)


def interruption_code(error: BaseException) -> int:
    """The exit code for an interruption, which click wraps in an error of its own."""
    return TERMINATED if isinstance(error, Terminated) or isinstance(error.__cause__, Terminated) else INTERRUPTED


def exit_code_of(main: Callable[[], NoReturn]) -> int:
    """Run ``main`` and return the code that it exits with; 3 if it ends in any other way."""
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
    # Otherwise Python would look through all answers for garbage once more.
    gc.freeze()
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
