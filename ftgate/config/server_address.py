"""Which GitHub is spoken to: github.com, or the GitHub Enterprise Server that the environment names. Pure."""

from __future__ import annotations

from collections.abc import Mapping

SERVER = "https://github.com"
API = "https://api.github.com"
_BELOW = "/api/v3"
"""Where an Enterprise Server has its API."""


def api_address(env: Mapping[str, str]) -> str:
    """The REST API: GITHUB_API_URL, which runners set, or else the one of the server GITHUB_SERVER_URL."""
    given, server = env.get("GITHUB_API_URL", "").rstrip("/"), server_address(env)
    return given or (API if server == SERVER else server + _BELOW)


def server_address(env: Mapping[str, str]) -> str:
    """The web pages: GITHUB_SERVER_URL, which runners set, or else those of the server that has GITHUB_API_URL."""
    given, api = env.get("GITHUB_SERVER_URL", "").rstrip("/"), env.get("GITHUB_API_URL", "").rstrip("/")
    return given or (api.removesuffix(_BELOW) if api.endswith(_BELOW) else SERVER)
