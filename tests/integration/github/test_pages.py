"""The page of a run as a site: where the comment leads, what is in it, and whose pages are never published."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from support import reports
from support.github.scene import Scene
from support.github.server import FakeGitHub

from ftgate.cli.git_remote import Remote
from ftgate.errors import ConfigurationError
from ftgate.github.pages import Pages, read_pages
from ftgate.github.publish import publish_results

SITE = "https://acme.github.io/models"


def publish(scene: Scene, folders: list[Path], payload: dict | None = None) -> dict[str, str]:
    effects = replace(scene.effects(payload=payload), pages=Pages(SITE, scene.folder / "ftgate-pages"))
    publish_results(effects, folders)
    return scene.outputs()


def site(scene: Scene) -> dict[str, str]:
    with tarfile.open(scene.folder / "ftgate-pages" / "artifact.tar") as archive:
        assert {member.mode for member in archive} == {0o644}
        return {name: archive.extractfile(name).read().decode() for name in archive.getnames()}  # type: ignore[union-attr]


def test_the_comment_leads_to_the_page_of_its_commit_which_is_rendered_here(hub: FakeGitHub, scene: Scene) -> None:
    head = scene.push()
    (folder,) = scene.deliver(scene.report("block"))
    (folder / "report.html").write_text("<script>what the evaluation wrote</script>", encoding="utf-8")
    assert publish(scene, [folder])["pages"] == "true"
    assert f"[Full report]({SITE}/{head}/)" in scene.thread()[0]
    files = site(scene)
    assert set(files) == {f"{head}/index.html", "index.html", "404.html"}
    assert "Do not merge" in files[f"{head}/index.html"]
    assert "what the evaluation wrote" not in files[f"{head}/index.html"]
    assert f'<a href="{head}/">' in files["index.html"]
    assert "artifacts" in files["404.html"]


def test_several_reports_are_listed(hub: FakeGitHub, scene: Scene) -> None:
    head = scene.push({f"models/{n}.yaml": reports.manifest(n, "v1") for n in ("bot", "new")})
    both = [scene.report("pass"), scene.report("block", name="new")]
    publish(scene, scene.deliver(*both))
    files = site(scene)
    assert {f"{head}/1.html", f"{head}/2.html", f"{head}/index.html"} < set(files)
    assert '<a href="2.html">' in files[f"{head}/index.html"]


def test_without_a_site_the_comment_leads_to_the_artifacts(hub: FakeGitHub, scene: Scene) -> None:
    scene.push()
    scene.publish(scene.report("pass"))
    assert scene.outputs()["pages"] == "false"
    assert "#artifacts)" in scene.thread()[0]


def test_a_report_that_is_not_true_is_not_published(hub: FakeGitHub, scene: Scene) -> None:
    scene.push()
    (folder,) = scene.deliver(scene.report("pass"))
    (folder / "report.json").write_text("{}", encoding="utf-8")
    assert publish(scene, [folder])["pages"] == "false"
    assert not (scene.folder / "ftgate-pages").exists()


def test_what_a_strangers_model_answered_is_not_published(hub: FakeGitHub, scene: Scene) -> None:
    scene.push(fork=True)
    effects = replace(scene.effects("pull_request_target"), pages=Pages(SITE, scene.folder / "ftgate-pages"))
    publish_results(effects, scene.deliver(scene.report("pass")))
    assert not (scene.folder / "ftgate-pages").exists()


def test_answers_that_cannot_be_read_leave_the_page_out_and_the_verdict_in(hub: FakeGitHub, scene: Scene) -> None:
    head = scene.push()
    (folder,) = scene.deliver(scene.report("pass"))
    (folder / "items.jsonl.gz").write_bytes(b"no gzip")
    assert publish(scene, [folder])["pages"] == "false"
    status = hub.status_of(head)
    assert status is not None
    assert status.state == "success"
    assert any("the pages are not published" in text for text in scene.said)


@pytest.mark.parametrize("address", ["http://acme.github.io/models", "acme.github.io", "https://acme.github.io/?a"])
def test_a_site_has_an_https_address(address: str) -> None:
    with pytest.raises(ConfigurationError, match="not the address of a site"):
        read_pages(address)
    assert read_pages("") is None


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        (Remote(repository="Acme/models"), "https://acme.github.io/models"),
        (Remote(repository="acme/Acme.github.io"), "https://acme.github.io"),
        (Remote("git.example.com", "acme/models"), "https://pages.git.example.com/acme/models"),
    ],
)
def test_the_address_is_that_of_the_remote(remote: Remote, address: str) -> None:
    assert remote.pages == address
