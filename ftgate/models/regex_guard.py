"""Regular expressions in an adapter's configuration: a stranger's, and matched by engines with nothing to stop them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from typing import Any

from ftgate.errors import ArtifactError

SECONDS = 1
"""Of processor time. Fifteen thousand names of a mixture of experts take a few hundredths of it."""
_LONGEST = 60.0
_HINT = "write target_modules, rank_pattern and the like with the names themselves"
_LOADER = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Where some installations of Python keep what their interpreter cannot start without."""
_PLAIN = re.compile(r"[\w.-]*")
_MATCH = """
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (%d, %d))
patterns, names = json.load(sys.stdin)
for pattern in patterns:
    form = re.compile(pattern)
    for name in names:
        form.match(name)
        form.fullmatch(name)
"""


def require_quick_patterns(config: Mapping[str, Any], modules: Collection[str], where: str) -> None:
    """Raise ArtifactError for patterns that are none, or that take seconds to be matched with the names ``modules``.

    They are matched as peft does, in a process that can be ended: Python's own matching cannot be interrupted.
    """
    patterns = _patterns(config)
    if not patterns:
        return
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-I", "-c", _MATCH % (SECONDS, SECONDS)],
            input=json.dumps([patterns, list(modules)]),
            env={name: os.environ[name] for name in _LOADER if name in os.environ},
            text=True,
            capture_output=True,
            timeout=_LONGEST,
            check=False,
        )
        slow = done.returncode < 0  # ended by the system, as it had asked for
    except subprocess.TimeoutExpired:
        slow = True
    if slow:
        raise ArtifactError(
            f"{where}: its patterns take more than {SECONDS} s to be compared with {len(modules):,} names of modules",
            hint=_HINT,
        )
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        raise ArtifactError(f"{where}: a pattern in it cannot be used ({said[:200]!a})", hint=_HINT)


def _patterns(config: Mapping[str, Any]) -> list[str]:
    """What peft would match, where it is more than a name."""
    whole = [config.get(name) for name in ("target_modules", "exclude_modules")]
    found = [value for value in whole if isinstance(value, str) and not _PLAIN.fullmatch(value)]
    for name in ("rank_pattern", "alpha_pattern"):
        found += [rf"(.*\.)?({key})$" for key in _texts(config.get(name)) if not _PLAIN.fullmatch(key)]
    layers = [layer for layer in _texts(config.get("layers_pattern")) if not _PLAIN.fullmatch(layer)]
    return found + [rf".*\.{layer}\.(\d+)\." for layer in layers]


def _texts(value: Any) -> list[str]:
    parts = [value] if isinstance(value, str) else value if isinstance(value, Mapping | list) else []
    return [part for part in parts if isinstance(part, str)]
