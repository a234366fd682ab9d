"""What is kept: used without asking, never trusted blindly, never removed from under a run, and bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.hub import COMMIT, HuggingFaceSource
from support.remote import digest, folder_site, serving, tree

from ftgate.artifacts import cache as cache_module
from ftgate.artifacts.cache import Cache
from ftgate.artifacts.cache_files import file_stamp, sha256
from ftgate.artifacts.resolve import Resolver, open_cache
from ftgate.config.policy import ArtifactSettings
from ftgate.errors import ArtifactError, ConfigurationError, DownloadError

FILES = {"model.safetensors": b"weights" * 1000, "config.json": b"{}"}


@pytest.fixture
def released(monkeypatch: Any) -> Any:
    """Lets go of every snapshot, as the end of a process does."""
    held: dict[Path, int] = {}
    monkeypatch.setattr(cache_module, "_IN_USE", held)

    def release() -> None:
        while held:
            os.close(held.popitem()[1])

    yield release
    release()


def home() -> Path:
    return Path(os.environ["FTGATE_CACHE"])


def test_a_commit_needs_no_second_look(hub: HuggingFaceSource, resolve: Any) -> None:
    first = resolve("hf://acme/bot", COMMIT)
    hub.api.asked.clear()
    assert resolve("hf://acme/bot", COMMIT) == first
    assert not hub.api.asked


def test_what_can_change_is_listed_again_but_not_fetched_again(resolve: Any) -> None:
    files = dict(FILES)
    with serving(folder_site(files)) as site:
        first = resolve(f"{site.url}/m/")
        site.sent.clear()
        assert resolve(f"{site.url}/m/") == first
        assert "/m/model.safetensors" not in site.sent
        files["config.json"] = b'{"other": 1}'
        second = resolve(f"{site.url}/m/")
        assert second.digest != first.digest
        assert tree(second.path) == files
        assert tree(first.path) == FILES, "who uses the first still has it"


def test_a_digest_says_that_no_look_is_needed(resolve: Any) -> None:
    with serving(folder_site(FILES)) as site:
        first = resolve(f"{site.url}/m/")
        site.asked.clear()
        assert resolve(f"{site.url}/m/", digest=first.digest) == first
        assert not site.asked


def test_offline_uses_what_is_there_and_asks_nobody(resolve: Any) -> None:
    with serving(folder_site(FILES)) as site:
        with pytest.raises(ArtifactError, match="not in the cache"):
            resolve(f"{site.url}/m/", offline=True)
        assert not site.asked
        first = resolve(f"{site.url}/m/")
        site.asked.clear()
        assert resolve(f"{site.url}/m/", offline=True) == first
        with pytest.raises(ArtifactError, match="but the files have"):
            resolve(f"{site.url}/m/", offline=True, digest="sha256:" + "0" * 64)
        assert not site.asked


def spoil(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "how", ["changed", "cut", "gone", "added", "linked", "record", "no record", "odd record", "record of another"]
)
def test_a_damaged_entry_is_noticed_and_fetched_again(resolve: Any, how: str, tmp_path: Path) -> None:
    with serving(folder_site(FILES)) as site:
        first = resolve(f"{site.url}/m/")
        weights, record = first.path / "model.safetensors", first.path.with_name(f"{first.path.name}.json")
        if how == "changed":
            spoil(weights, b"W" + FILES["model.safetensors"][1:])
        elif how == "cut":
            spoil(weights, FILES["model.safetensors"][:-1])
        elif how == "gone":
            weights.unlink()
        elif how == "added":
            (first.path / "more.safetensors").write_bytes(b"x")
        elif how == "linked":
            (tmp_path / "elsewhere").write_bytes(FILES["model.safetensors"])
            weights.unlink()
            weights.symlink_to(tmp_path / "elsewhere")
        elif how == "record":
            record.write_text("{")
        elif how == "no record":
            record.unlink()
        elif how == "odd record":
            record.write_text('{"files": [1]}')
        else:
            spoil(weights, b"other")
            entries = json.loads(record.read_text())["files"]
            entries["model.safetensors"] = [5, digest(b"other"), file_stamp(weights)]
            record.write_text(json.dumps({"files": entries}))
        site.sent.clear()
        again = resolve(f"{site.url}/m/")
        assert again == first
        assert tree(again.path) == FILES
        if "record" not in how:
            assert site.sent["/m/model.safetensors"] == len(FILES["model.safetensors"])


def test_a_record_with_one_flipped_bit_does_not_count(resolve: Any) -> None:
    """What a commit's record says is not listed again, so that it must be what was written."""
    with serving(folder_site(FILES)) as site:
        first = resolve(f"{site.url}/m/")
        (record,) = (home() / "names").glob("*.json")
        content = record.read_bytes()
        cache, key = open_cache(ArtifactSettings()), record.stem
        assert cache.lookup(key) is not None
        for position in range(len(content)):
            spoil(record, content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
            entry = cache.lookup(key)
            assert entry is None or (entry.digest, entry.ignored_files) == (first.digest, first.ignored_files), position
        spoil(record, content.replace(b', "checksum"', b', "x"'))
        assert cache.lookup(key) is not None, "an earlier version wrote none"


def test_a_file_whose_time_changed_is_read_and_kept(resolve: Any) -> None:
    with serving(folder_site(FILES)) as site:
        first = resolve(f"{site.url}/m/")
        os.utime(first.path / "config.json", (1, 1))
        site.sent.clear()
        assert resolve(f"{site.url}/m/") == first
        assert "/m/config.json" not in site.sent


def flip(path: Path) -> None:
    """Change one bit and set the time of change back, as a restored backup or a clumsy copy would have it."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    spoil(path, bytes(content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_size == before.st_size


def test_a_flipped_bit_behind_an_old_time_is_noticed(resolve: Any) -> None:
    with serving(folder_site(FILES)) as site:
        first = resolve(f"{site.url}/m/")
        flip(first.path / "model.safetensors")
        assert tree(resolve(f"{site.url}/m/").path) == FILES


def test_what_changes_while_it_is_read_is_noticed(resolve: Any, monkeypatch: Any) -> None:
    with serving(folder_site(FILES)) as site:
        first = resolve(f"{site.url}/m/")
        weights = first.path / "model.safetensors"
        os.utime(weights, (1, 1))

        def read_then_spoilt(path: Path) -> str:
            found = sha256(path)
            flip(path)
            return found

        with monkeypatch.context() as during:
            during.setattr(cache_module, "sha256", read_then_spoilt)
            resolve(f"{site.url}/m/")
        assert tree(first.path) != FILES
        assert tree(resolve(f"{site.url}/m/").path) == FILES


def rot(snapshot: Any, days: float) -> None:
    """Change one bit without a trace, as a disk does: what the record says is what the file looks like now."""
    weights, record = snapshot.path / "model.safetensors", snapshot.path.with_name(f"{snapshot.path.name}.json")
    flip(weights)
    known = json.loads(record.read_text())
    known["files"]["model.safetensors"][2] = file_stamp(weights)
    known["read"] = time.time() - days * 86_400
    record.write_text(json.dumps(known))


@pytest.mark.parametrize(
    ("settings", "runner", "found"),
    [
        ({}, None, False),
        ({"verify_days": 6}, None, True),
        ({"verify_days": 0}, None, True),
        ({"verify_days": 7}, "0", True),
        ({"verify_days": 6}, "7", False),
    ],
)
def test_what_rots_without_a_trace_is_found_when_all_is_read_again(
    resolve: Any, released: Any, monkeypatch: Any, settings: Any, runner: str | None, found: bool
) -> None:
    with serving(folder_site(FILES)) as site:
        first = resolve(f"{site.url}/m/")
        rot(first, days=6.5)
        released()
        if runner is not None:
            monkeypatch.setenv("FTGATE_VERIFY_DAYS", runner)
        assert (tree(resolve(f"{site.url}/m/", **settings).path) == FILES) is found


def test_a_copy_that_was_read_is_believed_again_for_as_long(resolve: Any, released: Any, monkeypatch: Any) -> None:
    with serving(folder_site(FILES)) as site:
        first = resolve(f"{site.url}/m/")
        record = first.path.with_name(f"{first.path.name}.json")
        for read in (0.0, time.time() + 9999):  # long ago, and by a clock that was wrong
            record.write_text(json.dumps({**json.loads(record.read_text()), "read": read}))
            released()
            assert resolve(f"{site.url}/m/") == first
            assert abs(json.loads(record.read_text())["read"] - time.time()) < 60
        monkeypatch.setattr(cache_module, "sha256", lambda path: pytest.fail(f"{path} is read"))
        released()
        assert resolve(f"{site.url}/m/") == first


def test_a_record_of_an_older_version_means_one_more_look(resolve: Any, released: Any) -> None:
    with serving(folder_site(FILES)) as site:
        first = resolve(f"{site.url}/m/")
        record = first.path.with_name(f"{first.path.name}.json")
        entries = json.loads(record.read_text())["files"]
        record.write_text(json.dumps({"files": {name: [e[0], e[1], e[2][1]] for name, e in entries.items()}}))
        released()
        site.sent.clear()
        assert resolve(f"{site.url}/m/") == first
        assert "/m/model.safetensors" not in site.sent


HOLD = """
import sys
from pathlib import Path
from ftgate.artifacts.cache import Cache
assert Cache(Path(sys.argv[1]), 10**9).acquire(sys.argv[2], "it") is not None
print("held", flush=True)
sys.stdin.read()
"""


def test_a_damaged_entry_that_another_run_uses_is_left_alone(resolve: Any, released: Any) -> None:
    with serving(folder_site(FILES)) as site:
        first = resolve(f"{site.url}/m/")
        with held_elsewhere(first.digest):
            spoil(first.path / "config.json", b"[]")
            with pytest.raises(DownloadError, match="in use by another run"):
                resolve(f"{site.url}/m/")
            assert (first.path / "model.safetensors").exists()
        assert tree(resolve(f"{site.url}/m/").path) == FILES


class held_elsewhere:  # noqa: N801 - reads as a function
    """A process that uses a snapshot."""

    def __init__(self, digest: str) -> None:
        command = [sys.executable, "-c", HOLD, str(home()), digest]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def site_of(kind: str, size: int) -> dict[str, bytes]:
    return {"model.safetensors": kind.encode() * size}


def test_what_was_used_longest_ago_makes_room(resolve: Any, released: Any) -> None:
    kept = {}
    for kind in "abc":
        with serving(folder_site(site_of(kind, 400_000))) as site:
            kept[kind] = resolve(f"{site.url}/m/", cache_gb=0.0013)
        time.sleep(0.02)
    released()
    cache = Cache(home(), 1_300_000)
    assert cache.acquire(kept["a"].digest, "a") is not None, "a is used again, so b is the oldest"
    released()
    with serving(folder_site(site_of("d", 400_000))) as site:
        kept["d"] = resolve(f"{site.url}/m/", cache_gb=0.0013)
    assert [kind for kind in "abcd" if kept[kind].path.exists()] == ["a", "c", "d"]


def test_what_is_in_use_stays_whoever_uses_it(resolve: Any, released: Any) -> None:
    with serving(folder_site(site_of("a", 400_000))) as site:
        first = resolve(f"{site.url}/m/", cache_gb=0.0005)
    released()
    with held_elsewhere(first.digest), serving(folder_site(site_of("b", 400_000))) as site:
        second = resolve(f"{site.url}/m/", cache_gb=0.0005)
        assert first.path.exists()
    with serving(folder_site(site_of("c", 400_000))) as site:
        resolve(f"{site.url}/m/", cache_gb=0.0005)
    assert not first.path.exists(), "nobody uses it any more"
    assert second.path.exists(), "this process does"


def test_what_never_fits_is_refused_at_once(resolve: Any) -> None:
    with serving(folder_site(site_of("a", 400_000))) as site:
        with pytest.raises(DownloadError, match="do not fit into the cache") as caught:
            resolve(f"{site.url}/m/", cache_gb=0.0001)
        assert "FTGATE_CACHE_GB" in caught.value.hint
        assert "/m/model.safetensors" not in site.sent


def test_another_policy_has_other_limits(resolve: Any) -> None:
    with serving(folder_site(site_of("a", 400_000))) as site:
        first = resolve(f"{site.url}/m/")
        with pytest.raises(ArtifactError, match="more than 10,000 bytes"):
            resolve(f"{site.url}/m/", digest=first.digest, max_gb=1e-5)


@pytest.mark.parametrize("record", ["{", "[]", "{}", '{"digest": 1}', "null"])
def test_a_damaged_name_is_looked_up_again(resolve: Any, record: str) -> None:
    with serving(folder_site(FILES)) as site:
        first = resolve(f"{site.url}/m/")
        for name in (home() / "names").iterdir():
            name.write_text(record)
        assert resolve(f"{site.url}/m/") == first


def test_an_abandoned_download_makes_room_too(resolve: Any) -> None:
    cache = Cache(home(), 500_000)
    with cache.download_folder("a" * 40, lambda: None) as folder:
        (folder / "part").write_bytes(b"x" * 400_000)
        cache.make_room(200_000, "other")
        assert folder.exists(), "someone is fetching it"
    cache.make_room(200_000, "other")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("environment", "setting", "found"),
    [
        ({"FTGATE_CACHE": "/big/cache", "XDG_CACHE_HOME": "/x"}, "/policy", "/big/cache"),
        ({"XDG_CACHE_HOME": "/x"}, "/policy", "/policy"),
        ({"XDG_CACHE_HOME": "/x"}, None, "/x/ftgate"),
        ({"XDG_CACHE_HOME": "relative"}, None, "~/.cache/ftgate"),
        ({}, None, "~/.cache/ftgate"),
    ],
)
def test_where_the_cache_is(environment: dict[str, str], setting: str | None, found: str) -> None:
    settings = ArtifactSettings(cache=setting)
    assert open_cache(settings, environment.get).root == Path(found).expanduser()


@pytest.mark.parametrize(
    "environment", [{"FTGATE_CACHE": "cache"}, {"FTGATE_CACHE_GB": "many"}, {"FTGATE_CACHE_GB": "-1"}]
)
def test_a_cache_that_a_pull_request_could_fill_or_that_has_no_size(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"FTGATE_CACHE|the cache"):
        open_cache(ArtifactSettings(), environment.get)


def test_who_has_no_home_needs_a_cache_only_for_what_is_kept_in_it(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("HOME", "FTGATE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 5)  # nobody whom the system knows
    (tmp_path / "bot").mkdir()
    (tmp_path / "bot" / "model.safetensors").write_bytes(b"x")
    resolver = Resolver(ArtifactSettings(allow=("*",)), tmp_path)
    assert resolver.snapshot("bot", relative_to=tmp_path).path == tmp_path / "bot"
    (tmp_path / "bot" / "optimizer.pt").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="no folder for the cache") as caught:
        resolver.snapshot("bot", relative_to=tmp_path)
    assert "FTGATE_CACHE" in caught.value.hint


def test_a_cache_that_cannot_be_made(tmp_path: Path, monkeypatch: Any, resolve: Any) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FTGATE_CACHE", str(tmp_path / "file" / "cache"))
    with serving(folder_site(FILES)) as site, pytest.raises(DownloadError, match="cannot write"):
        resolve(f"{site.url}/m/")
