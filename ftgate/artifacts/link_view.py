"""A local folder as an engine may see it: exactly the files that were digested and judged."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ftgate.artifacts.cache import key_of
from ftgate.artifacts.cache_files import writing
from ftgate.artifacts.file_names import NOT_CONTENT
from ftgate.artifacts.snapshot import Snapshot


def without_others(snapshot: Snapshot, root_of_cache: Callable[[], Path]) -> Snapshot:
    """``snapshot`` as it is where its folder holds nothing else, else in a folder of links to its files.

    That folder lies in the cache, which is asked for only then, under a name that is the same in every run: engines
    know what they compiled by the path of a model. What was fetched holds nothing else to begin with.
    """
    if not snapshot.aside and not any((snapshot.path / name).exists() for name in NOT_CONTENT):
        return snapshot
    targets = {name: str((snapshot.path / name).resolve()) for name in sorted(snapshot.files)}
    folder = root_of_cache() / "views" / key_of(*(part for pair in targets.items() for part in pair))
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.exists():
            made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
            for name, target in targets.items():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).symlink_to(target)
            made.chmod(0o755)  # as whoever shares the cache needs it
            with suppress(OSError):  # another process has just made the same
                made.rename(folder)
            shutil.rmtree(made, ignore_errors=True)
    return replace(snapshot, path=folder)
