"""A stranger names what is fetched: nothing that runs, nothing outside its folder, no secret to anyone else."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.forge import GITHUB_TOKEN, LOGIN, REGISTRY_TOKEN, Forge, Registry, taped, zipped
from support.hub import COMMIT, TOKEN, HuggingFaceSource
from support.remote import Asked, Fault, Reply, Server, folder_site, serving, tree

from ftgate.errors import ArtifactError, FtgateError

from .conftest import AWS_SECRET, log_in

WEIGHTS = {"model.safetensors": b"x" * 1000}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("modeling_bot.py", "code in a model snapshot"),
        ("lib/kernel.so", "code in a model snapshot"),
        ("pytorch_model.bin", "can run code"),
        ("original/consolidated.00.pth", "can run code"),
        ("bot.gguf", "GGUF found; only safetensors is supported"),
        ("OPTIMIZER.PT", "can run code"),
    ],
)
def test_code_and_pickles_in_the_listing_are_refused_unfetched(resolve: Any, name: str, message: str) -> None:
    with serving(folder_site({**WEIGHTS, name: b"\x80\x04."})) as site:
        with pytest.raises(ArtifactError, match=message) as caught:
            resolve(f"{site.url}/m/")
        assert "artifacts.skip" in caught.value.hint
        assert set(site.sent) == {"/m/SHA256SUMS"}
        found = resolve(f"{site.url}/m/", skip=["*.py", "*.so", "*.bin", "original/*", "*.gguf", "*.PT"])
        assert tree(found.path) == WEIGHTS
        assert f"/m/{name}" not in site.sent, "what is left aside is not fetched either"


def test_what_tools_leave_behind_is_no_part_of_the_tree(resolve: Any, tmp_path: Path) -> None:
    left = {".cache/huggingface/x.lock": b"", ".git/config": b"x"}
    with serving(folder_site({**WEIGHTS, **left})) as site:
        assert tree(resolve(f"{site.url}/m/").path) == WEIGHTS


def test_too_many_files_and_too_many_bytes(resolve: Any) -> None:
    with serving(folder_site({f"{i}.json": b"1" * 1000 for i in range(20)})) as site:
        with pytest.raises(ArtifactError, match="20 files, but the policy allows 10"):
            resolve(f"{site.url}/m/", max_files=10)
        with pytest.raises(ArtifactError, match="more than 10,000 bytes"):
            resolve(f"{site.url}/m/", max_gb=1e-5)
        assert not any(name.endswith(".json") for name in site.sent)


def test_bytes_that_nobody_announced_are_counted(resolve: Any) -> None:
    true = folder_site({"a.json": b"1" * 100_000}, sums=False)
    with serving(lambda asked: replace(true(asked), sized=False)) as site, pytest.raises(ArtifactError) as caught:
        resolve(f"{site.url}/m/", max_gb=1e-5)
    assert "more than 10,000 bytes" in caught.value.message


@pytest.mark.parametrize("name", ["../up.json", "/abs.json", "a\\b.json", "CON.json", "a/../b.json"])
def test_names_in_a_listing_that_lead_elsewhere(resolve: Any, name: str) -> None:
    with serving(lambda a: Reply(f"{'0' * 64}  {name}\n".encode()) if "SUMS" in a.path else Reply(b"x")) as site:
        with pytest.raises(ArtifactError):
            resolve(f"{site.url}/m/")
        assert len(site.asked) == 1, "no such name was asked for"


def test_names_that_collide_on_the_hub(monkeypatch: Any, resolve: Any) -> None:
    hub = HuggingFaceSource({"config.json": b"{}", "Config.json": b"[]"})
    monkeypatch.setenv("HF_ENDPOINT", hub.api.url)
    with pytest.raises(ArtifactError, match="the same name if case is ignored"):
        resolve("hf://acme/bot", COMMIT)
    hub.close()


def link_zip(target: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("model.safetensors")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, target)
    return out.getvalue()


def special_tar(kind: bytes, link: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("model.safetensors")
        info.type, info.linkname = kind, link
        archive.addfile(info)
    return out.getvalue()


def endless_header() -> bytes:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 33
    return info.tobuf() + b"\0" * 10_240


def encrypted_zip() -> bytes:
    content = bytearray(zipped({"config.json": b"{}"}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


BAD_ARCHIVES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "zip up": ("zip", lambda: zipped({"../evil.json": b"x"}), "a path with '..'"),
    "zip deep up": ("zip", lambda: zipped({"a/../../evil.json": b"x"}), "a path with '..'"),
    "zip absolute": ("zip", lambda: zipped({"/etc/evil.json": b"x"}), "not a relative path"),
    "zip backslash": ("zip", lambda: zipped({"..\\evil.json": b"x"}), "backslash"),
    "zip nul": ("zip", lambda: zipped({"a.json": b"x"}).replace(b"a.json", b"a\0json"), "control character"),
    "zip link": ("zip", lambda: link_zip("/etc/passwd"), "link or a device"),
    "zip case": ("zip", lambda: zipped({"a.json": b"x", "A.json": b"y"}), "same name if case is ignored"),
    "zip drive": ("zip", lambda: zipped({"c:/evil.json": b"x"}), "reserve"),
    "zip file and folder": ("zip", lambda: zipped({"a": b"x", "a/b": b"y"}), "both a file and a folder"),
    "zip encrypted": ("zip", encrypted_zip, "is encrypted"),
    "zip bomb": ("zip", lambda: zipped({"a.safetensors": b"\0" * 40_000_000}), "unpacks to more than"),
    "zip with code": ("zip", lambda: zipped({"config.json": b"{}", "x.py": b""}), "code in a model snapshot"),
    "zip with pickle": ("zip", lambda: zipped({"config.json": b"{}", "x.bin": b""}), "can run code"),
    "zip damaged": ("zip", lambda: zipped({"a.json": os.urandom(5000)})[:3000], "damaged archive"),
    "zip spoilt": ("zip", lambda: zipped({"a.json": b"abc" * 99}).replace(b"a.json", b"b.json", 1), "damaged archive"),
    "zip of names": ("zip", lambda: zipped({f"{i}.json": b"" for i in range(20_000)}), "more than 500 files"),
    "zip empty": ("zip", lambda: zipped({}), "no files"),
    "no archive": ("zip", lambda: b"hello" * 99, "damaged archive"),
    "tar up": ("tar", lambda: taped({"../evil.json": b"x"}, mode="w"), "a path with '..'"),
    "tar absolute": ("tar", lambda: taped({"/etc/evil.json": b"x"}, mode="w"), "not a relative path"),
    "tar link": ("tar", lambda: special_tar(tarfile.SYMTYPE, "/etc/passwd"), "link or a device"),
    "tar hard link": ("tar", lambda: special_tar(tarfile.LNKTYPE, "/etc/passwd"), "link or a device"),
    "tar device": ("tar", lambda: special_tar(tarfile.CHRTYPE), "link or a device"),
    "tar pipe": ("tar", lambda: special_tar(tarfile.FIFOTYPE), "link or a device"),
    "tar bomb": ("tar.gz", lambda: taped({"a.safetensors": b"\0" * 40_000_000}), "unpacks to more than"),
    "tar header": ("tar", endless_header, "damaged archive"),
    "tar cut": ("tar.gz", lambda: taped({"a.json": os.urandom(90_000)})[:50_000], "damaged archive"),
    "tar twice": ("tar", lambda: taped({"a": b"x"}, mode="w")[:1024] + taped({"a": b"y"}, mode="w"), "the same name"),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_bad_archives(resolve: Any, tmp_path: Path, case: str) -> None:
    ending, make, message = BAD_ARCHIVES[case]
    before = {p for p in tmp_path.rglob("*") if "cache" not in p.parts}
    with serving(folder_site({f"bot.{ending}": make()})) as site, pytest.raises(ArtifactError, match=message):
        resolve(f"{site.url}/m/bot.{ending}")
    assert {p for p in tmp_path.rglob("*") if "cache" not in p.parts} == before, "nothing is written anywhere else"
    assert not list((tmp_path / "cache" / "trees").iterdir())


def test_an_archive_of_too_much(resolve: Any) -> None:
    archive = zipped({"a.safetensors": b"abc" * 20_000})
    with serving(folder_site({"bot.zip": archive})) as site, pytest.raises(ArtifactError) as caught:
        resolve(f"{site.url}/m/bot.zip", max_gb=4e-5)
    assert "unpacks to more than 40,000 bytes" in caught.value.message


def test_redirects_stay_on_allowed_hosts(files: dict[str, bytes], monkeypatch: Any, resolve: Any) -> None:
    hub = HuggingFaceSource(files)
    monkeypatch.setenv("HF_ENDPOINT", hub.api.url)
    with pytest.raises(ArtifactError, match=f"redirects to {hub.cdn.host}, which is not an allowed host") as caught:
        resolve("hf://acme/bot", COMMIT, redirect_hosts=[])
    assert "SIGNED" not in str(caught.value)
    assert not hub.cdn.asked
    assert resolve("hf://acme/bot", COMMIT, redirect_hosts=[hub.cdn.host])
    hub.close()


@pytest.mark.parametrize("target", ["http://evil.example/x", "ftp://evil.example/x", "http://169.254.169.254/latest"])
def test_redirects_to_anything_else_are_refused(resolve: Any, target: str) -> None:
    with serving(lambda _: Reply(status=302, headers={"Location": target})) as site, pytest.raises(ArtifactError):
        resolve(f"{site.url}/m/model.zip", redirect_hosts=["*"])


def test_a_circle_of_redirects_ends(resolve: Any) -> None:
    with serving(lambda a: Reply(status=302, headers={"Location": a.path})) as site, pytest.raises(ArtifactError) as e:
        resolve(f"{site.url}/m/model.zip")
    assert "too many or invalid redirects" in e.value.message


def test_the_registry_may_not_choose_who_gets_the_login(registry: Registry, resolve: Any) -> None:
    with serving(lambda _: Reply(b"{}")) as thief:
        true = registry.api.reply

        def reply(asked: Asked) -> Reply:
            found = true(asked)
            if found.status == 401:
                return Reply(status=401, headers={"WWW-Authenticate": f'Bearer realm="{thief.url}/token"'})
            return found

        registry.api.reply = reply
        with pytest.raises(ArtifactError, match=r"login server .* is not an allowed host"):
            resolve(f"oci://{registry.api.host}/acme/bot:v1", redirect_hosts=[])
        assert not thief.asked


def test_a_login_is_for_its_own_registry(registry: Registry, resolve: Any, tmp_path: Path) -> None:
    for other in ("https://index.docker.io/v1/", "127.0.0.1", f"{registry.api.host}0", "docker.io"):
        log_in(tmp_path, registry, other)
        with pytest.raises(ArtifactError, match="not authorised"):
            resolve(f"oci://{registry.api.host}/acme/bot:v1")
    assert not [asked for asked in registry.api.asked if "Authorization" in asked.headers]


SECRETS = (TOKEN, GITHUB_TOKEN, REGISTRY_TOKEN, LOGIN, AWS_SECRET, "averysecret", "SIGNED")


def written(folder: Path) -> bytes:
    """Everything that is in any file below ``folder``, and its name; the login that a test wrote itself aside."""
    found = [p for p in folder.rglob("*") if "docker" not in p.parts]
    return b"".join(str(p).encode() + (p.read_bytes() if p.is_file() else b"") for p in found)


def test_no_secret_is_written_shown_or_sent_to_another_host(
    hub: HuggingFaceSource,
    forge: Forge,
    registry: Registry,
    bucket: Any,
    resolve: Any,
    tmp_path: Path,
    capfd: Any,
    caplog: Any,
) -> None:
    caplog.set_level("DEBUG")
    said = []
    for fault in (None, Fault(status=403, times=99), Fault(status=500, times=99), Fault(cut_after=3, times=2)):
        for cdn in (hub.cdn, forge.cdn, registry.cdn):
            cdn.faults = {} if fault is None else {p: replace(fault) for p in {a.path for a in cdn.asked}}
        for reference in (
            f"hf://acme/bot@{COMMIT}",
            "github://acme/bot/actions/artifacts/7",
            f"oci://{registry.api.host}/acme/bot:v1",
            "s3://models/bot/v1",
            "s3://nobucket/x",
        ):
            try:
                resolve(
                    reference, skip=[str(len(said))]
                )  # another listing each time, so nothing is taken from the cache
                said.append(reference)
            except FtgateError as error:
                said.append(repr(error) + str(error))
    out, err = capfd.readouterr()
    shown = "".join(said) + out + err
    for server in (hub.cdn, forge.cdn, registry.cdn):
        assert server.asked
        assert not [a for a in server.asked if "Authorization" in a.headers]
    for secret in SECRETS:
        assert secret not in shown
        assert secret.encode() not in written(tmp_path)
        assert secret not in caplog.text


def test_the_credentials_do_reach_their_own_host(hub: HuggingFaceSource, forge: Forge, resolve: Any) -> None:
    resolve("hf://acme/bot", COMMIT)
    resolve("github://acme/bot/actions/artifacts/7")
    assert {a.headers.get("Authorization") for a in hub.api.asked} == {f"Bearer {TOKEN}"}
    assert {a.headers.get("Authorization") for a in forge.api.asked} == {f"Bearer {GITHUB_TOKEN}"}


def test_a_page_of_links_that_lead_elsewhere(resolve: Any) -> None:
    with serving(lambda _: Reply(b"")) as other:
        links = f'<a href="{other.url}/m/x.json">1</a><a href="/etc/x.json">2</a><a href="..%2fx.json">3</a>'

        def reply(asked: Asked) -> Reply:
            return Reply(status=404) if "SUMS" in asked.path else Reply(links.encode())

        with serving(reply) as site, pytest.raises(ArtifactError):
            resolve(f"{site.url}/m/")
        assert not other.asked


def test_a_listing_without_end(resolve: Any) -> None:
    def reply(asked: Asked) -> Reply:
        return Reply(status=404) if "SUMS" in asked.path else Reply(b'<a href="deeper/">x</a>')

    with serving(reply) as site, pytest.raises(ArtifactError, match="more than 100 folders"):
        resolve(f"{site.url}/m/")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"layers": [3]}', b'{"layers": {}}', b"\xff", b"{"])
def test_answers_that_make_no_sense(content: bytes, resolve: Any, monkeypatch: Any) -> None:
    with serving(lambda _: Reply(content, headers={"Content-Type": "application/json"})) as site:
        monkeypatch.setenv("GITHUB_API_URL", site.url)
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        for reference in (f"oci://{site.host}/a/b:v1", "github://a/b/releases/v1", f"hf://a/b@{COMMIT}"):
            with pytest.raises(FtgateError):
                resolve(reference)


@pytest.mark.parametrize("size", ["12", -1, 1.5, True, [], {}])
def test_sizes_that_are_none(size: Any, resolve: Any) -> None:
    layer = {"digest": f"sha256:{'0' * 64}", "size": size, "annotations": {"org.opencontainers.image.title": "a.json"}}
    manifest = json.dumps({"schemaVersion": 2, "layers": [layer]}).encode()
    with serving(lambda _: Reply(manifest)) as site, pytest.raises(ArtifactError, match="invalid listing"):
        resolve(f"oci://{site.host}/a/b:v1")


def test_a_server_that_only_looks_like_a_file(resolve: Any) -> None:
    server = Server(lambda _: Reply(b"x", headers={"Content-Encoding": "gzip"}))
    with pytest.raises(ArtifactError, match="compresses the content"):
        resolve(f"{server.url}/m/model.zip")
    server.close()
