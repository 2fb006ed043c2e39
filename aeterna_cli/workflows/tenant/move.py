"""One tenant's move: its record, its two ends, and the placement that says who serves."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

from aeterna_cli.context import Context
from aeterna_cli.errors import AeternaError, RefusedError, TransientError
from aeterna_cli.operations.run import lease_is_lost
from aeterna_cli.stores.backoff import Backoff
from aeterna_cli.stores.base.mover import Pace, Strategy
from aeterna_cli.stores.base.moves import MoveRecord
from aeterna_cli.stores.base.placement import Placement, PlacementState, PointsPlace
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.stores.postgres_moves import PostgresMoves
from aeterna_cli.stores.qdrant_mover import QdrantMover
from aeterna_cli.workflows.tenant.move_phases import Phase, require
from aeterna_cli.workflows.tenant.move_places import Spot, end_of

LOCK_SECONDS = 10.0
_LOOK = 0.005  # seconds between two looks at acknowledgements: writers may be waiting
_HASTY = Backoff(attempts=1)


def _gentle(share: float) -> Pace:
    """Small bites as well as rests: who waits behind a request of ours waits milliseconds."""
    return Pace(page=16, scan_page=128, share=share)


def store_of(ctx: Context) -> PostgresMoves:
    return PostgresMoves(ctx.deployment.profile.postgres)


def new_record(ctx: Context, tenant: TenantIdentity, source: Spot, target: Spot) -> MoveRecord:
    now = ctx.clock()
    return MoveRecord(
        id=str(uuid4()),
        tenant=tenant.id,
        source=source.as_document(),
        target=target.as_document(),
        contract=ctx.deployment.profile.application.contract,
        phase=Phase.PLAN.value,
        checkpoint={},
        evidence={},
        prediction=None,
        created_at=now,
        updated_at=now,
    )


class TenantMove:
    """What the steps of every command share. Changes of the record are durable when they return."""

    def __init__(self, ctx: Context, tenant: TenantIdentity, record: MoveRecord) -> None:
        self.ctx = ctx
        self.place = ctx.deployment
        self.tenant = tenant
        self.record = record
        self.moves = store_of(ctx)
        self.source = Spot.from_document(record.source)
        self.target = Spot.from_document(record.target)
        self._opened: list[QdrantMover] = []

    def close(self) -> None:
        for mover in self._opened:
            with suppress(Exception):
                mover.close()

    # -- the record

    @property
    def phase(self) -> Phase:
        return Phase(self.record.phase)

    @property
    def contract(self) -> str:
        """That of the move's beginning: a profile that changed meanwhile changes no move."""
        return self.record.contract

    @property
    def strategy(self) -> Strategy:
        return "digests" if self.contract == "maintenance" else "versions"

    def note(
        self,
        *,
        checkpoint: Mapping[str, Any] | None = None,
        evidence: Mapping[str, Any] | None = None,
        prediction: float | None = None,
        phase: Phase | None = None,
    ) -> None:
        """Write down; keys of ``checkpoint`` and ``evidence`` replace those of the same name."""
        if phase is not None:
            require(self.phase, phase)
        changed = replace(
            self.record,
            checkpoint={**self.record.checkpoint, **(checkpoint or {})},
            evidence={**self.record.evidence, **(evidence or {})},
            prediction=prediction if prediction is not None else self.record.prediction,
        )
        self.record = self.moves.save(changed, phase=(phase or self.phase).value)

    def made(self, kind: str, name: str) -> None:
        """Called before something is made, so that a crash leaves nothing unknown."""
        known = list(self.record.checkpoint.get("made", []))
        if [kind, name] not in known:
            self.note(checkpoint={"made": [*known, [kind, name]]})

    @property
    def things_made(self) -> list[tuple[str, str]]:
        return [(kind, name) for kind, name in self.record.checkpoint.get("made", [])]

    # -- the ends

    @cached_property
    def mover(self) -> QdrantMover:
        return self._mover(None)

    def hasty(self, seconds: float) -> QdrantMover:
        """The same for moments in which writers wait: nothing is tried twice."""
        return self._mover(seconds)

    def _mover(self, seconds: float | None) -> QdrantMover:
        share = float(self.record.checkpoint.get("share", 1.0))
        more: dict[str, Any] = {"pace": _gentle(share) if share < 1 else Pace()}
        if seconds is not None:
            more = {"timeout": seconds, "backoff": _HASTY, "pace": Pace()}
        made = QdrantMover(
            end_of(self.place, self.source, self.tenant, **more),
            end_of(self.place, self.target, self.tenant, **more),
            self.strategy,
        )
        self._opened.append(made)
        return made

    # -- the placement

    @property
    def placement(self) -> Placement | None:
        return self.place.placement.placement(self.tenant.id)

    def present_placement(self) -> Placement:
        found = self.placement
        if found is None:
            raise RefusedError(
                "placement_missing",
                f"the placement of {self.tenant.slug} is gone: somebody removed its row",
                hint="nobody knows where the tenant is served; see runbooks/tenant.md",
            )
        return found

    def placed(
        self,
        primary: PointsPlace,
        secondary: PointsPlace | None,
        state: PlacementState,
        *,
        expected: int | None,
        lock_timeout: float = LOCK_SECONDS,
        tell: bool = True,
    ) -> Placement:
        """The row is so when this returns, also where the connection broke during the commit."""
        try:
            made = self.place.placement.change(
                self.tenant.id,
                expected_epoch=expected,
                primary=primary,
                secondary=secondary,
                state=state,
                operation=self.record.id,
                lock_timeout=lock_timeout,
            )
        except TransientError as error:
            if error.code != "placement_unknown":
                raise
            found = self.placement
            if found is None or found.epoch != (expected or 0) + 1:
                raise
            made = found
        if tell:
            self.tell(made)
        return made

    def tell(self, placement: Placement) -> None:
        """Redis hears of it too; PostgreSQL's listeners have heard already."""
        warning = self.place.publish_placement(placement)
        if warning and not self.ctx.flags.quiet:
            self.ctx.out.note(warning)

    def acknowledged(self, epoch: int, seconds: float) -> bool:
        """Whether every living instance honours the epoch, within so many seconds."""
        ttl = self.place.profile.application.route_ttl
        until = monotonic() + seconds
        while True:
            found = self.place.placement.acknowledgements(self.tenant.id, ttl)
            if all(one.epoch >= epoch for one in found if one.alive):
                return True
            if monotonic() >= until:
                return False
            sleep(_LOOK)

    def wait_for_instances(self, epoch: int) -> None:
        """``TransientError('placement_not_acknowledged')`` names those that do not honour it."""
        if self.contract != "dual":
            return
        ttl = self.place.profile.application.route_ttl
        if self.acknowledged(epoch, 3 * ttl):
            return
        late = [
            one.instance
            for one in self.place.placement.acknowledgements(self.tenant.id, ttl)
            if one.alive and one.epoch < epoch
        ]
        raise TransientError(
            "placement_not_acknowledged",
            f"{len(late)} instances do not honour the placement: {', '.join(late[:5])}",
            hint="they hang, or a write of theirs does not end; end them or wait, then run the same"
            " command again",
            details={"instances": late, "epoch": epoch},
        )

    def living_instances(self) -> int:
        ttl = self.place.profile.application.route_ttl
        found = self.place.placement.acknowledgements(self.tenant.id, ttl)
        return sum(one.alive for one in found)

    # -- what a crash may have left

    def let_go(self) -> None:
        """Writers of this tenant are not held by us when this returns: a command that died while
        they waited is put right before anything else is done."""
        found = self.placement
        if found is None or found.state != "held" or found.operation != self.record.id:
            return
        state: PlacementState = "serving" if found.secondary is None else "dual"
        self.placed(found.primary, found.secondary, state, expected=found.epoch)

    @property
    def by_server(self) -> bool:
        """Whether the server itself moves the points, between two keys of one collection."""
        here = (self.source.server, self.source.collection)
        there = (self.target.server, self.target.collection)
        keyed = self.source.shard_key is not None and self.target.shard_key is not None
        return here == there and keyed and self.contract != "maintenance"

    def switched(self) -> bool:
        """Whether the target serves: the row is the only truth, and where it leaves the choice to
        the server, the state of its key."""
        found = self.placement
        if found is None:
            return False
        if self.by_server and found.primary.fallback_key is not None:
            from aeterna_cli.stores.qdrant_mover_keys import KeyTransfer

            states = KeyTransfer(self.mover.source, self.mover.target).states()
            return bool(states) and set(states) <= {"Active", "ActiveRead"}
        return found.primary == self.target.place


def unfinished(ctx: Context, tenant: TenantIdentity) -> TenantMove:
    """``RefusedError('no_move')`` where the tenant has none."""
    record = store_of(ctx).unfinished(tenant.id)
    if record is None:
        raise RefusedError(
            "no_move",
            f"no move of {tenant.slug} is under way",
            next_steps=[f"aeterna-cli tenant migrate --tenant-id {tenant.id} --to-shard SHARD"],
        )
    return TenantMove(ctx, tenant, record)


def quietly(move: TenantMove, failed: BaseException) -> None:
    """Let writers go where that is possible; what failed before is what is raised.

    After a lost lease they may be held by whoever has it now: hands off.
    """
    if lease_is_lost(failed):
        return
    with suppress(AeternaError):
        move.let_go()
