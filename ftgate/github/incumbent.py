"""The model that is deployed today, on GitHub: from the ledger to the evaluation, and whether a report is about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ftgate.config.incumbent import LAST_ALLOWED
from ftgate.config.manifest import Manifest, Source
from ftgate.config.policy import Policy
from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.audit.ledger_branch import read_ledger
from ftgate.github.audit.quotes import StatusQuotes, quotes_of
from ftgate.github.audit.record import Ledger, ModelEntry, Record
from ftgate.github.client import GitHubRepo
from ftgate.jobs.incumbent import LastAllowed
from ftgate.report.schema import Report, mapping

NOTHING_ALLOWED = "no comparison with the model deployed today: the ledger has no allowed candidate of this manifest"

NO_DIGEST = (
    "no comparison with the model deployed today: the last allowed candidate, {}, is behind an endpoint, and nothing "
    "shows which weights it has"
)


@dataclass(frozen=True, slots=True)
class LedgerOf:
    """What the ledger branch says of a manifest's last allowed candidate.

    The records of ``pull_request`` itself do not count: an earlier push of the change is not what it replaces. Nor do
    those that no status vouches for (``quoted``).
    ``deployed`` gives the source that the base branch's manifest at a path names as its candidate; None if there is no
    such manifest.
    """

    ledger: Ledger | None
    pull_request: int | None
    quoted: StatusQuotes
    deployed: Callable[[str], Source | None] = lambda _path: None

    def last_allowed(self, path: str) -> LastAllowed:
        """The last allowed candidate of the manifest at ``path``: preferably the one that the base branch names."""
        allowed = list(self._allowed(path))
        named = self.deployed(path)
        merged = [(r, e) for r, e in allowed if named is not None and (e.source, e.revision) == _place(named)]
        # The newest first, so that the statuses of few commits are read.
        newest = (e for r, e in (*reversed(merged), *reversed(allowed)) if not self.quoted.lack(r))
        entry = next(newest, None)
        if entry is None:
            return LastAllowed(note=NOTHING_ALLOWED)
        if not entry.candidate:
            return LastAllowed(note=NO_DIGEST.format(entry.source))
        source = {"source": entry.source, "revision": entry.revision or None, "digest": entry.candidate}
        return LastAllowed(source=Source.model_validate(source))

    def _allowed(self, path: str) -> Iterator[tuple[Record, ModelEntry]]:
        for record in self.ledger.records if self.ledger is not None else ():
            own = self.pull_request is not None and record.pull_request == self.pull_request
            if record.kind == "run" and record.verdict != "error" and not own:
                yield from (
                    (record, e) for e in record.models if e.manifest == path and e.verdict == "allow" and e.source
                )


def ledger_of(
    repo: GitHubRepo, policy: Policy, pull_request: int | None, deployed: Callable[[str], Source | None]
) -> LedgerOf:
    """The ledger for incumbents. Raises ConfigurationError if the policy keeps none, PublishError if it was altered."""
    if policy.publish.ledger != "branch":
        raise ConfigurationError(
            f"incumbent is {LAST_ALLOWED}, and there is no ledger to read: publish.ledger is {policy.publish.ledger!r}",
            hint="set publish: {ledger: branch} in the policy, or name the deployed model in the manifest",
        )
    ledger = read_ledger(repo, policy.publish.branch)
    if ledger is not None and ledger.problems:
        raise PublishError(
            f"the ledger is not intact, so it does not say what is deployed: {ledger.problems[0]}",
            hint=f"restore the branch {policy.publish.branch} from its history",
        )
    return LedgerOf(ledger, pull_request, quotes_of(repo, policy.publish), deployed)


def asks_ledger(policy: Policy, manifest: Manifest) -> bool:
    """Whether the incumbent is the one that the ledger names."""
    return policy.incumbent_of(manifest) == LAST_ALLOWED


def incumbent_mismatches(report: Report, wanted: Source | None, named_in: str, digest_here: str = "") -> Iterator[str]:
    """How the incumbent of ``report`` differs from the one that is ``wanted``, as problems.

    ``named_in`` says what names it, ``digest_here`` is the digest of its files in the judged commit, if it has them.
    """
    if wanted is None:
        return
    judged = mapping(report.provenance.get("incumbent"))
    if not judged:
        yield f"it was made without the deployed model {wanted.source!r}, which {named_in} names"
        return
    if judged.get("reference") != wanted.source:
        yield f"it compared with the deployed model {judged.get('reference')!r}, but {named_in} names {wanted.source!r}"
    for digest, what in ((wanted.digest, f"{named_in} pins"), (digest_here, "here its files have")):
        if digest and judged.get("digest") != digest:
            yield f"it compared with a deployed model with digest {judged.get('digest')!r}, but {what} {digest}"
    missing = [name for name, m in report.measurements.items() if m.incumbent is None]
    if missing and not is_candidate(report):
        yield f"{missing[0]}: it has no comparison with the deployed model"


def is_candidate(report: Report) -> bool:
    """Whether the incumbent of ``report`` has the candidate's files."""
    incumbent, candidate = (mapping(report.provenance.get(role)) for role in ("incumbent", "candidate"))
    return bool(incumbent.get("digest")) and incumbent.get("digest") == candidate.get("digest")


def _place(source: Source) -> tuple[str, str]:
    return source.source, source.revision or ""
