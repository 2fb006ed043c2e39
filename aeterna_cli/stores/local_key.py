"""A key service that is a file on this machine: for development and the lab, never production.

Whoever reads the file reads every backup, and a lost file is a lost repository. AES-256-GCM with a
random 96-bit nonce (NIST SP 800-38D); the context is the associated data.
"""

import base64
import binascii
import hashlib
import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aeterna_cli.errors import AeternaError, RefusedError, RemoteError
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.keys import WrappedKey, check_secret, unwrap_refused, wrapped_elsewhere

PROVIDER = "local-file"
VERSION = "1"
_HEAD = f"local:v{VERSION}:"
_NONCE = 12  # bytes
_KEY = 32  # bytes


class LocalFileKeyService:
    """A ``KeyService`` on a key file of 32 bytes in hexadecimal, mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def description(self) -> str:
        return f"local key file {self._path}"

    def wrap(self, secret: bytes, *, context: bytes) -> WrappedKey:
        check_secret(secret, context)
        key = self._key()
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + AESGCM(key).encrypt(nonce, secret, context)
        text = _HEAD + base64.b64encode(sealed).decode("ascii")
        return WrappedKey(PROVIDER, _fingerprint(key), VERSION, text)

    def unwrap(self, wrapped: WrappedKey, *, context: bytes) -> bytes:
        if wrapped.provider != PROVIDER:
            raise wrapped_elsewhere(wrapped, self.description)
        key = self._key()
        if wrapped.key_id != _fingerprint(key):
            raise unwrap_refused(wrapped, f"the key in {self._path} is another one")
        try:
            sealed = base64.b64decode(wrapped.ciphertext.removeprefix(_HEAD), validate=True)
            return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], context)
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise unwrap_refused(wrapped, "another context, or a damaged ciphertext") from error

    def ensure_key(self) -> None:
        """The file exists, whole and durable, when this returns; an existing one is untouched."""
        if self._path.exists():
            self._key()
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make()
        except OSError as error:
            raise _unusable(self._path, error) from error
        self._key()

    def probe(self) -> Sequence[Finding]:
        warning = Finding(
            code="local_key_service",
            severity="warning",
            subject=self.description,
            message="the backups' key lies in a file on this machine",
            mend="use a Vault key service for anything but development",
        )
        try:
            self._key()
        except RefusedError as error:
            wrong = Finding(error.code, "error", self.description, error.message, error.hint)
            return [wrong, warning]
        return [warning]

    def _make(self) -> None:
        """Written beside and linked: of two who make it at once both go on with one key."""
        number, name = tempfile.mkstemp(dir=self._path.parent)  # mode 0600
        try:
            with os.fdopen(number, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(_KEY) + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(name, self._path)
            except FileExistsError:
                return
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        finally:
            Path(name).unlink()

    def _key(self) -> bytes:
        """The key; refuses a file that others may read, and one that holds something else."""
        try:
            with self._path.open(encoding="ascii") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read(2 * _KEY + 2)
            key = bytes.fromhex(text)
        except FileNotFoundError as error:
            raise RefusedError(
                "key_missing",
                f"there is no key file {self._path}",
                hint="without this very file nothing wrapped with it can be opened",
            ) from error
        except OSError as error:
            raise _unusable(self._path, error) from error
        except ValueError:  # the text must not get into a traceback
            key, mode = b"", 0
        if mode & 0o077:
            raise RefusedError(
                "key_file_exposed",
                f"{self._path} may be read or written by others (mode {mode & 0o777:04o})",
                next_steps=[f"chmod 600 {self._path}"],
            )
        if len(key) != _KEY:
            raise RefusedError(
                "key_file_damaged",
                f"{self._path} does not hold a key of {_KEY} bytes",
                hint="restore the file from where you keep a copy; a new key opens no old backup",
            )
        return key


def _fingerprint(key: bytes) -> str:
    """A name for the key that tells nothing about it."""
    return hashlib.sha256(b"aeterna local key\0" + key).hexdigest()[:16]


def _unusable(path: Path, error: OSError) -> AeternaError:
    return RemoteError("key_file_unusable", f"the key file {path}: {error.strerror or error}")
