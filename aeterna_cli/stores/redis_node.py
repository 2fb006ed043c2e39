"""One Redis or Valkey server asked as itself, whatever Sentinels say of it."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from aeterna_cli.settings import RedisSettings
from aeterna_cli.stores import redis_info
from aeterna_cli.stores.base.sentinel import Address
from aeterna_cli.stores.redis_connection import RedisConnection, Reply, Word

#: seconds; who asks wants to know who serves, now
PATIENCE = 3.0


@dataclass(frozen=True)
class RedisNode:
    """``offset`` is in bytes of the replication stream: what a primary has sent, what a replica has
    got. ``link_up`` is a replica's; ``flavour`` is valkey or redis."""

    address: Address
    primary: bool
    offset: int
    link_up: bool
    follows: Address | None
    version: str
    flavour: str
    facts: Mapping[str, str]


def settings_of(settings: RedisSettings, address: Address) -> RedisSettings:
    """The profile's Redis as a connection to this node, whoever is primary."""
    return settings.model_copy(
        update={
            "host": address[0],
            "port": address[1],
            "sentinels": (),
            "timeout": min(settings.timeout, PATIENCE),
        }
    )


def node(settings: RedisSettings, address: Address) -> RedisNode:
    """Errors as of ``RedisConnection``."""
    with closing(RedisConnection(settings_of(settings, address))) as connection:
        facts = redis_info.info(connection)
    flavour, version = redis_info.version_of(facts)
    primary = facts.get("role") == "master"
    follows = None
    if not primary:
        follows = (facts.get("master_host", ""), int(facts.get("master_port", 0)))
    return RedisNode(
        address=address,
        primary=primary,
        offset=int(facts.get("master_repl_offset" if primary else "slave_repl_offset", 0)),
        link_up=facts.get("master_link_status") == "up",
        follows=follows,
        version=version,
        flavour=flavour,
        facts=facts,
    )


def told(settings: RedisSettings, address: Address, *words: Word) -> Reply:
    """One command's answer from this node; an error reply is raised as a typed error."""
    with closing(RedisConnection(settings_of(settings, address))) as connection:
        return connection.call(*words)


def can_coordinate(version: str, flavour: str) -> bool:
    """Whether ``SENTINEL FAILOVER ... COORDINATED`` is known: Valkey 9.0. Source: valkey#1292."""
    major = version.partition(".")[0]
    return flavour == "valkey" and major.isdecimal() and int(major) >= 9
