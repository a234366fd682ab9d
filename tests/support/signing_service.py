"""A sigstore of one's own over real HTTP: an identity provider, a certificate authority with its log, and Rekor.

The library signs and verifies as it does on the public instance; only whom it trusts is another. Certificates hold what
Fulcio takes from a workflow's token: the workflow's address as the subject, the issuer and the repository.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

ISSUER = "https://token.actions.githubusercontent.com"
REPOSITORY = "acme/models"
WORKFLOW = f"https://github.com/{REPOSITORY}/.github/workflows/ftgate.yml@refs/heads/main"
FULCIO = "1.3.6.1.4.1.57264.1"
SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
START = "2020-01-01T00:00:00Z"


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(public_bytes(key)).digest()


def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass
class SigningService:
    """``identity`` is who asks for a certificate, as the platform's token says."""

    identity: str = WORKFLOW
    repository: str = REPOSITORY
    issuer: str = ISSUER
    authority: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    certificate_log: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    log: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    provider: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    entries: list[bytes] = field(default_factory=list)
    down: bool = False

    def __enter__(self) -> SigningService:
        self.root = self._root()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"service": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self) -> dict[str, str]:
        """What a job with `id-token: write` finds in its environment."""
        return {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "may-ask",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/token?api-version=2.0",
        }

    def trust_config(self) -> str:
        """Whom to trust, and where to sign, as the library reads it."""
        valid = {"start": START}
        service = {"majorApiVersion": 1, "validFor": valid, "operator": "test", "url": self.url}
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
                "trustedRoot": {
                    "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                    "tlogs": [self._log_instance(self.log)],
                    "certificateAuthorities": [
                        {
                            "subject": {"organization": "test", "commonName": "test"},
                            "uri": self.url,
                            "certChain": {"certificates": [{"rawBytes": text(self.root.public_bytes(Encoding.DER))}]},
                            "validFor": valid,
                        }
                    ],
                    "ctlogs": [self._log_instance(self.certificate_log)],
                    "timestampAuthorities": [],
                },
                "signingConfig": {
                    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                    "caUrls": [service],
                    "oidcUrls": [service],
                    "rekorTlogUrls": [service],
                    "rekorTlogConfig": {"selector": "ANY"},
                    "tsaUrls": [],
                    "tsaConfig": {"selector": "ANY"},
                },
            }
        )

    def _log_instance(self, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
        public = {
            "rawBytes": text(public_bytes(key)),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": START},
        }
        log_id = {"keyId": text(key_id(key))}
        return {"baseUrl": self.url, "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": log_id}

    def _root(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        usage = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        now, key = datetime.now(UTC), self.authority.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key)
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(key_cert_sign=True, **usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .sign(self.authority, hashes.SHA256())
        )

    def token(self, audience: str) -> dict[str, str]:
        """The platform's word on who asks."""
        now = int(datetime.now(UTC).timestamp())
        claims = {
            "iss": self.issuer,
            "aud": audience,
            "sub": f"repo:{self.repository}:ref:refs/heads/main",
            "job_workflow_ref": self.identity.removeprefix("https://github.com/"),
            "repository": self.repository,
            "iat": now,
            "exp": now + 300,
        }
        return {"value": jwt.encode(claims, self.provider, "ES256")}

    def certificate(self, token: str, request: bytes) -> dict[str, Any]:
        """A certificate for the key of the request and the identity of the token."""
        claims = jwt.decode(token, self.provider.public_key(), algorithms=["ES256"], audience="sigstore")
        asked = x509.load_pem_x509_csr(request)
        assert asked.is_signature_valid
        now = datetime.now(UTC)
        identity = f"https://github.com/{claims['job_workflow_ref']}"
        usage = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "key_cert_sign",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        issuer = claims["iss"].encode()
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.KeyUsage(digital_signature=True, **usage), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key()), False),
            (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), True),
            (x509.UnrecognizedExtension(ObjectIdentifier(f"{FULCIO}.1"), issuer), False),
            (x509.UnrecognizedExtension(ObjectIdentifier(f"{FULCIO}.5"), claims["repository"].encode()), False),
            (
                x509.UnrecognizedExtension(ObjectIdentifier(f"{FULCIO}.8"), b"\x0c" + bytes([len(issuer)]) + issuer),
                False,
            ),
        ]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(asked.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(minutes=10))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        logged = self._logged(builder.sign(self.authority, hashes.SHA256()).tbs_certificate_bytes, now)
        found = builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, logged), critical=False)
        chain = [found.sign(self.authority, hashes.SHA256()), self.root]
        certificates = [c.public_bytes(Encoding.PEM).decode() for c in chain]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": certificates}}}

    def _logged(self, precertificate: bytes, now: datetime) -> bytes:
        """The certificate log's promise, as RFC 6962 (3.2 and 3.3) has it embedded."""
        stamp = int(now.timestamp() * 1000)
        length = struct.pack("!I", len(precertificate))[1:]
        entry = key_id(self.authority) + length + precertificate
        signature = sign(self.certificate_log, struct.pack("!BBQH", 0, 0, stamp, 1) + entry + b"\0\0")
        promise = b"\0" + key_id(self.certificate_log) + struct.pack("!QH", stamp, 0) + b"\x04\x03"
        promise += struct.pack("!H", len(signature)) + signature
        listed = struct.pack("!HH", len(promise) + 2, len(promise)) + promise
        return b"\x04" + (bytes([len(listed)]) if len(listed) < 128 else bytes([0x81, len(listed)])) + listed

    def entry(self, proposed: dict[str, Any]) -> dict[str, Any]:
        """The entry in the log, with the proof that it is there and when it came."""
        content = proposed["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        signatures = [
            {"signature": envelope["signatures"][0]["sig"], "verifier": verifier} for verifier in content["verifiers"]
        ]
        payload = base64.b64decode(envelope["payload"])
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(content["envelope"].encode()).hexdigest()},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": signatures,
        }
        body = json.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}, separators=(",", ":")).encode()
        self.entries.append(body)
        index, leaves = len(self.entries) - 1, [hashlib.sha256(b"\0" + b).digest() for b in self.entries]
        root = tree_hash(leaves)
        note = f"test\n{len(leaves)}\n{text(root)}\n"
        mark = text(key_id(self.log)[:4] + sign(self.log, note.encode()))
        promised = {
            "body": text(body),
            "integratedTime": int(datetime.now(UTC).timestamp()),
            "logID": key_id(self.log).hex(),
            "logIndex": index,
        }
        canonical = json.dumps(promised, sort_keys=True, separators=(",", ":")).encode()
        proof = {
            "checkpoint": f"{note}\n\u2014 test {mark}\n",
            "hashes": [h.hex() for h in path_to(leaves, index)],
            "logIndex": index,
            "rootHash": root.hex(),
            "treeSize": len(leaves),
        }
        verification = {"inclusionProof": proof, "signedEntryTimestamp": text(sign(self.log, canonical))}
        return {hashlib.sha256(body).hexdigest(): {**promised, "verification": verification}}


def tree_hash(leaves: list[bytes]) -> bytes:
    """The root of a Merkle tree (RFC 6962, 2.1)."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_hash(leaves[:half]) + tree_hash(leaves[half:])).digest()


def path_to(leaves: list[bytes], index: int) -> list[bytes]:
    """The proof that a leaf is in the tree (RFC 6962, 2.1.1)."""
    if len(leaves) == 1:
        return []
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if index < half:
        return [*path_to(leaves[:half], index), tree_hash(leaves[half:])]
    return [*path_to(leaves[half:], index - half), tree_hash(leaves[:half])]


class Handler(BaseHTTPRequestHandler):
    """One connection. ``service`` is set on a subclass for each server."""

    service: SigningService

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.headers["Authorization"] != "bearer may-ask" or not self.path.startswith("/token?"):
            return self._send(401, {"message": "no"})
        assert self.path.endswith("audience=sigstore")
        return self._send(200, self.service.token("sigstore"))

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.service.down:
            return self._send(503, {"message": "down"})
        if self.path == "/api/v2/signingCert":
            token = self.headers["Authorization"].removeprefix("Bearer ")
            request = base64.b64decode(given["certificateSigningRequest"])
            return self._send(200, self.service.certificate(token, request))
        if self.path == "/api/v1/log/entries":
            return self._send(201, self.service.entry(given))
        return self._send(404, {"message": "no such place"})

    def _send(self, status: int, found: Any) -> None:
        content = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
