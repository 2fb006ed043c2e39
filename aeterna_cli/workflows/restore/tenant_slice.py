"""One tenant as a backup holds it: facts, and streams of rows, points, keys and objects.

A tenant's own backup gives them as they are stored; out of a whole one they were extracted into
local files before (``tenant_extract``). Whoever restores need not know which.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from aeterna_cli.repository.manifest import Manifest
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.restore.opened import OpenedBackup
from aeterna_cli.workflows.tenant.archive import (
    KEYS,
    OBJECTS,
    POINTS,
    ROWS,
    ArchivedCollection,
)
from aeterna_cli.workflows.tenant.rows import ArchivedTable

BLOCK = 1 << 20


@dataclass(frozen=True)
class SliceFacts:
    """``moments`` are when each part was read, at the earliest; a part that is missing there is
    not in the backup. ``keys`` and ``objects`` are the manifest's digests of them."""

    tenant: TenantIdentity
    moments: dict[str, datetime]
    tables: tuple[ArchivedTable, ...]
    collections: tuple[ArchivedCollection, ...]
    keys: dict[str, Any]
    objects: dict[str, Any]


class TenantSlice(Protocol):
    @property
    def facts(self) -> SliceFacts: ...
    def open(self, part: str, volume: str) -> AbstractContextManager[BinaryIO]:
        """A volume's plain bytes; nothing of them may be trusted before the block was left."""
        ...


class ArchivedSlice:
    """A tenant's own backup."""

    def __init__(self, opened: OpenedBackup) -> None:
        self._opened = opened
        self.facts = facts_of(opened.manifest)

    @contextmanager
    def open(self, part: str, volume: str) -> Iterator[BinaryIO]:
        with self._opened.volume(part, volume) as stream:
            yield stream


class SpooledSlice:
    """A tenant out of a whole backup, in files below ``folder``."""

    def __init__(self, folder: Path, facts: SliceFacts) -> None:
        self._folder = folder
        self.facts = facts

    @contextmanager
    def open(self, part: str, volume: str) -> Iterator[BinaryIO]:
        with (self._folder / part / volume).open("rb") as stream:
            yield stream


def facts_of(manifest: Manifest) -> SliceFacts:
    """What the manifest of a tenant's backup says."""
    scope, stores = manifest.scope, manifest.stores
    assert scope is not None  # noqa: S101 - whoever opened it asked for a tenant's
    tables = stores[ROWS].facts["tables"] if ROWS in stores else ()
    collections = stores[POINTS].facts["collections"] if POINTS in stores else ()
    moments = {name: part.window.start for name, part in stores.items()}
    if ROWS in moments:
        moments[ROWS] = manifest.recovery_point.time
    return SliceFacts(
        tenant=TenantIdentity(scope.tenant, scope.slug, scope.name, "", None),
        moments=moments,
        tables=tuple(ArchivedTable.from_document(one) for one in tables),
        collections=tuple(ArchivedCollection.from_document(one) for one in collections),
        keys=dict(manifest.digests.get(KEYS, {})),
        objects=dict(manifest.digests.get(OBJECTS, {})),
    )


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(BLOCK):
        yield block
