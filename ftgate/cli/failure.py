"""The reason why a command failed, as one line without credentials that may be shown in a pull request.

The reason goes further than the job's log, and an error can quote an address with a login or a signature, or a server's
message about a key. So known secrets, and whatever looks like one, are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ftgate.credentials import BEGINNINGS, is_secret
from ftgate.report.escape import plain_line

FILE = "FTGATE_FAILURE"
"""The environment variable that names the file for the reason. Without it none is written."""
LONGEST = 400
"""Characters of a reason."""
SHORTEST_SECRET = 6
"""Characters. A shorter value is a flag or a number, and would match inside ordinary words."""
HIDDEN = "***"
_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")
_QUERY = re.compile(r"(://[^\s?#'\"]+)[?#][^\s'\"]+")
_BEARER = re.compile(r"(?i)(?<![a-z])(bearer|authorization:\s*\w+|(?:token|key|password)[:=])\s*[A-Za-z0-9._~+/=-]{8,}")
_FORMS = re.compile(rf"(?:{BEGINNINGS}|xox[abprs]-|AIza|eyJ)[A-Za-z0-9_.-]{{10,}}")
"""Texts that begin like a key, including those of chat services and signed tokens. False positives do no harm here."""


class FailureFile:
    """The file for the reason. Must be created before an engine removes the credentials from the environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._file = environment.get(FILE, "")
        self._secrets = secrets_in(environment) if self._file else []

    def write(self, text: str) -> None:
        """Write ``text`` as one safe line, if a file was asked for. A failed write does not hide the original error."""
        if self._file:
            with suppress(OSError):
                Path(self._file).write_text(safe_line(text, self._secrets) + "\n", encoding="utf-8")


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """The values of variables that hold credentials, and each of their lines, longest first."""
    # The action's inputs are folders and modes, apart from the token.
    candidates = {k: v for k, v in environment.items() if not k.startswith("INPUT_") or k == "INPUT_TOKEN"}
    values = [value for name, value in candidates.items() if is_secret(name, value)]
    parts = {part.strip() for value in values for part in (value, *value.splitlines())}
    return sorted((part for part in parts if len(part) >= SHORTEST_SECRET), key=len, reverse=True)


def safe_line(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` as one printable line of about 400 characters; ``secrets``, and what looks like one, are replaced."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = _QUERY.sub(rf"\1?{HIDDEN}", _LOGIN.sub(f"{HIDDEN}@", text))
    text = _BEARER.sub(rf"\1 {HIDDEN}", _FORMS.sub(HIDDEN, text))
    return plain_line(text, LONGEST)
