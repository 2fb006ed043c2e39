"""Secrets in the shape in which the platform stores them, under a key that everybody can compute.

Source: data model, section 6: AES-256-GCM without associated data; the DEK wrapped by the ``local``
provider as nonce, ciphertext and tag in one. Nothing here is secret: the lab's data is public.
"""

import hashlib
import uuid
from dataclasses import dataclass

KMS_KEY_ID = "local:env"
_NONCE = 12


@dataclass(frozen=True)
class Sealed:
    kms_key_id: str
    wrapped_dek: bytes
    ciphertext: bytes
    nonce: bytes


def kms_key(seed: int) -> bytes:
    """The 32 bytes that the seeded deployment has as AETERNA_LOCAL_KMS_KEY (base64)."""
    return _bytes(32, seed, "kms")


def seal(seed: int, row: uuid.UUID, value: bytes) -> Sealed:
    """The same bytes for the same seed and row: nonces that repeat are fit for a lab only."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key, nonce, outer = (_bytes(size, seed, row, size, kind) for size, kind in _PARTS)
    wrapped = outer + AESGCM(kms_key(seed)).encrypt(outer, key, None)
    return Sealed(KMS_KEY_ID, wrapped, AESGCM(key).encrypt(nonce, value, None), nonce)


_PARTS = ((32, "dek"), (_NONCE, "nonce"), (_NONCE, "wrapping nonce"))


def unseal(master: bytes, wrapped_dek: bytes, ciphertext: bytes, nonce: bytes) -> bytes:
    """The value; ``cryptography.exceptions.InvalidTag`` under another key or for changed bytes."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = AESGCM(master).decrypt(wrapped_dek[:_NONCE], wrapped_dek[_NONCE:], None)
    return AESGCM(key).decrypt(nonce, ciphertext, None)


def _bytes(size: int, *words: object) -> bytes:
    return hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=size).digest()
