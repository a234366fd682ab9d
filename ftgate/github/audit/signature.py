"""Signatures of records with the identity of the workflow that wrote them (sigstore).

The job that publishes signs each record with a certificate that names its workflow, made for it alone and logged in
public. No key is kept, so none can be stolen: whoever may push can append to the ledger, but cannot sign as the
protected branch's workflow. The signature is a sigstore bundle of an in-toto statement on the record's digest, beside
the ledger. It is verified offline, against the trust root that comes with the library.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ftgate.config.policy import GITHUB_ISSUER, PublishSettings
from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.audit.record import Record, canonical
from ftgate.github.client import File, GitHubRepo
from ftgate.report.statement import PREDICATE, RESULTS, STATEMENT

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig
    from sigstore.verify import Verifier
    from sigstore.verify.policy import VerificationPolicy

TRUST_CONFIG = "FTGATE_TRUST_CONFIG"
"""Variable that names the trust config of a sigstore instance other than the public one."""
PAYLOAD = "application/vnd.in-toto+json"
SHOWN = 200
"""Characters of the library's own reason that are shown."""


def bundle_path(record: Record) -> str:
    """Where the signature of ``record`` is on the ledger branch."""
    return f"bundles/{record.identity}.sigstore.json"


def record_statement(record: Record) -> bytes:
    """The in-toto statement that is signed: its subject is the record."""
    passed = record.verdict in ("allow", "waived", "no model change")
    value = {
        "_type": STATEMENT,
        "subject": [{"name": "record", "digest": {"sha256": record.identity}}],
        "predicateType": PREDICATE,
        "predicate": {
            "result": RESULTS["allow" if passed else "block"],
            "configuration": [{"name": "policy", "digest": {"sha256": record.policy}}] if record.policy else [],
        },
    }
    return canonical(value).encode()


def signing(settings: PublishSettings) -> Callable[[Record], str] | None:
    """What signs the records that are appended under ``settings``; None if they are not to be signed."""
    return _sign_decision if settings.sign == "sigstore" else None


def _sign_decision(record: Record) -> str:
    """The signature of ``record``; "" for an error, which allows nothing and must be recorded in any job."""
    return sign_record(record) if record.verdict != "error" else ""


def sign_record(record: Record) -> str:
    """The bundle that signs ``record`` with the identity of the workflow that this runs in. Raises PublishError."""
    _require_library()
    from sigstore.dsse import Statement
    from sigstore.oidc import IdentityToken, detect_credential
    from sigstore.sign import SigningContext

    hint = "give the job that publishes `id-token: write`, and run it again; nothing was written"
    try:
        token = detect_credential()
        if token is not None:
            context = SigningContext.from_trust_config(_trust_config(offline=False))
            with context.signer(IdentityToken(token)) as signer:
                return signer.sign_dsse(Statement(record_statement(record))).to_json()
    except ConfigurationError:
        raise
    except Exception as error:  # the library has a family of exceptions for each of the services
        raise PublishError(f"could not sign the record: {_reason(error)}", hint=hint) from None
    raise PublishError("could not sign the record: there is no workflow whose identity could sign it", hint=hint)


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """Which records are signed by the expected identity; each one's bundle is read from the ledger branch."""

    repo: GitHubRepo
    branch: str
    identities: tuple[str, ...]
    """Subjects of certificates, one of which must have signed: for a workflow its address with its ref."""
    issuer: str
    """Who vouched for that identity."""
    _verified: dict[str, str] = field(default_factory=dict)
    _branch_files: list[Mapping[str, File]] = field(default_factory=list)
    """The branch's files, once they are read."""

    def has(self, record: Record) -> bool:
        """Whether there is a bundle for ``record``, valid or not."""
        return bundle_path(record) in self._files()

    def prefetch(self, records: Sequence[Record]) -> None:
        """Read the bundles of ``records`` ahead, many in one request."""
        files = self._files()
        self.repo.prefetch([files[path].sha for path in map(bundle_path, records) if path in files])

    def lack(self, record: Record) -> str:
        """Why no valid signature vouches for ``record``, or "" if one does."""
        if record.identity not in self._verified:
            self._verified[record.identity] = self._lack(record)
        return self._verified[record.identity]

    def _files(self) -> Mapping[str, File]:
        if not self._branch_files:
            tip = self.repo.tip(self.branch)
            self._branch_files.append(self.repo.tree(tip) if tip else {})
        return self._branch_files[0]

    def _lack(self, record: Record) -> str:
        file = self._files().get(bundle_path(record))
        if file is None:
            return f"it has no signature ({bundle_path(record)} on {self.branch})"
        _require_library()
        from sigstore.verify import Verifier

        config = _trust_config(offline=True)
        try:
            kind, payload = self._signed(Verifier(trusted_root=config.trusted_root), self.repo.blob(file.sha))
            signed = json.loads(payload)
            subjects = [s["digest"]["sha256"] for s in signed["subject"]]
            of_record = (kind, signed["_type"], subjects) == (PAYLOAD, STATEMENT, [record.identity])
        except PublishError:
            raise
        except Exception as error:  # whatever is wrong with a bundle that anyone may have written
            return f"its signature does not hold: {_reason(error)}"
        return "" if of_record else "its signature is of another record"

    def _signed(self, verifier: Verifier, content: bytes) -> tuple[str, bytes]:
        """Type and text of what one of the identities signed. Raises what the library raises for the last of them."""
        from sigstore.errors import VerificationError
        from sigstore.models import Bundle

        bundle = Bundle.from_json(content)
        for other in self.identities[:-1]:
            with suppress(VerificationError):
                return verifier.verify_dsse(bundle, self._policy(other))
        return verifier.verify_dsse(bundle, self._policy(self.identities[-1]))

    def _policy(self, subject: str) -> VerificationPolicy:
        from sigstore.verify.policy import AllOf, GitHubWorkflowRepository, Identity

        identity = Identity(identity=subject, issuer=self.issuer)
        if self.issuer != GITHUB_ISSUER:
            return identity
        # A reusable workflow has the same identity whichever repository calls it.
        return AllOf([identity, GitHubWorkflowRepository(self.repo.name)])


def _trust_config(*, offline: bool) -> ClientTrustConfig:
    """Whom to trust and where to sign: that of FTGATE_TRUST_CONFIG, or of the public instance."""
    from sigstore.models import ClientTrustConfig

    path = os.environ.get(TRUST_CONFIG)
    if not path:
        # It warns that it is offline, which is what was asked for.
        logging.getLogger("sigstore").setLevel(logging.ERROR)
        return ClientTrustConfig.production(offline=offline)
    try:
        return ClientTrustConfig.from_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{TRUST_CONFIG}: cannot read {path}: {_reason(error)}"
        raise ConfigurationError(message, hint="name a client trust config of sigstore, in JSON") from None


def _require_library() -> None:
    try:
        import sigstore  # noqa: F401 - only whether it is there
    except ImportError:
        raise ConfigurationError(
            "the policy asks for signatures, and sigstore is not installed", hint="pip install 'finetune-gate[sign]'"
        ) from None


def _reason(error: Exception) -> str:
    return (str(error).strip().split("\n")[0] or type(error).__name__)[:SHOWN]
