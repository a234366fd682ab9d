"""From a reference in a manifest to a pinned local snapshot, if the policy allows it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ftgate.artifacts.allow import require_allowed_remote
from ftgate.artifacts.cache import Cache
from ftgate.artifacts.download import Advance, Limits, too_large
from ftgate.artifacts.fetch import FetchRequest, Note, Phase, fetch, wrong_digest
from ftgate.artifacts.file_names import require_clean_names
from ftgate.artifacts.headers_only import fetch_headers
from ftgate.artifacts.link_view import build_link_view
from ftgate.artifacts.reference import Reference, parse
from ftgate.artifacts.snapshot import Snapshot
from ftgate.artifacts.sources.base import Request
from ftgate.artifacts.sources.local import local_snapshot
from ftgate.artifacts.sources.registry import open_source
from ftgate.config.policy import ArtifactSettings
from ftgate.errors import ArtifactError, ConfigurationError

GIGABYTE = 1_000_000_000


@contextmanager
def _no_progress(_name: str, _steps: int | None) -> Iterator[Advance]:
    yield lambda _size: None


@dataclass(frozen=True, slots=True)
class Resolver:
    """Resolves all references of one job under one policy.

    ``offline`` uses the cache alone and never the network. ``headers_only``, for a preflight, does not read large
    weights: of remote ones only the headers are downloaded; local ones may stay without a digest.
    """

    settings: ArtifactSettings
    policy_folder: Path
    offline: bool = False
    phase: Phase = _no_progress
    note: Note = lambda _text: None
    headers_only: bool = False

    def check_remote(self, reference: str, revision: str | None = None) -> None:
        """Raise ArtifactError for a remote reference that is malformed or not allowed. Makes no network request."""
        remote = parse(reference)
        if remote is not None:
            require_allowed_remote(remote, self.settings.allow)
            open_source(Request(remote, revision, self.settings.redirect_hosts))

    def snapshot(
        self, reference: str, *, relative_to: Path, revision: str | None = None, digest: str | None = None
    ) -> Snapshot:
        """The folder of files that ``reference`` names.

        A local path is relative to ``relative_to``, the folder of the file that names it. The policy must allow the
        reference; by default nothing is allowed, and nothing is read or requested before the check. With ``digest`` the
        tree must have that digest. Raises ArtifactError otherwise, DownloadError when the download fails.
        """
        remote = parse(reference)
        if remote is not None:
            require_allowed_remote(remote, self.settings.allow)
            fetched = self._fetch(remote, revision, digest)
            self._require_within_limits(fetched)  # the cached copy may come from a run under another policy
            return fetched
        if revision is not None:
            raise ArtifactError(f"{reference}: revision works for hf:// references only", hint="remove revision")
        policy = (self.policy_folder, self.settings.allow)
        skip = self.settings.skip
        snapshot = local_snapshot(reference, relative_to, *policy, skip_large=self.headers_only, skip=skip)
        if snapshot.digest and digest not in (None, snapshot.digest):
            raise wrong_digest(reference, str(digest), snapshot.digest)
        require_clean_names(snapshot.files, reference)
        self._require_within_limits(snapshot)
        return build_link_view(snapshot, lambda: open_cache(self.settings).root)

    def files(
        self,
        reference: str,
        *,
        relative_to: Path,
        allow: Sequence[str] | None,
        revision: str | None = None,
        digest: str | None = None,
    ) -> tuple[Path, ...]:
        """The data file that ``reference`` names, or the files of a split of a data set, in the order of their names.

        ``allow`` limits which remote files may be fetched; None allows all. ``digest``, the file's or the tree's, is
        enforced for remote files; for a local one the caller compares it.
        """
        remote = parse(reference)
        if remote is None:
            return (relative_to / reference,)
        if allow is not None:
            require_allowed_remote(remote, allow)
        snapshot = self._fetch(remote, revision, digest, file=True)
        return tuple(snapshot.path / name for name in sorted(snapshot.files))

    def _fetch(self, reference: Reference, revision: str | None, digest: str | None, *, file: bool = False) -> Snapshot:
        request = Request(reference, revision, self.settings.redirect_hosts)
        fetch_request = FetchRequest(open_source(request), request, self._limits(), self.settings.skip, digest, file)
        cache = open_cache(self.settings)
        if self.headers_only and not (file or self.offline):
            return fetch_headers(fetch_request, cache) or fetch(
                fetch_request, cache, offline=False, phase=self.phase, note=self.note
            )
        return fetch(fetch_request, cache, offline=self.offline, phase=self.phase, note=self.note)

    def _limits(self) -> Limits:
        return Limits(self.settings.max_files, int(self.settings.max_gb * GIGABYTE))

    def _require_within_limits(self, snapshot: Snapshot) -> None:
        limits = self._limits()
        if sum(entry.size for entry in snapshot.files.values()) > limits.size:
            raise too_large(snapshot.reference, limits)
        if len(snapshot.files) > limits.files:
            raise ArtifactError(
                f"{snapshot.reference}: {len(snapshot.files):,} files, but the policy allows {limits.files:,}",
                hint="name the folder of a single model, or raise artifacts.max_files",
            )


def open_cache(settings: ArtifactSettings, getenv: Callable[[str], str | None] = os.environ.get) -> Cache:
    """The cache: at FTGATE_CACHE, else where the policy says, else under XDG_CACHE_HOME.

    FTGATE_CACHE_GB bounds its size; FTGATE_VERIFY_DAYS is how long unchanged files count as verified. The runner's
    environment takes precedence over the policy, since it knows the machine. Raises ConfigurationError for a setting
    that cannot be used.
    """
    path = getenv("FTGATE_CACHE") or settings.cache
    try:
        root = Path(path).expanduser() if path else _default_root(getenv)
    except RuntimeError:  # the user has no home directory
        raise ConfigurationError(
            "no folder for the cache: HOME is not set and this user has no home directory",
            hint="set FTGATE_CACHE to a writable folder",
        ) from None
    if not root.is_absolute():
        raise ConfigurationError(
            f"the cache {str(root)!a} is not an absolute path",
            hint="set FTGATE_CACHE or artifacts.cache to an absolute path that no pull request can write to",
        )
    size = _number("FTGATE_CACHE_GB", getenv, settings.cache_gb, "gigabytes, such as 500")
    days = _number(
        "FTGATE_VERIFY_DAYS", getenv, settings.verify_days, "days, such as 7, or 0 to verify every time", minimum=0.0
    )
    return Cache(root, int(size * GIGABYTE), days)


def _number(
    name: str, getenv: Callable[[str], str | None], default: float, expected: str, *, minimum: float = 1e-9
) -> float:
    text = getenv(name)
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not minimum <= value < 1e9:
        raise ConfigurationError(f"{name} is {text!a}", hint=f"set it to {expected}")
    return value


def _default_root(getenv: Callable[[str], str | None]) -> Path:
    base = getenv("XDG_CACHE_HOME")
    # The XDG specification says to ignore relative values.
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "ftgate"
