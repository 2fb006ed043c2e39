"""Vault's transit engine as key service; OpenBao speaks the same.

The key is derived: each context has a key of its own, so a ciphertext opens under its own context
only, and rewrapping works (it takes no associated data). Source: Vault and OpenBao documentation,
"Transit secrets engine (API)"; measured on OpenBao 2.7.
"""

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import hvac
from hvac import exceptions as vault
from requests import exceptions as http

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    RefusedError,
    RemoteError,
    TransientError,
    UsageError,
)
from aeterna_cli.settings import KeySettings
from aeterna_cli.stores.backoff import Backoff, retried
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.keys import WrappedKey, check_secret, unwrap_refused, wrapped_elsewhere

T = TypeVar("T")
PROVIDER = "vault"
KEY_TYPE = "aes256-gcm96"
_KEY_ID = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9._/-]*)/([A-Za-z0-9_-][A-Za-z0-9._-]*)\Z")
_CIPHERTEXT = re.compile(r"vault:v([0-9]{1,9}):[A-Za-z0-9+/=]+\Z")


class VaultKeyService:
    """A ``KeyService`` on one transit key. The token is read again for every request."""

    def __init__(
        self,
        settings: KeySettings,
        *,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
    ) -> None:
        self._settings, self._backoff = settings, backoff
        self._key_id = f"{settings.mount.strip('/')}/{settings.key_name}"
        if _KEY_ID.match(self._key_id) is None or ".." in self._key_id:
            raise UsageError("key_name_invalid", f"not a transit key: {self._key_id!r}")
        self._known_good = False

    @property
    def description(self) -> str:
        return f"Vault key {self._key_id} at {self._settings.address}"

    def wrap(self, secret: bytes, *, context: bytes) -> WrappedKey:
        """Also ``RefusedError('key_not_derived')``: such a key would ignore the context."""
        check_secret(secret, context)
        if not self._known_good:
            self._refuse_underived(self._read())
            self._known_good = True
        answer = self._transit(
            lambda transit: transit.encrypt_data(
                name=self._settings.key_name,
                plaintext=_text(secret),
                context=_text(context),
                mount_point=self._settings.mount,
            )
        )
        ciphertext = str(answer["data"]["ciphertext"])
        found = _CIPHERTEXT.match(ciphertext)
        if found is None:
            raise RemoteError("vault_answer", f"{self.description}: not a transit ciphertext")
        return WrappedKey(PROVIDER, self._key_id, found[1], ciphertext)

    def unwrap(self, wrapped: WrappedKey, *, context: bytes) -> bytes:
        """The key that wrapped it is asked, whichever is configured now."""
        if wrapped.provider != PROVIDER:
            raise wrapped_elsewhere(wrapped, self.description)
        place = _KEY_ID.match(wrapped.key_id)
        if place is None or ".." in wrapped.key_id or not _CIPHERTEXT.match(wrapped.ciphertext):
            raise unwrap_refused(wrapped, "it is not of the form that Vault gives")
        try:
            answer = self._transit(
                lambda transit: transit.decrypt_data(
                    name=place[2],
                    ciphertext=wrapped.ciphertext,
                    context=_text(context),
                    mount_point=place[1],
                ),
                f"Vault key {wrapped.key_id} at {self._settings.address}",
            )
        except RemoteError as error:
            if error.details.get("status") != 400:
                raise
            raise unwrap_refused(
                wrapped, "another context, a damaged ciphertext, or a version no longer allowed"
            ) from error
        return base64.b64decode(answer["data"]["plaintext"])

    def ensure_key(self) -> None:
        """Makes a derived, not exportable key; ``RefusedError('key_not_derived')`` for another."""
        try:
            known = self._read()
        except RefusedError:
            self._transit(
                lambda transit: transit.create_key(
                    name=self._settings.key_name,
                    key_type=KEY_TYPE,
                    derived=True,
                    exportable=False,
                    mount_point=self._settings.mount,
                )
            )
            known = self._read()
        self._refuse_underived(known)

    def probe(self) -> Sequence[Finding]:
        """Reads the key and wraps a few bytes. Needs no more than a backup does."""
        try:
            known = self._read()
            self._refuse_underived(known)
            self.wrap(b"probe", context=b"aeterna probe")
        except RefusedError as error:
            return [Finding(error.code, "error", self.description, error.message, error.hint)]
        return [
            Finding(code, "warning", self.description, message, mend)
            for field, code, message, mend in _UNSAFE
            if known.get(field)
        ]

    def _read(self) -> dict[str, Any]:
        answer = self._transit(
            lambda transit: transit.read_key(
                name=self._settings.key_name, mount_point=self._settings.mount
            )
        )
        known: dict[str, Any] = answer["data"]
        return known

    def _refuse_underived(self, known: dict[str, Any]) -> None:
        if not known.get("derived"):
            raise RefusedError(
                "key_not_derived",
                f"{self.description} is not derived: it would ignore what a secret belongs to",
                hint="a key cannot be changed into a derived one",
                next_steps=["set keys.key_name to a new name and make the key again"],
            )

    @cached_property
    def _client(self) -> Any:
        settings, tls = self._settings, self._settings.tls
        return hvac.Client(
            url=settings.address,
            token="",  # set for each request
            namespace=settings.namespace,
            verify=str(tls.ca_file) if tls.ca_file else True,
            cert=(str(tls.certificate_file), str(tls.key_file or tls.certificate_file))
            if tls.certificate_file
            else None,
            timeout=settings.timeout,
        )

    def close(self) -> None:
        """Give the connection back; the next call opens another."""
        if "_client" in self.__dict__:
            self._client.adapter.close()
            del self._client

    def _transit(self, call: Callable[[Any], T], where: str = "") -> T:
        """One request to the transit engine, repeated while Vault cannot be reached."""

        def send() -> T:
            token = self._settings.secret()
            if not token:
                raise UsageError(
                    "vault_token_missing",
                    "the profile has no Vault token",
                    hint="set keys.token_file or AETERNA_KEYS__TOKEN",
                )
            with _faults(where or self.description):
                self._client.token = token
                return call(self._client.secrets.transit)

        return retried(send, self._backoff)


@contextmanager
def _faults(where: str) -> Iterator[None]:
    try:
        yield
    except vault.VaultError as error:
        raise _answered(error, where) from error
    except http.RequestException as error:
        raise _not_answered(error, where) from error
    except OSError as error:  # a CA or certificate file that cannot be read
        raise UsageError("tls_file_missing", f"{where}: {error}") from error


_UNSAFE = (
    (
        "exportable",
        "key_exportable",
        "the key may be exported from Vault",
        "make a new key that is not exportable",
    ),
    (
        "allow_plaintext_backup",
        "key_plaintext_backup",
        "the key may be taken out of Vault as a plaintext backup",
        "make a new key without allow_plaintext_backup",
    ),
    (
        "deletion_allowed",
        "key_deletion_allowed",
        "the key may be deleted, and every backup with it",
        "set deletion_allowed=false on the key",
    ),
)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _answered(error: vault.VaultError, where: str) -> AeternaError:
    if isinstance(error, vault.Forbidden | vault.Unauthorized):
        return AuthenticationError(
            "vault_denied",
            f"{where}: Vault refused the token or its policy",
            hint="is the token expired? what its policy needs stands in docs/security.md",
        )
    # Vault answers a decryption with a key that is not there with 400
    if isinstance(error, vault.InvalidPath) or "key not found" in str(error):
        return RefusedError(
            "key_missing",
            f"{where}: there is no such key",
            hint="was it deleted, or are keys.mount, keys.key_name or keys.namespace wrong?",
        )
    if isinstance(error, vault.VaultDown | vault.VaultNotInitialized):
        return TransientError("vault_sealed", f"{where}: Vault is sealed or not initialised")
    if isinstance(error, vault.InternalServerError | vault.BadGateway | vault.RateLimitExceeded):
        return TransientError("vault_unavailable", f"{where}: {type(error).__name__}")
    status = 400 if isinstance(error, vault.InvalidRequest) else 0
    return RemoteError(
        "vault_refused",
        f"{where}: Vault refused the request ({type(error).__name__})",
        details={"status": status},
    )


def _not_answered(error: http.RequestException, where: str) -> AeternaError:
    if isinstance(error, http.SSLError):
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return RemoteError(
                "certificate_refused",
                f"{where}: the server's certificate is not trusted",
                hint="set keys.tls.ca_file to the authority that signed it",
            )
        return RemoteError("tls_failed", f"{where}: no TLS connection")
    if isinstance(error, http.ConnectionError | http.Timeout | http.ChunkedEncodingError):
        return TransientError(
            "vault_unreachable",
            f"{where}: Vault cannot be reached",
            hint="without its key service a backup opens with an offline recipient's identity only",
            next_steps=["aeterna-cli doctor", "or --identity-file FILE where the command has it"],
        )
    return RemoteError("vault_fault", f"{where}: {type(error).__name__}")
