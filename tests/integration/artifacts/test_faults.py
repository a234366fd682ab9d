"""Networks that cut, servers that lie or are busy, disks that are full, runs that are killed or meet each other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.hub import COMMIT, HuggingFaceSource
from support.remote import Asked, Fault, Reply, Server, digest, folder_site, serving, tree

from ftgate.artifacts.download import MAX_ATTEMPTS
from ftgate.errors import ArtifactError, DownloadError

from .conftest import make_resolver

BIG = np.random.default_rng(3).bytes(1_500_000)
FILES = {"model.safetensors": BIG, "config.json": b"{}", "second.safetensors": BIG[::-1]}


@pytest.fixture
def site() -> Any:
    """A folder of three files, two of them of 1.5 MB."""
    with serving(folder_site(FILES)) as found:
        yield found


def test_a_cut_download_goes_on_where_it_broke_off(site: Server, resolve: Any) -> None:
    site.faults["/m/model.safetensors"] = Fault(cut_after=700_000, times=2)
    assert tree(resolve(f"{site.url}/m/").path) == FILES
    assert site.sent["/m/model.safetensors"] == len(BIG), "no byte was sent twice"
    ranges = [a.headers.get("Range") for a in site.asked if a.path == "/m/model.safetensors" and a.method == "GET"]
    assert ranges[0] is None
    assert all(ranges[1:])


def test_a_cut_download_from_the_hubs_content_network_goes_on(monkeypatch: Any, resolve: Any) -> None:
    hub = HuggingFaceSource(FILES)
    monkeypatch.setenv("HF_ENDPOINT", hub.api.url)
    hub.cdn.faults[f"/blob/{digest(BIG)}"] = Fault(cut_after=900_000)
    assert tree(resolve("hf://acme/bot", COMMIT).path) == FILES
    assert hub.cdn.sent[f"/blob/{digest(BIG)}"] == len(BIG)
    hub.close()


def test_more_cuts_than_tries_do_not_matter_while_each_brings_something(site: Server, resolve: Any) -> None:
    site.faults["/m/model.safetensors"] = Fault(cut_after=100_000, times=MAX_ATTEMPTS + 4)
    assert tree(resolve(f"{site.url}/m/").path) == FILES
    assert site.sent["/m/model.safetensors"] == len(BIG)


def test_a_server_without_ranges_starts_again(resolve: Any) -> None:
    with serving(folder_site(FILES), ranges=False) as site:
        site.faults["/m/model.safetensors"] = Fault(cut_after=700_000)
        assert tree(resolve(f"{site.url}/m/").path) == FILES
        assert site.sent["/m/model.safetensors"] == 700_000 + len(BIG)


def test_a_file_that_changed_meanwhile_is_not_continued(resolve: Any) -> None:
    files = dict(FILES)
    with serving(folder_site(files, sums=False)) as site:
        site.faults["/m/model.safetensors"] = Fault(cut_after=700_000, change=lambda c: changed(files, c))
        try:
            snapshot = resolve(f"{site.url}/m/")
        except DownloadError:
            return
        assert (snapshot.path / "model.safetensors").read_bytes() == files["model.safetensors"]


def changed(files: dict[str, bytes], content: bytes) -> bytes:
    """Send the old content, and have another one from now on."""
    files["model.safetensors"] = BIG[:700_000][::-1] + BIG[700_000:]
    return content


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_server_is_asked_again(site: Server, resolve: Any, status: int) -> None:
    site.faults["/m/config.json"] = Fault(status=status, times=3)
    assert tree(resolve(f"{site.url}/m/").path) == FILES


def test_a_server_that_names_a_pause_gets_it(site: Server, resolve: Any) -> None:
    site.faults["/m/config.json"] = Fault(status=503, headers={"Retry-After": "1"})
    started = time.monotonic()
    resolve(f"{site.url}/m/")
    assert time.monotonic() - started >= 1


@pytest.fixture
def impatient(monkeypatch: Any) -> None:
    """Two hundred bytes in a fifth of a second are enough."""
    monkeypatch.setattr("ftgate.artifacts.sources.base.RATE_WINDOW", 0.2)


def test_a_server_that_drips_is_left_and_asked_again(site: Server, resolve: Any, impatient: None) -> None:
    site.faults["/m/model.safetensors"] = Fault(drip=0.02, times=2)
    started = time.monotonic()
    assert tree(resolve(f"{site.url}/m/").path) == FILES
    assert time.monotonic() - started < 10
    assert site.sent["/m/model.safetensors"] < len(BIG) + 1000, "what had come was kept"


def test_a_server_that_drips_for_ever_is_given_up(site: Server, resolve: Any, impatient: None) -> None:
    site.faults["/m/model.safetensors"] = Fault(drip=0.02, times=1000)
    with pytest.raises(
        DownloadError, match=rf"only \d+ bytes per second for 0 seconds \({MAX_ATTEMPTS} attempts in a row\)"
    ):
        resolve(f"{site.url}/m/")


def test_a_server_that_drips_and_cuts_is_given_up_too(site: Server, resolve: Any) -> None:
    site.faults["/m/model.safetensors"] = Fault(drip=0.02, cut_after=5, times=1000)
    with pytest.raises(DownloadError, match=rf"\({MAX_ATTEMPTS} attempts in a row\)"):
        resolve(f"{site.url}/m/")


def test_a_listing_that_drips_is_given_up(resolve: Any, impatient: None) -> None:
    with serving(folder_site(FILES)) as site:
        site.faults["/m/SHA256SUMS"] = Fault(drip=0.02, times=1000)
        with pytest.raises(DownloadError, match=r"SHA256SUMS: only \d+ bytes per second"):
            resolve(f"{site.url}/m/")


def test_a_small_file_of_a_hub_is_what_git_says(monkeypatch: Any, resolve: Any) -> None:
    hub = HuggingFaceSource({"config.json": b'{"a": 1}'})
    monkeypatch.setenv("HF_ENDPOINT", hub.api.url)
    at = f"/acme/bot/resolve/{COMMIT}/config.json"
    hub.api.faults[at] = Fault(change=lambda c: c.replace(b"1", b"2"))
    assert tree(resolve("hf://acme/bot", COMMIT, skip=["a"]).path) == {"config.json": b'{"a": 1}'}, "asked once more"
    hub.api.faults[at] = Fault(change=lambda c: c.replace(b"1", b"2"), times=1000)
    with pytest.raises(DownloadError, match="its git blob id is"):
        resolve("hf://acme/bot", COMMIT, skip=["b"])
    hub.close()


def test_a_server_that_stays_broken_is_given_up(site: Server, resolve: Any) -> None:
    site.faults["/m/config.json"] = Fault(status=500, times=1000)
    with pytest.raises(DownloadError, match=rf"500 \({MAX_ATTEMPTS} attempts in a row\)") as caught:
        resolve(f"{site.url}/m/")
    assert caught.value.exit_code == 3
    assert not list((Path(os.environ["FTGATE_CACHE"]) / "trees").iterdir())


@pytest.mark.parametrize(
    ("status", "message"), [(401, "not authorised"), (403, "access refused"), (404, "not found"), (410, "not found")]
)
def test_a_refusal_is_final(site: Server, resolve: Any, status: int, message: str) -> None:
    site.faults["/m/config.json"] = Fault(status=status, times=1000)
    with pytest.raises(ArtifactError, match=message) as caught:
        resolve(f"{site.url}/m/")
    assert "config.json" in caught.value.message
    assert caught.value.exit_code == 2
    assert len([a for a in site.asked if a.path == "/m/config.json" and a.method == "GET"]) == 1


def test_nobody_there(resolve: Any) -> None:
    server = Server(folder_site(FILES))
    server.close()
    with pytest.raises(DownloadError, match="the connection failed"):
        resolve(f"{server.url}/m/")


@pytest.mark.parametrize("length", [-1, 1])
def test_a_wrong_length_is_noticed(length: int, resolve: Any) -> None:
    with serving(folder_site(FILES, sums=False)) as site:
        change = (lambda c: c[:length]) if length < 0 else (lambda c: c + b"x")
        site.faults["/m/model.safetensors"] = Fault(change=change, times=1000)
        with pytest.raises(DownloadError, match=r"ended after|longer than|connection failed|server answered 416"):
            resolve(f"{site.url}/m/")


def test_a_wrong_checksum_is_noticed_and_the_file_fetched_once_more(site: Server, resolve: Any) -> None:
    site.faults["/m/model.safetensors"] = Fault(change=lambda c: b"x" + c[1:])
    assert tree(resolve(f"{site.url}/m/").path) == FILES
    assert site.sent["/m/model.safetensors"] == 2 * len(BIG)


def test_a_checksum_that_stays_wrong_is_an_error(site: Server, resolve: Any) -> None:
    site.faults["/m/model.safetensors"] = Fault(change=lambda c: b"x" + c[1:], times=1000)
    with pytest.raises(DownloadError, match=f"but {digest(BIG)} is listed"):
        resolve(f"{site.url}/m/")
    assert site.sent["/m/model.safetensors"] == 2 * len(BIG)


def test_a_digest_is_enforced_before_anything_is_fetched_where_the_source_knows_digests(
    site: Server, resolve: Any
) -> None:
    with pytest.raises(ArtifactError, match="but the files have sha256:"):
        resolve(f"{site.url}/m/", digest="sha256:" + "0" * 64)
    assert not [a for a in site.asked if a.method == "GET" and a.path != "/m/SHA256SUMS"]


def test_a_digest_is_enforced_afterwards_where_it_does_not(resolve: Any) -> None:
    with serving(folder_site(FILES, sums=False)) as site:
        with pytest.raises(ArtifactError, match="but the files have sha256:"):
            resolve(f"{site.url}/m/", digest="sha256:" + "0" * 64)
        found = resolve(f"{site.url}/m/").digest
        assert resolve(f"{site.url}/m/", digest=found).digest == found


RUN = """
import json, sys
from pathlib import Path
from ftgate.artifacts.resolve import Resolver
from ftgate.config.policy import ArtifactSettings
settings = ArtifactSettings(allow=("http://**",), redirect_hosts=("127.0.0.1:*",))
notes = []
found = Resolver(settings, Path.cwd(), note=notes.append).snapshot(sys.argv[1], relative_to=Path.cwd())
print(json.dumps({"digest": found.digest, "notes": notes, "torch": "torch" in sys.modules}))
"""


def start(reference: str) -> subprocess.Popen[str]:
    """Resolve in a process of its own, which hears interrupts also where a shell runs the tests in the background."""
    command = [sys.executable, "-c", RUN, reference]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )


def test_a_killed_download_goes_on_without_fetching_finished_files_again() -> None:
    small = {f"part{i}.safetensors": BIG[i * 1000 : i * 1000 + 50_000] for i in range(6)}
    files = {**small, "model.safetensors": BIG}
    with serving(folder_site(files), slow=0.01) as site:
        process = start(f"{site.url}/m/")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not all(site.sent[f"/m/{name}"] == len(c) for name, c in small.items()):
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = dict(site.sent)
        assert 0 < before["/m/model.safetensors"] < len(BIG), "killed in the middle"
        site.slow = 0.0
        output, _ = start(f"{site.url}/m/").communicate(timeout=60)
        assert json.loads(output)["torch"] is False
        assert all(site.sent[f"/m/{name}"] == len(content) for name, content in small.items())
        # What was on its way when the process died is lost: at most what fits into the buffers of the connection.
        assert site.sent["/m/model.safetensors"] - len(BIG) < before["/m/model.safetensors"]
        resumed = [a.headers.get("Range") for a in site.asked if a.path == "/m/model.safetensors" and a.method == "GET"]
        assert resumed[0] is None
        assert resumed[1] is not None
        kept = int(resumed[1].removeprefix("bytes=").rstrip("-"))
        assert 0 < kept <= before["/m/model.safetensors"]


def test_two_processes_that_want_the_same_fetch_it_once() -> None:
    with serving(folder_site(FILES), slow=0.03) as site:  # three seconds, in which both start
        both = [start(f"{site.url}/m/") for _ in range(2)]
        results = [json.loads(process.communicate(timeout=60)[0]) for process in both]
        assert results[0]["digest"] == results[1]["digest"]
        assert {name: site.sent[f"/m/{name}"] for name in FILES} == {name: len(c) for name, c in FILES.items()}
        assert any(
            "waiting for another process that downloads it" in note for result in results for note in result["notes"]
        )


def test_a_full_disk_is_named_and_leaves_no_half_snapshot(tmp_path: Path, monkeypatch: Any, resolve: Any) -> None:
    small = tmp_path / "small"
    small.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.decode().strip()}")
    try:
        monkeypatch.setenv("FTGATE_CACHE", str(small / "cache"))
        with serving(folder_site(FILES)) as site:
            with pytest.raises(DownloadError, match=r"needs [0-9,]+ bytes") as caught:
                resolve(f"{site.url}/m/")
            assert site.sent["/m/model.safetensors"] == 0
            assert "FTGATE_CACHE" in caught.value.hint
        with serving(without_lengths()) as site:
            with pytest.raises(DownloadError, match="the disk is full") as caught:
                resolve(f"{site.url}/m/")
            assert not list((small / "cache" / "trees").iterdir())
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


def test_a_whole_file_of_unknown_length_does_not_block_the_next_run(resolve: Any) -> None:
    true = folder_site(FILES, sums=False)
    with serving(lambda asked: replace(true(asked), sized=False)) as site:
        site.faults["/m/second.safetensors"] = Fault(status=503, headers={"Retry-After": "0.2"}, times=MAX_ATTEMPTS)
        with pytest.raises(DownloadError, match="answered 503"):
            resolve(f"{site.url}/m/")
        assert tree(resolve(f"{site.url}/m/").path) == FILES
        assert f"bytes={len(BIG)}-" in [a.headers.get("Range") for a in site.asked], "which no server can give"


def test_files_of_unknown_length_keep_to_the_size_of_the_cache(resolve: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("ftgate.artifacts.fetch._EVICTION_STEP", 1)
    with serving(without_lengths()) as site, pytest.raises(DownloadError, match="do not fit into the cache"):
        resolve(f"{site.url}/m/", cache_gb=0.002)


def without_lengths() -> Callable[[Asked], Reply]:
    """A server that tells no length beforehand."""
    true = folder_site(FILES)
    return lambda asked: replace(true(asked), sized=False)


def test_an_interrupt_stops_all_threads(tmp_path: Path) -> None:
    with serving(folder_site(FILES), slow=0.05) as site:
        process = start(f"{site.url}/m/")
        while not site.sent["/m/model.safetensors"]:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) != 0


def test_progress_counts_every_megabyte_once(site: Server, tmp_path: Path) -> None:
    told: list[Any] = []

    @contextmanager
    def phase(name: str, total: int | None) -> Any:
        told.append((name, total))
        yield lambda steps: told.append(steps)

    site.faults["/m/model.safetensors"] = Fault(cut_after=700_000)
    resolver = replace(make_resolver(tmp_path), phase=phase)
    resolver.snapshot(f"{site.url}/m/", relative_to=tmp_path)
    assert told[0] == (f"fetch {site.url}/m/ (MB)", 3)
    assert sum(told[1:]) == 3


def test_threads_share_one_cache(site: Server, resolve: Any) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(resolve(f"{site.url}/m/").digest)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert site.sent["/m/model.safetensors"] == len(BIG)
