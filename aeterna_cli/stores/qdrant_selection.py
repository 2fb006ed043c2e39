"""Which points are a tenant's: asked of a payload, wherever the point was read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aeterna_cli.stores.base.qdrant import ShardKey


class SelectedPoints(Protocol):
    """See ``aeterna_cli.datamap.collections.PointSelection``."""

    @property
    def collection(self) -> str: ...
    @property
    def whole(self) -> bool: ...
    @property
    def field(self) -> str: ...
    @property
    def values(self) -> tuple[str, ...]: ...
    @property
    def json_field(self) -> str: ...
    @property
    def json_path(self) -> str: ...
    @property
    def shard_keys(self) -> tuple[ShardKey | None, ...]: ...
    def condition(self) -> dict[str, Any] | None: ...
    def unfiltered(self) -> dict[str, Any] | None: ...


@dataclass(frozen=True)
class PointTest:
    """The part of a selection that one payload answers; plain data, for another process too."""

    whole: bool
    field: str
    values: tuple[str, ...]
    json_field: str
    json_path: str

    @classmethod
    def of(cls, selection: SelectedPoints) -> "PointTest":
        return cls(
            selection.whole,
            selection.field,
            selection.values,
            selection.json_field,
            selection.json_path,
        )

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "PointTest":
        return cls(**{**document, "values": tuple(document["values"])})

    def __call__(self, payload: Mapping[str, Any] | None) -> bool:
        """Whether a point with this payload is the tenant's."""
        if self.whole:
            return True
        found = (payload or {}).get(self.field)
        if found is None or found == []:
            return self.by_text(payload)
        return any(one in self.values for one in _each(found))

    def by_text(self, payload: Mapping[str, Any] | None) -> bool:
        """Whether the JSON text inside a payload without the field names the tenant."""
        from aeterna_cli.stores.qdrant_tenants import inside  # httpx: not for every start

        if not self.json_field:
            return False
        return inside((payload or {}).get(self.json_field), self.json_path) in self.values


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
