"""``shard add``: a place for tenants' points, checked before anybody is sent there."""

import re
from dataclasses import dataclass, replace
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import UsageError
from aeterna_cli.operations.plan import Plan, Step
from aeterna_cli.operations.runner import execute
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.output.result import Result
from aeterna_cli.stores.base.placement import ShardRecord
from aeterna_cli.stores.postgres_placement_faults import place_taken, shard_exists
from aeterna_cli.workflows.shard.add_checks import Seen, as_seen, look
from aeterna_cli.workflows.shard.change import make_plan, result

KIND = "shard.add"
_SCHEMA = "aeterna.shard.add/1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
#: characters that the server has in no collection's name; source: Qdrant's validate_collection_name
_REFUSED = frozenset('<>:"/\\|?*\0\x1f')


@dataclass(frozen=True)
class AddOptions:
    name: str
    server: str
    collection: str
    shard_key: str | None
    capacity: int
    create_like: str | None


def options(
    name: str,
    *,
    server: str,
    collection: str,
    shard_key: str | None,
    capacity: int,
    create_like: str | None,
) -> AddOptions:
    """``UsageError`` for what can never be meant; nothing is contacted."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            "shard_name_invalid",
            f"{name[:80]!r} is no name for a shard",
            hint="up to 63 letters, digits, dots, dashes and underscores; no dash or dot first",
        )
    for text in (server, collection, shard_key or "-", create_like or "-"):
        if "\0" in text or len(text) > 255:
            raise UsageError("name_invalid", f"not a usable name: {text[:80]!r}")
    if set(collection) & _REFUSED:
        raise UsageError("name_invalid", f"no collection can be called {collection[:80]!r}")
    if not collection or shard_key == "":
        raise UsageError("name_invalid", "a collection and a shard key have a name")
    return AddOptions(name, server, collection, shard_key, capacity, create_like)


def run(ctx: Context, asked: AddOptions) -> Result:
    """The shard is registered and active when this returns.

    The same again changes nothing; cut off, the same command does what is left.
    ``ConflictError('shard_exists')`` where the name means something else,
    ``('shard_place_taken')`` where the place has another name; refusals as of ``add_checks.look``.
    """
    seen = look(ctx, asked.server, asked.collection, asked.shard_key, asked.create_like)
    wanted = _record(ctx, asked, seen)
    known = _known(ctx, wanted)
    if known is not None and known.status != "provisioning":
        notes = ("it was registered before; nothing was changed",)
        return result(ctx, _SCHEMA, known, f"shard {known.name}", notes=notes)
    made = plan(ctx, asked, seen)
    if ctx.flags.dry_run:
        return result(ctx, _SCHEMA, wanted, f"would add shard {wanted.name}", notes=seen.notes)
    outcome = execute(made, ctx.run_environment())
    added = ctx.deployment.placement.shard(asked.name) or wanted
    headline = f"added shard {added.name}"
    steps = (f"aeterna-cli tenant migrate --tenant-id TENANT --to-shard {added.name}",)
    return result(ctx, _SCHEMA, added, headline, operation=outcome.operation, notes=seen.notes,
                  next_steps=steps)  # fmt: skip


def plan(ctx: Context, asked: AddOptions, seen: Seen) -> Plan:
    """Registered before the collection is made: nothing that we made is without a record."""
    steps = AddSteps(ctx, asked, seen)
    facts = {
        "shard": vars(asked),
        "url": seen.url,
        "version": seen.version,
        "there": seen.there,
        **seen.vectors,
    }
    work = [
        Step("registry", steps.prepare),
        Step("register", steps.register, note="in status provisioning: nobody is sent there"),
        *([Step("collection", steps.make)] if seen.model is not None else []),
        Step("check", steps.check),
        Step("activate", steps.activate),
    ]
    return make_plan(ctx, KIND, f"add shard {asked.name} at {seen.url}", facts, work)


class AddSteps:
    """Every step may be repeated."""

    def __init__(self, ctx: Context, asked: AddOptions, seen: Seen) -> None:
        self._ctx = ctx
        self._asked = asked
        self._seen = seen

    def prepare(self, _run: StepRun) -> dict[str, Any]:
        self._ctx.deployment.placement.ensure_schema()
        return {}

    def register(self, _run: StepRun) -> dict[str, Any]:
        self._ctx.deployment.placement.add_shard(_record(self._ctx, self._asked, self._seen))
        return {"shard": self._asked.name}

    def make(self, _run: StepRun) -> dict[str, Any]:
        with self._ctx.deployment.qdrant_server(self._asked.server) as server:
            if self._seen.model is not None:
                server.make_like(self._seen.model)
        return {"collection": self._asked.collection, "there_before": self._seen.there}

    def check(self, _run: StepRun) -> dict[str, Any]:
        with self._ctx.deployment.qdrant_server(self._asked.server) as server:
            found = as_seen(server, self._seen, self._asked.collection)
        return {"points": found.points, "status": found.status}

    def activate(self, _run: StepRun) -> dict[str, Any]:
        self._ctx.deployment.placement.set_shard_status(self._asked.name, "active")
        return {"status": "active"}


def _record(ctx: Context, asked: AddOptions, seen: Seen) -> ShardRecord:
    return ShardRecord(
        name=asked.name,
        server=asked.server,
        url=seen.url,
        collection=asked.collection,
        shard_key=asked.shard_key,
        capacity=asked.capacity,
        status="provisioning",
        created_at=ctx.clock(),
    )


def _known(ctx: Context, wanted: ShardRecord) -> ShardRecord | None:
    store = ctx.deployment.placement
    records = store.shards() if store.prepared() else []
    for one in records:
        if one.name == wanted.name:
            if replace(wanted, status=one.status, created_at=one.created_at) != one:
                raise shard_exists(one)
            return one
    place = (wanted.server, wanted.collection, wanted.shard_key)
    if any((one.server, one.collection, one.shard_key) == place for one in records):
        raise place_taken(wanted)
    return None
