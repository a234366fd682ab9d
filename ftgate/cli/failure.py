"""Why a command failed, as one line that may be shown to anyone who can see the pull request.

The log of a job is for those who may read it. What goes further must hold no credential: an error can quote an address
with a login or a signature, or what a server said about a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ftgate.credentials import BEGINNINGS, is_secret
from ftgate.report.escape import plain_line

FILE = "FTGATE_FAILURE"
"""The environment variable that names a file for the reason. Without it none is written."""
LONGEST = 400
"""Characters of a reason."""
SHORTEST_SECRET = 6
"""Characters. A shorter value is a flag or a number, and would be found in every other word."""
HIDDEN = "***"
_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")
_QUERY = re.compile(r"(://[^\s?#'\"]+)[?#][^\s'\"]+")
_BEARER = re.compile(r"(?i)(?<![a-z])(bearer|authorization:\s*\w+|(?:token|key|password)[:=])\s*[A-Za-z0-9._~+/=-]{8,}")
_FORMS = re.compile(rf"(?:{BEGINNINGS}|xox[abprs]-|AIza|eyJ)[A-Za-z0-9_.-]{{10,}}")
"""How keys begin, those of messengers and signed tokens too: in a text nobody misses what was none."""


class FailureFile:
    """Where a command leaves the reason why it failed. Made before an engine takes the credentials out of sight."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._file = environment.get(FILE, "")
        self._secrets = secrets_in(environment) if self._file else []

    def leave(self, text: str) -> None:
        """Write ``text`` as one safe line, if anybody asked for it. A full disk does not hide the error itself."""
        if self._file:
            with suppress(OSError):
                Path(self._file).write_text(safe_line(text, self._secrets) + "\n", encoding="utf-8")


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """The values of variables that hold credentials, and of each of their lines, the longest first."""
    # An action's inputs are folders and modes, all but one.
    named = {k: v for k, v in environment.items() if not k.startswith("INPUT_") or k == "INPUT_TOKEN"}
    values = [value for name, value in named.items() if is_secret(name, value)]
    parts = {part.strip() for value in values for part in (value, *value.splitlines())}
    return sorted((part for part in parts if len(part) >= SHORTEST_SECRET), key=len, reverse=True)


def safe_line(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` as one printable line of about 400 characters, with ``secrets``, and what looks like one, hidden."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = _QUERY.sub(rf"\1?{HIDDEN}", _LOGIN.sub(f"{HIDDEN}@", text))
    text = _BEARER.sub(rf"\1 {HIDDEN}", _FORMS.sub(HIDDEN, text))
    return plain_line(text, LONGEST)
