"""What a tenant's archive says of its parts: the facts of the manifest as values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aeterna_cli.stores.base.qdrant import CollectionDescription

#: names of the parts, and of the store that each is of
ROWS, POINTS, KEYS, OBJECTS = "rows", "points", "keys", "objects"
STORE_OF = {ROWS: "postgres", POINTS: "qdrant", KEYS: "redis", OBJECTS: "objects"}
OWN_KEYS, SHARED_KEYS = "keys.resp", "shared.resp"
OBJECT_TAR, OBJECT_LIST = "objects.tar", "objects.ndjson"


@dataclass(frozen=True)
class ArchivedCollection:
    """One collection's points of the tenant. ``whole``: it is the tenant's alone. ``certain`` is
    False where its name is lossy: nothing in it is ever deleted. ``placed``: the placement named it
    when the archive was made."""

    description: CollectionDescription
    whole: bool
    certain: bool
    placed: bool
    volume: str
    points: int
    digest: str

    @property
    def name(self) -> str:
        return self.description.name

    def as_document(self) -> dict[str, Any]:
        return {**asdict(self), "description": self.description.as_document()}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "ArchivedCollection":
        description = CollectionDescription.from_document(document["description"])
        return cls(**{**document, "description": description})
