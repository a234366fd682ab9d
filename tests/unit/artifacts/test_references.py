from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.artifacts.allow import require_allowed_remote
from ftgate.artifacts.file_names import require_clean_names
from ftgate.artifacts.reference import Reference, is_loopback, parse, redact, require_encrypted
from ftgate.artifacts.resolve import Resolver
from ftgate.config.policy import ArtifactSettings
from ftgate.errors import ArtifactError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def allowed(text: str, *globs: str) -> bool:
    reference = parse(text)
    assert reference is not None
    try:
        require_allowed_remote(reference, globs)
    except ArtifactError as error:
        suggestion = error.hint.split("'")[1]
        require_allowed_remote(reference, [suggestion])  # what the hint suggests works
        return False
    return True


@pytest.mark.parametrize(
    ("text", "glob"),
    [
        ("hf://acme/bot", "hf://acme/*"),
        ("hf://acme/bot", "hf://acme/bot"),
        (f"hf://acme/bot@{COMMIT}", "hf://acme/bot"),
        ("hf://datasets/acme/evals/a.jsonl", "hf://datasets/acme/*"),
        ("s3://acme-models/support-bot/v7/", "s3://acme-models/*"),
        ("s3://acme-models/support-bot/v7/", "s3://acme-models/support-bot/*/"),
        ("s3://acme-models/a/b/final", "s3://acme-models/**/final"),
        ("HTTPS://Models.Acme.com/bot/", "https://models.acme.com/*"),
        ("https://eu.acme.com/bot/", "https://*.acme.com/**"),
        ("oci://reg.acme.com:5000/bots/support:v7", "oci://reg.acme.com:5000/bots/support"),
        ("oci://reg.acme.com/bots/support@sha256:" + "0" * 64, "oci://reg.acme.com/bots/*"),
        ("github://Acme/bot/releases/v1/bot.zip", "github://acme/*"),
    ],
)
def test_allowed(text: str, glob: str) -> None:
    assert allowed(text, "nothing/*", glob)


@pytest.mark.parametrize(
    ("text", "glob"),
    [
        ("hf://acme/bot", "acme/*"),
        ("hf://acme/bot", "s3://acme/*"),
        ("hf://acme/bot", "hf://acm/*"),
        ("hf://acme-evil/bot", "hf://acme/*"),
        ("hf://acme/bot", "hf://*"[:-1] + "Acme/*"),
        ("hf://datasets/acme/evals/a.jsonl", "hf://acme/*"),
        ("s3://acme-models-evil/x", "s3://acme-models/*"),
        ("s3://acme-models/a/b/c", "s3://acme-models/*/c"),
        ("https://acme.com.evil.example/x", "https://acme.com/*"),
        ("https://evil.example/acme.com/x", "https://acme.com/**"),
        ("https://acme.com:8443/x", "https://acme.com/*"),
        ("https://a.b.acme.com.evil/x", "https://*.acme.com/*"),
        ("oci://reg.acme.com/bots/support:v7", "oci://reg.acme.com/bots/other"),
        ("s3://bucket/x", "**"),
        ("s3://bucket/x", "*"),
    ],
)
def test_not_allowed(text: str, glob: str) -> None:
    assert not allowed(text, glob)


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/../other/x",
        "s3://bucket/./x",
        "s3://bucket//x",
        "s3://",
        "s3:///x",
        "https://acme.com/%2e%2e/x",
        "https://acme.com/a\\b",
        "https://acme.com/a b",
        "https://acme.com/a\x00b",
        "https://acme.com/a\nb",
        "https://acme.com/ä",
        "https://user:password@acme.com/x",
        "https://acme.com/x?X-Amz-Signature=secret",
        "https://acme.com/x#y",
        "s3://" + "x" * 2000,
        "hf:/acme/bot",
    ],
)
def test_what_could_mean_two_things_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        parse(text)
    assert "password" not in caught.value.message.replace("user, password, query", "")
    assert "secret" not in caught.value.message


@given(st.text(max_size=40))
def test_a_reference_that_is_taken_is_plain(place: str) -> None:
    try:
        found = parse(f"s3://{place}")
    except ArtifactError:
        return
    assert isinstance(found, Reference)
    assert found.location.isascii()
    assert not {"", ".", ".."} & set(found.parts)
    assert not set("\\%?# \0\n") & set(found.location)


@given(st.text(max_size=60))
def test_no_query_or_password_is_shown(text: str) -> None:
    assert "?" not in redact(text)
    assert "SECRET" not in redact(f"https://user:SECRET@host/{text.replace('SECRET', '')}?sig=SECRET".replace("\n", ""))


@pytest.mark.parametrize("path", ["models/a", "/models/a", "../a", "C:\\models", "a:b", "models/s3:"])
def test_local_paths_are_none(path: str) -> None:
    assert parse(path) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, True) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1")),
        *((host, False) for host in ("10.0.0.1", "localhost.evil.example", "127.0.0.1.evil.example", "", None)),
    ],
)
def test_loopback(host: str | None, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("url", ["http://hub.example", "ftp://x", "hub.example", "http://[::1", "https://", ""])
def test_addresses_must_be_encrypted(url: str) -> None:
    with pytest.raises(ArtifactError, match="is not https"):
        require_encrypted(url, "HF_ENDPOINT")


@pytest.mark.parametrize(
    "url", ["https://hub.example", "http://127.0.0.1:80", "http://localhost:1/x", "http://[::1]:1"]
)
def test_addresses_of_this_machine_need_not_be(url: str) -> None:
    assert require_encrypted(url, "HF_ENDPOINT") == url


@pytest.mark.parametrize(
    "names",
    [
        ["../config.json"],
        ["a/../../b"],
        ["/etc/passwd"],
        ["a\\b"],
        ["a\0b"],
        ["a\nb"],
        ["./a"],
        ["a//b"],
        ["a/"],
        [""],
        ["CON"],
        ["nul.json"],
        ["a/com1.txt/b"],
        ["a."],
        ["a "],
        ["c:a"],
        ["a:stream"],
        ["x" * 250],
        ["a/" * 600 + "b"],
        ["a\ud800"],
        ["Config.json", "config.json"],
        ["straße", "STRASSE"],
        ["caf\u00e9", "cafe\u0301"],
        ["a", "a/b"],
        ["A/x", "a"],
    ],
)
def test_names_that_are_no_plain_names(names: list[str]) -> None:
    with pytest.raises(ArtifactError):
        require_clean_names(names, "s3://bucket/x")


@pytest.mark.parametrize("names", [["config.json", "a b/c.md", ".gitattributes", "console.json", "ä", "a/b", "a/c"]])
def test_plain_names(names: list[str]) -> None:
    require_clean_names(names, "s3://bucket/x")


@given(st.lists(st.text(max_size=20), max_size=4))
def test_names_that_are_taken_stay_inside(names: list[str]) -> None:
    try:
        require_clean_names(names, "x")
    except ArtifactError:
        return
    for name in names:
        assert Path("/snapshot", name).resolve().is_relative_to("/snapshot")
        assert Path("/snapshot", name).resolve() != Path("/snapshot")


@pytest.mark.parametrize(
    ("text", "revision", "message"),
    [
        ("s3://bucket/x", None, "does not allow"),
        ("hf://acme/bot", None, "names no commit"),
        ("hf://acme/bot", "main", "revision 'main' is not a full commit"),
        ("hf://acme", COMMIT, "not a repository"),
        (f"hf://acme/bot@{COMMIT}", "f" * 40, "revision says"),
        ("https://acme.com/x", COMMIT, "revision works for hf"),
        ("ftp://acme.com/x", None, "ftp:// is not supported"),
        ("http://acme.com/x", None, "use https"),
        ("github://acme/bot", None, "neither a release nor an Actions artifact"),
        ("github://acme/bot/actions/artifacts/x", None, "neither a release nor an Actions artifact"),
        ("oci://host", None, "not an image reference"),
    ],
)
def test_what_is_wrong_is_said_before_any_network_is_asked(text: str, revision: str | None, message: str) -> None:
    allow = ("hf://**", "https://**", "http://**", "ftp://**", "github://**", "oci://**")
    with pytest.raises(ArtifactError, match=message):
        Resolver(ArtifactSettings(allow=allow), Path()).check_remote(text, revision)
