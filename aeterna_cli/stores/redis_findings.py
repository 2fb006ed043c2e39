"""What speaks against a backup of this server, or a restore into it."""

from collections.abc import Iterator, Mapping

from aeterna_cli.stores import redis_info
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.redis import Purpose
from aeterna_cli.stores.redis_connection import RedisConnection
from aeterna_cli.stores.redis_privileges import least_privilege_acl, missing_commands

_SMALL_OUTPUT = 64 << 20  # bytes; below it a short stall of our reader cuts the capture off
_LONG_DELAY = 1  # seconds
_CONFIGURATION = (
    "append*",
    "save",
    "maxmemory*",
    "repl-diskless-sync*",
    "client-output-buffer-limit",
    "rdbchecksum",
)


def find(connection: RedisConnection, purpose: Purpose, *, has_password: bool) -> list[Finding]:
    """Errors mean that the purpose will fail or give something that is not what was asked for."""
    facts = redis_info.info(connection)
    tables = [redis_info.configured(connection, pattern) for pattern in _CONFIGURATION]
    configuration = {name: value for table in tables for name, value in (table or {}).items()}
    findings = [
        *_server(facts, purpose),
        *_permissions(connection, facts, purpose),
        *_last_saves(facts),
    ]
    if not has_password:
        findings.append(
            _finding(
                "redis_without_password",
                "warning",
                "we sign in without a password: whoever reaches this server can empty it",
                "set a password and an ACL user for backups",
            )
        )
    if None in tables:
        findings.append(
            _finding(
                "redis_configuration_unreadable",
                "info",
                "CONFIG GET is refused: persistence and eviction could not be judged",
                "allow +config|get",
            )
        )
        return findings
    findings += [*_persistence(configuration), *_eviction(configuration, facts)]
    return findings + (list(_transfer(configuration)) if purpose == "backup" else [])


def _finding(code: str, severity: str, message: str, mend: str = "") -> Finding:
    return Finding(code, severity, "redis", message, mend)


def _server(facts: Mapping[str, str], purpose: Purpose) -> Iterator[Finding]:
    flavour, version = redis_info.version_of(facts)
    if redis_info.numbers(version) < redis_info.OLDEST:
        yield _finding(
            "redis_too_old", "error", f"{flavour} {version} is older than 7.0", "upgrade the server"
        )
    if facts.get("cluster_enabled") == "1":
        yield _finding(
            "redis_cluster",
            "error",
            "this server is one node of a cluster and holds a part of the keys only",
            "clusters are not supported: use a server that is not in cluster mode",
        )
    if facts.get("role") != "master":
        yield _finding(
            "redis_is_replica",
            "error",
            "this server is a replica: it may be behind, and our keys cannot be written to it",
            "point redis.host and redis.port at the primary",
        )
    followers = int(facts.get("connected_slaves", 0))
    if purpose == "restore" and followers:
        yield _finding(
            "redis_has_replicas",
            "warning",
            f"{followers} replicas follow this server and will be overwritten with it",
            "stop Sentinel's monitoring while a restore runs",
        )


def _permissions(
    connection: RedisConnection, facts: Mapping[str, str], purpose: Purpose
) -> Iterator[Finding]:
    missing = missing_commands(connection, purpose)
    if missing is None:
        yield _finding(
            "redis_permissions_unknown",
            "info",
            "the server does not say what our user may do",
            "allow +acl|whoami +acl|dryrun",
        )
    elif missing:
        field_times = redis_info.knows_field_times(facts)
        yield Finding(
            "redis_permission_missing",
            "error",
            "redis",
            f"our user may not: {', '.join(missing)}",
            mend="set the ACL line in this finding's details",
            details={"acl": least_privilege_acl(purpose, field_times=field_times)},
        )


def _last_saves(facts: Mapping[str, str]) -> Iterator[Finding]:
    meaning = {
        "rdb_last_bgsave_status": "the last snapshot failed: a fork or the disk may fail us too",
        "aof_last_write_status": "the last write to the append-only file failed",
        "aof_last_bgrewrite_status": "the last rewrite of the append-only file failed",
    }
    for name, message in meaning.items():
        if facts.get(name, "ok") != "ok":
            yield _finding(f"redis_{name}", "error", message, "see the server's log; disk full?")


def _persistence(configuration: Mapping[str, str]) -> Iterator[Finding]:
    if configuration.get("appendonly") == "no":
        saves = configuration.get("save", "")
        nothing = "nothing" if not saves else f"snapshots ({saves}) only"
        yield _finding(
            "redis_no_append_only_file",
            "warning",
            f"appendonly is off and the server keeps {nothing}: a crash loses acknowledged writes",
            "CONFIG SET appendonly yes, and CONFIG REWRITE",
        )
    elif configuration.get("appendfsync") == "no":
        yield _finding(
            "redis_append_only_file_not_synced",
            "warning",
            "appendfsync is no: the operating system decides what a power cut loses",
            "CONFIG SET appendfsync everysec",
        )


def _eviction(configuration: Mapping[str, str], facts: Mapping[str, str]) -> Iterator[Finding]:
    policy = configuration.get("maxmemory-policy", "noeviction")
    if policy == "noeviction" or configuration.get("maxmemory", "0") == "0":
        return
    everything = policy.startswith("allkeys")
    kinds = "records without a time to live too" if everything else "keys before their time"
    yield _finding(
        "redis_evicts_keys",
        "warning" if everything else "info",
        f"maxmemory-policy {policy} may drop {kinds}; {facts.get('evicted_keys', '0')} evicted "
        "since the server started",
        "use noeviction or volatile-*, or raise maxmemory" if everything else "",
    )


def _transfer(configuration: Mapping[str, str]) -> Iterator[Finding]:
    if configuration.get("rdbchecksum") == "no":
        yield _finding(
            "redis_no_checksum",
            "warning",
            "rdbchecksum is off: damage between the server's memory and us cannot be seen",
            "set rdbchecksum yes in the server's configuration file and restart it",
        )
    delay = int(configuration.get("repl-diskless-sync-delay", 0))
    if configuration.get("repl-diskless-sync") == "yes" and delay > _LONG_DELAY:
        yield _finding(
            "redis_sync_delay",
            "info",
            f"repl-diskless-sync-delay: every capture waits {delay} s before it begins",
        )
    words = configuration.get("client-output-buffer-limit", "").split()
    for name, hard in zip(words[::4], words[1::4], strict=False):
        if name in {"slave", "replica"} and 0 < int(hard) < _SMALL_OUTPUT:
            yield _finding(
                "redis_output_buffer_small",
                "warning",
                f"client-output-buffer-limit replica is {hard} bytes: a capture that stalls "
                "under writes is cut off",
                "CONFIG SET client-output-buffer-limit 'replica 268435456 67108864 60'",
            )
