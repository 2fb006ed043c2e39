"""``lab demo``: real servers seeded, backed up, destroyed, restored and proven identical."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aeterna_cli.context import Context, Flags
from aeterna_cli.errors import FindingsError
from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.seed.run import seed_lab
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table, human_bytes, human_seconds
from aeterna_cli.profiles import LAB_PROFILE
from aeterna_cli.repository.manifest import Manifest
from aeterna_cli.workflows.lab.up import here, said

DESTROYED = ("postgres", "qdrant", "redis")


@dataclass(frozen=True)
class StoreProof:
    """One store before and after. ``digest`` is a short form of the manifest's digests, equal to
    what was read from the restored server (``equal``). ``rpo_seconds`` is how long before the kill
    the store's restored moment lies."""

    store: str
    holds: str
    stored_bytes: int
    digest: str
    equal: bool
    rpo_seconds: float


@dataclass(frozen=True)
class Demonstrated:
    """``rto_seconds`` from the kill until every store served the restored data again."""

    backup: str
    rto_seconds: float
    rto_target_seconds: int
    rpo_seconds: float
    backup_seconds: float
    restore_seconds: float
    plain_bytes: int
    stored_bytes: int
    stores: tuple[StoreProof, ...]
    emulated: str = "Qdrant: one peer, the real engine behind an emulated server"

    @property
    def proven(self) -> bool:
        return all(one.equal for one in self.stores)


def run(ctx: Context, scale: float) -> Result:
    """Leaves a usable lab. ``FindingsError('demo_not_identical')`` where anything differs."""
    lab = here()
    ctx.out.note("1. starting real servers")
    lab.up(events=said(ctx), stopped=lambda: ctx.stop.requested)
    ctx.out.note("2. seeding tenants")
    seed_lab(lab.place(), scale=scale, tell=lambda text: ctx.out.note(f"  {text}"))
    ctx.stop.check()
    created = _backup(ctx)
    ctx.stop.check()
    ctx.out.note("4. kill -9 and wipe: PostgreSQL, Qdrant, Redis")
    killed = ctx.clock()
    for part in DESTROYED:
        LabControl(lab).kill(part)
        LabControl(lab).wipe(part)
    restored = _restore(ctx, created.data.backup)
    recovered = ctx.clock()
    done = _proof(ctx, created.data, restored.data, killed, recovered)
    result = Result("aeterna.lab.demo/1", done, lambda: _view(done))
    if not done.proven:
        ctx.out.result(result)
        raise FindingsError("demo_not_identical", "what was restored is not what was backed up")
    return result


@contextmanager
def _inside(ctx: Context) -> Iterator[Context]:
    """A fresh command context on the lab's profile: connections never outlive a killed server."""
    flags = Flags(profile=LAB_PROFILE, yes=True, confirm=LAB_PROFILE, reason="lab demo")
    inside = Context(flags, ctx.out, None)
    inside.stop = ctx.stop
    try:
        yield inside
    finally:
        inside.close()


def _backup(ctx: Context) -> Result:
    from aeterna_cli.errors import RefusedError
    from aeterna_cli.workflows.backup import create
    from aeterna_cli.workflows.repository import init

    ctx.out.note("3. backing up")
    with _inside(ctx) as inside:
        try:
            init.run(inside)
        except RefusedError as error:
            if error.code != "repository_exists":
                raise
        return create.run(inside, create.options(None, ["demo=yes"], "lab demo", "0"))


def _restore(ctx: Context, backup: str) -> Result:
    from aeterna_cli.workflows.restore import run
    from aeterna_cli.workflows.restore.choice import choose

    ctx.out.note("5. restoring")
    choice = choose(
        backup,
        at=None,
        lsn=None,
        name=None,
        store=None,
        into=None,
        data_dir=None,
        allow_skew=None,
        identity=None,
    )
    with _inside(ctx) as inside:
        return run.run(inside, choice)


def _proof(
    ctx: Context, created: Any, restored: Mapping[str, Any], killed: datetime, recovered: datetime
) -> Demonstrated:
    from aeterna_cli.repository.manifest import load

    ctx.out.note("6. reading every row, point and key again")
    with _inside(ctx) as inside:
        manifest = load(inside.deployment.repository, created.backup)
        equal = _verified(inside, created.backup)
        target = inside.profile.targets.rto
    stores = tuple(_store(name, manifest, equal, killed) for name in DESTROYED)
    return Demonstrated(
        backup=created.backup,
        rto_seconds=round((recovered - killed).total_seconds(), 2),
        rto_target_seconds=target,
        rpo_seconds=max(one.rpo_seconds for one in stores),
        backup_seconds=round(created.seconds, 2),
        restore_seconds=round(restored["seconds"], 2),
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        stores=stores,
    )


def _verified(inside: Context, backup: str) -> dict[str, bool]:
    """Every store compared once more, now on the servers that serve."""
    from aeterna_cli.workflows.restore.verify import compare_all

    found = compare_all(inside, inside.deployment, backup, None)[1]
    return {one.store: not one.drift for one in found if one.store in DESTROYED}


def _store(
    name: str, manifest: Manifest, equal: Mapping[str, bool], killed: datetime
) -> StoreProof:
    from aeterna_cli.workflows.backup.describe import counts_of

    counts = counts_of(manifest)
    unit = {"postgres": "rows", "qdrant": "points", "redis": "keys"}[name]
    part = manifest.stores[name]
    moment = manifest.recovery_point.time if name == "postgres" else part.window.start
    return StoreProof(
        store=name,
        holds=f"{counts[unit]:,} {unit}" if counts[unit] is not None else f"unknown {unit}",
        stored_bytes=sum(volume.stored_bytes for volume in part.volumes),
        digest=_digest(name, manifest),
        equal=equal[name],
        rpo_seconds=round((killed - moment).total_seconds(), 2),
    )


def _digest(name: str, manifest: Manifest) -> str:
    """The manifest's digests of one store in sixteen digits, for the screen."""
    found = manifest.digests[name]
    if name == "redis":
        return str(found["persistent"]["digest"])[:16]
    if name == "qdrant":
        lines = [f"{key} {one['digest']}" for key, one in sorted(found.items())]
    else:
        lines = [f"{one['table']} {one['rows']} {one['digest']}" for one in found["own"]]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _view(done: Demonstrated) -> Table:
    rows = [
        [
            one.store,
            one.holds,
            human_bytes(one.stored_bytes),
            one.digest,
            "identical" if one.equal else "DIFFERENT",
            human_seconds(one.rpo_seconds),
        ]
        for one in done.stores
    ]
    lines = [
        f"RTO {human_seconds(done.rto_seconds)} from the kill until everything served again"
        f" (target {human_seconds(done.rto_target_seconds)})",
        f"RPO {human_seconds(done.rpo_seconds)} from the oldest restored moment to the kill",
        f"backup in {human_seconds(done.backup_seconds)} ({human_bytes(done.stored_bytes)} stored"
        f" of {human_bytes(done.plain_bytes)}), restore in {human_seconds(done.restore_seconds)}",
        f"emulated: {done.emulated}",
        "the lab runs on: aeterna-cli lab status; aeterna-cli backup list; aeterna-cli lab down",
    ]
    return Table(
        ["store", "holds", "stored", "digest", "restored", "RPO"],
        rows,
        title=f"backup {done.backup}",
        right=frozenset({"stored"}),
        footer="\n".join(lines),
    )
