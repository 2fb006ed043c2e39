"""What speaks against a backup, receiving WAL or a restore, as the server's catalogue shows it."""

from collections.abc import Iterator, Sequence
from typing import Any

from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.postgres import Purpose
from aeterna_cli.stores.postgres_connection import Connection

_SETTINGS = """
SELECT name, setting FROM pg_settings WHERE name IN ('wal_level', 'max_wal_senders',
       'max_replication_slots', 'max_slot_wal_keep_size', 'data_checksums', 'full_page_writes',
       'archive_mode', 'fsync')
"""
_ROLE = """
SELECT rolsuper, rolreplication, rolbypassrls,
       pg_has_role(current_user, 'pg_read_all_data', 'usage'),
       has_function_privilege('pg_create_restore_point(text)', 'execute'),
       has_function_privilege('pg_switch_wal()', 'execute'),
       has_database_privilege(current_database(), 'CREATE')
           OR to_regnamespace('aeterna_ops') IS NOT NULL
  FROM pg_roles WHERE rolname = current_user
"""
_HIDDEN = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND row_security_active(c.oid) ORDER BY 1
"""
_SENDERS = "SELECT count(*) FROM pg_stat_replication"
_SLOTS = "SELECT count(*) FROM pg_replication_slots"
_SLOT = """
SELECT active, wal_status FROM pg_replication_slots
 WHERE slot_name = %s AND slot_type = 'physical'
"""
_FREE_SENDERS = 2  # base backup and WAL stream
_FREE_SLOTS = 2  # own WAL and the exact snapshot


def find(connection: Connection, settings: PostgresSettings, purpose: Purpose) -> Sequence[Finding]:
    """Errors make ``purpose`` impossible, warnings make it dangerous."""
    found: dict[str, str] = dict(connection.execute(_SETTINGS).fetchall())
    if purpose == "restore":
        return list(_for_restore(found))
    findings = [*_role(connection, settings)]
    findings += _capacity(connection, found)
    if purpose == "receive":
        findings += _receiver(connection, settings, found)
    else:
        findings += _for_backup(found)
    return findings


def _finding(
    code: str, severity: str, subject: str, message: str, mend: str = "", **details: Any
) -> Finding:
    return Finding(code, severity, f"postgres: {subject}", message, mend, details)


def _role(connection: Connection, settings: PostgresSettings) -> Iterator[Finding]:
    row = connection.execute(_ROLE).fetchone()
    superuser, replication, bypass, reads, points, switches, creates = row or (False,) * 7
    user = settings.user
    hidden = [name for (name,) in connection.execute(_HIDDEN)]
    if hidden and not bypass and not superuser:
        yield _finding(
            "rows_hidden",
            "error",
            user,
            f"row security hides rows of {len(hidden)} tables from this role: "
            + ", ".join(hidden[:3]),
            f'ALTER ROLE "{user}" BYPASSRLS',
            tables=hidden,
        )
    if superuser:
        yield _finding(
            "superuser",
            "info",
            user,
            "a superuser backs up; a role with less is enough",
            "aeterna-cli doctor --grants",
        )
        return
    needed = {
        f'ALTER ROLE "{user}" REPLICATION': replication,
        f'GRANT pg_read_all_data TO "{user}"': reads,
        f'GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO "{user}"': points,
        f'GRANT EXECUTE ON FUNCTION pg_switch_wal() TO "{user}"': switches,
        f'GRANT CREATE ON DATABASE "{settings.database}" TO "{user}"': creates,
    }
    for grant, has in needed.items():
        if not has:
            yield _finding("missing_privilege", "error", user, "a privilege is missing", grant)


def _capacity(connection: Connection, found: dict[str, str]) -> Iterator[Finding]:
    for what, query, wanted in (
        ("max_wal_senders", _SENDERS, _FREE_SENDERS),
        ("max_replication_slots", _SLOTS, _FREE_SLOTS),
    ):
        row = connection.execute(query).fetchone()
        free = int(found[what]) - (int(row[0]) if row else 0)
        if free < wanted:
            yield _finding(
                "too_few_free",
                "error",
                what,
                f"{free} are free, {wanted} are needed",
                f"raise {what} and restart PostgreSQL",
            )
    if found["wal_level"] == "minimal":
        yield _finding(
            "wal_level_minimal",
            "error",
            "wal_level",
            "wal_level is minimal: no backup can be recovered",
            "ALTER SYSTEM SET wal_level = 'logical', then restart",
        )


def _for_backup(found: dict[str, str]) -> Iterator[Finding]:
    if found["wal_level"] == "replica":
        yield _finding(
            "digests_approximate",
            "info",
            "wal_level",
            "wal_level is replica: digests under writes are approximate",
            "ALTER SYSTEM SET wal_level = 'logical', then restart, makes them exact",
        )
    if found["data_checksums"] != "on":
        yield _finding(
            "checksums_off",
            "warning",
            "data_checksums",
            "pages have no checksums: a damaged page is backed up unnoticed",
            "pg_checksums --enable on the stopped cluster",
        )
    for name in ("fsync", "full_page_writes"):
        if found[name] != "on":
            yield _finding(
                f"{name}_off",
                "warning",
                name,
                f"{name} is off: a crash can lose committed data",
                f"ALTER SYSTEM SET {name} = on",
            )


def _receiver(
    connection: Connection, settings: PostgresSettings, found: dict[str, str]
) -> Iterator[Finding]:
    if found["max_slot_wal_keep_size"] == "-1":
        yield _finding(
            "slot_unlimited",
            "warning",
            "max_slot_wal_keep_size",
            "a receiver that stays away fills the server's disk with WAL",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB' (what the disk can spare), reload",
        )
    row = connection.execute(_SLOT, (settings.receiver_slot,)).fetchone()
    if row is None:
        yield _finding(
            "receiver_slot_missing",
            "warning",
            settings.receiver_slot,
            "there is no permanent slot: WAL between backups is not received",
            "aeterna-cli backup wal receive (it makes the slot)",
        )
    elif row[1] == "lost":
        yield _finding(
            "receiver_slot_lost",
            "error",
            settings.receiver_slot,
            "the slot lost WAL that was not received: there is a gap",
            "aeterna-cli backup wal receive, then aeterna-cli backup create",
        )
    elif not row[0]:
        yield _finding(
            "receiver_not_running",
            "warning",
            settings.receiver_slot,
            "nobody receives WAL on the slot now",
            "start the service: aeterna-cli backup wal receive",
        )


def _for_restore(found: dict[str, str]) -> Iterator[Finding]:
    if found["archive_mode"] != "off":
        yield _finding(
            "archiving_elsewhere",
            "info",
            "archive_mode",
            "this cluster archives by itself; scratch starts of a restore never do",
        )
