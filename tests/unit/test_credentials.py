"""What counts as a credential: a row for each family of names and each form of a value."""

from __future__ import annotations

import pytest

from ftgate.credentials import is_secret

NAMES = [
    "AWS_PROFILE", "AZURE_CLIENT_ID", "GOOGLE_APPLICATION", "GCP_PROJECT", "ACTIONS_RUNTIME_URL", "INPUT_SECOND",
    "ARM_CLIENT_ID", "VAULT_ADDR", "KUBECONFIG", "DOCKER_AUTH_CONFIG", "SOME_KEY", "SIGNING_KEYS", "MY_APIKEY",
    "FORGE_PAT", "BLOB_SAS", "SENTRY_DSN", "NETRC", "HUB_TOKEN", "CLIENT_SECRET", "DB_PASSWORD", "DB_PASSWD",
    "GPG_PASSPHRASE", "GIT_CREDENTIALS", "LOGIN_JWT", "DB_PWD", "PROXY_AUTH", "AUTHORIZATION", "SSH_AUTH_SOCK",
    "HF_TOKEN_PATH", "GIT_ASKPASS", "SSH_ASKPASS", "GITHUB_ENV", "GITHUB_PATH",
]  # fmt: skip
BEGINNINGS = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "hf_", "sk-", "AKIA", "ASIA"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_tells_of_a_credential_is_one_whatever_its_value(name: str) -> None:
    assert is_secret(name, "x")
    assert is_secret(name.lower(), "")


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_value_that_begins_like_a_key_is_one_under_any_name(beginning: str) -> None:
    assert is_secret("PLAIN", beginning + "A1b2C3d4E5f6")
    assert not is_secret("PLAIN", beginning + "short")
    assert not is_secret("PLAIN", "x" + beginning + "A1b2C3d4E5f6")


@pytest.mark.parametrize("value", ["https://user:word@host/x", "postgres://user@host", "redis://:word@host:1/0"])
def test_an_address_with_a_login_is_one(value: str) -> None:
    assert is_secret("PLAIN", value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PATH", "/bin"), ("MONKEY", "see"), ("COMPAT", "1"), ("TOKENIZERS_PARALLELISM", "0"), ("MAX_NUM_TOKENS", "9"),
        ("AUTHOR", "someone"), ("PWD", "/"), ("OLDPWD", "/"), ("URL", "https://host/a@b"), ("SCARM_X", "1"),
        ("CLUSTER", "//node@rack"),
    ],
)  # fmt: skip
def test_what_only_looks_alike_is_none(name: str, value: str) -> None:
    assert not is_secret(name, value)
