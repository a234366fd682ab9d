from __future__ import annotations

import email.utils
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.artifacts.sources.base import TransientError
from ftgate.artifacts.sources.http import HttpClient, require_success
from ftgate.errors import ArtifactError


def asked_pause(value: str) -> float | None:
    with pytest.raises(TransientError) as caught:
        require_success(503, {"retry-after": value}, "it", "how")
    return caught.value.wait


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7), ("0", 0), ("-3", 0), ("1.5", 1.5), ("1e9", 300), ("inf", 300), ("", None)]
)
def test_pauses_in_seconds(value: str, seconds: float | None) -> None:
    assert asked_pause(value) == seconds


def test_pauses_until_a_date() -> None:
    assert asked_pause(email.utils.formatdate(time.time() + 20, usegmt=True)) == pytest.approx(20, abs=2)
    assert asked_pause(email.utils.formatdate(time.time() - 20, usegmt=True)) == 0


@given(st.text(max_size=30))
def test_any_other_pause_is_none_or_bounded(value: str) -> None:
    seconds = asked_pause(value)
    assert seconds is None or 0 <= seconds <= 300


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_statuses_that_may_pass(status: int) -> None:
    with pytest.raises(TransientError):
        require_success(status, {}, "it", "how")


@pytest.mark.parametrize("status", [304, 400, 401, 403, 404, 405, 410, 451])
def test_statuses_that_are_final(status: int) -> None:
    with pytest.raises(ArtifactError):
        require_success(status, {}, "it", "how")


@pytest.mark.parametrize(
    ("netloc", "hosts", "expected"),
    [
        ("cdn.acme.com", ["cdn.acme.com"], True),
        ("CDN.acme.com", ["*.Acme.com"], True),
        ("acme.com", ["*.acme.com"], False),
        ("cdn.acme.com.evil.example", ["*.acme.com"], False),
        ("cdn.acme.com:8443", ["cdn.acme.com"], False),
        ("cdn.acme.com:8443", ["cdn.acme.com:8443"], True),
        ("other", [], False),
    ],
)
def test_hosts(netloc: str, hosts: list[str], expected: bool) -> None:
    assert HttpClient("https://home.example", hosts, "how").permits(netloc) is expected
