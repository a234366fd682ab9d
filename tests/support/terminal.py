"""A command at a real terminal: what it prints, and answers typed at its prompts."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SECONDS = 120
KEYS = {"^C": b"\x03", "^D": b"\x04"}


def play(arguments: Sequence[str], typed: Sequence[str], folder: Path) -> tuple[str, int]:
    """Run ftgate in ``folder`` at a terminal of its own; type each answer once a prompt waits. Output and exit code.

    The texts ``^C`` and ``^D`` stand for the keys. Raises TimeoutError if nothing happens for long.
    """
    child, terminal = pty.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-m", "ftgate", *arguments])
    output, answers = b"", list(typed)
    try:
        while select.select([terminal], [], [], SECONDS)[0]:
            try:
                more = os.read(terminal, 4096)
            except OSError:  # Linux: the other side is closed
                break
            if not more:
                break
            output += more
            if answers and output.endswith(b": "):
                answer = answers.pop(0)
                if answer == "^C":
                    time.sleep(0.5)  # Python misses a signal between the prompt and its wait for a key
                os.write(terminal, KEYS.get(answer) or f"{answer}\n".encode())
        else:
            raise TimeoutError(output.decode(errors="replace"))
    finally:
        os.close(terminal)
    return output.decode().replace("\r\n", "\n"), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
