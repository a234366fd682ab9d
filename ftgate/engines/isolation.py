"""Isolation: the evaluating process holds no credentials that a model or library could take."""

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
    """The environment for a process that evaluates: without credentials, and offline."""
    return {name: value for name, value in environment.items() if not is_secret(name, value)} | OFFLINE


def take_secrets(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove credentials from this process's environment, permanently.

    Clients that need one have read it by then. The initial environment is wiped as well, so that child processes and
    readers of ``/proc/PID/environ`` find nothing.
    """
    secrets = [name for name, value in environment.items() if is_secret(name, value)]
    for name in secrets:
        del environment[name]
    if secrets and environment is os.environ:
        _wipe(secrets)


class Isolation:
    """Runs models without credentials, and without hub access until the last engine is closed.

    Credentials are not restored; public files can be downloaded again afterwards. ``begin`` and ``end`` are idempotent.
    """

    _active: ClassVar[set[Isolation]] = set()
    _original: ClassVar[dict[str, str | None]] = {}

    def begin(self) -> None:
        """Call before anything is loaded."""
        take_secrets()
        if not self._active:
            self._original.update({name: os.environ.get(name) for name in OFFLINE})
        self._active.add(self)
        os.environ.update(OFFLINE)
        _set_hub_client_offline(offline=True)

    def end(self) -> None:
        """Call after the models are freed."""
        if self not in self._active:
            return
        self._active.remove(self)
        if self._active:
            return
        for name, value in self._original.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        offline_setting = self._original["HF_HUB_OFFLINE"] or self._original["TRANSFORMERS_OFFLINE"] or ""
        _set_hub_client_offline(offline=offline_setting.upper() in ("1", "ON", "YES", "TRUE"))


def _set_hub_client_offline(*, offline: bool) -> None:
    """huggingface_hub reads the environment when it is imported, which may be before."""
    hub = sys.modules.get("huggingface_hub.constants")
    if hub is not None:
        hub.HF_HUB_OFFLINE = offline  # type: ignore[attr-defined]


def _wipe(names: Iterable[str]) -> None:
    """Overwrite variables in the process's initial environment, which lies in its own memory on Linux.

    Its address is in ``/proc/self/stat``, fields 50 and 51 (proc_pid_stat(5)). Other systems need no wiping.
    """
    with suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[47]), int(fields[48])
        initial = Path("/proc/self/environ").read_bytes()
        if not 0 < start < end or end - start != len(initial):
            return
        secrets = {os.fsencode(name) for name in names}
        address = start
        for entry in initial.split(b"\0"):
            if entry.partition(b"=")[0] in secrets:
                ctypes.memset(address, 0, len(entry))
            address += len(entry) + 1
