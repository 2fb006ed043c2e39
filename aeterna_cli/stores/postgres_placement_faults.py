"""What can be wrong with a shard or a placement: one typed error for each."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg

from aeterna_cli.errors import ConflictError, RefusedError, TransientError
from aeterna_cli.stores.base.placement import Placement, ShardRecord, ShardStatus

_LIST = "aeterna-cli shard list"
_SHOWN = 20


def not_prepared() -> RefusedError:
    return RefusedError(
        "placement_not_prepared",
        "this deployment has no shard registry yet",
        hint="the first shard that is added makes it",
        next_steps=["aeterna-cli shard add NAME --collection COLLECTION"],
    )


def shard_unknown(name: str) -> RefusedError:
    return RefusedError("shard_unknown", f"there is no shard {name!r}", next_steps=[_LIST])


def shard_exists(found: ShardRecord) -> ConflictError:
    key = f", shard key {found.shard_key!r}" if found.shard_key is not None else ""
    server = f" on {found.server!r}" if found.server else ""
    return ConflictError(
        "shard_exists",
        f"the shard {found.name!r} is registered and means something else",
        hint=f"it is the collection {found.collection!r}{server}{key},"
        f" capacity {found.capacity:,}, {found.status}",
        next_steps=[_LIST],
    )


def place_taken(record: ShardRecord) -> ConflictError:
    key = f" with the shard key {record.shard_key!r}" if record.shard_key is not None else ""
    return ConflictError(
        "shard_place_taken",
        f"the collection {record.collection!r}{key} is a shard under another name",
        next_steps=[_LIST],
    )


def status_move(name: str, now: ShardStatus, wanted: ShardStatus) -> RefusedError:
    return RefusedError(
        "shard_status_move",
        f"the shard {name!r} is {now} and cannot become {wanted} at once",
        next_steps=[_LIST],
    )


def shard_in_use(name: str, tenants: Sequence[str]) -> RefusedError:
    more = f" and {len(tenants) - _SHOWN:,} more" if len(tenants) > _SHOWN else ""
    return RefusedError(
        "shard_in_use",
        f"{len(tenants):,} tenants are placed on the shard {name!r}",
        hint=", ".join(tenants[:_SHOWN]) + more,
        next_steps=[f"aeterna-cli tenant migrate --tenant-id {tenants[0]} --to-shard SHARD", _LIST],
        details={"tenants": list(tenants)},
    )


def placement_changed(tenant: str, expected: int | None, found: Placement | None) -> ConflictError:
    was = "no placement" if expected is None else f"epoch {expected}"
    now = f"of epoch {found.epoch}, {found.state}" if found else "gone"
    return ConflictError(
        "placement_changed",
        f"the placement of tenant {tenant} is not what it was: expected {was}, it is {now}",
        hint=f"operation {found.operation} changed it"
        if found and found.operation
        else "somebody else changed it; nothing was done",
        next_steps=["aeterna-cli operation list --unfinished"],
        details={"expected_epoch": expected, "epoch": found.epoch if found else None},
    )


def placement_unknown(tenant: str) -> TransientError:
    return TransientError(
        "placement_unknown",
        f"whether the placement of tenant {tenant} was changed is not known:"
        " PostgreSQL went away, or was told not to wait for its replica, during the commit",
        hint="its epoch tells once the server answers; the same command reads it first",
    )


@contextmanager
def of_a_change(tenant: str, shards: Sequence[str], lock_timeout: float) -> Iterator[None]:
    """What only a change of a placement can meet."""
    try:
        yield
    except Exception as error:
        cause = error.__cause__
        if isinstance(cause, psycopg.errors.LockNotAvailable):
            raise TransientError(
                "placement_locked",
                f"writes of tenant {tenant} did not end within {lock_timeout:g} s",
                hint="nothing changed; a writer holds the placement's row FOR SHARE",
            ) from error
        if isinstance(cause, psycopg.errors.ForeignKeyViolation):
            names = " or ".join(repr(name) for name in dict.fromkeys(shards))
            raise RefusedError(
                "shard_unknown", f"there is no shard {names}", next_steps=[_LIST]
            ) from error
        raise
