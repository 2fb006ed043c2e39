"""What the rows of one tenant have in common: its ids in every space, its people, its clock."""

import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from aeterna_cli.lab.seed.load import Rows
from aeterna_cli.lab.seed.tenants import EPOCH, Tenant, identifier

PEOPLE = 5
FIRST_NAMES = ("Ada", "Björn", "Chloé", "Dmitri", "Emel")
LAST_NAMES = ("O'Neill", "Müller", "Nguyễn", "da Silva", "山田")
TWO_TENANTS = ("acme-corp", "globex")  # the first one's first person works for the second as well

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Person:
    id: uuid.UUID
    email: str
    first: str
    last: str

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"


@dataclass(frozen=True)
class World:
    """One tenant that has rows. ``place`` is its position among them."""

    seed: int
    tenant: Tenant
    place: int

    def id(self, *words: object) -> uuid.UUID:
        return identifier(self.seed, self.tenant.slug, *words)

    @cached_property
    def tenant_id(self) -> uuid.UUID:
        return self.tenant.id(self.seed)

    @cached_property
    def key(self) -> str:
        return self.tenant.key(self.seed)

    @cached_property
    def host(self) -> str:
        """The slug where it can be a part of a domain name, else something that can."""
        slug = self.tenant.slug
        plain = re.fullmatch(r"[a-z0-9_-]{1,60}", slug)
        return slug if plain else f"t{self.tenant_id.hex[:12]}"

    @cached_property
    def several(self) -> int:
        """How many rows a table gets that grows with use."""
        return 1 if self.tenant.memories < 25 else 3

    @cached_property
    def people(self) -> list[Person]:
        return [
            Person(
                self.id("user", number),
                f"user{number}@{self.host}.example",
                FIRST_NAMES[number % len(FIRST_NAMES)],
                LAST_NAMES[(number + self.place) % len(LAST_NAMES)],
            )
            for number in range(PEOPLE)
        ]

    def person(self, number: int) -> Person:
        return self.people[number]

    # The newer hierarchy: uuids.
    @cached_property
    def company(self) -> uuid.UUID:
        return self.id("company")

    @cached_property
    def organization(self) -> uuid.UUID:
        return self.id("organization")

    def team(self, number: int) -> uuid.UUID:
        return self.id("team", number)

    def project(self, number: int) -> uuid.UUID:
        return self.id("project", number)

    # The older hierarchy: text. Its company is a uuid as text, its team need not be one.
    @cached_property
    def unit_company(self) -> uuid.UUID:
        return self.id("unit", "company")

    @cached_property
    def unit_organization(self) -> str:
        return str(self.id("unit", "organization"))

    @cached_property
    def unit_team(self) -> str:
        return f"github-team-{self.id('unit', 'team').hex[:16]}"

    @cached_property
    def unit_project(self) -> str:
        return str(self.id("unit", "project"))

    @cached_property
    def synchronised_team(self) -> uuid.UUID:
        """What the identity provider's synchronisation calls the team: uuid v5 of the unit's id."""
        return uuid.uuid5(uuid.NAMESPACE_DNS, self.unit_team)

    def repository(self, number: int) -> uuid.UUID:
        return self.id("repository", number)


def worlds(seed: int, everyone: Iterable[Tenant]) -> list[World]:
    """The tenants that have anything beside their own row."""
    alive = [tenant for tenant in everyone if not tenant.vacant]
    return [World(seed, tenant, place) for place, tenant in enumerate(alive)]


def moment(hours: float = 0) -> datetime:
    return EPOCH + timedelta(hours=hours)


def each(table: str, columns: str, rows: Iterable[Iterable[Row]]) -> Rows:
    """Rows that every tenant brings some of."""
    return Rows(table, columns, (row for some in rows for row in some))


def counted(rows: Iterable[Iterable[Row]]) -> Iterator[Row]:
    """Every tenant's rows, each behind a number that all share, as a serial column gives them."""
    flat = (row for some in rows for row in some)
    return ((number, *row) for number, row in enumerate(flat, 1))
