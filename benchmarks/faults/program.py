"""``ftgate`` as a process that can be killed: a fork with a scripted engine, or a new interpreter with a real one."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks.faults.worlds import Case, LoggingEngine, key_of
from ftgate.__main__ import entry
from ftgate.artifacts import checkpoints
from ftgate.cli.main import main
from ftgate.engines import registry
from ftgate.report import render

VERDICTS = {0: "allow", 1: "block", 4: "hold"}
LONGEST = 300.0
"""Seconds after which a run counts as hanging."""


_INTERRUPTS: list[int] = []


def end_early_on_signals() -> None:
    """Have SIGTERM and SIGINT end the campaign after the run in progress, with the tables of what was done."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: _INTERRUPTS.append(number))


def interrupted() -> bool:
    """Whether such a signal came."""
    return bool(_INTERRUPTS)


@dataclass(frozen=True)
class Ended:
    """The exit code, minus the signal if one ended it, and what was printed."""

    code: int
    printed: str

    @property
    def crashed(self) -> bool:
        """Whether it ended as a defect of ftgate would."""
        return any(text in self.printed for text in ("Traceback", "internal error", "bug in ftgate"))


class Program:
    """One run of ``case`` into ``out`` with its cache in ``cache``."""

    def __init__(self, case: Case, out: Path, cache: Path, *more: str) -> None:
        self.printed = out.with_name(f"{out.name}.printed")
        self.printed.write_bytes(b"")  # a kill may come before the program has opened it
        arguments = case.arguments(out, *more)
        environment = {**os.environ, "FTGATE_CACHE": str(cache), "PYTHONFAULTHANDLER": "1"}
        if case.given is None:
            command = [sys.executable, "-m", "ftgate", *arguments]
            with self.printed.open("wb") as file:
                process = subprocess.Popen(
                    command,
                    stdout=file,
                    stderr=file,
                    env=environment,
                    start_new_session=True,
                    preexec_fn=_hear_signals,
                )
            self.pid = process.pid
            process.returncode = 0  # waited for below
            return
        log = case.given
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _become(arguments, environment, self.printed, log)

    def running(self) -> bool:
        """Whether it has not ended; it can be waited for either way."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self, seconds: float = LONGEST) -> Ended:
        """How it ended. If it takes too long, it is killed, code -6, and prints what its threads were at."""
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.002)
        if self.running():
            self.send(signal.SIGABRT)
        _, status = os.waitpid(self.pid, 0)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # what an engine left behind
        return Ended(os.waitstatus_to_exitcode(status), self.printed.read_text(errors="replace"))


def _hear_signals() -> None:
    """As a program that a terminal or a CI started."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _become(arguments: Sequence[str], environment: dict[str, str], printed: Path, log: Path) -> None:
    """In the fork: run the program and never return."""
    code = 3
    try:
        os.setpgid(0, 0)
        _hear_signals()
        descriptor = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        faulthandler.enable()
        os.environ.update(environment)
        threadpool_limits(1)  # a fork that waits for threads of a pool that was not copied with it waits for ever
        _play(log)
        sys.argv = ["ftgate", *arguments]
        entry()
    except KeyboardInterrupt:  # before the program has its handlers, as while an interpreter starts
        code = 130
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 3
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)


def _play(log: Path) -> None:
    """Have this process use scripted engines."""
    registry._ENGINES = dict.fromkeys(registry._ENGINES, lambda *_: LoggingEngine(log))
    checkpoints.STEP = 10_000  # so that small downloads have some
    render.pictures = lambda *_: {}  # half of the time, and drawn in runs with real engines


def warm_up(case: Case, folder: Path) -> None:
    """Run ``case`` once in this process: what that imports and computes once need not be done in every fork."""
    assert case.given is not None
    _play(case.given)
    os.environ["FTGATE_CACHE"] = str(folder / "cache")
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), suppress(SystemExit):
        main(case.arguments(folder / "out"))
    gc.freeze()


def logged(case: Case) -> Counter[str]:
    """How often each question was answered so far."""
    if case.given is None or not case.given.exists():
        return Counter()
    return Counter(case.given.read_text().split())


def settle(case: Case) -> None:
    """Wait until a server has logged what a run that was killed had sent."""
    before = -1
    while case.on_their_way > 1 and (now := logged(case).total()) != before:
        before = now
        time.sleep(0.1)


def journalled(out: Path) -> tuple[bytes, Counter[str]]:
    """The whole lines of a journal, and how often it answers each question."""
    path = out / "answers.jsonl"
    content = path.read_bytes() if path.exists() else b""
    content = content[: content.rfind(b"\n") + 1]
    records = [json.loads(line) for line in content.splitlines()]
    kept = Counter(key_of(r["model"], r["messages"]) for r in records if r["type"] in ("answer", "failure"))
    return content, kept


def repeated(out: Path) -> int:
    """How many answers a journal holds of questions that it had answered before."""
    records = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    keys = [record["key"] for record in records if record["type"] == "answer"]
    return len(keys) - len(set(keys))


def report_in(out: Path) -> dict[str, Any] | None:
    """A report without what depends on when and how often it was started; None if there is none."""
    path = out / "report.json"
    if not path.exists():
        return None
    report: dict[str, Any] = json.loads(path.read_bytes())
    del report["timing"], report["engine_starts"], report["provenance"]["started"], report["provenance"]["finished"]
    del report["seal"]  # which has digests of these
    return report
