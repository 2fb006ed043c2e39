"""How a tenant's rows are selected in a table: data, which a store compiles to its own language.

A tenant is meant by any of its values (``TenantIdentity.values``: the uuid as text, the slug).
"""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

#: how a value and the parent's are compared: as they are; both as text; the parent's text as a uuid
#: (no match where it is none); the uuid v5 (DNS namespace) of the parent's text
Match = Literal["same", "text", "uuid", "uuid5"]


@dataclass(frozen=True)
class TenantColumn:
    """The column holds a tenant's value. ``type`` is the catalogue's word."""

    column: str
    type: str


@dataclass(frozen=True)
class Parent:
    """A table whose selection decides about rows that refer to it."""

    schema: str
    name: str
    selection: "Selection"


@dataclass(frozen=True)
class Reference:
    """The columns have the values of a parent's row, and that row is the tenant's.

    ``unique``: the parent has at most one row for such values. Only ``same`` takes several columns.
    ``when_null``: it counts only for rows in which that column is NULL.
    """

    columns: tuple[str, ...]
    parent: Parent
    parent_columns: tuple[str, ...]
    match: Match = "same"
    unique: bool = True
    when_null: str | None = None


@dataclass(frozen=True)
class AnyOf:
    """A row is every tenant's that an option names: usually one, at times several."""

    options: tuple["Selection", ...]


Selection: TypeAlias = TenantColumn | Reference | AnyOf


class Selectable(Protocol):
    """A table whose rows can be selected; without a selection they belong to no tenant."""

    @property
    def label(self) -> str: ...
    @property
    def schema(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def selection(self) -> Selection | None: ...


@dataclass(frozen=True)
class Count:
    """``bytes`` is the size of the row values as the server keeps them, 0 where not asked for."""

    rows: int
    bytes: int = 0
