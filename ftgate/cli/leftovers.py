"""What an earlier, sound report left, where the one in its place is refused: it would be read as this one's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ftgate.errors import ConfigurationError

RENDERED = ("comment.md", "report.html", "plots/*.svg", "plots/*.png")
"""What `ftgate report` writes beside report.json."""
OF_A_RUN = ("report.json", "job.json", "answers.jsonl", "items.jsonl.gz", "statement.json")
PAGE = b"ftgate</title>"
"""In every page of ftgate, near its beginning."""


@contextmanager
def without_leftovers(files: Iterable[Path]) -> Iterator[None]:
    """Remove those of ``files`` that there are if a report is refused, and say so in the error."""
    try:
        yield
    except ConfigurationError as error:
        removed = [path for path in files if path.is_file()]
        for path in removed:
            path.unlink()
        if removed:
            error.message += f"; removed what an earlier one left: {_listed(removed)}"
        raise


def rendered(folder: Path) -> list[Path]:
    """What is drawn from the report in ``folder``; nothing where none of the files are there that only runs write."""
    patterns = RENDERED if any((folder / name).is_file() for name in OF_A_RUN) else ()
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def own_page(path: Path | None) -> list[Path]:
    """The file at ``path``, if it is a page of ftgate: anything else of that name is the user's."""
    if path is None or not path.is_file():
        return []
    with path.open("rb") as file:
        return [path] if PAGE in file.read(20_000) else []


def _listed(paths: list[Path]) -> str:
    named = [str(path) for path in paths if path.suffix not in (".svg", ".png")]
    pictures = len(paths) - len(named)
    return ", ".join([*named, *([f"{pictures} pictures"] if pictures else [])])
