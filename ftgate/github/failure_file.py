"""Why an evaluation left no report, as it says itself: one line for status and comment.

Like everything that crosses from one job to another it may be a stranger's text. It explains an error and nothing else:
whatever it says, a manifest without a report is never judged.
"""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import Path

from ftgate.report.escape import plain_line

FAILURE = "failure.json"
"""In the folder of a run that failed: the path of its ``manifest``, empty for all of them, and the ``reason``."""
LARGEST_FAILURE = 10_000
"""Bytes of it that are still read."""
LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed: the path of its manifest, or nothing where it was for all of them, and why."""

    manifest: str
    reason: str


def read_failure(folder: Path) -> Failure | None:
    """What ``folder`` holds in a report's place; None where it holds a report, or nothing that can be read."""
    path = folder / FAILURE
    try:
        if folder.is_symlink() or (folder / "report.json").exists():
            return None
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_FAILURE:
            return None
        said = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not all(isinstance(said.get(key), str) for key in ("manifest", "reason")):
        return None
    return Failure(said["manifest"], plain_line(said["reason"], LONGEST_REASON))
