"""What a server says about itself: INFO, CONFIG GET, versions."""

import re
from collections.abc import Mapping
from typing import Literal

from aeterna_cli.errors import RemoteError
from aeterna_cli.stores.base.redis import IDENTITY_KEY, RedisIdentity
from aeterna_cli.stores.redis_connection import ErrorReply, RedisConnection, error_of

#: PEXPIRETIME and rdb-only replication came with it.
OLDEST = (7, 0)

_SECRET = re.compile(r"(pass|auth|secret|token)$")


def info(connection: RedisConnection) -> dict[str, str]:
    """INFO as one flat table; names are unique over its sections."""
    return pairs(connection.call("INFO"))


def pairs(answer: bytes) -> dict[str, str]:
    lines = answer.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def keyspace(facts: Mapping[str, str]) -> dict[int, dict[str, int]]:
    """Per database in use its counters: keys, expires, and where offered those of field times."""
    return {
        int(name[2:]): {part.split("=")[0]: int(part.split("=")[1]) for part in value.split(",")}
        for name, value in facts.items()
        if re.fullmatch(r"db\d+", name)
    }


def has_field_times(facts: Mapping[str, str]) -> bool:
    """Whether some hash has fields that expire by themselves.

    Valkey 9 counts them as ``keys_with_volatile_items``, Redis 7.4 as ``subexpiry``.
    """
    names = ("keys_with_volatile_items", "subexpiry")
    return any(counters.get(name, 0) for counters in keyspace(facts).values() for name in names)


def knows_field_times(facts: Mapping[str, str]) -> bool:
    """Whether the server has HPEXPIRETIME: since Redis 7.4 and Valkey 9.0."""
    flavour, version = version_of(facts)
    return numbers(version) >= ((9, 0) if flavour == "valkey" else (7, 4))


def version_of(facts: Mapping[str, str]) -> tuple[Literal["redis", "valkey"], str]:
    """The flavour and its own version; Valkey says ``redis_version`` 7.2.4 beside it."""
    if "valkey_version" in facts:
        return "valkey", facts["valkey_version"]
    if "redis_version" in facts:
        return "redis", facts["redis_version"]
    raise RemoteError("redis_answer_unknown", "the server's INFO names no version")


def numbers(version: str) -> tuple[int, ...]:
    """``7.2.4`` as (7, 2, 4); what is no number ends it."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def identity(connection: RedisConnection) -> RedisIdentity:
    facts = info(connection)
    flavour, version = version_of(facts)
    key = connection.call("GET", IDENTITY_KEY)
    return RedisIdentity(
        run_id=facts.get("run_id", ""),
        version=version,
        flavour=flavour,
        identity_key=None if key is None else key.decode(errors="replace"),
        mode=facts.get("server_mode", facts.get("redis_mode", "standalone")),
        role=facts.get("role", ""),
        keys=sum(counters["keys"] for counters in keyspace(facts).values()),
        used_memory=int(facts.get("used_memory", 0)),
    )


def configured(connection: RedisConnection, pattern: str = "*") -> dict[str, str] | None:
    """CONFIG GET without what holds secrets; None where the server does not let us ask."""
    (answer,) = connection.replies([["CONFIG", "GET", pattern]])
    if isinstance(answer, ErrorReply):
        if answer.kind == "NOPERM" or answer.command_missing:
            return None
        raise error_of(answer, connection.description)
    words = [word.decode(errors="replace") for word in answer]
    table = dict(zip(words[::2], words[1::2], strict=True))
    return {name: value for name, value in table.items() if not _SECRET.search(name)}
