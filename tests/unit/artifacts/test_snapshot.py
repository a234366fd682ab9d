from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftgate.artifacts import snapshot
from ftgate.artifacts.snapshot import FileEntry, take_snapshot, tree_digest
from ftgate.errors import ArtifactError

names = (
    st.text("ab.é-_ ", min_size=1, max_size=6).filter(lambda name: name.strip(".") != "").map(lambda name: f"x{name}")
)
trees = st.dictionaries(
    st.lists(names, min_size=1, max_size=3).map("/".join), st.binary(max_size=40), min_size=1, max_size=5
).filter(lambda tree: not any(a.startswith(f"{b}/") for a in tree for b in tree))


def plant(folder: Path, tree: dict[str, bytes]) -> Path:
    for name, content in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def digest_of_tree(tree: dict[str, bytes]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return take_snapshot(plant(Path(folder), tree), "r").digest


@given(trees, st.randoms())
@settings(deadline=None, max_examples=50)
def test_the_same_tree_has_the_same_digest_wherever_it_lies(tree: dict[str, bytes], random: object) -> None:
    shuffled = dict(sorted(tree.items(), key=lambda _: random.random()))  # type: ignore[attr-defined]
    assert digest_of_tree(tree) == digest_of_tree(shuffled)


@given(trees, st.data())
@settings(deadline=None, max_examples=50)
def test_any_other_byte_or_name_gives_another_digest(tree: dict[str, bytes], data: st.DataObject) -> None:
    before = digest_of_tree(tree)
    name = data.draw(st.sampled_from(sorted(tree)))
    content = tree[name]
    at = data.draw(st.integers(0, max(0, len(content) - 1)))
    flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] if content else b"x"
    without = {k: v for k, v in tree.items() if k != name}
    others = [tree | {name: flipped}, tree | {name: content + b"\0"}, without | {f"{name}~": content}]
    assert before not in {digest_of_tree(other) for other in others}


def test_the_digest_is_what_its_definition_says() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    # printf '[["a",0,"%s"]]' $empty | sha256sum
    expected = "sha256:ac67ea854cfecbae2b931af9ef75a29f37bd8b2f3cff661ec3c3c791552b41d5"
    assert tree_digest({"a": FileEntry(0, empty)}) == expected
    assert digest_of_tree({"a": b""}) == expected


def test_only_what_tools_leave_at_the_top_does_not_count(tmp_path: Path) -> None:
    plant(tmp_path, {"a": b"1"})
    before = take_snapshot(tmp_path, "r")
    plant(tmp_path, {".git/HEAD": b"x", ".cache/huggingface/a.lock": b""})
    (tmp_path / "nothing").mkdir()
    os.utime(tmp_path / "a", (1, 1))
    assert take_snapshot(tmp_path, "r").digest == before.digest
    for name in ("README.md", ".gitattributes", "deep/.git/x"):
        plant(tmp_path, {name: b""})
        after = take_snapshot(tmp_path, "r")
        assert after.digest != before.digest
        assert name in after.files
        before = after


def test_a_link_inside_counts_as_its_content(tmp_path: Path) -> None:
    plain = plant(tmp_path / "plain", {"a": b"1", "b": b"1"})
    linked = plant(tmp_path / "linked", {"a": b"1"})
    (linked / "b").symlink_to("a")
    assert take_snapshot(plain, "r").digest == take_snapshot(linked, "r").digest


def test_a_hub_cache_is_its_files(tmp_path: Path) -> None:
    repository = plant(tmp_path / "models--a--b", {"blobs/123": b"weights"})
    pinned = repository / "snapshots" / ("0" * 40)
    pinned.mkdir(parents=True)
    (pinned / "model.safetensors").symlink_to("../../blobs/123")
    plain = plant(tmp_path / "plain", {"model.safetensors": b"weights"})
    assert take_snapshot(pinned, "r").digest == take_snapshot(plain, "r").digest
    shutil.move(tmp_path / "models--a--b" / "blobs", tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="a broken link"):
        take_snapshot(pinned, "r")


def test_links_elsewhere_need_leave(tmp_path: Path) -> None:
    plant(tmp_path, {"secret": b"s", "m/a": b"1"})
    (tmp_path / "m" / "b").symlink_to("../secret")
    with pytest.raises(ArtifactError, match=r"r: b is a link to .*secret, outside the folder"):
        take_snapshot(tmp_path / "m", "r")
    assert set(take_snapshot(tmp_path / "m", "r", root=tmp_path).files) == {"a", "b"}


@pytest.mark.parametrize("kind", ["nowhere", "circle", "folder", "pipe"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    plant(tmp_path, {"a": b"1", "d/x": b"1"})
    odd = tmp_path / "odd"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to({"nowhere": "missing", "circle": "odd", "folder": "d"}[kind])
    named = {"nowhere": "a broken link", "circle": "a broken link", "folder": "a link to a folder", "pipe": "neither"}
    with pytest.raises(ArtifactError, match=f"r: odd is .*{named[kind]}"):
        take_snapshot(tmp_path, "r")


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name, named in (("none", "no such folder"), ("file", "a file"), ("empty", "is empty")):
        with pytest.raises(ArtifactError, match=named):
            take_snapshot(tmp_path / name, "r")


@pytest.mark.parametrize(("more", "unread"), [(0, set()), (1, {"large"})])
def test_a_preflight_leaves_large_files_of_a_large_folder_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int, unread: set[str]
) -> None:
    monkeypatch.setattr(snapshot, "PREFLIGHT_TREE_BYTES", 100)
    monkeypatch.setattr(snapshot, "PREFLIGHT_FILE_BYTES", 40)
    plant(tmp_path, {"large": b"x" * 41, "small": b"x" * 40, "rest": b"x" * (19 + more)})
    whole, quick = take_snapshot(tmp_path, "r"), take_snapshot(tmp_path, "r", skip_large=True)
    assert {name for name, entry in quick.files.items() if not entry.sha256} == unread
    assert quick.digest == ("" if unread else whole.digest)
    assert {name: entry.size for name, entry in quick.files.items()} == {"large": 41, "small": 40, "rest": 19 + more}
    assert all(entry.sha256 for entry in whole.files.values())
    assert set(quick.stamps) == set(whole.stamps) == {*whole.files, f"{tmp_path.resolve()}/"}


def test_what_the_policy_skips_is_named_and_does_not_count(tmp_path: Path) -> None:
    plant(tmp_path, {"a": b"1"})
    before = take_snapshot(tmp_path, "r").digest
    plant(tmp_path, {"optimizer.pt": b"x", "notes/a.md": b"x"})
    after = take_snapshot(tmp_path, "r", skip=["*.md"])
    assert (after.digest, after.ignored_files, set(after.files)) == (before, ("notes/a.md", "optimizer.pt"), {"a"})
    assert (after.reference, after.path) == ("r", tmp_path.resolve())


def test_a_folder_beside_blobs_is_a_hub_cache_only_below_snapshots(tmp_path: Path) -> None:
    plant(tmp_path, {"blobs/1": b"w", "snapshots/x/a": b"1", "others/x/a": b"1"})
    for parent in ("snapshots", "others"):
        (tmp_path / parent / "x" / "b").symlink_to("../../blobs/1")
    assert set(take_snapshot(tmp_path / "snapshots" / "x", "r").files) == {"a", "b"}
    with pytest.raises(ArtifactError, match="outside the folder"):
        take_snapshot(tmp_path / "others" / "x", "r")
