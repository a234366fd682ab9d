"""The evaluating process holds no credentials: whatever a model or a library does, there is nothing to take."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from ftgate.credentials import is_secret

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that evaluates: no credentials, and no hub to ask."""
    return {name: value for name, value in environment.items() if not is_secret(name, value)} | OFFLINE


def take_secrets(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take the credentials out of this process's environment, for good.

    Clients that need one have read it by then. What the process was started with is wiped as well: its children, and
    whoever reads ``/proc/PID/environ``, find nothing.
    """
    secrets = [name for name, value in environment.items() if is_secret(name, value)]
    for name in secrets:
        del environment[name]
    if secrets and environment is os.environ:
        _wipe(secrets)


class Isolation:
    """What an engine keeps around its models: no credentials, and no hub to ask until the last engine is closed.

    Credentials do not come back; what is public can be fetched again afterwards. Beginning and ending twice is once.
    """

    _begun: ClassVar[set[Isolation]] = set()
    _before: ClassVar[dict[str, str | None]] = {}

    def begin(self) -> None:
        """Before anything is loaded."""
        take_secrets()
        if not self._begun:
            self._before.update({name: os.environ.get(name) for name in OFFLINE})
        self._begun.add(self)
        os.environ.update(OFFLINE)
        _tell_the_hubs_client(offline=True)

    def end(self) -> None:
        """After the models are gone."""
        if self not in self._begun:
            return
        self._begun.remove(self)
        if self._begun:
            return
        for name, value in self._before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        asked = self._before["HF_HUB_OFFLINE"] or self._before["TRANSFORMERS_OFFLINE"] or ""
        _tell_the_hubs_client(offline=asked.upper() in ("1", "ON", "YES", "TRUE"))


def _tell_the_hubs_client(*, offline: bool) -> None:
    """It looked at the environment when it was imported, perhaps to download with."""
    hub = sys.modules.get("huggingface_hub.constants")
    if hub is not None:
        hub.HF_HUB_OFFLINE = offline  # type: ignore[attr-defined]


def _wipe(names: Iterable[str]) -> None:
    """Overwrite what the system keeps of the first environment: it lies in this process's own memory, on Linux.

    Its place is in ``/proc/self/stat``, fields 50 and 51 (proc_pid_stat(5)). Elsewhere there is nothing to do.
    """
    with suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[47]), int(fields[48])
        kept = Path("/proc/self/environ").read_bytes()
        if not 0 < start < end or end - start != len(kept):
            return
        wanted = {os.fsencode(name) for name in names}
        at = start
        for entry in kept.split(b"\0"):
            if entry.partition(b"=")[0] in wanted:
                ctypes.memset(at, 0, len(entry))
            at += len(entry) + 1
