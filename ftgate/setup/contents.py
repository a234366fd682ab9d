"""What a folder holds that a run may be about: models, adapters and data files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ftgate.errors import ArtifactError
from ftgate.models.dimensions import Dimensions, read_dimensions
from ftgate.models.weights import read_json
from ftgate.setup.data_files import DataFile, is_data_file, read_data_file

MOST_FOLDERS, MOST_FILES, DEEPEST = 2000, 40, 4
"""How far a folder is searched."""
_CONFIG, _ADAPTER_CONFIG, _ENCODER = "config.json", "adapter_config.json", "modules.json"
_NOT_SEARCHED = frozenset(("out", "node_modules", "site-packages", "venv", "__pycache__"))
_NOT_ROWS = frozenset(("package.json", "package-lock.json", "tsconfig.json", "report.json", "job.json"))
_JUDGE, _BASE = re.compile(r"judge|grader|reward", re.IGNORECASE), re.compile(r"base", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder with full weights or an adapter. ``trained_on``: what the adapter calls its base, empty if nothing.

    ``size``: bytes of its safetensors files. ``changed``: when its configuration was written, in seconds.
    """

    path: Path
    kind: Literal["full", "adapter"]
    size: int = 0
    rank: int = 0
    trained_on: str = ""
    changed: float = 0.0

    @property
    def in_words(self) -> str:
        """What is in the folder, in one line."""
        if self.kind == "full":
            return "full weights"
        rank = f", rank {self.rank}" if self.rank else ""
        return f"adapter{rank}" + (f", trained on {self.trained_on}" if self.trained_on else "")

    @property
    def dimensions(self) -> Dimensions | None:
        """Its dimensions, if they can be read."""
        with suppress(ArtifactError):
            return read_dimensions(self.path, str(self.path))
        return None


@dataclass(frozen=True, slots=True)
class Contents:
    """The models and data files of a folder, by path. ``more``: whether there were too many to look at."""

    models: tuple[ModelFolder, ...] = ()
    data: tuple[DataFile, ...] = ()
    more: bool = False

    @property
    def judge(self) -> ModelFolder | None:
        """The model whose name says that it grades."""
        return _only([m for m in self.models if m.kind == "full" and _JUDGE.search(m.path.name)])

    @property
    def base(self) -> ModelFolder | None:
        """The full weights that the candidate was trained on; else those called base, else the only ones."""
        full = [m for m in self.models if m.kind == "full" and not _JUDGE.search(m.path.name)]
        named = {Path(m.trained_on).name for m in self.models if m.trained_on}
        of_adapters = [m for m in full if m.path.name in named]
        return _only(of_adapters) or _only([m for m in full if _BASE.search(m.path.name)]) or _only(full)

    @property
    def candidate(self) -> ModelFolder | None:
        """The newest adapter, else the newest other full weights; None without a base."""
        others = [m for m in self.models if m not in (self.base, self.judge)]
        candidates = [m for m in others if m.kind == "adapter"] or others
        newest = max(candidates, key=lambda m: (m.changed, _natural(m.path)), default=None)
        return newest if self.base is not None else _only([m for m in candidates if m.kind == "adapter"])


def look_into(folder: Path) -> Contents:
    """The models and data files below ``folder``. Hidden folders, environments and results are passed over."""
    models: list[ModelFolder] = []
    paths: list[Path] = []
    more = False
    for number, (place, names) in enumerate(_folders(folder)):
        if more := number >= MOST_FOLDERS or len(paths) > MOST_FILES:
            break
        model = read_model_folder(place)
        if model is not None:
            models.append(model)
        elif _ENCODER not in names:
            paths += [place / name for name in names if is_data_file(Path(name)) and name not in _NOT_ROWS]
    data = [read_data_file(path) for path in paths[:MOST_FILES]]
    # A .json file that is no data file is nothing to speak of.
    kept = [file for file in data if file.uses or file.path.suffix != ".json"]
    return Contents(tuple(models), tuple(kept), more or len(paths) > MOST_FILES)


def read_model_folder(folder: Path) -> ModelFolder | None:
    """The model in ``folder``; None if there is neither an adapter nor full weights."""
    for name, kind in ((_ADAPTER_CONFIG, "adapter"), (_CONFIG, "full")):
        if not (folder / name).is_file() or (folder / _ENCODER).is_file():
            continue
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors") if path.is_file())
        if not size:
            continue
        config: dict[str, Any] = {}
        with suppress(ArtifactError):
            config = read_json(folder, name, str(folder))
        rank = config.get("r")
        trained_on = config.get("base_model_name_or_path") if kind == "adapter" else None
        return ModelFolder(
            folder,
            "adapter" if kind == "adapter" else "full",
            size,
            rank if type(rank) is int else 0,
            trained_on if isinstance(trained_on, str) else "",
            (folder / name).stat().st_mtime,
        )
    return None


def _folders(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """The folders below ``folder`` and the names of the files in each, in order."""
    for place, below, names in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        below[:] = sorted(name for name in below if name[0] != "." and name not in _NOT_SEARCHED and depth < DEEPEST)
        if "pyvenv.cfg" in names:
            below[:] = []
            continue
        yield Path(place), sorted(name for name in names if name[0] != ".")


def _only(models: Sequence[ModelFolder]) -> ModelFolder | None:
    return models[0] if len(models) == 1 else None


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """A key that sorts checkpoint-900 before checkpoint-1000."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", path.name)]
