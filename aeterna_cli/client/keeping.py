"""The client's two threads: one hears of changes, one acknowledges and reads again.

Nothing here is needed for a write to be right, only for it to be quick: what the threads do not
refresh in time becomes too old to be used.
"""

import json
import logging
import threading
from collections.abc import Iterable

from aeterna_cli.client.database import Connect, Control, listening
from aeterna_cli.client.faults import PlacementUnavailable
from aeterna_cli.client.route import Clock, Route, Ticket

_LOG = logging.getLogger("aeterna_cli.client")
_HELD = 0.05  # s between two looks while somebody waits: a NOTIFY that is lost costs no more
_RETRY = 0.5
_FORGET_AFTER = 20  # times to live without use
_BATCH = 500  # tenants in one statement


class Keeping:
    """Every route of one client, kept young. ``changed`` guards them and tells of news."""

    def __init__(self, connect: Connect, control: Control, route_ttl: float, clock: Clock) -> None:
        self.changed = threading.Condition()
        self._connect = connect
        self._control = control
        self._asking = threading.Lock()  # one at a time, or an older row could follow a newer one
        self._ttl = route_ttl
        self._clock = clock
        self._routes: dict[str, Route] = {}
        self._due: set[str] = set()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """The threads run when this returns; at first use, so that an import starts nothing."""
        if self._threads or self._ended.is_set():
            if self._ended.is_set():
                raise PlacementUnavailable("this client is closed")
            return
        with self.changed:
            if not self._threads:
                self._threads = [
                    threading.Thread(target=run, name=f"placement-{name}", daemon=True)
                    for name, run in (("listen", self._listen), ("keep", self._keep))
                ]
                for thread in self._threads:
                    thread.start()

    def close(self) -> None:
        self._ended.set()
        with self.changed:
            self.changed.notify_all()
        for thread in self._threads:
            thread.join()
        with self._asking:
            with self.changed:
                quiet = [name for name, route in self._routes.items() if not route.in_flight]
            self._control.leave(quiet)
            self._control.close()

    # -- for the threads that write; all but refresh with ``changed`` held or short

    def route(self, tenant: str) -> Route:
        """Wants ``changed``."""
        if tenant not in self._routes:
            self._routes[tenant] = Route(tenant, used=self._clock())
        return self._routes[tenant]

    def wait(self, route: Route, seconds: float) -> None:
        """Wants ``changed``: until there is news of anything, or so long."""
        route.waiting += 1
        self.changed.notify_all()  # the keeper looks more often from now on
        try:
            self.changed.wait(min(seconds, self._ttl))
        finally:
            route.waiting -= 1

    def end(self, ticket: Ticket) -> bool:
        """The write is over; whether its placement had lapsed."""
        with self.changed:
            now = self._clock()
            ticket.route.end(ticket, now)
            if ticket.route.honoured != ticket.route.acknowledged:
                self._due.add(ticket.route.tenant)
                self.changed.notify_all()
            return ticket.lapsed(now, self._ttl)

    def refresh(self, tenants: list[str]) -> None:
        """Acknowledge, read, and acknowledge what was read where no older write runs.

        In this order: a change that is committed after the first acknowledgement waits for us, one
        that was committed before it is read. Who waited for another's answer to a question that
        was asked later than his own takes that.
        """
        asked = self._clock()
        with self._asking:
            with self.changed:
                if all(self.route(name).as_of >= asked for name in tenants):
                    return
            kept = self._control.connected
            try:
                self._ask(tenants)
            except PlacementUnavailable:
                if not kept:
                    raise
                self._ask(tenants)  # it was cut while nobody looked

    def _ask(self, tenants: list[str]) -> None:
        with self.changed:
            began = self._clock()
            honoured = self._honoured(tenants)
        self._acknowledge(honoured)
        rows = self._control.read(tenants)
        with self.changed:
            ended = self._clock()
            for name in tenants:
                self.route(name).read(rows.get(name), began, ended, self._ttl)
            newer = {
                name: epoch
                for name, epoch in self._honoured(tenants).items()
                if epoch != honoured[name]
            }
            self.changed.notify_all()
        self._acknowledge(newer)

    def _honoured(self, tenants: Iterable[str]) -> dict[str, int]:
        return {name: self.route(name).honoured for name in tenants}

    def _acknowledge(self, honoured: dict[str, int]) -> None:
        self._control.acknowledge(honoured)
        with self.changed:
            for name, epoch in honoured.items():
                self.route(name).acknowledged = epoch

    # -- the thread that keeps

    def _keep(self) -> None:
        while not self._ended.is_set():
            with self.changed:
                due = self._take_due()
                if not due:
                    self.changed.wait(self._pause())
                    continue
            try:
                for start in range(0, len(due), _BATCH):
                    self.refresh(due[start : start + _BATCH])
            except PlacementUnavailable as error:
                _LOG.warning("placements are not refreshed: %s", error)
                self._ended.wait(min(_RETRY, self._ttl / 4))

    def _take_due(self) -> list[str]:
        """Tenants of whom there is news, whose age nears the limit, whose writes are waiting."""
        now = self._clock()
        self._forget(now)
        due, self._due = self._due & self._routes.keys(), set()
        for name, route in self._routes.items():
            age = now - route.as_of
            if age >= self._ttl / 2 or (route.waiting and age >= _HELD):
                due.add(name)
        return sorted(due)

    def _forget(self, now: float) -> None:
        """A tenant that nobody asked for in a long time is not kept: it becomes dead by itself."""
        old = [
            name
            for name, route in self._routes.items()
            if not route.in_flight
            and not route.waiting
            and now - route.used > _FORGET_AFTER * self._ttl
        ]
        for name in old:
            del self._routes[name]

    def _pause(self) -> float:
        waiting = any(route.waiting for route in self._routes.values())
        return _HELD if waiting else self._ttl / 8

    # -- the thread that listens

    def _listen(self) -> None:
        import psycopg

        while not self._ended.is_set():
            try:
                with listening(self._connect) as connection:
                    self._news(None)  # of what was told while nobody listened
                    while not self._ended.is_set():
                        for told in connection.notifies(timeout=0.25):
                            self._news(told.payload)
            except (PlacementUnavailable, psycopg.Error, OSError) as error:
                _LOG.warning("no news of placements: %s", error)
                self._ended.wait(min(_RETRY, self._ttl / 4))

    def _news(self, payload: str | None) -> None:
        """``payload`` names a tenant; None, and whatever cannot be read, means any of them."""
        try:
            tenant = json.loads(payload)["tenant"] if payload is not None else None
        except (ValueError, TypeError, KeyError):
            tenant = None
        with self.changed:
            self._due |= {tenant} & self._routes.keys() if tenant else self._routes.keys()
            self.changed.notify_all()
