"""A local folder as engines see it: exactly the files that were hashed and checked."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ftgate.artifacts.cache import key_of
from ftgate.artifacts.cache_files import explain_write_errors
from ftgate.artifacts.file_names import NOT_CONTENT
from ftgate.artifacts.snapshot import Snapshot


def build_link_view(snapshot: Snapshot, cache_root: Callable[[], Path]) -> Snapshot:
    """``snapshot`` itself if its folder holds no other files, otherwise a folder of links to the snapshot's files.

    The links are stored in the cache, whose root is looked up only if needed, under a name that is the same in every
    run: engines key their compilation cache by the model's path. A downloaded snapshot never holds other files.
    """
    if not snapshot.ignored_files and not any((snapshot.path / name).exists() for name in NOT_CONTENT):
        return snapshot
    targets = {name: str((snapshot.path / name).resolve()) for name in sorted(snapshot.files)}
    folder = cache_root() / "views" / key_of(*(part for pair in targets.items() for part in pair))
    with explain_write_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.exists():
            partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
            for name, target in targets.items():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                (partial / name).symlink_to(target)
            partial.chmod(0o755)  # other users of the cache must be able to read it
            with suppress(OSError):  # another process created the same view meanwhile
                partial.rename(folder)
            shutil.rmtree(partial, ignore_errors=True)
    return replace(snapshot, path=folder)
