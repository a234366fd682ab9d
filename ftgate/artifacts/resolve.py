"""From what a manifest says to a pinned snapshot on this machine, if the policy lets it in."""

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
from ftgate.artifacts.headers_only import skim
from ftgate.artifacts.link_view import without_others
from ftgate.artifacts.reference import Reference, parse
from ftgate.artifacts.snapshot import Snapshot
from ftgate.artifacts.sources.base import Request
from ftgate.artifacts.sources.local import local_snapshot
from ftgate.artifacts.sources.registry import open_source
from ftgate.config.policy import ArtifactSettings
from ftgate.errors import ArtifactError, ConfigurationError

GIGABYTE = 1_000_000_000


@contextmanager
def _unseen(_name: str, _steps: int | None) -> Iterator[Advance]:
    yield lambda _size: None


@dataclass(frozen=True, slots=True)
class Resolver:
    """Resolves every reference of one job under one policy. ``offline`` asks no network: what is cached must do.

    A ``glance`` leaves large weights where they are: of remote ones it fetches the headers, of local ones it may not
    take the digest, which is then empty.
    """

    settings: ArtifactSettings
    policy_folder: Path
    offline: bool = False
    phase: Phase = _unseen
    note: Note = lambda _text: None
    glance: bool = False

    def refuse(self, reference: str, revision: str | None = None) -> None:
        """Raise ArtifactError for a remote reference that is not allowed or not clear. Nothing is asked for."""
        remote = parse(reference)
        if remote is not None:
            require_allowed_remote(remote, self.settings.allow)
            open_source(Request(remote, revision, self.settings.redirect_hosts))

    def snapshot(
        self, reference: str, *, relative_to: Path, revision: str | None = None, digest: str | None = None
    ) -> Snapshot:
        """The folder of files that ``reference`` names.

        A local path is taken relative to ``relative_to``, the folder of the file that names it. The policy must allow
        the reference; nothing is allowed by default, and nothing is read or asked for before that is clear. With
        ``digest`` the tree must have that digest. Raises ArtifactError otherwise, DownloadError when fetching fails.
        """
        remote = parse(reference)
        if remote is not None:
            require_allowed_remote(remote, self.settings.allow)
            fetched = self._fetched(remote, revision, digest)
            self._require_within_limits(fetched)  # it may have been fetched under another policy
            return fetched
        if revision is not None:
            raise ArtifactError(f"{reference}: revision is for hf:// references alone", hint="remove revision")
        policy = (self.policy_folder, self.settings.allow)
        skip = self.settings.skip
        snapshot = local_snapshot(reference, relative_to, *policy, glance=self.glance, skip=skip)
        if snapshot.digest and digest not in (None, snapshot.digest):
            raise wrong_digest(reference, str(digest), snapshot.digest)
        require_clean_names(snapshot.files, reference)
        self._require_within_limits(snapshot)
        return without_others(snapshot, lambda: open_cache(self.settings).root)

    def file(
        self,
        reference: str,
        *,
        relative_to: Path,
        allow: Sequence[str] | None,
        revision: str | None = None,
        digest: str | None = None,
    ) -> Path:
        """The data file that ``reference`` names; ``allow`` says which remote ones may be fetched, None all.

        Of a remote file ``digest`` is enforced here; whoever reads a local one compares it.
        """
        remote = parse(reference)
        if remote is None:
            return relative_to / reference
        if allow is not None:
            require_allowed_remote(remote, allow)
        snapshot = self._fetched(remote, revision, digest, file=True)
        return snapshot.path / next(iter(snapshot.files))

    def _fetched(
        self, reference: Reference, revision: str | None, digest: str | None, *, file: bool = False
    ) -> Snapshot:
        request = Request(reference, revision, self.settings.redirect_hosts)
        wish = FetchRequest(open_source(request), request, self._limits(), self.settings.skip, digest, file)
        cache = open_cache(self.settings)
        if self.glance and not (file or self.offline):
            return skim(wish, cache) or fetch(wish, cache, offline=False, phase=self.phase, note=self.note)
        return fetch(wish, cache, offline=self.offline, phase=self.phase, note=self.note)

    def _limits(self) -> Limits:
        return Limits(self.settings.max_files, int(self.settings.max_gb * GIGABYTE))

    def _require_within_limits(self, snapshot: Snapshot) -> None:
        limits = self._limits()
        if sum(entry.size for entry in snapshot.files.values()) > limits.size:
            raise too_large(snapshot.reference, limits)
        if len(snapshot.files) > limits.files:
            raise ArtifactError(
                f"{snapshot.reference}: {len(snapshot.files):,} files, but the policy lets in {limits.files:,}",
                hint="name the folder of one model, or raise artifacts.max_files",
            )


def open_cache(settings: ArtifactSettings, getenv: Callable[[str], str | None] = os.environ.get) -> Cache:
    """The cache: where FTGATE_CACHE or else the policy says, by default under XDG_CACHE_HOME.

    FTGATE_CACHE_GB bounds it, FTGATE_VERIFY_DAYS says how long its copies are believed to be unchanged. What the
    runner's environment says goes before the policy: it knows the machine.
    """
    place = getenv("FTGATE_CACHE") or settings.cache
    try:
        root = Path(place).expanduser() if place else _default(getenv)
    except RuntimeError:  # a user whom the system does not know
        raise ConfigurationError(
            "there is no place for the cache: HOME is not set, and who runs this has no home",
            hint="set FTGATE_CACHE to a folder that the runner may write to",
        ) from None
    if not root.is_absolute():
        raise ConfigurationError(
            f"the cache {str(root)!a} is not an absolute path",
            hint="FTGATE_CACHE and artifacts.cache name a folder that no pull request can put files into",
        )
    size = _number("FTGATE_CACHE_GB", getenv, settings.cache_gb, "gigabytes, such as 500")
    days = _number("FTGATE_VERIFY_DAYS", getenv, settings.verify_days, "days, such as 7, or 0 for always", least=0.0)
    return Cache(root, int(size * GIGABYTE), days)


def _number(
    name: str, getenv: Callable[[str], str | None], otherwise: float, what: str, *, least: float = 1e-9
) -> float:
    given = getenv(name)
    try:
        value = float(given) if given else otherwise
    except ValueError:
        value = -1.0
    if not least <= value < 1e9:
        raise ConfigurationError(f"{name} is {given!a}", hint=f"give {what}")
    return value


def _default(getenv: Callable[[str], str | None]) -> Path:
    base = getenv("XDG_CACHE_HOME")
    # The specification has relative values ignored.
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "ftgate"
