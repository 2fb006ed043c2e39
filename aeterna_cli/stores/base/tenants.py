"""Tenants as the platform knows them."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class TenantIdentity:
    """One row of the platform's ``tenants``. ``id`` is the uuid as text.

    A store names the tenant by it or by its slug (source: the platform's tenant context and
    bootstrap code).

    Every field is hostile text: quotes, ``%``, ``*``, unicode, up to 100 characters.
    """

    id: str
    slug: str
    name: str
    status: str
    created_at: datetime | None

    @property
    def values(self) -> tuple[str, ...]:
        """Every text that a store may hold for this tenant, each once."""
        return tuple(dict.fromkeys((self.id, self.slug)))
