"""``PlacementClient``: where a tenant's writes and reads go, while a move may be under way."""

import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Literal

from aeterna_cli.client.database import Connect, Control, Locks, connector
from aeterna_cli.client.faults import HeldTooLong, PlacementLapsed, PlacementUnavailable
from aeterna_cli.client.keeping import Keeping
from aeterna_cli.client.route import Clock, Route, Ticket, steady_clock
from aeterna_cli.stores.base.placement import Placement, PointsPlace
from aeterna_cli.stores.base.placement_rows import canonical_tenant

_LOOK_AGAIN = 0.02  # s between two looks at a held row; a NOTIFY is sooner


class PlacementClient:
    """One per process, made after it forked, used by any number of threads.

    ``connect`` is a libpq connection string or a function that gives a new psycopg connection; a
    session of its own each, no pooler in transaction mode (LISTEN). ``route_ttl`` (seconds) is the
    deployment's: the profile's ``application.route_ttl``. ``hold_limit`` is how long ``writing``
    waits while writes are held. ``instance`` is for people; a token makes it unique.

    Promises, contract ``dual``: no write starts by a placement that was not confirmed within
    ``route_ttl``, nor while the state is held; an epoch is acknowledged once no write of this
    instance by an older one runs; the acknowledgement is made before the row is read, so a change
    is either read or waited for. Contract ``reread``: the row is locked FOR SHARE for as long as
    the write runs, so no change is committed meanwhile; a write lasts at most 2 ``route_ttl``.

    A tenant is its uuid; ``ValueError`` for anything else.
    """

    def __init__(
        self,
        connect: str | Connect,
        *,
        instance: str = "",
        route_ttl: float = 10.0,
        contract: Literal["dual", "reread"] = "dual",
        hold_limit: float = 10.0,
        clock: Clock = steady_clock,
    ) -> None:
        if route_ttl <= 0 or hold_limit <= 0:
            raise ValueError("route_ttl and hold_limit are seconds above 0")
        if contract not in ("dual", "reread"):
            raise ValueError(f"the contract is dual or reread, not {contract!r}")
        if "\0" in instance or len(instance) > 200:
            raise ValueError("an instance's name has at most 200 characters, U+0000 not among them")
        self.instance = f"{instance or os.uname().nodename[:64]}/{secrets.token_hex(6)}"
        self.contract = contract
        self.route_ttl = route_ttl
        self.hold_limit = hold_limit
        opener = connector(connect, route_ttl) if isinstance(connect, str) else connect
        control = Control(opener, self.instance, route_ttl, registers=contract == "dual")
        self._clock = clock
        self._locks = Locks(opener, 2 * route_ttl)
        self._keeping = Keeping(opener, control, route_ttl, clock)
        self._process = os.getpid()

    def __enter__(self) -> "PlacementClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads and give the connections back. With no write in flight this instance is
        dead for a mover at once, not only after twice ``route_ttl``. Safe to repeat."""
        self._keeping.close()
        self._locks.close()

    def writing(self, tenant: str) -> AbstractContextManager[Placement | None]:
        """The placement that every write inside the block must honour: at ``primary``, then at
        ``secondary`` where there is one, conditional by version (``client.requests``). None: the
        tenant has no placement, the application's own default holds.

        ``HeldTooLong`` or ``PlacementUnavailable`` before the block: nothing was written.
        ``PlacementLapsed`` after it: write again. An error of the block passes through.
        """
        tenant = self._checked(tenant)
        return self._dual(tenant) if self.contract == "dual" else self._reread(tenant)

    def reading(self, tenant: str) -> PointsPlace | None:
        """Where to read now, None for the application's default. Never waits for a held state.

        Contract ``dual`` asks PostgreSQL only where what is known is older than ``route_ttl``,
        contract ``reread`` every time: the old place is not written any more after a switch.
        ``PlacementUnavailable`` where PostgreSQL is asked and does not answer.
        """
        tenant = self._checked(tenant)
        placement = self._cached(tenant) if self.contract == "dual" else self._locks.look(tenant)
        return placement.primary if placement else None

    def _cached(self, tenant: str) -> Placement | None:
        for asked in (False, True):
            if asked:
                self._keeping.refresh([tenant])
            with self._keeping.changed:
                route = self._keeping.route(tenant)
                route.used = self._clock()
                if route.fresh(route.used, self.route_ttl):
                    return route.placement
        raise PlacementUnavailable("PostgreSQL answers slower than route_ttl")

    def _checked(self, tenant: str) -> str:
        if os.getpid() != self._process:
            raise PlacementUnavailable("this client was made before a fork; make one per process")
        self._keeping.start()
        return canonical_tenant(tenant)

    # -- contract dual

    @contextmanager
    def _dual(self, tenant: str) -> Iterator[Placement | None]:
        ticket = self._begin(tenant)
        try:
            yield ticket.placement
        except BaseException:
            self._keeping.end(ticket)
            raise
        if self._keeping.end(ticket):
            raise PlacementLapsed(f"a write of {tenant} outlived its placement: write it again")

    def _begin(self, tenant: str) -> Ticket:
        until = self._clock() + self.hold_limit
        while True:
            with self._keeping.changed:
                route, now = self._keeping.route(tenant), self._clock()
                fresh = route.fresh(now, self.route_ttl)
                if fresh and not route.held:
                    return route.begin(now)
                if now >= until:
                    raise (
                        self._too_long(route)
                        if fresh
                        else PlacementUnavailable(
                            f"no placement of {tenant} within {self.hold_limit:g} s"
                        )
                    )
                if fresh:
                    self._keeping.wait(route, until - now)
                    continue
            self._keeping.refresh([tenant])

    def _too_long(self, route: Route) -> HeldTooLong:
        return HeldTooLong(
            f"writes of {route.tenant} were held for {self.hold_limit:g} s"
            f" (epoch {route.epoch}): nothing was written, try again"
        )

    # -- contract reread

    @contextmanager
    def _reread(self, tenant: str) -> Iterator[Placement | None]:
        until = self._clock() + self.hold_limit
        connection, placement = self._locks.take(tenant, self.hold_limit)
        while placement is not None and placement.state == "held":
            self._locks.release(connection)
            rest = until - self._clock()
            if rest <= 0:
                raise HeldTooLong(f"writes of {tenant} were held for {self.hold_limit:g} s")
            with self._keeping.changed:
                self._keeping.changed.wait(min(rest, _LOOK_AGAIN))
            connection, placement = self._locks.take(tenant, max(rest, 0.001))
        try:
            yield placement
        except BaseException:
            self._locks.release(connection)
            raise
        if not self._locks.release(connection):
            raise PlacementLapsed(f"the lock of {tenant} was lost during the write: write it again")
