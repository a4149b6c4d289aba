"""Signatures of a release: an in-toto Statement over the SHA-256 of its manifest, in a DSSE envelope, by Ed25519.

The manifest holds the digests of all other files, so one signature covers the whole release. Each key signs in a file of its own,
``signatures/<start of the key's id>.dsse.json``: a second signer adds one, and nobody replaces any.

References
----------
in-toto Attestation Framework, Statement v1: https://in-toto.io/Statement/v1.
DSSE, Dead Simple Signing Envelope, protocol v1.0.2: https://github.com/secure-systems-lab/dsse.
Ed25519: RFC 8032, DOI 10.17487/RFC8032.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from tasks.contract.errors import SpecError
from tasks.publish.claims import SignatureFile
from tasks.publish.layout import manifest_key, signature_path

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:waymint:release:v1"
#: A signature is read from a store that others may write to: what is larger was not written by us.
MOST_BYTES = 64 * 2**10


def key_id(key: Ed25519PublicKey) -> str:
    """Return a key's id: the SHA-256 of its SubjectPublicKeyInfo in DER, 64 hexadecimal digits."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def new_key_pair() -> tuple[bytes, bytes]:
    """Make a key pair; return the private key (PKCS #8) and the public key (SubjectPublicKeyInfo), both in PEM."""
    private = Ed25519PrivateKey.generate()
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def read_private_key(pem: bytes, owner: str) -> Ed25519PrivateKey:
    """Read a private key.

    Parameters
    ----------
    pem : bytes
        PKCS #8 without a password, e.g. of ``waymint releases keygen`` or ``openssl genpkey -algorithm ed25519``.
    owner : str
        Where it comes from, for the error's text.

    Raises
    ------
    SpecError
        If it is anything else.
    """
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SpecError(f"signing key of {owner} must be an Ed25519 private key in PEM without a password; it is not.", _KEYGEN)
    return key


def read_public_key(pem: bytes, owner: str) -> Ed25519PublicKey:
    """Read a public key in PEM (SubjectPublicKeyInfo); ``owner`` says where it comes from.

    Raises
    ------
    SpecError
        If it is anything else, e.g. a private key.
    """
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise SpecError(f"key of {owner} must be an Ed25519 public key in PEM; it is not.", _KEYGEN)
    return key


def sign_manifest(key: Ed25519PrivateKey, name: str, version: int, manifest: bytes) -> SignatureFile:
    """Sign a release; the same key, release and manifest give the same bytes.

    Parameters
    ----------
    key : Ed25519PrivateKey
        Of the signer.
    name, version : str, int
        The release.
    manifest : bytes
        As it is, or will be, in the store.

    Returns
    -------
    SignatureFile
        Where it belongs in the release's folder, and its text.
    """
    identity = key_id(key.public_key())
    payload = json.dumps(statement(name, version, manifest), sort_keys=True, separators=(",", ":")).encode()
    signature = key.sign(authenticated(payload))
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": identity, "sig": base64.b64encode(signature).decode()}],
    }
    return SignatureFile(path=signature_path(identity), text=f"{json.dumps(envelope, sort_keys=True, indent=2)}\n")


def statement(name: str, version: int, manifest: bytes) -> dict[str, Any]:
    """Return the in-toto Statement of a release: its subject is the manifest, by its key in the store and its SHA-256."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": manifest_key(name, version), "digest": {"sha256": hashlib.sha256(manifest).hexdigest()}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"name": name, "version": version},
    }


def authenticated(payload: bytes) -> bytes:
    """Return the bytes that a DSSE signature is over: the pre-authentication encoding of type and payload."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def envelope_fault(envelope: bytes, name: str, version: int, manifest: bytes, key: Ed25519PublicKey | None) -> str | None:
    """Return what is wrong with a signature; None if it is good.

    Parameters
    ----------
    envelope : bytes
        Of the store; may be anything.
    name, version : str, int
        The release that it should be of.
    manifest : bytes
        As it is in the store.
    key : Ed25519PublicKey or None
        Must have made it. None checks only that it speaks of this manifest, which anybody can write.
    """
    if len(envelope) > MOST_BYTES:
        return f"must have at most {MOST_BYTES} bytes; got {len(envelope)}"
    try:
        values = json.loads(envelope)
        payload = base64.b64decode(values["payload"], validate=True)
        signatures = [(str(each["keyid"]), base64.b64decode(each["sig"], validate=True)) for each in values["signatures"]]
        kind, claimed = values["payloadType"], json.loads(payload)
    except (ValueError, KeyError, TypeError, RecursionError):
        return "must be a DSSE envelope"
    # the key first: before it, nothing in the payload has a meaning
    if key is not None and not any(_is_by(key, payload, signature) for keyid, signature in signatures if keyid == key_id(key)):
        return "was not made by the given key"
    if kind != PAYLOAD_TYPE or claimed != statement(name, version, manifest):
        return "is of another release, or of an earlier manifest"
    return None


def _is_by(key: Ed25519PublicKey, payload: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, authenticated(payload))
    except InvalidSignature:
        return False
    return True


_KEYGEN = "Make a pair with 'waymint releases keygen FILE': FILE signs, FILE.pub checks."
