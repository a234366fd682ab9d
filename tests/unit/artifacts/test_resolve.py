from __future__ import annotations

from pathlib import Path

import pytest

from ftgate.artifacts.resolve import Resolver
from ftgate.artifacts.snapshot import Snapshot
from ftgate.config.policy import ArtifactSettings
from ftgate.errors import ArtifactError, ConfigurationError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with its policy in .github, models inside and outside of it."""
    for folder in ("repo/.github", "repo/models/a", "repo/models/org/b", "weights/c", "secret"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x").write_text(folder)
    return tmp_path


def found(tree: Path, reference: str, *allow: str, digest: str | None = None) -> Snapshot:
    repo = tree / "repo"
    resolver = Resolver(ArtifactSettings(allow=allow), repo / ".github", offline=True)
    return resolver.snapshot(reference, relative_to=repo, digest=digest)


@pytest.mark.parametrize(
    ("reference", "glob"),
    [
        ("models/a", "../models/*"),
        ("models/a/", "../models/a"),
        ("./models/../models/a", "../models/a/"),
        ("models/org/b", "../models/**"),
        ("models/a", "../models/**/a"),
        ("models/org/b", "../**/b"),
        ("models/org/b", "../models/*/?"),
        ("../weights/c", "../../weights/*"),
    ],
)
def test_allowed(tree: Path, reference: str, glob: str) -> None:
    snapshot = found(tree, reference, "nothing/*", glob)
    assert snapshot.reference == reference
    assert snapshot.path == (tree / "repo" / reference).resolve()


@pytest.mark.parametrize(
    ("reference", "allow"),
    [
        ("models/a", []),
        ("models/a", ["models/*"]),
        ("models/org/b", ["../models/*"]),
        ("models/a", ["../models"]),
        ("models", ["../models/*"]),
        ("models/a", ["../models/A"]),
        ("../weights/c", ["../models/*", "*", "**", "*/*", "../**"]),
        ("models/../../secret", ["../models/**"]),
        ("models/a", ["../models/[b]"]),
    ],
)
def test_not_allowed(tree: Path, reference: str, allow: list[str]) -> None:
    with pytest.raises(ArtifactError, match="the policy does not allow") as caught:
        found(tree, reference, *allow)
    assert "artifacts.allow" in caught.value.message
    suggestion = caught.value.hint.split("'")[1]
    assert found(tree, reference, suggestion), "what the hint suggests works"
    assert caught.value.message.endswith(f"(artifacts.allow: {', '.join(allow) or 'nothing'})")


def test_an_absolute_reference_needs_a_glob_that_leads_there(tree: Path) -> None:
    weights = str(tree / "weights")
    with pytest.raises(ArtifactError, match="does not allow"):
        found(tree, f"{weights}/c", "../models/*")
    assert found(tree, f"{weights}/c", f"{weights}/*")
    assert found(tree, "../weights/c", f"{weights}/*")


@pytest.mark.parametrize("link", ["repo/models/link", "repo/linked"])
def test_a_link_is_judged_by_where_it_leads(tree: Path, link: str) -> None:
    (tree / link).symlink_to(tree / "secret" if link.endswith("link") else tree)
    reference = "models/link" if link.endswith("link") else "linked/secret"
    for glob in ("../models/*", "../models/link", "../linked/*", "../linked/secret"):
        with pytest.raises(ArtifactError, match=r"does not allow \.\./\.\./secret"):
            found(tree, reference, glob)
    assert found(tree, reference, "../../secret")


@pytest.mark.parametrize("reference", ["s3://bucket/a", "hf://org/model", "HTTPS://x/y"])
def test_globs_for_paths_let_in_nothing_from_elsewhere(tree: Path, reference: str) -> None:
    with pytest.raises(ConfigurationError, match="the policy does not allow") as caught:
        found(tree, reference, "**", "*", "../**", "/**")
    assert reference in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("models/none", "no such folder"),
        ("models/a/x", "a file"),
        ("models/\0", "not a usable path"),
        ("x" * 5000, "not a usable path"),
    ],
)
def test_unusable_paths(tree: Path, reference: str, named: str) -> None:
    with pytest.raises(ArtifactError, match=named):
        found(tree, reference, "../**")


def test_a_circle_of_links_is_no_folder(tree: Path) -> None:
    (tree / "repo/models/circle").symlink_to("circle")
    with pytest.raises(ArtifactError):
        found(tree, "models/circle", "../**")


def test_the_digest_must_be_the_expected_one(tree: Path) -> None:
    true = found(tree, "models/a", "../**").digest
    assert found(tree, "models/a", "../**", digest=true).digest == true
    other = "sha256:" + "0" * 64
    with pytest.raises(ArtifactError) as caught:
        found(tree, "models/a", "../**", digest=other)
    assert true in caught.value.message
    assert other in caught.value.message
