"""What a finished backup says of itself: the manifest, and the lines on the screen."""

from typing import TYPE_CHECKING, Any

from aeterna_cli import __version__
from aeterna_cli.context import actor
from aeterna_cli.repository.manifest import (
    TENANT_PARTS,
    LeftOut,
    Manifest,
    RecoveryPoint,
    StorePart,
    Window,
)
from aeterna_cli.stores.base.qdrant import OPS_COLLECTION, PointDigest
from aeterna_cli.workflows.backup.markers import CaptureWindow, window
from aeterna_cli.workflows.backup.recovery_point import ORPHANS, position_text

if TYPE_CHECKING:
    from aeterna_cli.workflows.backup.create import Created
    from aeterna_cli.workflows.backup.running import RunningBackup

NEVER_CAPTURED = (
    LeftOut(
        what="application objects in S3", why="this tool does not read the application's buckets"
    ),
    LeftOut(what="Vault and KMS contents", why="keys are backed up by their own service"),
    LeftOut(what="Kubernetes objects", why="they belong to the deployment's own repository"),
    LeftOut(what="git knowledge repositories", why="git remotes are their own copies"),
)
WHY_NOT_ASKED = "not asked for in this backup"


def manifest_of(backup: "RunningBackup") -> Manifest:
    stores = {name: part for name, part in _parts(backup).items() if part is not None}
    chosen = backup.asked.stores
    left = [
        LeftOut(what=n, why=WHY_NOT_ASKED)
        for n in ("postgres", "qdrant", "redis")
        if n not in chosen
    ]
    return Manifest(
        schema="aeterna.manifest/1",
        backup=backup.backup_id,
        repository=backup.place.repository.info.uuid,
        deployment=backup.place.repository.info.deployment,
        created=backup.begun,
        tool_version=__version__,
        profile=backup.place.name,
        actor=actor(),
        operation=backup.operation,
        label=dict(backup.asked.labels),
        note=backup.asked.note,
        stores=stores,
        recovery_point=_recovery_point(backup),
        digests=_digests(backup),
        orphans={"rules": backup.orphans},
        left_out=(*left, *backup.elsewhere, *NEVER_CAPTURED),
        degraded=tuple(_degraded(backup)),
    )


def windows(backup: "RunningBackup") -> dict[str, CaptureWindow]:
    """When the images of Redis and Qdrant were taken, as narrow as their markers make it."""
    found: dict[str, CaptureWindow] = {}
    if backup.redis is not None:
        capture, begun, ended = backup.redis
        found["redis"] = window(backup.ticks, begun, ended, capture.marker)
    if backup.qdrant is not None:
        images, begun, ended = backup.qdrant
        found["qdrant"] = window(backup.ticks, begun, ended, images.marker, one_moment=False)
    return found


def _parts(backup: "RunningBackup") -> dict[str, StorePart | None]:
    return {
        "postgres": _postgres_part(backup),
        "qdrant": _qdrant_part(backup),
        "redis": _redis_part(backup),
        ORPHANS: _orphan_part(backup),
    }


def _postgres_part(backup: "RunningBackup") -> StorePart | None:
    if backup.base is None or backup.base_window is None or backup.ready.postgres is None:
        return None
    result, records = backup.base
    identity, point = backup.ready.postgres, backup.point
    return StorePart(
        kind="postgres-base",
        server_version=identity.server_version,
        identity=identity.system_identifier,
        window=Window(start=backup.base_window[0], end=backup.base_window[1]),
        volumes=records,
        facts={
            "major": identity.major,
            "wal_segment_size": identity.wal_segment_size,
            "data_checksums": identity.data_checksums,
            "timeline": result.timeline,
            "start_lsn": position_text(result.start_lsn),
            "end_lsn": position_text(result.end_lsn),
            "tablespaces": [{"oid": t.oid, "path": t.path} for t in result.tablespaces],
            "database": backup.place.profile.postgres.database,
            "role": backup.place.profile.postgres.user,
            "restore_point_lsn": position_text(point.restore_point) if point else None,
            "exact": bool(point and point.exact),
            "wal": backup.wal_chunks,
        },
    )


def _qdrant_part(backup: "RunningBackup") -> StorePart | None:
    if backup.qdrant is None:
        return None
    capture = backup.qdrant[0]
    return StorePart(
        kind="qdrant-shards",
        server_version=backup.ready.versions["qdrant"],
        identity=backup.ready.identities["qdrant"] or "",
        window=_window(backup, "qdrant"),
        volumes=tuple(image.volume for image in capture.images),
        facts={
            "collections": [one.as_document() for one in capture.collections],
            "images": [image.as_document() for image in capture.images],
            "logical": list(capture.logical),
        },
    )


def _redis_part(backup: "RunningBackup") -> StorePart | None:
    if backup.redis is None:
        return None
    capture = backup.redis[0]
    return StorePart(
        kind=f"redis-{capture.method}",
        server_version=backup.ready.versions["redis"],
        identity=backup.ready.identities["redis"] or "",
        window=_window(backup, "redis"),
        volumes=capture.volumes,
        facts={"method": capture.method, "marker": capture.marker, "image": capture.facts},
    )


def _orphan_part(backup: "RunningBackup") -> StorePart | None:
    if not backup.orphan_lists:
        return None
    moment = backup.point_time
    return StorePart(
        kind="orphan-lists",
        server_version="",
        identity="",
        window=Window(start=moment, end=moment),
        volumes=tuple(backup.orphan_lists),
    )


def _window(backup: "RunningBackup", store: str) -> Window:
    found = windows(backup)[store]
    first = backup.ticks[0].number if backup.ticks else None
    return Window(
        start=found.earliest, end=found.latest, first_marker=first, last_marker=found.marker
    )


def _recovery_point(backup: "RunningBackup") -> RecoveryPoint:
    point = backup.point
    marker = backup.ticks[-1].number if backup.ticks else None
    if point is None:
        return RecoveryPoint(time=backup.point_time, marker=marker)
    return RecoveryPoint(
        time=point.time,
        lsn=position_text(point.lsn if point.lsn is not None else point.restore_point),
        name=point.name,
        timeline=backup.base[0].timeline if backup.base else None,
        marker=marker,
    )


def _digests(backup: "RunningBackup") -> dict[str, Any]:
    found: dict[str, Any] = {}
    if backup.postgres_digests:
        found["postgres"] = backup.postgres_digests
    if backup.qdrant is not None:
        found["qdrant"] = _collections(backup)
    if backup.redis is not None:
        found["redis"] = backup.redis[0].digests
    return found


def _collections(backup: "RunningBackup") -> dict[str, Any]:
    """Points and digest of every collection, by shard key; None where nobody could look inside."""
    from aeterna_cli.stores.qdrant_digests import combine

    assert backup.qdrant is not None  # noqa: S101 - the caller looked
    capture = backup.qdrant[0]
    found: dict[str, Any] = {}
    for description in capture.collections:
        if description.name == OPS_COLLECTION:
            continue
        images = [image for image in capture.images if image.collection == description.name]
        if not all(image.facts for image in images):
            found[description.name] = None
            continue
        digests = [PointDigest(i.facts.points, i.facts.digest) for i in images if i.facts]
        total = combine(digests)
        found[description.name] = {"points": total.points, "digest": total.digest}
    return found


def _degraded(backup: "RunningBackup") -> list[str]:
    """What makes this less than one recovery point; every restore shows it."""
    found = [f"not in it: {one.what}" for one in backup.elsewhere]
    if backup.redis is not None and backup.redis[0].method == "logical":
        found.append("redis was read key by key: not a point in time")
    if backup.qdrant is not None and backup.qdrant[0].logical:
        names = ", ".join(backup.qdrant[0].logical)
        found.append(f"qdrant collections read by scroll, not a point in time: {names}")
    return found


def summary_of(backup: "RunningBackup", operation: str, seconds: float) -> "Created":
    from aeterna_cli.workflows.backup.create import Created

    assert backup.manifest is not None  # noqa: S101 - every step succeeded
    manifest = backup.manifest
    skew = {
        store: found.skew_milliseconds(backup.point_time)
        for store, found in windows(backup).items()
    }
    return Created(
        backup=backup.backup_id,
        operation=operation,
        recovery_point=manifest.recovery_point.time,
        lsn=manifest.recovery_point.lsn,
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        seconds=seconds,
        skew_milliseconds=skew,
        counts=counts_of(manifest),
        notes=(*backup.notes, *manifest.degraded),
    )


def counts_of(manifest: Manifest) -> dict[str, int | None]:
    """Rows, points and keys that a backup holds; None where they were not counted."""
    found: dict[str, int | None] = {}
    digests = manifest.digests
    if manifest.scope is not None:
        return {what: int(digests[what]["count"]) for what in TENANT_PARTS if what in digests}
    if "postgres" in digests:
        tables = [*digests["postgres"]["own"], *digests["postgres"]["others"]]
        found["rows"] = sum(table["rows"] for table in tables)
    if "qdrant" in digests:
        values = digests["qdrant"].values()
        known = [one["points"] for one in values if one is not None]
        found["points"] = sum(known) if len(known) == len(values) else None
    if "redis" in digests:
        redis = digests["redis"]
        found["keys"] = sum(redis["by_database"].values()) if redis else None
    return found
