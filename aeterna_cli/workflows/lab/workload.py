"""``lab workload``: an application writes and reads tenants' points, then its log judges them."""

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from aeterna_cli.context import Context
from aeterna_cli.errors import FindingsError, RefusedError, UsageError
from aeterna_cli.lab.workload.folder import CONTRACTS, Contract, Moved
from aeterna_cli.lab.workload.verdict import Measured, TenantVerdict, Verdict
from aeterna_cli.lab.workload.writer import Habits
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.stores.base.placement import PointsPlace

if TYPE_CHECKING:
    from aeterna_cli.lab.workload.surroundings import Named, ShardServers
    from aeterna_cli.lab.workload.workload import Workload

ByPlacement = Literal["dual", "reread"]
SCHEMA = "aeterna.lab.workload/1"
_LOOK_SECONDS = 0.1
_SAY_SECONDS = 5.0


@dataclass(frozen=True)
class Options:
    """As typed. ``seconds`` None runs until a signal; ``collection`` None means one of its own."""

    tenants: Sequence[str]
    seconds: float | None
    points: int
    dimensions: int
    contract: str
    collection: str | None
    writers: int
    readers: int
    rate: float | None
    delay: float
    drop: float
    seed: int
    folder: Path | None
    keep: bool

    def check(self) -> None:
        """``UsageError`` for what cannot be."""
        if not self.tenants:
            raise UsageError("tenant_missing", "whose points? give --tenant or --judge")
        if self.contract not in CONTRACTS:
            raise UsageError("contract_unknown", f"--contract is one of {', '.join(CONTRACTS)}")
        possible = {
            "--seconds": self.seconds is None or 0 < self.seconds <= 86_400 * 30,
            "--points": 0 <= self.points <= 10_000_000,
            "--dimensions": 1 <= self.dimensions <= 4096,
            "--writers": 1 <= self.writers <= 64,
            "--readers": 0 <= self.readers <= 64,
            "--rate": self.rate is None or 0 < self.rate <= 1_000_000,
            "--delay": 0 <= self.delay <= 60,
            "--drop": 0 <= self.drop <= 1,
        }
        for name, fine in possible.items():
            if not fine:
                raise UsageError("value_out_of_range", f"{name} cannot have this value")

    @property
    def habits(self) -> Habits:
        return Habits(self.writers, self.readers, self.rate, self.delay, self.drop)


def run(ctx: Context, wanted: Options) -> Result:
    """Writes and reads until the time is over or a signal comes, then judges.

    ``FindingsError('workload_findings')`` after the verdict where anything is wrong;
    ``RefusedError('not_a_lab')`` for a deployment that is none.
    """
    from aeterna_cli.lab.workload import surroundings
    from aeterna_cli.lab.workload.workload import Workload

    wanted.check()
    _only_in_a_lab(ctx)
    profile, store = ctx.profile, ctx.deployment.placement
    named = [surroundings.tenant(profile, word) for word in dict.fromkeys(wanted.tenants)]
    locate = surroundings.ShardServers(profile, store)
    moved, own = _places(ctx, wanted, named)
    folder = wanted.folder or Path(tempfile.mkdtemp(prefix="aeterna-workload-"))
    by_placement = wanted.contract in ("dual", "reread")
    contract = cast(ByPlacement, wanted.contract)
    placing = surroundings.placing(profile, store, contract) if by_placement else None

    _drop(locate, own)
    with Workload(
        folder,
        moved,
        locate,
        contract=cast(Contract, wanted.contract),
        placing=placing,
        habits=wanted.habits,
        seed=wanted.seed,
        dimensions=wanted.dimensions,
    ) as workload:
        ctx.out.note(f"preparing {wanted.points:,} points a tenant")
        workload.prepare(wanted.points)
        _serve(ctx, workload, wanted.seconds, folder)
    verdict = workload.verdict()
    if not wanted.keep:
        _drop(locate, own)
        if verdict.clean and wanted.folder is None:  # nobody will ask these logs
            shutil.rmtree(folder)
            verdict = replace(verdict, folder="")
    return _told(ctx, verdict)


def judge(ctx: Context, folder: Path) -> Result:
    """The verdict from the logs in ``folder``, whatever became of the workload that wrote them."""
    from aeterna_cli.lab.workload import judging, surroundings

    _only_in_a_lab(ctx)
    store = ctx.deployment.placement
    verdict = judging.verdict(
        folder,
        surroundings.ShardServers(ctx.profile, store),
        lambda tenant: surroundings.primary(store, tenant),
    )
    return _told(ctx, verdict)


def _only_in_a_lab(ctx: Context) -> None:
    if ctx.profile.environment != "lab":
        raise RefusedError(
            "not_a_lab",
            f"profile {ctx.profile_name} is not a lab's: a workload writes and deletes points",
            next_steps=["aeterna-cli lab up", "set environment = 'lab' for a lab of your own"],
        )


def _places(
    ctx: Context, wanted: Options, named: "Sequence[Named]"
) -> tuple[list[Moved], list[PointsPlace]]:
    """Where each tenant begins, and the collections that are the workload's own.

    The placement's primary for a contract that honours it and a tenant that has one; else the
    collection that was named, else one of the workload's own.
    """
    from aeterna_cli.lab.workload import surroundings

    moved, own = [], []
    for one in named:
        place = None
        if wanted.contract in ("dual", "reread"):
            place = surroundings.primary(ctx.deployment.placement, one.id)
        if place is None and wanted.collection is not None:
            place = PointsPlace("", wanted.collection)
        if place is None:
            place = PointsPlace("", f"workload-{one.id}")  # a slug may be no collection's name
            own.append(place)
        moved.append(Moved(one.id, place, one.slug))
    return moved, own


def _drop(locate: "ShardServers", places: Sequence[PointsPlace]) -> None:
    from aeterna_cli.lab.workload.points import Servers

    servers = Servers(locate)
    try:
        for place in places:
            servers.call(place, "DELETE", "")
    finally:
        servers.close()


def _serve(ctx: Context, workload: "Workload", seconds: float | None, folder: Path) -> None:
    """Until the time is over, a signal comes or a thread breaks. A signal is the usual end of a
    workload without ``--seconds``, so the verdict follows."""
    workload.start()
    ctx.out.note(f"running; logs in {folder}")
    began = said = time.monotonic()
    while workload.running and not ctx.stop.requested:
        now = time.monotonic()
        if seconds is not None and now - began >= seconds:
            return
        if now - said >= _SAY_SECONDS:
            said = now
            ctx.out.note(f"{workload.acknowledged_in_all():,} writes acknowledged")
        time.sleep(_LOOK_SECONDS)
    if ctx.stop.requested:
        ctx.stop.error()  # taken as told: the verdict is what this command stops with


def _told(ctx: Context, verdict: Verdict) -> Result:
    result = Result(SCHEMA, verdict, lambda: _view(verdict))
    if verdict.clean:
        return result
    ctx.out.result(result)
    raise FindingsError(
        "workload_findings",
        "; ".join(_words(one) for one in verdict.tenants if not one.clean),
        next_steps=[f"aeterna-cli lab workload --judge {verdict.folder} -o json"],
    )


def _words(one: TenantVerdict) -> str:
    found: Mapping[str, int] = {
        **one.counts(),
        "client errors": sum(one.client_errors.values()),
    }
    return f"{one.name}: " + ", ".join(f"{n} {sort}" for sort, n in found.items() if n)


def _view(verdict: Verdict) -> Table:
    rows = [
        [
            one.name,
            one.place.collection,
            f"{one.points:,}",
            f"{one.acknowledged:,}",
            "clean" if one.clean else _words(one).partition(": ")[2],
            *_figures(one.measured),
        ]
        for one in verdict.tenants
    ]
    examples = [
        text
        for one in verdict.tenants
        for part in (one.at_rest, one.while_running)
        for finding in vars(part).values()
        for text in finding.examples
    ]
    where = f"; logs in {verdict.folder}" if verdict.folder else ""
    lines = [*examples[:10], f"contract {verdict.contract}{where}"]
    return Table(
        ["tenant", "collection", "points", "writes", "verdict", "pause", "write p99", "read p99"],
        rows,
        right=frozenset({"points", "writes", "pause", "write p99", "read p99"}),
        footer="\n".join([*lines, f"emulated: {verdict.emulated}"]),
    )


def _figures(measured: Measured | None) -> list[str]:
    """The longest pause and the worst phase's p99 of writes and reads."""
    if measured is None:
        return ["", "", ""]
    worst = {
        kind: max((one.p99 for one in measured.latencies if one.kind == kind), default=0.0)
        for kind in ("write", "read")
    }
    return [
        f"{measured.longest_pause * 1000:.0f} ms",
        f"{worst['write']:.1f} ms",
        f"{worst['read']:.1f} ms",
    ]
