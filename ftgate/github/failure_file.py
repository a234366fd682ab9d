"""failure.json: the reason that an evaluation gives for leaving no report, as one line for status and comment.

Like everything that is passed from job to job, it is untrusted text. It only explains an error: whatever it says, a
manifest without a report is an error.
"""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import Path

from ftgate.report.escape import plain_line

FAILURE = "failure.json"
"""In the folder of a failed run: the path of its ``manifest``, empty if it applies to all, and the ``reason``."""
LARGEST_FAILURE = 10_000
"""Bytes. A larger file is ignored."""
LONGEST_REASON = 300
"""Characters."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed run: the path of its manifest (empty: it applies to all manifests), and the reason."""

    manifest: str
    reason: str


def read_failure(folder: Path) -> Failure | None:
    """The failure in ``folder``; None if the folder holds a report, or no readable failure."""
    path = folder / FAILURE
    try:
        if folder.is_symlink() or (folder / "report.json").exists():
            return None
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FAILURE:
            return None
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), str) for key in ("manifest", "reason")):
        return None
    return Failure(content["manifest"], plain_line(content["reason"], LONGEST_REASON))
