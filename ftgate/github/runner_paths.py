"""Paths of the runner, which are nobody's business in a public status, comment or check. Pure."""

from __future__ import annotations

import re

# Not after a letter, a slash or `<`: relative paths, addresses and tags are no paths of a machine.
_PATH = re.compile(
    r"""(?<![\w/.~<…-])(?:file://)?(?:/(?!/)|[A-Za-z]:\\)[^\s'"`,;|()\[\]{}<>]*""",
)


def without_paths(text: str) -> str:
    """``text`` with every absolute path shortened to its last part, ``/opt/runner/_work/a.jsonl`` to ``…/a.jsonl``.

    A path that holds spaces is shortened up to the first one.
    """
    return _PATH.sub(_shortened, text)


def _shortened(match: re.Match[str]) -> str:
    parts = re.split(r"[/\\]+", match[0].rstrip("/\\:.=&!?"))
    ending = match[0][len(match[0].rstrip("/\\:.=&!?")) :]
    return f"…/{parts[-1]}{ending}" if parts[-1] else match[0]
