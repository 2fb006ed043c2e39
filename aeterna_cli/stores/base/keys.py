"""Key services: they wrap small secrets and never give their own key away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.base.findings import Finding


@dataclass(frozen=True)
class WrappedKey:
    """A secret wrapped by a key service. ``ciphertext`` is the provider's own text form."""

    provider: str
    key_id: str
    key_version: str
    ciphertext: str


class KeyService(Protocol):
    """Wraps small secrets (at most ``LARGEST_SECRET`` bytes) under a named key.

    The named key never leaves the service. ``context`` (not empty) says what the secret belongs
    to; it is authenticated, not stored, and must be handed in again to unwrap.
    """

    @property
    def description(self) -> str:
        """Which key, where, for people; no secret."""

    def wrap(self, secret: bytes, *, context: bytes) -> WrappedKey:
        """``RefusedError('key_missing')`` where there is no key to wrap with."""

    def unwrap(self, wrapped: WrappedKey, *, context: bytes) -> bytes:
        """The secret again, also after the key was rotated.

        ``RefusedError('unwrap_refused')`` for another context, a damaged ciphertext or another
        key; ``RefusedError('key_missing')`` where the key is gone;
        ``RefusedError('wrapped_elsewhere')`` for a ciphertext of another provider.
        """

    def ensure_key(self) -> None:
        """The key exists when this returns; an existing one is left as it is."""

    def probe(self) -> Sequence[Finding]:
        """Whether ``wrap`` would work and what is unsafe about this key.

        What cannot be judged (unreachable, refused credentials) raises.
        """


LARGEST_SECRET = 4096  # bytes


def check_secret(secret: bytes, context: bytes) -> None:
    """``ValueError`` where the caller breaks the promise of ``KeyService.wrap``."""
    if not 0 < len(secret) <= LARGEST_SECRET:
        raise ValueError(f"a secret has 1 to {LARGEST_SECRET} bytes, not {len(secret)}")
    if not context:
        raise ValueError("a wrapped secret must be bound to a context")


def unwrap_refused(wrapped: WrappedKey, why: str) -> RefusedError:
    return RefusedError(
        "unwrap_refused",
        f"{wrapped.key_id} does not open this wrapped key: {why}",
        hint="a key slot belongs to one backup and one key; was it copied or changed?",
    )


def wrapped_elsewhere(wrapped: WrappedKey, description: str) -> RefusedError:
    return RefusedError(
        "wrapped_elsewhere",
        f"a key wrapped by {wrapped.provider} cannot be opened by {description}",
        hint="set keys.provider to the key service that wrapped it, or use an offline identity",
    )
