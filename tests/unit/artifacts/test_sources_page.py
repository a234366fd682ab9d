"""The page on sources names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ftgate.artifacts.sources.objects import STORES
from ftgate.artifacts.sources.registry import SOURCES
from ftgate.config.policy import ArtifactSettings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "sources.md").read_text(encoding="utf-8")


def test_every_source_has_a_row() -> None:
    rows = "\n".join(line for line in PAGE.splitlines() if line.startswith("| `"))
    assert all(f"`{scheme}://" in rows for scheme in SOURCES)


def test_every_extra_is_named() -> None:
    assert {store.extra for store in STORES.values()} == set(re.findall(r"finetune-gate\[(\w+)\]", PAGE))


def test_the_policy_in_it_is_one() -> None:
    example = yaml.safe_load(PAGE.split("```yaml\n")[1].split("```")[0])["artifacts"]
    settings = ArtifactSettings.model_validate(example)
    assert settings.allow
    shown = {"formats", "remote_code", *example}
    assert shown == set(ArtifactSettings.model_fields)
