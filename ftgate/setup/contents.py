"""What a folder holds that a run may be about: models, adapters and data files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from ftgate.setup.data_files import DataFile, is_data_file, read_data_file, use_named
from ftgate.setup.model_folders import ENCODER, ModelFolder, misfit, read_model_folder

MOST_FOLDERS, MOST_FILES, DEEPEST = 2000, 40, 4
"""How far a folder is searched."""
_NOT_SEARCHED = frozenset(("node_modules", "site-packages", "venv", "__pycache__"))
_OF_A_RUN = ({"answers.jsonl", "job.json"}, {"report.json", "comment.md"})
"""Files that are only together where a run has left its results."""
_NOT_ROWS = frozenset(("package.json", "package-lock.json", "tsconfig.json", "report.json", "job.json"))
_JUDGE = re.compile(r"judge|grader|reward", re.IGNORECASE)
_BASE = re.compile(r"(?<![a-z])base(?![a-z])", re.IGNORECASE)
_OF_A_MANIFEST = (re.compile(r"^base:", re.MULTILINE), re.compile(r"^candidate:", re.MULTILINE))
"""Fields that a manifest has, and other YAML files do not have together."""
_MANIFEST_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Contents:
    """The models, data files and manifests of a folder, by path. ``more``: whether there were too many to look at.

    What is broken is listed, and never taken for anything.
    """

    models: tuple[ModelFolder, ...] = ()
    data: tuple[DataFile, ...] = ()
    manifests: tuple[Path, ...] = ()
    more: bool = False

    @property
    def usable(self) -> list[ModelFolder]:
        """The models without a fault."""
        return [m for m in self.models if not m.fault]

    @property
    def judge(self) -> ModelFolder | None:
        """The model whose name says that it grades."""
        return _only([m for m in self.usable if m.kind == "full" and _JUDGE.search(m.path.name)])

    @property
    def base(self) -> ModelFolder | None:
        """The full weights that the candidate was trained on; else those called base, else the only ones."""
        return self.certain_base or _only(self._full)

    @property
    def certain_base(self) -> ModelFolder | None:
        """As :attr:`base`, if an adapter says so, or its name, beside another model that could be the candidate."""
        named = {Path(m.trained_on).name for m in self.usable if m.trained_on}
        called_base = [m for m in self._full if _BASE.search(m.path.name)]
        others = any(m not in called_base for m in self.usable if not _JUDGE.search(m.path.name))
        return _only([m for m in self._full if m.path.name in named]) or (_only(called_base) if others else None)

    @property
    def _full(self) -> list[ModelFolder]:
        return [m for m in self.usable if m.kind == "full" and not _JUDGE.search(m.path.name)]

    @property
    def candidates(self) -> list[ModelFolder]:
        """The adapters of the base, else all adapters, else the other full weights; the newest first."""
        others = [m for m in self.usable if m not in (self.base, self.judge)]
        adapters = [m for m in others if m.kind == "adapter"]
        name = self.base.path.name if self.base is not None else ""
        candidates = [m for m in adapters if Path(m.trained_on).name == name] or adapters or others
        return sorted(candidates, key=lambda m: (m.changed, _natural(m.path)), reverse=True)

    @property
    def candidate(self) -> ModelFolder | None:
        """The newest candidate whose headers fit the base; without a base the only adapter."""
        base = self.base
        if base is None:
            return _only([m for m in self.candidates if m.kind == "adapter"])
        return next((m for m in self.candidates if not misfit(m, base)), None)

    @property
    def passed_over(self) -> dict[Path, str]:
        """Candidates that are newer than the one that is taken, and why each does not fit the base."""
        base = self.base
        if base is None:
            return {}
        reasons = ((m.path, misfit(m, base)) for m in self.candidates)
        return dict(takewhile(lambda pair: pair[1], reasons))


def look_into(folder: Path) -> Contents:
    """The models and data files below ``folder``. Hidden folders, environments and results are passed over.

    Of many data files those are read whose names say what they are for.
    """
    models: list[ModelFolder] = []
    paths: list[Path] = []
    manifests: list[Path] = []
    more = False
    for number, (place, names) in enumerate(_folders(folder)):
        if more := number >= MOST_FOLDERS:
            break
        model = read_model_folder(place)
        if model is not None:
            models.append(model)
        elif ENCODER not in names:
            manifests += [place / name for name in names if name.endswith(".yaml") and _is_manifest(place / name)]
            paths += [place / name for name in names if is_data_file(Path(name)) and name not in _NOT_ROWS]
    chosen = sorted(sorted(paths, key=lambda path: use_named(path) is None)[:MOST_FILES])
    data = [read_data_file(path) for path in chosen]
    # A .json file that is no data file is nothing to speak of.
    kept = [file for file in data if file.uses or file.path.suffix != ".json"]
    return Contents(tuple(models), tuple(kept), tuple(manifests), more or len(paths) > MOST_FILES)


def _is_manifest(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= _MANIFEST_BYTES else ""
    except (OSError, UnicodeDecodeError):
        return False
    return all(field.search(text) for field in _OF_A_MANIFEST)


def _folders(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """The folders below ``folder`` and the names of the files in each, in order."""
    for place, below, names in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        below[:] = sorted(name for name in below if name[0] != "." and name not in _NOT_SEARCHED and depth < DEEPEST)
        if "pyvenv.cfg" in names or any(files.issubset(names) for files in _OF_A_RUN):
            below[:] = []
            continue
        yield Path(place), sorted(name for name in names if name[0] != ".")


def _only(models: Sequence[ModelFolder]) -> ModelFolder | None:
    return models[0] if len(models) == 1 else None


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """A key that sorts checkpoint-900 before checkpoint-1000."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", path.name)]
