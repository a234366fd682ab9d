"""Whether the files that a run judges are still the ones that it hashed.

A trainer may still be saving into a shared folder. Then an engine loads other weights than those under whose digest
the answers are kept, and the verdict would be about a model that nobody measured.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ftgate.artifacts.file_names import NOT_CONTENT
from ftgate.datasets import TrainingData
from ftgate.domain import Model
from ftgate.errors import ChangedError
from ftgate.files import Stamp, file_stamp, folder_stamp
from ftgate.jobs.prepare import Job


def require_unchanged(job: Job) -> None:
    """Raise ChangedError if a file of ``job`` is no longer as it was when it was hashed.

    A change of size, time or inode counts, whatever the content is now.
    """
    changes = [*_changed_models([*job.models, job.judge, job.encoder])]
    changes += _changed_data([("training data", job.training), ("query log", job.query_log)])
    if changes:
        raise ChangedError(
            f"{'; '.join(changes)}: changed after it was hashed, so what was measured is not what would be judged",
            hint="wait until nothing writes to these files any more, or copy them to another place; then run again",
        )


@contextmanager
def discarding_what_changed_files_gave(job: Job, discard: Callable[[], None]) -> Iterator[None]:
    """Call ``discard`` and raise ChangedError if files of ``job`` changed, however the body ends."""
    try:
        yield
    finally:
        try:
            require_unchanged(job)
        except ChangedError:
            discard()
            raise


def _changed_models(models: Iterable[Model | None]) -> Iterator[str]:
    for model in models:
        if model is not None and (names := changed_files(model.path, model.stamps)):
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield f"{model.name} ({model.reference or model.path}), {', '.join(names[:3])}{more}"


def _changed_data(files: Iterable[tuple[str, TrainingData | None]]) -> Iterator[str]:
    for name, data in files:
        if data is not None and data.stamps != tuple(file_stamp(path.resolve()) for path in data.paths):
            yield f"the {name} ({data.source})"


def changed_files(folder: Path, stamps: Mapping[str, Stamp]) -> list[str]:
    """The files below ``folder`` that are not as ``stamps`` say: changed, gone or new, in order of their names.

    A folder is named, too, if it has stamps and was moved, or what is in it was.
    """
    if not stamps:
        return []
    now = {
        name: file_stamp(Path(at, file).resolve())
        for at, _, files in os.walk(folder)
        for file in files
        if (name := Path(at, file).relative_to(folder).as_posix()).partition("/")[0] not in NOT_CONTENT
    }
    now |= {name: folder_stamp(Path(name)) for name in stamps if name.endswith("/")}
    return sorted(name for name in {*stamps, *now} if stamps.get(name) != now.get(name))
