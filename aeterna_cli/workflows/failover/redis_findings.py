"""What of a node's own settings speaks against it, beside the topology."""

from collections.abc import Iterator, Sequence

from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.redis_node import RedisNode
from aeterna_cli.workflows.failover.redis_names import named


def of_nodes(nodes: Sequence[RedisNode]) -> Iterator[Finding]:
    """By INFO, which every user that we need may read."""
    for one in nodes:
        name, facts = named(one.address), one.facts
        if not one.primary and facts.get("slave_priority") == "0":
            yield Finding(
                "replica_never_promoted",
                "warning",
                name,
                "its replica-priority is 0: Sentinels never promote it",
                "CONFIG SET replica-priority 100, unless somebody wants it so",
            )
        if not one.primary:
            continue
        if "min_slaves_good_slaves" not in facts:
            yield Finding(
                "writes_without_replicas",
                "warning",
                name,
                "min-replicas-to-write is 0: cut off from its replicas it acknowledges writes that "
                "a failover loses",
                "CONFIG SET min-replicas-to-write 1",
            )
        policy = facts.get("maxmemory_policy", "noeviction")
        if facts.get("maxmemory", "0") != "0" and policy.startswith("allkeys"):
            yield Finding(
                "evicts_records",
                "info",
                name,
                f"maxmemory-policy {policy} may drop records without a time to live; "
                f"{facts.get('evicted_keys', '0')} evicted since it started",
                "use volatile-* or noeviction",
            )
        if facts.get("aof_enabled") == "0":
            yield Finding(
                "not_persistent",
                "info",
                name,
                "appendonly is off: a primary that restarts before it is replaced comes back with "
                "its last snapshot, and its replicas follow it",
                "CONFIG SET appendonly yes, and CONFIG REWRITE",
            )
