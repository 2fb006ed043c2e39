"""The tenants that exist, found by any text that a store may hold for them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from aeterna_cli.stores.base.tenants import TenantIdentity


@dataclass(frozen=True)
class KnownTenants:
    """Every tenant by each of its values. A value that two tenants share names both: a slug may be
    another tenant's id, and then nobody can tell whose data it is."""

    tenants: tuple[TenantIdentity, ...]
    _by_value: Mapping[bytes, tuple[str, ...]] = field(repr=False)
    #: bytes of the longest value: no longer part of a name need be looked up
    longest: int

    @classmethod
    def of(cls, tenants: Iterable[TenantIdentity]) -> "KnownTenants":
        everyone = tuple(tenants)
        found: dict[bytes, tuple[str, ...]] = {}
        for tenant in everyone:
            for value in filter(None, tenant.values):
                found[encoded(value)] = (*found.get(encoded(value), ()), tenant.id)
        return cls(everyone, found, max(map(len, found), default=0))

    def named(self, value: bytes | str) -> tuple[str, ...]:
        """The ids of the tenants that this text names; empty for nobody's."""
        return self._by_value.get(encoded(value) if isinstance(value, str) else value, ())

    def values(self) -> Iterator[tuple[bytes, tuple[str, ...]]]:
        yield from self._by_value.items()

    def __getitem__(self, identifier: str) -> TenantIdentity:
        return next(tenant for tenant in self.tenants if tenant.id == identifier)


def encoded(text: str) -> bytes:
    """A text as the stores hold it. Lone surrogates, which no store can hold, do not raise."""
    return text.encode("utf-8", "surrogatepass")


def each_once(identifiers: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(identifiers)))
