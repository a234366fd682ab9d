"""Regular expressions in an adapter's configuration: untrusted, and matched by engines without a time limit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from typing import Any

from ftgate.errors import ArtifactError

CPU_SECONDS = 1
"""Processor time. Fifteen thousand module names of a mixture of experts take a few hundredths of it."""
_WALL_SECONDS = 60.0
_HINT = "use plain module names in target_modules, modules_to_save, rank_pattern and the like"
_LIBRARY_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Library paths without which some Python installations cannot start."""
_LITERAL = re.compile(r"[\w.-]*")
_MATCH_PROGRAM = """
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (%d, %d))
patterns, names = json.load(sys.stdin)
for pattern in patterns:
    form = re.compile(pattern)
    for name in names:
        form.match(name)
        form.fullmatch(name)
"""


def require_fast_patterns(config: Mapping[str, Any], modules: Collection[str], where: str) -> None:
    """Raise ArtifactError for invalid patterns, and for patterns that take too long to match the ``modules``.

    They are matched the way peft does it, in a process that can be killed: Python's ``re`` cannot be interrupted.
    """
    patterns = _patterns(config)
    if not patterns:
        return
    try:
        process = subprocess.run(  # noqa: S603
            [sys.executable, "-I", "-c", _MATCH_PROGRAM % (CPU_SECONDS, CPU_SECONDS)],
            input=json.dumps([patterns, list(modules)]),
            env={name: os.environ[name] for name in _LIBRARY_PATHS if name in os.environ},
            text=True,
            capture_output=True,
            timeout=_WALL_SECONDS,
            check=False,
        )
        timed_out = process.returncode < 0  # killed by its own CPU limit
    except subprocess.TimeoutExpired:
        timed_out = True
    if timed_out:
        raise ArtifactError(
            f"{where}: matching its patterns with {len(modules):,} module names takes over {CPU_SECONDS} s",
            hint=_HINT,
        )
    if process.returncode:
        last_line = process.stderr.strip().rpartition("\n")[2]
        raise ArtifactError(f"{where}: invalid pattern ({last_line[:200]!a})", hint=_HINT)


def _patterns(config: Mapping[str, Any]) -> list[str]:
    """The patterns that peft would match; plain names are left out."""
    values = [config.get(name) for name in ("target_modules", "exclude_modules")]
    patterns = [value for value in values if isinstance(value, str) and not _LITERAL.fullmatch(value)]
    for name in ("rank_pattern", "alpha_pattern"):
        patterns += [rf"(.*\.)?({key})$" for key in _texts(config.get(name)) if not _LITERAL.fullmatch(key)]
    layers = [layer for layer in _texts(config.get("layers_pattern")) if not _LITERAL.fullmatch(layer)]
    patterns += [
        rf"(^|.*\.){name}($|\..*)" for name in _texts(config.get("modules_to_save")) if not _LITERAL.fullmatch(name)
    ]
    return patterns + [rf"(?:^|.*?\.){layer}\.(?P<layer>\d+)\." for layer in layers]


def _texts(value: Any) -> list[str]:
    parts = [value] if isinstance(value, str) else value if isinstance(value, Mapping | list) else []
    return [part for part in parts if isinstance(part, str)]
