"""Ed25519: who wrote a manifest. An auditor needs the public key and nothing of ours.

``openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in manifest.json -sigfile manifest.sig``
says the same. Source: RFC 8032 (Ed25519), RFC 8410 (its PEM forms).
"""

import base64
import binascii
import os
from pathlib import Path
from typing import TYPE_CHECKING

from aeterna_cli.errors import RefusedError, RemoteError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PUBLIC_BYTES = 32
_LARGEST_FILE = 16384  # bytes; a key file has 120


class SigningKey:
    """A repository's private signing key. It lies outside the repository; its repr is silent."""

    def __init__(self, key: "Ed25519PrivateKey") -> None:
        self._key = key

    @classmethod
    def generate(cls) -> "SigningKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> "SigningKey":
        """The key in a PEM file that only its owner may read.

        ``RefusedError``: ``signing_key_missing``, ``signing_key_exposed``, ``signing_key_damaged``.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        pem = _read_private(path)
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None  # refused below, without the parser's words about a secret file
        if not isinstance(key, Ed25519PrivateKey):
            raise RefusedError(
                "signing_key_damaged", f"{path} does not hold an unencrypted Ed25519 key in PEM"
            )
        return cls(key)

    def save(self, path: Path) -> None:
        """Write the key to a new file, mode 0600, durable when this returns.

        An existing file is never overwritten: ``RefusedError('signing_key_exists')``.
        """
        from cryptography.hazmat.primitives import serialization

        pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        if path.exists():
            raise RefusedError("signing_key_exists", f"{path} exists already")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(number, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unusable(path, error) from error

    @property
    def public(self) -> str:
        """The raw public key, base64."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode("ascii")

    def sign(self, data: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(data)


def verify(public: str, data: bytes, signature: bytes) -> None:
    """``RemoteError('signature_invalid')`` unless the holder of ``public`` signed ``data``."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        raw = base64.b64decode(public, validate=True)
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, data)
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise RemoteError(
            "signature_invalid",
            "the signature does not belong to this content and the repository's public key",
            hint="somebody changed it, or it was signed by another deployment: trust nothing in it",
            next_steps=["aeterna-cli backup list  # choose another backup"],
        ) from error


def public_key_of(text: str) -> str:
    """The raw key in base64, from that or from PEM; ``UsageError('public_key_invalid')``."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    stripped = text.strip()
    if is_public_key(stripped):
        return stripped
    try:
        key = load_pem_public_key(stripped.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None  # refused below
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(
            "public_key_invalid",
            "this is no Ed25519 public key in PEM or base64",
            hint="the repository's is public_key in its repository.json",
        )
    return base64.b64encode(key.public_bytes_raw()).decode("ascii")


def is_public_key(text: object) -> bool:
    """Whether ``text`` is 32 bytes in base64."""
    try:
        return isinstance(text, str) and len(base64.b64decode(text, validate=True)) == _PUBLIC_BYTES
    except ValueError:
        return False


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            pem = file.read(_LARGEST_FILE)
    except FileNotFoundError as error:
        raise RefusedError(
            "signing_key_missing",
            f"there is no signing key {path}",
            hint="without it no backup can be committed; restore your copy of it",
        ) from error
    except OSError as error:
        raise _unusable(path, error) from error
    if mode & 0o077:
        raise RefusedError(
            "signing_key_exposed",
            f"{path} may be read or written by others (mode {mode & 0o777:04o})",
            next_steps=[f"chmod 600 {path}"],
        )
    return pem


def _unusable(path: Path, error: OSError) -> RefusedError:
    return RefusedError("signing_key_unusable", f"the signing key {path}: {error.strerror}")
