"""The output folder of a run: whose it is, and which of its files state a verdict."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftgate.errors import ConfigurationError
from ftgate.files import remedy_for
from ftgate.jobs.direct import folder_name
from ftgate.report.items import ITEMS

RESULTS = ("report.json", "comment.md", "report.html", "statement.json", ITEMS, "junit.xml", "eval-results.yaml")
"""The files that state a verdict, or what it rests on. A model card stays: it holds others' text, too."""
OUT = Path("out")


def default_folder(name: str) -> Path:
    """Where the run of a candidate called ``name`` goes if nothing else is said."""
    return OUT / folder_name(name)


def require_own(out: Path, name: str) -> None:
    """Raise ConfigurationError if the folder ``out`` holds another candidate's run, whose report would be lost."""
    owner = _owner(out)
    if owner not in ("", name):
        raise ConfigurationError(
            f"--out {out}: the run of {owner!r} is in it, and this is {name!r}",
            hint=f"name another folder, such as --out {default_folder(name)}, or remove that one",
        )


def begin_in(out: Path, name: str) -> None:
    """Prepare the folder ``out`` for a run of the candidate ``name``: an earlier verdict goes, its answers stay.

    Raises ConfigurationError as :func:`require_own` does.
    """
    require_own(out, name)
    if os.path.isdir(out):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        remove_results(out)


def remove_results(out: Path) -> None:
    """Remove an earlier run's verdict: should this run fail, nobody may take that one for its result."""
    for path in (*(out / name for name in RESULTS), *(out / "inspect").glob("*.eval")):
        path.unlink(missing_ok=True)


def make_folder(out: Path) -> None:
    """Create ``out``. Raises ConfigurationError if that fails."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"--out {out}: cannot create the folder: {error.strerror}",
            hint=f"{remedy_for(error)}; or choose another folder",
        ) from None


def read_json(path: Path) -> Mapping[str, Any]:
    """The JSON object in ``path``; an empty one if there is none, whatever is wrong with the file."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _owner(out: Path) -> str:
    """The name of the candidate whose run is in ``out``; empty if there is none."""
    names = (read_json(out / file).get("name") for file in ("job.json", "report.json"))
    return next((name for name in names if isinstance(name, str)), "")
