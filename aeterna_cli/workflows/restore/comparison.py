"""What was restored against what was captured, store by store; what differs becomes findings."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeterna_cli.repository.manifest import Manifest
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.postgres import DigestSet, TableDigest
from aeterna_cli.stores.base.qdrant import OPS_COLLECTION, QdrantStore
from aeterna_cli.stores.base.redis import RedisDigests
from aeterna_cli.workflows.orphans import merge, summarise
from aeterna_cli.workflows.sorting import sorted_lines

if TYPE_CHECKING:
    from aeterna_cli.stores.redis import RedisServer


@dataclass(frozen=True)
class Compared:
    """One comparison: how many things were compared, and what was found. ``items`` names the unit
    (tables, collections, keys, orphan rules)."""

    store: str
    items: str
    count: int
    findings: tuple[Finding, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def drift(self) -> bool:
        return any(finding.severity in ("error", "warning") for finding in self.findings)

    def as_document(self) -> dict[str, Any]:
        return {**asdict(self), "drift": self.drift}


def expected_tables(manifest: Manifest) -> DigestSet | None:
    """The digests of the profile's database at the recovery point; None where none were taken."""
    found = manifest.digests.get("postgres")
    if found is None:
        return None
    return DigestSet(tuple(TableDigest(**one) for one in found["own"]), None, found["exact"])


def postgres(manifest: Manifest, found: DigestSet, *, moved: bool) -> Compared:
    """``found`` was taken where nobody writes. ``moved``: PostgreSQL went to another moment."""
    from aeterna_cli.stores.postgres_digests import compare

    expected = expected_tables(manifest)
    if expected is None or moved:
        return Compared("postgres", "tables", len(found.tables), details=_counts(found))
    quiet = DigestSet(found.tables, found.lsn, exact=True)
    findings = tuple(compare(expected, quiet))
    return Compared("postgres", "tables", len(expected.tables), findings, _counts(found))


def _counts(found: DigestSet) -> dict[str, Any]:
    return {"rows": sum(table.rows for table in found.tables)}


def qdrant(manifest: Manifest, server: QdrantStore) -> Compared:
    """Every collection of the manifest by scroll; collections that it does not know are told."""
    expected: Mapping[str, Any] = manifest.digests.get("qdrant", {})
    present = {name for name in server.identity().collections if name != OPS_COLLECTION}
    findings: list[Finding] = []
    points = 0
    for name, wanted in expected.items():
        if name not in present:
            findings.append(_collection(name, "collection_missing", "the collection is not there"))
            continue
        total = server.live_digests(name).total
        points += total.points
        if wanted is None:
            message = "not compared: nobody could look inside when it was captured"
            findings.append(Finding("collection_not_compared", "info", name, message))
        elif (total.points, total.digest) != (wanted["points"], wanted["digest"]):
            message = f"{wanted['points']} points were captured, {total.points} are there"
            if total.points == wanted["points"]:
                message = f"the {total.points} points are not the same points"
            findings.append(_collection(name, "collection_differs", message))
    for name in sorted(present - expected.keys()):
        message = "the backup does not know this collection; it was left alone"
        findings.append(Finding("collection_unexpected", "warning", f"qdrant: {name}", message))
    return Compared("qdrant", "collections", len(expected), tuple(findings), {"points": points})


def _collection(name: str, code: str, message: str) -> Finding:
    return Finding(code, "error", f"qdrant: {name}", message)


def redis(manifest: Manifest, server: "RedisServer", now: datetime) -> Compared:
    """Keys by meaning; what expired meanwhile is explained, not drift."""
    from aeterna_cli.stores.redis_digests import compare

    found = server.digests()
    keys = sum(found.by_database.values())
    document = manifest.digests.get("redis")
    if document is None:
        message = "not compared: nobody could look inside when it was captured"
        note = Finding("redis_not_compared", "info", "redis", message)
        return Compared("redis", "keys", keys, (note,))
    findings = tuple(compare(RedisDigests.from_document(document), found, now))
    return Compared("redis", "keys", keys, findings, {"keys": keys})


def orphans(
    manifest: Manifest,
    ids_of_table: Mapping[str, Path],
    server: QdrantStore,
    work: Path,
    *,
    moved: bool,
) -> Compared:
    """The orphan sets of every rule against those at capture.

    ``ids_of_table`` are sorted id files by volume name. Where PostgreSQL went to another moment
    (``moved``) a difference is expected and only told.
    """
    from fnmatch import fnmatchcase

    findings: list[Finding] = []
    rules = manifest.orphans.get("rules", [])
    present = [name for name in server.identity().collections if name != OPS_COLLECTION]
    for rule in rules:
        patterns = rule["rule"]["collections"]
        names = [n for n in present if any(fnmatchcase(n, pattern) for pattern in patterns)]
        points = sorted_lines((one for name in names for one in server.ids(name)), work)
        rows = _lines(ids_of_table[rule["volume"]])
        for found in summarise(merge(rows, points)):
            wanted = rule["sets"][found.side]
            if (found.count, found.digest) == (wanted["count"], wanted["digest"]):
                continue
            softened = moved or not rule["exact"]
            findings.append(_orphan(rule, found.side, wanted["count"], found.count, softened))
    return Compared("cross-store", "orphan rules", len(rules), tuple(findings))


def _orphan(rule: Mapping[str, Any], side: str, wanted: int, found: int, softened: bool) -> Finding:
    what = "rows without a point" if side == "rows" else "points without a row"
    table = rule["rule"]["table"]
    message = f"{found} {what} in {table}, {wanted} at capture"
    if softened:
        return Finding("orphans_moved", "info", table, f"{message}; expected after such a restore")
    return Finding("orphans_differ", "error", table, message)


def markers(manifest: Manifest, found: Mapping[str, int | None]) -> Compared:
    """The markers inside the restored stores against what the capture saw in them."""
    wanted = {
        "postgres": manifest.recovery_point.marker,
        "redis": manifest.stores["redis"].facts["marker"] if "redis" in manifest.stores else None,
    }
    findings = tuple(
        Finding(
            "marker_differs",
            "error",
            store,
            f"marker {wanted[store]} was captured, marker {number} was restored",
        )
        for store, number in found.items()
        if wanted[store] is not None and number != wanted[store]
    )
    return Compared("cross-store", "markers", len(found), findings, {"markers": dict(found)})


def _lines(path: Path) -> Iterable[str]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.rstrip("\n")
