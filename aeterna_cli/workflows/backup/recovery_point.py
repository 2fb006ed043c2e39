"""The recovery point itself: one moment of PostgreSQL, its digests, and who is an orphan at it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeterna_cli.repository.wal_archive import lsn_text
from aeterna_cli.settings import OrphanRule
from aeterna_cli.stores.base.postgres import DigestSet
from aeterna_cli.workflows.backup.qdrant_capture import QdrantCapture, ids_of
from aeterna_cli.workflows.orphans import Side, merge, summarise
from aeterna_cli.workflows.sorting import sorted_lines

if TYPE_CHECKING:
    from aeterna_cli.repository.pipeline import VolumeRecord
    from aeterna_cli.stores.postgres import PostgresServer
    from aeterna_cli.stores.postgres_snapshot import Snapshot
    from aeterna_cli.workflows.backup.volumes import Volumes

ORPHANS = "orphans"  # the store part that holds the full lists


@dataclass(frozen=True)
class PostgresPoint:
    """``lsn`` is where a recovery ends by default (exclusive) where ``exact``; ``restore_point`` is
    the position of the named restore point behind it. ``wal_needed`` must be stored."""

    time: datetime
    lsn: int | None
    restore_point: int
    name: str
    exact: bool
    reason: str
    wal_needed: int


def mark(
    server: "PostgresServer", snapshot: "Snapshot", name: str, clock: Callable[[], datetime]
) -> PostgresPoint:
    """The restore point behind the snapshot. A record behind it makes sure that it is reached."""
    moment = clock()
    position = server.restore_point(name)
    end = server.switch_wal()
    return PostgresPoint(
        time=moment,
        lsn=snapshot.lsn,
        restore_point=position,
        name=name,
        exact=snapshot.exact,
        reason=snapshot.reason,
        wal_needed=max(position, end),
    )


def postgres_digests(snapshot: "Snapshot") -> tuple[dict[str, Any], list[str]]:
    """Digests of the profile's database, and of the others (approximate); what is left out."""
    own, others = snapshot.digests(), snapshot.others()
    notes = [f"{finding.subject}: {finding.message}" for finding in snapshot.findings()]
    if not snapshot.exact:
        notes.append(f"digests of PostgreSQL are approximate: {snapshot.reason}")
    return {"exact": own.exact, "own": _tables(own), "others": _tables(others)}, notes


def _tables(digests: DigestSet) -> list[dict[str, Any]]:
    return [asdict(table) for table in digests.tables]


def orphans(
    snapshot: "Snapshot",
    rules: Sequence[OrphanRule],
    capture: QdrantCapture,
    volumes: "Volumes",
    work: Path,
) -> tuple[list[dict[str, Any]], list["VolumeRecord"]]:
    """For every rule whose table and collections exist: the two sets, and their full lists."""
    found, records = [], []
    for number, rule in enumerate(rules):
        images = [
            image
            for image in capture.of_tenants()
            if any(fnmatchcase(image.collection, pattern) for pattern in rule.collections)
        ]
        if not images or not snapshot.has_table(rule.table):
            continue
        rows = sorted_lines(snapshot.ids(rule.table, rule.id_column), work)
        points = sorted_lines((name for image in images for name in ids_of(image)), work)
        name = f"rule-{number:04d}.ndjson"
        with volumes.open(ORPHANS, name) as writer:
            sets = summarise(_written(merge(rows, points), writer.write))
            records.append(writer.commit())
        found.append(
            {
                "rule": rule.model_dump(mode="json"),
                "exact": snapshot.exact and all(image.facts for image in images),
                "volume": name,
                "sets": {one.side: asdict(one) for one in sets},
            }
        )
    return found, records


def _written(
    found: Iterator[tuple[Side, str]], write: Callable[[bytes], None]
) -> Iterator[tuple[Side, str]]:
    import json

    for side, name in found:
        write(json.dumps({"side": side, "id": name}).encode() + b"\n")
        yield side, name


def position_text(lsn: int | None) -> str | None:
    return lsn_text(lsn) if lsn is not None else None
