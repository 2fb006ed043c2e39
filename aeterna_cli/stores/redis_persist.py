"""Making a server write to disk what it holds."""

import time
from collections.abc import Mapping
from typing import Literal

from aeterna_cli.errors import AeternaError, RemoteError, TransientError
from aeterna_cli.stores import redis_info
from aeterna_cli.stores.redis_connection import ErrorReply, RedisConnection, error_of

_POLL = 0.05


def persist(connection: RedisConnection, timeout: float) -> Literal["aof", "rdb", "none"]:
    """A kill of the server loses nothing that it held when this began.

    The append-only file is rewritten where it is on, else a snapshot is saved. "none" where the
    server refuses both (managed servers); ``RemoteError('redis_not_persisting')`` where it fails.
    """
    deadline = time.monotonic() + timeout
    facts = _when_idle(connection, deadline)
    with_aof = facts.get("aof_enabled") == "1"
    (answer,) = connection.replies([["BGREWRITEAOF" if with_aof else "BGSAVE"]])
    if isinstance(answer, ErrorReply):
        if answer.kind == "NOPERM" or answer.command_missing:
            return "none"
        raise error_of(answer, connection.description)
    facts = _when_idle(connection, deadline)
    status = "aof_last_bgrewrite_status" if with_aof else "rdb_last_bgsave_status"
    if facts.get(status) != "ok":
        raise _failed(connection)
    return "aof" if with_aof else "rdb"


def _failed(connection: RedisConnection) -> AeternaError:
    return RemoteError(
        "redis_not_persisting",
        f"{connection.description} could not write its data to disk",
        hint="is its disk full or its memory too tight to fork? see its log",
    )


def _when_idle(connection: RedisConnection, deadline: float) -> Mapping[str, str]:
    """The server's facts once no child of it writes to disk."""
    busy = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
    while True:
        facts = redis_info.info(connection)
        if all(facts.get(name, "0") == "0" for name in busy):
            return facts
        if time.monotonic() > deadline:
            raise TransientError(
                "redis_busy", f"{connection.description} is still writing to its disk"
            )
        time.sleep(_POLL)
