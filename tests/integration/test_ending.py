"""How the program ends when something stops it: only a verdict has a verdict's exit code, and no answer is lost."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.players import CAREFUL, script
from support.world import World

from ftgate.cli.main import main
from ftgate.engines.scripted import ScriptedEngine
from ftgate.files import REMEDIES, operating_system_error, remedy_for

TESTS = Path(__file__).parents[1]


def slow(world: World, seconds: float, *arguments: str) -> list[str]:
    """The command for a run on ``world`` whose every answer takes ``seconds``."""
    words = arguments or ("run", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path), "--out")
    out = () if arguments else (str(world.root / "out"),)
    return [sys.executable, "-m", "support.slow_run", str(world.root / "given.log"), str(seconds), *words, *out]


def hear_interrupts() -> None:
    """As in a terminal: a shell lets what it runs in the background ignore them, and that is handed down."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def start(command: list[str], **more: Any) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        stderr=subprocess.PIPE,
        **{"stdout": subprocess.PIPE, "preexec_fn": hear_interrupts, **more},
    )


def given(world: World) -> int:
    log = world.root / "given.log"
    return log.read_text().count("\n") if log.exists() else 0


def kept(world: World) -> int:
    return (world.root / "out" / "answers.jsonl").read_bytes().count(b'"type": "answer"')


def decision(out: Path) -> dict[str, Any]:
    report = json.loads((out / "report.json").read_text())
    return {name: report[name] for name in ("verdict", "reasons", "measurements", "controls", "checklist")}


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
        (signal.SIGINT, 130),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_a_stopped_run_keeps_every_answer_and_ends_the_same_later(
    world: World, finished_once: Path, sent: signal.Signals, code: int
) -> None:
    process = start(slow(world, 0.002))
    deadline = time.monotonic() + 120
    while given(world) < 100 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(sent)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == code, printed
    if sent != signal.SIGKILL:
        assert "the answers so far are kept" in printed
    assert 100 <= given(world) <= kept(world) + 1, "at most the answer on its way is lost"
    assert not (world.root / "out" / "report.json").exists()
    if sent != signal.SIGTERM:
        return  # they differ in how they stop, not in what they leave
    resumed = start(slow(world, 0.0))
    resumed.communicate(timeout=120)
    assert resumed.returncode == 0
    assert given(world) <= kept(world) + 1, "nothing else was asked twice"
    assert decision(world.root / "out") == decision(finished_once / "out")


INTERRUPTED_BADLY = """
import os, signal, sys, threading
from ftgate.cli import ending
from ftgate.engines.scripted import ScriptedEngine
from support import slow_run

def ask(self, asks):
    try:
        os.kill(os.getpid(), {signal})
        threading.Event().wait(30)
    except KeyboardInterrupt:
        {then}

ending.GRACE = 1.0
slow_run.SlowEngine.ask = ask
slow_run.main()
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interruption_while_the_program_still_loads_ends_without_a_traceback(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    loading = tmp_path / "loading"
    (tmp_path / "click.py").write_text(f"import time\nopen({str(loading)!r}, 'w').close()\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "ftgate", "--help"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(TESTS.parent)])},
        text=True,
        stderr=subprocess.PIPE,
        preexec_fn=hear_interrupts,
    )
    while not loading.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(sent)
    _, printed = process.communicate(timeout=60)
    assert (process.returncode, printed) == (code, "ftgate: interrupted before it began\n")


IGNORED = """
import os, sys, time
from ftgate.cli.ending import end, end_on_signals, exit_code_of

class Dying:
    def __del__(self):
        os.kill(os.getpid(), {signal})
        time.sleep(1)

def main():
    dying = Dying()
    del dying
    for _ in range(250):  # a signal that comes again ends no sleep
        time.sleep(0.1)
    os.write(2, b"went on")
    sys.exit(0)

end_on_signals()
end(exit_code_of(main))
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_where_python_ignores_errors_comes_again(sent: signal.Signals) -> None:
    process = start([sys.executable, "-c", IGNORED.format(signal=int(sent))])
    _, shown = process.communicate(timeout=60)
    assert (process.returncode, shown) == (128 + sent, "")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("then", "printed"),
    [
        ("raise TypeError('cannot compare') from None", "interrupted"),
        ("return iter(())", "interrupted"),
        ("os.write(2, b'verdict'); sys.exit(0)", "verdict"),
        ("threading.Event().wait(60)", "stopped without waiting"),
    ],
    ids=["replaced by another error", "swallowed", "swallowed until the end", "never ends"],
)
def test_an_interruption_that_a_library_spoils_is_one_all_the_same(
    world: World, sent: signal.Signals, then: str, printed: str
) -> None:
    del world.policy["measurements"]["tail"]  # whose distances take longer to import than all else here
    world.save()
    command = slow(world, 0.0)
    command[1:3] = ["-c", INTERRUPTED_BADLY.format(signal=int(sent), then=then)]
    process = start(command)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 128 + sent, shown
    assert printed in shown
    assert "bug" not in shown
    assert not (world.root / "out" / "report.json").exists()


def test_a_reader_that_went_away_is_no_verdict(finished: World) -> None:
    out = finished.root / "out"
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = start(slow(finished, 0.0, "report", str(out)), stdout=write_end)
    os.close(write_end)
    process.communicate(timeout=60)
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_no_verdict(finished: World) -> None:
    out = finished.root / "out"
    with Path("/dev/full").open("w") as full:
        process = start(slow(finished, 0.0, "report", str(out)), stdout=full)
        _, printed = process.communicate(timeout=60)
        assert process.returncode == 3
        assert "No space left on device" in printed
        assert "bug" not in printed
        process = subprocess.run(
            slow(finished, 0.0, "report", str(out)),
            stdout=full,
            stderr=full,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])},
        )
    assert process.returncode == 3, "not even the error could be shown"


def test_a_limit_on_the_size_of_files_is_named_and_costs_no_answer(world: World, finished_once: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))

    process = start(slow(world, 0.0), preexec_fn=limit)
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "answers.jsonl" in printed
    assert "ulimit -f" in printed
    assert "bug" not in printed
    resumed = start(slow(world, 0.0))
    _, printed = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, printed
    assert decision(world.root / "out") == decision(finished_once / "out")


@pytest.mark.parametrize("name", ["answers.jsonl", "job.json", "report.json", "comment.md", "plots"])
def test_something_else_in_the_place_of_a_file_is_named(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "ftgate.engines.registry._ENGINES",
        {kind: lambda settings, log: ScriptedEngine(script(CAREFUL)) for kind in ("vllm", "transformers", "scripted")},
    )
    out = world.root / "out"
    (out / name).mkdir(parents=True) if name != "plots" else out.mkdir() or (out / name).touch()
    with pytest.raises(SystemExit) as stop:
        main(["run", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path), "--out", str(out)])
    printed = capsys.readouterr().err
    assert stop.value.code in (2, 3)
    assert name in printed
    assert "what to do" in printed
    assert "internal error" not in printed


def test_a_failed_run_leaves_no_earlier_verdict(finished: World) -> None:
    out = finished.root / "out"
    assert (out / "report.json").exists()
    (out / "answers.jsonl").unlink()
    process = start(slow(finished, 0.05))
    deadline = time.monotonic() + 120
    while given(finished) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not [
        name for name in ("report.json", "comment.md", "report.html", "statement.json") if (out / name).exists()
    ]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 300 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True)
    if done.returncode:
        pytest.skip("mounting needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_or_read_only_disk_is_named_and_costs_no_answer(
    world: World, finished_once: Path, small_disk: Path
) -> None:
    out = small_disk / "out"
    command = slow(world, 0.0)
    command[-1] = str(out)
    for remount, words in (
        ("size=300k", ("answers.jsonl", "No space left on device", "free some space")),
        ("ro", (str(out), "Read-only file system", "mount it for writing")),
    ):
        subprocess.run(["mount", "-o", f"remount,{remount}", str(small_disk)], check=True)
        process = start(command)
        _, printed = process.communicate(timeout=120)
        assert process.returncode == 3, printed
        assert all(word in printed for word in words), printed
        assert "bug" not in printed
    subprocess.run(["mount", "-o", "remount,rw,size=50m", str(small_disk)], check=True)
    before = given(world)
    resumed = start(command)
    _, printed = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, printed
    assert decision(out) == decision(finished_once / "out")
    assert before > 0
    assert given(world) == (out / "answers.jsonl").read_bytes().count(b'"type": "answer"') + 1, (
        "the one that did not fit"
    )


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("file/out", ("Not a directory", "choose another folder")),
        ("loop/out", ("Too many levels of symbolic links", "choose another folder")),
        ("n" * 300, ("File name too long", "choose another folder")),
    ],
    ids=["a file above", "a circle of links", "a long name"],
)
def test_a_folder_that_cannot_be_made_is_named(
    world: World, place: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    (world.root / "file").touch()
    (world.root / "loop").symlink_to("loop")
    out = world.root / place
    with pytest.raises(SystemExit) as stop:
        main(["run", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path), "--out", str(out)])
    printed = capsys.readouterr().err
    assert stop.value.code == 2
    assert all(word in printed for word in words), printed


@pytest.mark.parametrize("number", sorted(REMEDIES), ids=errno.errorcode.get)
def test_every_error_of_the_operating_system_has_its_remedy(number: int) -> None:
    problem = operating_system_error(OSError(number, os.strerror(number), "answers.jsonl"))
    assert problem.exit_code == 3
    assert problem.message == f"answers.jsonl: {os.strerror(number)}"
    assert problem.hint == REMEDIES[number] != remedy_for(OSError(0, "another"))
