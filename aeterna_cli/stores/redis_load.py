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

TAG = b"aeterna-scratch"
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

    The target keeps its own identity and has no marker; the scratch server's are replaced (read the
    captured marker before). ``RefusedError('redis_not_empty')`` where
    it holds keys and ``replace`` is not given; ``RefusedError('redis_is_replica')`` for a server
    that really is one. On failure and after a kill it holds the old or the new data, or by the copy
    a part of the new; run it again, with ``replace``. Nothing may write to the target meanwhile.
    """
    begun = time.monotonic()
    mend_target(target)
    _check(target, replace=replace)
    _check_versions(target, scratch)
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
    return _detach(target.connection)


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


Version = tuple[str, tuple[int, ...]]


def readable_by(target: Version, source: Version) -> bool:
    """Whether a server of one flavour and version reads what another one writes.

    Valkey hands a replica the format of its version, and everybody else that of Redis 7.2, which is
    also the last of Redis that Valkey reads.
    """
    if target[0] == source[0]:
        return target[0] == "valkey" or target[1][:2] >= source[1][:2]
    if target[0] == "redis":
        return target[1] >= (7, 2)
    return source[1] < (7, 4)


def _check_versions(target: RedisServer, scratch: ScratchRedis) -> None:
    (flavour, version), (scratch_flavour, scratch_version) = (
        redis_info.version_of(redis_info.info(server.connection))
        for server in (target, scratch.server)
    )
    numbers = redis_info.numbers
    if not readable_by((flavour, numbers(version)), (scratch_flavour, numbers(scratch_version))):
        raise RefusedError(
            "redis_target_too_old",
            f"{target.description} is {flavour} {version} and cannot read the data of "
            f"{scratch_flavour} {scratch_version}",
            hint="set redis.server_binary to a server like the target, or upgrade the target",
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


def _replication_settings(connection: RedisConnection) -> tuple[bytes, bytes]:
    """``masteruser`` and ``masterauth``; ``_CannotReplicateError`` where we may not see them."""
    names = ("masteruser", "masterauth")
    user, password = connection.replies([["CONFIG", "GET", name] for name in names])
    if isinstance(user, ErrorReply) or isinstance(password, ErrorReply) or not user:
        raise _CannotReplicateError
    return user[1], password[1]


def _attach(connection: RedisConnection, scratch: ScratchRedis) -> None:
    user, password = _replication_settings(connection)
    tls = connection.call("CONFIG", "GET", "tls-replication")
    if tls and tls[1] == b"yes":
        raise _CannotReplicateError  # the scratch server speaks no TLS
    tag = TAG + b":" + user
    secret = password or TAG + b"-" + secrets.token_hex(32).encode()
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


def _detach(connection: RedisConnection) -> bool:
    """The target is a primary with the settings that it had; False where it was not ours."""
    try:
        user, password = _replication_settings(connection)
    except _CannotReplicateError:
        return False
    if not user.startswith(TAG):
        return False
    if redis_info.info(connection).get("role") != "master":
        connection.call("REPLICAOF", "NO", "ONE")
    former = user.partition(b":")[2]
    kept = b"" if password.startswith(TAG) else password
    connection.call("CONFIG", "SET", "masteruser", former, "masterauth", kept)
    return True


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
