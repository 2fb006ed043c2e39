"""Holding a plan's leases, and clearing up after those who held them and died."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from aeterna_cli.errors import AeternaError, ConflictError
from aeterna_cli.operations.journal import ENDED, state_of, upload_pending
from aeterna_cli.operations.lease import Lease
from aeterna_cli.operations.plan import Plan
from aeterna_cli.operations.run_environment import RunEnvironment

GONE = "its lease is void: its process is gone or cannot reach the repository"


@contextmanager
def held(plan: Plan, around: RunEnvironment, operation: str) -> Iterator[list[Lease]]:
    """Every lease of the plan, given back in the end; none where the glass was broken.

    Operations that can never be resumed and whose lease was void are marked abandoned, and records
    that an earlier outage left on this machine are uploaded. A fault there does not stop this
    operation; the events ``abandon_failed`` and ``upload_failed`` tell of it.
    """
    leases: list[Lease] = []
    seen: set[str] = set()
    try:
        for lease in _wanted(plan, around, operation):
            try:
                # Before as well: if we die in between, the next one still finds them in the lease.
                _abandon_all(lease.void_operations(), seen, around)
                lease.acquire()
            except ConflictError:
                raise
            except AeternaError:
                if not around.break_glass:
                    raise
                continue
            leases.append(lease)
            _abandon_all(lease.dropped, seen, around)
        _upload(around)
        yield leases
    finally:
        for lease in reversed(leases):
            with suppress(AeternaError):  # it becomes void by itself
                lease.release()


def _wanted(plan: Plan, around: RunEnvironment, operation: str) -> Iterator[Lease]:
    if around.store is None:
        return
    for request in plan.leases:
        yield Lease(
            around.store,
            request,
            operation=operation,
            actor=around.actor,
            heartbeat=around.heartbeat,
            void=around.void,
        )


def _upload(around: RunEnvironment) -> None:
    if around.store is None:
        return
    try:
        upload_pending(around.store, around.state_directory, clock=around.clock)
    except AeternaError as error:
        around.emit("upload_failed", {"code": error.code, "message": error.message})


def _abandon_all(dead: Iterable[str], seen: set[str], around: RunEnvironment) -> None:
    for operation in dead:
        if operation not in seen:
            seen.add(operation)
            _abandon(operation, around)


def _abandon(dead: str, around: RunEnvironment) -> None:
    fields = {"operation": dead, "reason": GONE}
    try:
        journal = around.journal(dead)
        journal.load()
        plan = journal.records[0].data["plan"]
        if state_of(journal.records) in ENDED or plan["restartable"]:
            return
        journal.append("abandoned", {"actor": around.actor, "reason": GONE})
        around.audit(dead, plan, "abandoned")
    except AeternaError as error:
        if error.code != "operation_unknown":  # that one died before its first record
            around.emit("abandon_failed", {**fields, "code": error.code, "message": error.message})
        return
    around.emit("operation_abandoned", fields)
