"""Before a restore: what it would do, what it would overwrite and lose, and whether it can work."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import AuthenticationError, RefusedError, TransientError
from aeterna_cli.repository.wal_archive import covers, lsn_number, lsn_text
from aeterna_cli.stores import binaries
from aeterna_cli.stores.base.server_control import StoreName
from aeterna_cli.stores.postgres_scratch_files import programs_of
from aeterna_cli.workflows.restore.choice import Choice
from aeterna_cli.workflows.restore.opened import OpenedBackup
from aeterna_cli.workflows.workspace import want_space

GUESSED_BYTES_PER_SECOND = 80 << 20  # unpacking and replaying, on an ordinary disk


@dataclass(frozen=True)
class StorePreview:
    """One store. ``overwrites`` is what a person must know is lost; empty where nothing is there.
    ``answers`` False: it is down, and will be started or replaced."""

    store: StoreName
    answers: bool
    bytes: int
    overwrites: str
    how: str
    identity: str | None = None


@dataclass(frozen=True)
class Preview:
    """Everything the plan says. ``problems`` would end the restore before it changes anything."""

    backup: str
    profile: str
    target: str
    recovery_point: datetime
    stores: tuple[StorePreview, ...]
    bytes: int
    seconds_estimated: float
    rto_target: int
    skew: dict[str, int]
    keys: str
    wal_until: str | None
    prepared: Path | None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def destructive(self) -> bool:
        return any(store.overwrites for store in self.stores)

    def facts(self) -> dict[str, Any]:
        """What the plan rests on: nothing that moves by itself."""
        return {
            "backup": self.backup,
            "target": self.target,
            "stores": {
                one.store: {"identity": one.identity, "how": one.how} for one in self.stores
            },
            "destructive": self.destructive,
        }

    def as_document(self) -> dict[str, Any]:
        return {**asdict(self), "destructive": self.destructive}


def preview(place: Deployment, opened: OpenedBackup, choice: Choice) -> Preview:
    """Looks at everything and changes nothing. What cannot work is raised as a typed error."""
    _refuse_unknown_stores(opened, choice)
    stores = tuple(_store(place, opened, choice, name) for name in choice.stores)
    place.pins.check({one.store: one.identity for one in stores if one.answers}, lost_is_fine=True)
    keys = _keys(opened)
    if "postgres" in choice.stores:
        _want_programs(place, opened)
    wal_until = _check_wal(opened, choice) if "postgres" in choice.stores else None
    prepared = prepared_directory(place, opened, choice)
    size = sum(one.bytes for one in stores)
    if prepared is not None:
        postgres = next(one for one in stores if one.store == "postgres")
        want_space(prepared.parent, postgres.bytes, "restoring PostgreSQL")
    return Preview(
        backup=opened.id,
        profile=place.name,
        target=_target_text(opened, choice),
        recovery_point=opened.manifest.recovery_point.time,
        stores=stores,
        bytes=size,
        seconds_estimated=round(size / GUESSED_BYTES_PER_SECOND + 5 * len(stores), 1),
        rto_target=place.profile.targets.rto,
        skew=_skew(opened, choice),
        keys=keys,
        wal_until=wal_until,
        prepared=prepared,
        notes=tuple(_notes(opened, choice)),
    )


def prepared_directory(place: Deployment, opened: OpenedBackup, choice: Choice) -> Path | None:
    """Where PostgreSQL is unpacked: ``--data-dir``, else beside the server's data directory."""
    if "postgres" not in choice.stores:
        return None
    if choice.data_dir is not None:
        return choice.data_dir
    data = place.server_control.data_directory("postgres")
    return data.with_name(f"{data.name}.restoring-{opened.id}")


def _refuse_unknown_stores(opened: OpenedBackup, choice: Choice) -> None:
    for name in choice.stores:
        opened.part(name)
    skew = _skew(opened, choice)
    if choice.moves_postgres and set(choice.stores) != {"postgres"} and not choice.allow_skew:
        raise RefusedError(
            "stores_would_differ",
            "PostgreSQL would go to another moment than Qdrant and Redis",
            hint="those only have the moment of the backup",
            next_steps=["add --store postgres", "or --allow-skew DURATION"],
            details={"skew_seconds": skew},
        )
    if choice.at is not None and choice.allow_skew:
        apart = abs((choice.at - opened.manifest.recovery_point.time).total_seconds())
        if apart > choice.allow_skew:
            raise RefusedError(
                "skew_too_large",
                f"the stores would be {apart:.0f} s apart, {choice.allow_skew:.0f} s are allowed",
                hint="Qdrant and Redis only have the moment of the backup",
                next_steps=["add --store postgres", "or choose a backup nearer to that moment"],
            )


def _store(
    place: Deployment, opened: OpenedBackup, choice: Choice, name: StoreName
) -> StorePreview:
    size = sum(record.plain_bytes for record in opened.part(name).volumes)
    look = {"postgres": _postgres, "qdrant": _qdrant, "redis": _redis}[name]
    return look(place, choice, size)


def _postgres(place: Deployment, choice: Choice, size: int) -> StorePreview:
    if choice.data_dir is not None:
        if choice.data_dir.exists() and any(choice.data_dir.iterdir()):
            raise RefusedError(
                "data_dir_not_empty",
                f"{choice.data_dir} is not empty",
                next_steps=["choose a new directory"],
            )
        return StorePreview("postgres", False, size, "", f"into {choice.data_dir}")
    if not place.server_control.can_hand_over("postgres"):
        raise RefusedError(
            "no_server_control",
            "the profile does not say how PostgreSQL is stopped and started",
            hint="without it a restore can only leave a data directory",
            next_steps=["--store postgres --data-dir DIR", "or set server_control in the profile"],
        )
    data = place.server_control.data_directory("postgres")
    how = f"in place of {data}, which is renamed"
    try:
        identity = place.postgres.identity()
    except (TransientError, AuthenticationError):
        overwrites = (
            f"the data directory {data} (its server does not answer)" if _filled(data) else ""
        )
        return StorePreview("postgres", False, size, overwrites, how)
    position = lsn_text(place.postgres.current_lsn())
    overwrites = f"a running cluster of {identity.data_bytes:,} bytes at {position}"
    return StorePreview("postgres", True, size, overwrites, how, identity.system_identifier)


def _filled(data: Path) -> bool:
    try:
        return data.is_dir() and any(data.iterdir())
    except OSError:
        return True  # whoever may not look must not assume that nothing is there


def _qdrant(place: Deployment, _choice: Choice, size: int) -> StorePreview:
    how = "collections are made again, shards uploaded, aliases last"
    try:
        identity = place.qdrant.identity()
    except TransientError:
        return StorePreview("qdrant", False, size, "", how)
    held = [one for one in place.qdrant.describe() if one.restorable]
    points = sum(one.points for one in held)
    overwrites = f"{len(held)} collections with {points:,} points" if held else ""
    return StorePreview("qdrant", True, size, overwrites, how, identity.identity_key)


def _redis(place: Deployment, _choice: Choice, size: int) -> StorePreview:
    binaries.redis_server(place.profile.redis.server_binary)
    how = "loaded by a scratch server, then replicated"
    try:
        identity = place.redis.identity()
    except TransientError:
        return StorePreview("redis", False, size, "", how)
    keys = sum(place.redis.counts().values())
    overwrites = f"{keys:,} keys" if keys else ""
    return StorePreview("redis", True, size, overwrites, how, identity.identity_key)


def _keys(opened: OpenedBackup) -> str:
    """Opens the identity: a restore that cannot read the backup must not begin."""
    _ = opened.identity
    return "the backup's identity opens"


def _want_programs(place: Deployment, opened: OpenedBackup) -> None:
    """``RefusedError('postgres_programs_missing')`` now, and not after an hour of unpacking."""
    major = int(opened.facts("postgres")["major"])
    programs_of(major, place.profile.postgres.bin_dir)


def _check_wal(opened: OpenedBackup, choice: Choice) -> str | None:
    """Where the unbroken WAL behind the backup ends; refuses a target that it cannot reach.

    Whether there is a moment or a name of that kind in it, only recovery can tell.
    """
    facts = opened.facts("postgres")
    timeline, start = int(facts["timeline"]), lsn_number(facts["start_lsn"])
    start -= start % int(facts["wal_segment_size"])
    ranges = opened.wal_reader().ranges()
    here = [r for r in ranges if r.timeline == timeline and r.start <= start < r.end]
    if not here:
        raise RefusedError(
            "wal_gap",
            f"WAL from {lsn_text(start)} on is missing",
            next_steps=["aeterna-cli backup list  # choose another backup"],
        )
    end = here[0].end
    point = opened.manifest.recovery_point.lsn
    needed = lsn_number(str(facts["end_lsn"] if choice.moves_postgres or not point else point))
    if end < needed:
        raise RefusedError(
            "wal_gap",
            f"WAL from {lsn_text(end)} on is missing, and {lsn_text(needed)} must be reached",
            hint="without it this backup restores to no consistent moment",
            next_steps=["aeterna-cli backup list  # choose another backup"],
        )
    if choice.lsn is not None and choice.lsn < lsn_number(facts["end_lsn"]):
        raise RefusedError(
            "target_before_backup_end",
            f"{lsn_text(choice.lsn)} lies before the end of this backup ({facts['end_lsn']})",
            next_steps=["aeterna-cli backup list  # choose an older one"],
        )
    later = any(r.timeline > timeline for r in ranges)
    if choice.lsn is not None and not later and not covers(ranges, timeline, start, choice.lsn):
        raise RefusedError(
            "target_not_reached",
            f"the stored WAL ends at {lsn_text(end)}, before {lsn_text(choice.lsn)}",
            hint="choose that position or an earlier one",
        )
    if choice.at is not None and choice.at < opened.part("postgres").window.end:
        raise RefusedError(
            "target_before_backup_end",
            f"{choice.at.isoformat()} lies before the end of this backup's base copy",
            next_steps=["aeterna-cli backup list  # choose an older one"],
        )
    return lsn_text(end)


def _target_text(opened: OpenedBackup, choice: Choice) -> str:
    if choice.at is not None:
        return f"time {choice.at.isoformat()}"
    if choice.lsn is not None:
        return f"position {lsn_text(choice.lsn)}, exclusive"
    if choice.name is not None:
        return f"restore point {choice.name}"
    return f"the recovery point of {opened.id}"


def _skew(opened: OpenedBackup, choice: Choice) -> dict[str, int]:
    """How far, in milliseconds, each other store may lie before PostgreSQL's target."""
    moment = choice.at or opened.manifest.recovery_point.time
    return {
        name: round((moment - opened.part(name).window.start).total_seconds() * 1000)
        for name in choice.stores
        if name != "postgres"
    }


def _notes(opened: OpenedBackup, choice: Choice) -> list[str]:
    found = list(opened.manifest.degraded)
    if choice.moves_postgres:
        found.append("PostgreSQL leaves the recovery point: orphans are compared, not demanded")
    found += [
        f"not in the backup: {one.what}"
        for one in opened.manifest.left_out
        if one.what in choice.stores
    ]
    return found
