"""Key services: they wrap small secrets and never give their own key away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aeterna_cli.stores.base.findings import Finding


@dataclass(frozen=True)
class WrappedKey:
    """A secret wrapped by a key service. ``ciphertext`` is the provider's own text form."""

    provider: str
    key_id: str
    key_version: str
    ciphertext: str


class KeyService(Protocol):
    """Wraps small secrets (at most 4 KiB) under a named key that never leaves the service."""

    @property
    def description(self) -> str: ...
    def wrap(self, secret: bytes, *, context: bytes) -> WrappedKey: ...
    def unwrap(self, wrapped: WrappedKey, *, context: bytes) -> bytes: ...
    def ensure_key(self) -> None: ...
    def probe(self) -> Sequence[Finding]: ...
