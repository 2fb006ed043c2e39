"""``backup show``: what one backup holds, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError, RemoteError
from aeterna_cli.keys.slots import Slot, read_slots
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import human_bytes
from aeterna_cli.repository import layout
from aeterna_cli.repository.manifest import Manifest, StorePart, load
from aeterna_cli.stores.base.objects import ObjectStore
from aeterna_cli.stores.base.server_control import STORES
from aeterna_cli.workflows.backup.describe import counts_of


@dataclass(frozen=True)
class ShownVolume:
    name: str
    plain_bytes: int
    stored_bytes: int
    parts: int


@dataclass(frozen=True)
class ShownStore:
    """One store's part. ``skew_milliseconds`` is how far its image may lie before the recovery
    point at most; PostgreSQL is recovered to the point itself, so it has none. ``wal_bytes`` is the
    backup's own WAL as stored."""

    store: str
    kind: str
    version: str
    identity: str
    window_start: datetime
    window_end: datetime
    skew_milliseconds: int | None
    volumes: tuple[ShownVolume, ...]
    wal_bytes: int


@dataclass(frozen=True)
class ShownSlot:
    """Who can unwrap the backup's identity; never the wrapped key itself."""

    number: int
    provider: str
    key_id: str
    key_version: str
    recipient: str


@dataclass(frozen=True)
class Scope:
    """Whose data alone the backup holds."""

    kind: str
    tenant: str
    slug: str
    name: str


@dataclass(frozen=True)
class Shown:
    """One backup. ``signature`` says that the manifest was signed by this deployment: nothing else
    is ever shown. ``slots_fault`` says why the key slots could not be read."""

    backup: str
    signature: str
    created: datetime
    recovery_point: Mapping[str, Any]
    exact: bool
    profile: str
    deployment: str
    actor: str
    tool_version: str
    operation: str | None
    label: Mapping[str, str]
    note: str
    plain_bytes: int
    stored_bytes: int
    stores: tuple[ShownStore, ...]
    counts: Mapping[str, int | None]
    left_out: tuple[Mapping[str, str], ...]
    degraded: tuple[str, ...]
    slots: tuple[ShownSlot, ...]
    slots_fault: str
    scope: Scope | None = None


def run(ctx: Context, backup: str) -> Result:
    """The manifest, its signature verified; errors as of ``manifest.load``."""
    repository = ctx.deployment.repository
    manifest = load(repository, backup)
    slots, fault = _slots(repository.store, manifest.backup)
    shown = _shown(manifest, slots, fault)
    return Result("aeterna.backup.show/1", shown, lambda: _view(shown))


def _slots(store: ObjectStore, backup: str) -> tuple[list[Slot], str]:
    """A damaged slot must not hide what the backup holds: somebody may have an offline identity."""
    try:
        return read_slots(store, layout.backup_folder(backup)), ""
    except (RemoteError, RefusedError) as error:
        return [], error.message


def _shown(manifest: Manifest, slots: Sequence[Slot], fault: str) -> Shown:
    point = manifest.recovery_point
    postgres = manifest.stores.get("postgres")
    return Shown(
        backup=manifest.backup,
        signature="verified",
        created=manifest.created,
        recovery_point=point.model_dump(),
        exact=bool(postgres and postgres.facts.get("exact")),
        profile=manifest.profile,
        deployment=manifest.deployment,
        actor=manifest.actor,
        tool_version=manifest.tool_version,
        operation=manifest.operation,
        label=manifest.label,
        note=manifest.note,
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        stores=tuple(
            _store(name, manifest.stores[name], point.time)
            for name in sorted(manifest.stores, key=lambda one: (one not in STORES, one))
        ),
        counts=counts_of(manifest),
        left_out=tuple({"what": one.what, "why": one.why} for one in manifest.left_out),
        degraded=manifest.degraded,
        slots=tuple(
            ShownSlot(one.number, one.provider, one.key_id, one.key_version, one.recipient)
            for one in slots
        ),
        slots_fault=fault,
        scope=_scope(manifest),
    )


def _scope(manifest: Manifest) -> Scope | None:
    found = manifest.scope
    return Scope(found.kind, found.tenant, found.slug, found.name) if found else None


def _store(name: str, part: StorePart, point: datetime) -> ShownStore:
    skew = (point - part.window.start).total_seconds() * 1000
    imaged = name in ("qdrant", "redis")
    return ShownStore(
        store=name,
        kind=part.kind,
        version=part.server_version,
        identity=part.identity,
        window_start=part.window.start,
        window_end=part.window.end,
        skew_milliseconds=max(0, round(skew)) if imaged else None,
        volumes=tuple(
            ShownVolume(one.name, one.plain_bytes, one.stored_bytes, len(one.parts))
            for one in part.volumes
        ),
        wal_bytes=sum(chunk["size"] for chunk in part.facts.get("wal", ())),
    )


def _view(shown: Shown) -> str:
    point = shown.recovery_point
    where = f" at {point['lsn']}" if point["lsn"] else ""
    kind = "exact" if shown.exact else "rows approximate"
    lines = [
        f"backup {shown.backup} (signature {shown.signature})",
        *(_scope_lines(shown.scope)),
        f"  recovery point {point['time'].isoformat(timespec='milliseconds')}{where}"
        + (f", {kind}, timeline {point['timeline']}" if point["timeline"] else ""),
        f"  taken          {shown.created.isoformat(timespec='seconds')} by {shown.actor}"
        f" from profile {shown.profile} with aeterna-cli {shown.tool_version}",
        f"  stored         {_sizes(shown.stored_bytes, shown.plain_bytes)}{_wal(shown)}",
        f"  holds          {_counts(shown.counts)}",
        *([f"  label          {_labels(shown.label)}"] if shown.label else []),
        *([f"  note           {shown.note}"] if shown.note else []),
        *(f"  degraded       {one}" for one in shown.degraded),
    ]
    for store in shown.stores:
        lines += _store_lines(store)
    lines += _slot_lines(shown)
    lines += [f"  left out       {one['what']}: {one['why']}" for one in shown.left_out]
    of = f" --tenant-id {shown.scope.tenant}" if shown.scope else ""
    lines.append(f"  next: aeterna-cli restore plan{of} --backup {shown.backup}")
    return "\n".join(lines)


def _scope_lines(scope: Scope | None) -> list[str]:
    if scope is None:
        return []
    return [f"  only tenant    {scope.slug!r} ({scope.tenant}), {scope.name!r}"]


def _sizes(stored: int, plain: int) -> str:
    return f"{human_bytes(stored)} ({human_bytes(plain)} unpacked)"


def _wal(shown: Shown) -> str:
    wal = sum(store.wal_bytes for store in shown.stores)
    return f", and {human_bytes(wal)} of WAL" if wal else ""


def _counts(counts: Mapping[str, int | None]) -> str:
    words = [
        f"{count:,} {what}" if count is not None else f"unknown {what}"
        for what, count in counts.items()
    ]
    return ", ".join(words) or "nothing that was counted"


def _labels(label: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(label.items()))


def _store_lines(store: ShownStore) -> list[str]:
    version = f" {store.version}" if store.version else ""
    identity = f", identity {store.identity}" if store.identity else ""
    first, last = (
        moment.isoformat(timespec="milliseconds")
        for moment in (store.window_start, store.window_end)
    )
    lines = [f"  {store.store}: {store.kind}{version}{identity}", f"    from {first} to {last}"]
    if store.skew_milliseconds is not None:
        lines.append(f"    at most {store.skew_milliseconds} ms before the recovery point")
    for one in store.volumes:
        parts = "1 part" if one.parts == 1 else f"{one.parts} parts"
        lines.append(f"    {one.name}: {_sizes(one.stored_bytes, one.plain_bytes)}, {parts}")
    if store.wal_bytes:
        lines.append(f"    own WAL: {human_bytes(store.wal_bytes)}")
    return lines


def _slot_lines(shown: Shown) -> list[str]:
    if shown.slots_fault:
        return [f"  key slots      cannot be read: {shown.slots_fault}"]
    if not shown.slots:
        return ["  key slots      none: only an offline identity opens this backup"]
    return [
        f"  key slot {one.number}     {one.provider} {one.key_id}, version {one.key_version}"
        for one in shown.slots
    ]
