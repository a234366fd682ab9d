"""The base images: one place, pinned by `make pin`, and nothing released without."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.pin_images import BASE, pinned

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_each_base_image_is_pinned_once_however_often_it_is_asked() -> None:
    text = pinned(DOCKERFILE, lambda image: "sha256:" + f"{len(image):064x}")
    images = [match[2] + match[3] for match in BASE.finditer(text)]
    assert len(images) == 2
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image) for image in images)
    assert pinned(text, lambda image: "sha256:" + f"{len(image):064x}") == text
    assert BASE.sub("", text) == BASE.sub("", DOCKERFILE)


def test_the_base_images_are_named_in_the_dockerfile_alone() -> None:
    names = [match[2].partition(":")[0] + ":" for match in BASE.finditer(DOCKERFILE)]
    files = [ROOT / "entrypoint" / "docker.sh", *(ROOT / ".github").rglob("*.yml"), *ROOT.glob("*/action.yml")]
    assert not [path for path in files for name in names if name in path.read_text(encoding="utf-8")]


def test_nothing_is_released_on_a_base_that_a_tag_could_move() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert text.index("[[ $image == *@sha256:* ]] ||") < text.index("docker build")
    assert set(re.findall(r"base: (\w+)", text)) == {match[1][4:-1] for match in BASE.finditer(DOCKERFILE)}
