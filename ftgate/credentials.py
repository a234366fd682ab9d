"""What counts as a credential: names and forms of environment variables that hold, or lead to, one."""

from __future__ import annotations

import re

_FAMILIES = ("AWS_", "AZURE_", "GOOGLE_", "GCP_", "ACTIONS_", "INPUT_", "ARM_", "VAULT_", "KUBE", "DOCKER_AUTH")
"""Beginnings of names under which clouds and CI runners keep credentials, and the addresses that hand them out."""
_WORDS = frozenset({"KEY", "KEYS", "APIKEY", "PAT", "SAS", "DSN", "NETRC"})
"""Whole words of a name that say that it holds one; a ``MONKEY`` does not."""
_PARTS = re.compile(r"TOKEN(?!S|IZ)|SECRET|PASSW|PASSPHRASE|CREDENTIAL|JWT|PWD|AUTH(?!OR(?!I[SZ]))")
"""What says so wherever it stands in a name; ``TOKENIZERS_PARALLELISM`` and ``MAX_NUM_TOKENS`` hold none."""
_PLAIN = frozenset({"PWD", "OLDPWD"})
"""The shell's folders, which are no passwords."""
_NAMES = frozenset({"SSH_AUTH_SOCK", "HF_TOKEN_PATH", "GIT_ASKPASS", "SSH_ASKPASS", "GITHUB_ENV", "GITHUB_PATH"})
_WITH_LOGIN = re.compile(r"://[^/\s]+@")
BEGINNINGS = "gh[pousr]_|github_pat_|glpat-|hf_|sk-|AKIA|ASIA"
"""How the credentials of forges, hubs, clouds and model services begin, whatever name they go by: a pattern."""
_TOKEN = re.compile(rf"({BEGINNINGS})[A-Za-z0-9_-]{{12,}}")


def is_secret(name: str, value: str) -> bool:
    """Whether an environment variable holds, or leads to, a credential: by name, form, or a login in an address."""
    upper = name.upper()
    if upper in _NAMES or upper.startswith(_FAMILIES) or _WORDS & set(re.split(r"[^A-Z0-9]+", upper)):
        return True
    by_part = upper not in _PLAIN and _PARTS.search(upper)
    return bool(by_part or _WITH_LOGIN.search(value) or _TOKEN.match(value))
