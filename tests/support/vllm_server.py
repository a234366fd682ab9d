"""`vllm serve` on loopback, in a process group of its own that ends with the tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

START_SECONDS = 400
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "TORCH_COMPILE_DISABLE": "1",
}
OPTIONS = {
    "--host": "127.0.0.1",
    "--dtype": "float32",
    "--load-format": "safetensors",
    "--kv-cache-memory-bytes": str(256 << 20),
    "--max-num-seqs": "64",
    "--max-num-batched-tokens": "1024",
}


class Serving(NamedTuple):
    """A server that may still be starting."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ready(self) -> str:
        """The server's address, once it is ready."""
        deadline = time.monotonic() + START_SECONDS
        while not self._healthy():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.5)
        return f"http://127.0.0.1:{self.port}/v1"

    def _healthy(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2) as reply:
            return bool(reply.status == 200)
        return False


@contextmanager
def serve(weights: Path, log: Path, options: Mapping[str, str], *more: str) -> Iterator[Serving]:
    """Start a server for ``weights``; ``more`` are options with any number of values."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
    # The script `vllm` asks for the version of a package vllm, which the CPU build is not.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(weights), "--enforce-eager"]
    given: Sequence[str] = [word for pair in (OPTIONS | dict(options)).items() for word in pair]
    with log.open("wb") as sink:
        server = subprocess.Popen(
            [*command, "--port", str(port), *given, *more],
            stdout=sink,
            stderr=sink,
            env={**os.environ, **ENVIRONMENT},
            start_new_session=True,
        )
    try:
        yield Serving(server, port, log)
    finally:
        for ending in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(server.pid, ending)
            with suppress(subprocess.TimeoutExpired):
                server.wait(20)
