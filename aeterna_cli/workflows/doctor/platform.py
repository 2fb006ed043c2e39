"""What is looked at in PostgreSQL, Qdrant and Redis."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from aeterna_cli.deployment import Deployment
from aeterna_cli.output.tables import human_bytes
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.qdrant import OPS_COLLECTION
from aeterna_cli.workflows.doctor.look import Look, Seen

Purpose = Literal["backup", "restore"]

POSTGRES, QDRANT, REDIS = "PostgreSQL", "Qdrant", "Redis"
#: what a lab or a developer's machine may do without
_RECEIVER = ("receiver_slot_missing", "receiver_not_running")


def looks(place: Deployment, purposes: Sequence[Purpose]) -> Iterator[Look]:
    yield Look(POSTGRES, lambda: _postgres(place))
    if "backup" in purposes:
        yield Look("PostgreSQL, backup", lambda: _postgres_backup(place), POSTGRES)
        yield Look("PostgreSQL, WAL receiver", lambda: _receive(place), POSTGRES)
    if "restore" in purposes:
        yield Look("PostgreSQL, restore", lambda: _postgres_restore(place), POSTGRES)
    yield Look(QDRANT, lambda: _qdrant(place))
    for purpose in purposes:
        yield Look(f"Qdrant, {purpose}", partial(_qdrant_findings, place, purpose), QDRANT)
    if "backup" in purposes:
        yield Look("Qdrant, snapshots", lambda: _snapshot(place), QDRANT)
    yield Look(REDIS, lambda: _redis(place))
    for purpose in purposes:
        yield Look(f"Redis, {purpose}", partial(_redis_findings, place, purpose), REDIS)


def _postgres(place: Deployment) -> Seen:
    found = place.postgres.identity()
    place.pins.check({"postgres": found.system_identifier})
    checksums = "on" if found.data_checksums else "off"
    return Seen(
        f"{found.server_version}, wal_level {found.wal_level}, checksums {checksums},"
        f" {human_bytes(found.data_bytes)}"
    )


def _postgres_backup(place: Deployment) -> Seen:
    from aeterna_cli.stores.postgres_condition import examine

    settings = place.profile.postgres
    return Seen(findings=[*place.postgres.findings("backup"), *examine(settings)])


def _postgres_restore(place: Deployment) -> Seen:
    return Seen(findings=place.postgres.findings("restore"))


def _receive(place: Deployment) -> Seen:
    """Without the findings that ``backup`` tells already."""
    told = {(one.code, one.mend) for one in place.postgres.findings("backup")}
    found = [f for f in place.postgres.findings("receive") if (f.code, f.mend) not in told]
    if place.profile.environment in ("lab", "development"):
        found = [replace(f, severity="info") if f.code in _RECEIVER else f for f in found]
    return Seen(f"slot {place.profile.postgres.receiver_slot}", found)


def _qdrant(place: Deployment) -> Seen:
    found = place.qdrant.identity()
    place.pins.check({"qdrant": found.identity_key})
    return Seen(f"{found.version}, {len(found.collections)} collections")


def _qdrant_findings(place: Deployment, purpose: Purpose) -> Seen:
    return Seen(findings=place.qdrant.findings(purpose))


def _snapshot(place: Deployment) -> Seen:
    """A snapshot of our own collection of two points is taken and thrown away: only that shows
    whether this server and this key give any."""
    own = [one for one in place.qdrant.describe() if one.name == OPS_COLLECTION]
    shards = [shard.id for one in own for shard in one.shards if shard.local]
    if not shards:
        message = "not tried: our own collection does not exist before the first backup"
        return Seen(findings=[Finding("snapshot_not_tried", "info", OPS_COLLECTION, message)])
    with place.qdrant.capture_shard(OPS_COLLECTION, shards[0]) as stream:
        size = sum(len(chunk) for chunk in stream)
    return Seen(f"one of {human_bytes(size)} was taken and removed")


def _redis(place: Deployment) -> Seen:
    found = place.redis.identity()
    place.pins.check({"redis": found.identity_key})
    return Seen(f"{found.flavour} {found.version}, {found.keys:,} keys")


def _redis_findings(place: Deployment, purpose: Purpose) -> Seen:
    return Seen(findings=place.redis.findings(purpose))
