"""Names of repositories on the Hugging Face Hub as people write them, without ``hf://`` and without a commit."""

from __future__ import annotations

import os
import re
from contextlib import suppress

from ftgate.config.manifest import how_to_pin

_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def is_hub_name(reference: str) -> bool:
    """Whether ``reference`` looks like ``owner/name``; a folder may do so as well."""
    return _NAME.fullmatch(reference) is not None


def hub_hint(name: str, *, ask: bool = False, revision: str = "HEAD") -> str:
    """What to write for the repository ``name``. With ``ask`` the newest commit is looked up, if the hub answers.

    ``revision`` is the branch or tag that is meant.
    """
    commit = newest_commit(name, revision) if ask else ""
    if commit:
        newest = "its newest commit" if revision == "HEAD" else f"the commit that {revision} is at now"
        return f"for the repository on the Hugging Face Hub write hf://{name}@{commit}, {newest}"
    return f"for the repository on the Hugging Face Hub write hf://{name}@<commit>; {how_to_pin(name, revision)}"


def newest_commit(name: str, revision: str = "HEAD") -> str:
    """The newest commit of a branch of ``name``; empty if the hub cannot be asked or does not know it."""
    from huggingface_hub import HfApi, constants

    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    with suppress(Exception):  # without an answer the hint says how to get one
        return (
            HfApi(endpoint=endpoint, token=False)
            .model_info(name, revision=None if revision == "HEAD" else revision, timeout=5)
            .sha
            or ""
        )
    return ""
