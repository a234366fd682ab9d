"""A command at a real terminal: what it prints, and answers typed at its prompts."""

from __future__ import annotations

import os
import pty
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SECONDS = 120
KEY_PRESSES = 6


def ready(terminal: int, interrupting: int) -> bool:
    """Wait for output; press Ctrl-C up to so many times: Python misses it between the prompt and its wait for a key."""
    for _ in range(interrupting):
        time.sleep(0.5)
        if select.select([terminal], [], [], 0)[0]:
            return True
        os.write(terminal, b"\x03")
    return bool(select.select([terminal], [], [], SECONDS)[0])


def play(arguments: Sequence[str], typed: Sequence[str], folder: Path) -> tuple[str, int]:
    """Run ftgate in ``folder`` at a terminal of its own; type each answer once a prompt waits. Output and exit code.

    The text ``^C`` stands for the key. Raises TimeoutError if nothing happens for long.
    """
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-m", "ftgate", *arguments])
    output, answers, interrupting = b"", list(typed), 0
    try:
        while ready(terminal, interrupting):
            try:
                more = os.read(terminal, 4096)
            except OSError:  # Linux: the other side is closed
                break
            if not more:
                break
            output += more
            if answers and output.endswith(b": "):
                answer = answers.pop(0)
                interrupting = KEY_PRESSES if answer == "^C" else 0
                if not interrupting:
                    os.write(terminal, f"{answer}\n".encode())
        else:
            raise TimeoutError(output.decode(errors="replace"))
    finally:
        os.close(terminal)
    return output.decode().replace("\r\n", "\n"), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
