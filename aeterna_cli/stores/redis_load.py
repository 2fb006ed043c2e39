"""A scratch server's data into a live server, without access to its files.

The target becomes a replica of the scratch server for a moment; that replaces all its data in one
step, functions included. Where it cannot reach us or REPLICAOF is refused, keys are copied.

A crash in between is recognised by ``masteruser``, which then begins with our name: the former
value stands behind it, and a password that we made begins with our name too. Nothing else needs to
be remembered to undo it.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from aeterna_cli.errors import (
    AeternaError,
    InterruptedByUser,
    RefusedError,
    RemoteError,
)
from aeterna_cli.stores import redis_info, redis_persist
from aeterna_cli.stores.base.redis import IDENTITY_KEY, MARKER_KEY, LoadResult
from aeterna_cli.stores.redis import RedisServer
from aeterna_cli.stores.redis_connection import (
    ErrorReply,
    RedisConnection,
    Word,
    error_of,
    never,
)
from aeterna_cli.stores.redis_scratch import ScratchRedis

Stop = Callable[[], bool]

TAG = "aeterna-scratch"
_POLL = 0.05
_CONTACT_SECONDS = 10  # a replica tries to connect once per second
_BROKEN_SECONDS = 15


class _CannotReplicateError(Exception):
    """REPLICAOF is no way here; the target is as it was."""


def load_from_scratch(
    target: RedisServer,
    scratch: ScratchRedis,
    *,
    replace: bool = False,
    stop: Stop = never,
    timeout: float = 3600,
) -> LoadResult:
    """The target holds what the scratch server holds, and on disk too, when this returns.

    The target keeps its own identity and has no marker. ``RefusedError('redis_not_empty')`` where
    it holds keys and ``replace`` is not given; ``RefusedError('redis_is_replica')`` for a server
    that really is one. On failure and after a kill it holds the old or the new data, or by the copy
    a part of the new; run it again, with ``replace``. Nothing may write to the target meanwhile.
    """
    begun = time.monotonic()
    mend_target(target)
    _check(target, replace=replace)
    _give_identity(target, scratch)
    deadline = begun + timeout
    method: Literal["replication", "copy"] = "replication"
    try:
        _replicate(target, scratch, deadline, stop)
    except _CannotReplicateError:
        method = "copy"
        _copy(target, scratch, stop)
    persistence = redis_persist.persist(target.connection, timeout)
    keys = sum(target.counts().values())
    return LoadResult(method, keys, time.monotonic() - begun, persistence)


def mend_target(target: RedisServer) -> bool:
    """Undo what a killed load left; whether there was anything. A real replica is left alone."""
    connection = target.connection
    (answer,) = connection.replies([["CONFIG", "GET", "masteruser"]])
    user = b"" if isinstance(answer, ErrorReply) or not answer else answer[1]
    if not user.startswith(TAG.encode()):
        return False
    _detach(connection)
    return True


def _check(target: RedisServer, *, replace: bool) -> None:
    facts = redis_info.info(target.connection)
    if facts.get("cluster_enabled") == "1":
        raise RefusedError("redis_cluster", f"{target.description} is one node of a cluster")
    if facts.get("role") != "master":
        raise RefusedError(
            "redis_is_replica",
            f"{target.description} is a replica of another server",
            hint="point redis.host and redis.port at the primary",
        )
    keys = sum(target.counts().values())
    if keys and not replace:
        raise RefusedError(
            "redis_not_empty",
            f"{target.description} holds {keys} keys that a restore would replace",
        )


def _give_identity(target: RedisServer, scratch: ScratchRedis) -> None:
    """The scratch server holds the target's identity in place of the captured one."""
    identity = target.connection.call("GET", IDENTITY_KEY)
    connection = RedisConnection(scratch.client_settings())
    try:
        for database in redis_info.keyspace(redis_info.info(connection)):
            connection.select(database)
            connection.call("DEL", IDENTITY_KEY, MARKER_KEY)
        if identity is not None:
            connection.select(target.settings.database)
            connection.call("SET", IDENTITY_KEY, identity)
    finally:
        connection.close()


def _replicate(target: RedisServer, scratch: ScratchRedis, deadline: float, stop: Stop) -> None:
    connection = target.connection
    if not connection.peer_is_this_machine():
        raise _CannotReplicateError  # the scratch server listens on loopback only
    try:
        _attach(connection, scratch)
        _wait_synchronised(connection, scratch, deadline, stop)
    except BaseException:
        with suppress(AeternaError):  # the first error counts; the next load mends what is left
            _detach(connection)
        raise
    _detach(connection)


def _attach(connection: RedisConnection, scratch: ScratchRedis) -> None:
    answers = connection.replies(
        [["CONFIG", "GET", name] for name in ("masteruser", "masterauth", "tls-replication")]
    )
    if any(isinstance(answer, ErrorReply) or (index < 2 and not answer)
           for index, answer in enumerate(answers)):  # fmt: skip
        raise _CannotReplicateError
    user, password, tls = (answer[1].decode() if answer else "no" for answer in answers)
    if tls == "yes":
        raise _CannotReplicateError  # the scratch server speaks no TLS
    tag, secret = f"{TAG}:{user}", password or f"{TAG}-{secrets.token_hex(32)}"
    scratch.admit(tag, secret)
    host, port = scratch.address
    commands: list[list[Word]] = [
        ["CONFIG", "SET", "masteruser", tag, "masterauth", secret],
        ["REPLICAOF", host, port],
    ]
    for command in commands:
        (answer,) = connection.replies([command])
        if isinstance(answer, ErrorReply):
            raise _CannotReplicateError


def _detach(connection: RedisConnection) -> None:
    """The target is a primary with the replication settings that it had; may be repeated."""
    user, password = (
        answer[1].decode() if answer else ""
        for answer in connection.batch(
            [["CONFIG", "GET", name] for name in ("masteruser", "masterauth")]
        )
    )
    if not user.startswith(TAG):
        return
    if password.startswith(TAG):
        password = ""
    if redis_info.info(connection).get("role") != "master":
        connection.call("REPLICAOF", "NO", "ONE")
    former = user.partition(":")[2]
    connection.call("CONFIG", "SET", "masteruser", former, "masterauth", password)


def _wait_synchronised(
    connection: RedisConnection, scratch: ScratchRedis, deadline: float, stop: Stop
) -> None:
    """``_CannotReplicateError`` where the target never came; errors where it came and failed."""
    begun = broken_since = time.monotonic()
    came = False
    while True:
        facts = redis_info.info(connection)
        source = redis_info.info(scratch.server.connection)
        working = facts.get("master_sync_in_progress") == "1" or facts.get("loading") == "1"
        up = facts.get("master_link_status") == "up"
        behind = int(facts.get("slave_repl_offset", 0)) < int(source["master_repl_offset"])
        if up and not working and not behind:
            return
        now = time.monotonic()
        came = came or working or up or int(source["connected_slaves"]) > 0
        if not came and now > begun + _CONTACT_SECONDS:
            raise _CannotReplicateError
        if working or up:
            broken_since = now
        if now > deadline or (came and now > broken_since + _BROKEN_SECONDS):
            raise RemoteError(
                "replica_sync_failed",
                f"the target did not take the scratch server's data: link "
                f"{facts.get('master_link_status')}",
                hint="is it an older server than the one that was captured? see its log",
            )
        if stop():
            raise InterruptedByUser("interrupted", "stopped while the target synchronised")
        time.sleep(_POLL)


def _copy(target: RedisServer, scratch: ScratchRedis, stop: Stop) -> None:
    """Empty the target but for its identity, in one transaction, and write every key."""
    identity = target.connection.call("GET", IDENTITY_KEY)
    commands: list[list[Word]] = [["MULTI"], ["FLUSHALL", "ASYNC"]]
    if identity is not None:
        commands.append(["SET", IDENTITY_KEY, identity])
    results = target.connection.batch([*commands, ["EXEC"]])[-1]
    for result in results or []:
        if isinstance(result, ErrorReply):
            raise error_of(result, target.description)
    target.logical_restore(scratch.server.logical_capture(stop=stop), replace=True, stop=stop)
