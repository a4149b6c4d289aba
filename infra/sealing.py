"""Sealed objects: encrypted and authenticated under the user's key, so that they may lie where others read and write."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from infra.ownership import sign
from tasks.contract.errors import StoreForbidden

_PURPOSE = b"waymint sealed models/1"


def seal(data: bytes, owner: str) -> bytes:
    """Encrypt and authenticate.

    The cipher is AES-SIV (RFC 5297) with a 512-bit key derived from the user's: it needs no nonce, so the same bytes of the same owner
    give the same sealed bytes, and nothing but equality of two objects can be seen from outside.

    Parameters
    ----------
    data : bytes
        At most 2 GiB.
    owner : str
        What the object belongs to: it opens under this name only.
    """
    return AESSIV(_key()).encrypt(data, [owner.encode()])


def unseal(data: bytes, owner: str) -> bytes:
    """Return what was sealed.

    Raises
    ------
    StoreForbidden
        If it was not sealed with this user's key for this owner: nothing of it is looked at.
    """
    try:
        return AESSIV(_key()).decrypt(data, [owner.encode()])
    except (InvalidTag, ValueError):
        raise StoreForbidden(
            f"models of {owner} must be sealed with your key; they were sealed with another, or changed since.",
            "Set WAYMINT_KEY to the key that they were sealed with, or draw from the source: --source URI.",
        ) from None


def _key() -> bytes:
    """Return 64 bytes that depend on the user's key and on what they are for."""
    return hmac.digest(sign(_PURPOSE), _PURPOSE, hashlib.sha512)
