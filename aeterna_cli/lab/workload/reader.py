"""One reading thread of a tenant: it reads what it knows and says what cannot be."""

import time
from random import Random
from typing import Any

from aeterna_cli.errors import AeternaError
from aeterna_cli.lab.workload.judge import differences
from aeterna_cli.lab.workload.log import Log
from aeterna_cli.lab.workload.model import Operation, share
from aeterna_cli.lab.workload.points import Servers
from aeterna_cli.lab.workload.population import Glimpse
from aeterna_cli.lab.workload.writer import Tenancy

#: A reader's pause between two reads, in seconds: writers are to have most of the machine.
PAUSE = 0.002


class Reader:
    """Runs until ``stop``."""

    def __init__(self, around: Tenancy, servers: Servers, log: Log, index: int) -> None:
        self._around = around
        self._servers = servers
        self._log = log
        self._random = Random(share(around.universe.seed, around.universe.tenant, "r", index))  # noqa: S311 - not for secrets

    def run(self) -> None:
        while not self._around.stop.wait(PAUSE):
            before = self._around.population.glimpse(self._random)
            if before is not None:
                self._read(before)

    def _read(self, before: Glimpse) -> None:
        began = time.monotonic()
        identity = self._around.universe.id(before.number)
        try:
            with self._around.route.reading() as place:
                found = self._servers.retrieve(place, [identity], vectors=True)
        except AeternaError as error:
            self._log.failed(before.number, before.certain, f"read_{error.code}")
            self._around.stop.wait(0.05)
            return
        self._around.measurements.read(time.monotonic() - began)
        after = self._around.population.look(before.number)
        fault = fault_of(before, after, found[0] if found else None)
        if fault is None and found:
            fault = self._content_fault(before.number, found[0])
        if fault is not None:
            sort, text = fault
            self._log.seen(sort, before.number, f"{identity} at {place.collection}: {text}")

    def _content_fault(self, number: int, point: dict[str, Any]) -> tuple[str, str] | None:
        """The point must be what its own version says, vector and all."""
        payload = point["payload"]
        stamp, embedded = payload.get("updated_at"), payload.get("embedded_version")
        if not (isinstance(stamp, int) and isinstance(embedded, int)):
            return "wrong", f"version {payload['version']} without its fields"
        state = Operation(number, payload["version"], "update", embedded, stamp)
        for _, text in differences(self._around.universe, [(point, state)]):
            return "wrong", text
        return None


def fault_of(
    before: Glimpse, after: Glimpse, point: dict[str, Any] | None
) -> tuple[str, str] | None:
    """The sort and words of what cannot be; None where it can.

    The read may have seen any version from the one that was acknowledged before it began
    (``before.certain``) to the newest that had begun when it ended (``after.started``). A point may
    be missing only where one of these versions is a delete, and ``after.deleted`` is the newest
    delete of all.
    """
    if point is None:
        if after.deleted >= before.certain:
            return None
        return "lost", f"version {before.certain} was acknowledged and nothing is there"
    payload = point.get("payload") or {}
    version = payload.get("version")
    if not isinstance(version, int) or version > after.started:
        return "wrong", f"version {version} was never written"
    if version >= before.certain and version != before.deleted:
        return None
    if before.deleted == before.certain:
        return "resurrected", f"version {version} is there, deleted as version {before.deleted}"
    return "stale", f"version {version} is there, version {before.certain} was acknowledged"
