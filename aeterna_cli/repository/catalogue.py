"""The catalogue: an append-only, hash-chained list of what happened to the backups.

``catalogue/<seq>.json`` says that a backup was added, pruned, held or released, and carries the
SHA-256 of the record before it. Records are never deleted, so pruning does not break the chain. The
chain shows a changed, swapped or missing record; it cannot show that its newest records were cut
off (the manifests can: see ``inventory``).
"""

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from aeterna_cli.errors import ConflictError, RefusedError, RemoteError
from aeterna_cli.repository import canonical, layout
from aeterna_cli.repository.once import create_once
from aeterna_cli.stores.base.objects import ObjectStore

Kind = Literal["added", "pruned", "held", "released"]
NOTHING_BEFORE = "0" * 64
_SCHEMA = "aeterna.catalogue"
_READERS = 8  # records fetched at once: each is a round trip
_LARGEST_RACE = 64  # records that others may append while we try to


@dataclass(frozen=True)
class Record:
    """One record as it is stored. ``summary`` is free JSON, set for ``added``."""

    sequence: int
    kind: Kind
    backup: str
    time: datetime
    actor: str
    reason: str
    summary: Mapping[str, Any]
    nonce: str
    previous: str


@dataclass(frozen=True)
class CatalogueEntry:
    """What is known of one backup without reading its manifest.

    ``created`` is when it began. ``catalogued`` is False where only the manifest knows of it: the
    tool died between the two, and ``inventory.repair`` adds it. ``fault`` says why such a manifest
    is not acceptable: that backup is listed, but nobody should count on it.
    """

    backup: str
    created: datetime
    held: bool = False
    pruned: bool = False
    catalogued: bool = True
    fault: str = ""
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tenant(self) -> str | None:
        """The tenant whose data alone it holds, by its summary; None for a whole backup."""
        scope = self.summary.get("scope")
        return str(scope.get("tenant", "")) if isinstance(scope, Mapping) else None


@dataclass(frozen=True)
class Chain:
    """The verified records in order, and the hash that the next one must carry."""

    records: tuple[Record, ...] = ()
    head: str = NOTHING_BEFORE

    def entries(self) -> list[CatalogueEntry]:
        """One entry for each backup that was ever added, oldest first."""
        known: dict[str, CatalogueEntry] = {}
        for record in self.records:
            entry = known.get(record.backup)
            if record.kind == "added" and entry is None:
                created = layout.parse_backup_id(record.backup)
                known[record.backup] = CatalogueEntry(
                    record.backup, created, summary=record.summary
                )
            elif entry is not None:
                known[record.backup] = _after(entry, record.kind)
        return sorted(known.values(), key=lambda entry: (entry.created, entry.backup))


def read(store: ObjectStore) -> Chain:
    """All records, verified.

    ``RemoteError('catalogue_damaged')`` naming the first record that is missing, changed or out of
    place; ``RefusedError('catalogue_too_new')``.
    """
    sequences = _sequences(store)
    for expected, found in enumerate(sequences, start=1):
        if expected != found:
            raise _damaged(layout.catalogue_key(expected), "is missing")
    keys = [layout.catalogue_key(number) for number in sequences]
    with ThreadPoolExecutor(_READERS, "catalogue") as readers:
        return _verified(zip(keys, readers.map(store.read, keys), strict=True), Chain())


def append(
    store: ObjectStore,
    kind: Kind,
    backup: str,
    *,
    time: datetime,
    actor: str = "",
    reason: str = "",
    summary: Mapping[str, Any] | None = None,
) -> Record:
    """Add a record behind the newest one; durable when this returns.

    Whoever loses the race for a number verifies the winner's record and takes the next number.
    ``ConflictError('catalogue_contended')`` when that never ends; the errors of ``read``.
    """
    layout.parse_backup_id(backup)
    chain, nonce = read(store), uuid.uuid4().hex
    for _attempt in range(_LARGEST_RACE):
        record = Record(
            len(chain.records) + 1,
            kind,
            backup,
            time,
            actor,
            reason,
            dict(summary or {}),
            nonce,
            chain.head,
        )
        key = layout.catalogue_key(record.sequence)
        try:
            create_once(store, key, canonical.as_bytes(_as_document(record)))
        except ConflictError as error:
            if error.code != "object_exists":
                raise
            chain = _verified([(key, store.read(key))], chain)
            continue
        return record
    raise ConflictError(
        "catalogue_contended",
        "others keep appending to the catalogue",
        hint="are several hosts backing up into this repository at once?",
    )


def _after(entry: CatalogueEntry, kind: Kind) -> CatalogueEntry:
    held = {"held": True, "released": False}.get(kind, entry.held)
    return CatalogueEntry(
        entry.backup,
        entry.created,
        held=held,
        pruned=entry.pruned or kind == "pruned",
        summary=entry.summary,
    )


def _sequences(store: ObjectStore) -> Sequence[int]:
    found = (layout.catalogue_sequence(item.key) for item in store.list(f"{layout.CATALOGUE}/"))
    return sorted(number for number in found if number is not None)


def _verified(found: Iterable[tuple[str, bytes]], chain: Chain) -> Chain:
    """``chain`` with the records that follow it."""
    records, head = list(chain.records), chain.head
    for key, data in found:
        record = _parsed(key, data)
        if record.sequence != len(records) + 1 or record.previous != head:
            raise _damaged(key, "does not follow the record before it")
        records.append(record)
        head = hashlib.sha256(data).hexdigest()
    return Chain(tuple(records), head)


def _as_document(record: Record) -> dict[str, Any]:
    return {
        "schema": f"{_SCHEMA}/1",
        "sequence": record.sequence,
        "kind": record.kind,
        "backup": record.backup,
        "time": record.time.isoformat(),
        "actor": record.actor,
        "reason": record.reason,
        "summary": record.summary,
        "nonce": record.nonce,
        "previous": record.previous,
    }


def _parsed(key: str, data: bytes) -> Record:
    document = canonical.from_bytes(data, code="catalogue_damaged", key=key)
    major = canonical.major_of(document.get("schema"), _SCHEMA)
    if major is not None and major > 1:
        raise RefusedError(
            "catalogue_too_new", f"{key} is of a newer format", next_steps=["upgrade aeterna-cli"]
        )
    try:
        record = Record(
            document["sequence"],
            document["kind"],
            document["backup"],
            datetime.fromisoformat(document["time"]),
            document["actor"],
            document["reason"],
            document["summary"],
            document["nonce"],
            document["previous"],
        )
        sound = layout.is_backup_id(record.backup) and record.kind in get_args(Kind)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(key, "is not a catalogue record") from error
    if major != 1 or not sound or not isinstance(record.summary, dict):
        raise _damaged(key, "is not a catalogue record")
    return record


def _damaged(key: str, what: str) -> RemoteError:
    return RemoteError(
        "catalogue_damaged",
        f"the catalogue is damaged: {key} {what}",
        hint="restore this object from a copy of the repository; every backup can still be restored"
        " by its id, which is the name of its folder below backups/",
        details={"key": key},
    )
