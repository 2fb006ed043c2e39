"""The least that our roles need, as SQL for a superuser to run.

Source: postgresql.org/docs/18: CREATE ROLE, predefined roles, row security, continuous archiving.
What is called stands in ``postgres.py``, ``postgres_snapshot.py`` and ``postgres_replication.py``.
"""

from typing import Literal

from aeterna_cli.errors import UsageError
from aeterna_cli.settings import PostgresSettings

Purpose = Literal["backup", "restore", "read", "tenant-restore", "move"]

_BACKUP = """\
-- streams the base backup and WAL; sees every row of every table, also where row security is forced
ALTER ROLE {user} REPLICATION BYPASSRLS;
GRANT pg_read_all_data TO {user};
-- the rows of every other database are compared as well
DO $aeterna$ DECLARE other name; BEGIN
  FOR other IN SELECT datname FROM pg_catalog.pg_database
    WHERE datallowconn AND NOT has_database_privilege({name}, oid, 'CONNECT') LOOP
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', other, {name});
  END LOOP;
END $aeterna$;
-- names the recovery point; both functions are granted in this database only
GRANT EXECUTE ON FUNCTION pg_catalog.pg_create_restore_point(text) TO {user};
GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO {user};
"""
_OWN = """\
-- its own schema for the recovery point's marker, shards and placements; nothing of the
-- application's is written
CREATE SCHEMA IF NOT EXISTS aeterna_ops;
GRANT CREATE ON SCHEMA aeterna_ops TO {user};
DO $aeterna$ DECLARE ours name; BEGIN
  FOR ours IN SELECT relname FROM pg_catalog.pg_class
    WHERE relnamespace = 'aeterna_ops'::regnamespace AND relkind = 'r' LOOP
    EXECUTE format('GRANT INSERT, UPDATE, DELETE ON aeterna_ops.%I TO %I', ours, {name});
  END LOOP;
END $aeterna$;
"""
_ROLE = """\
-- in the database {database}, as a superuser; may be run again
DO $aeterna$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {name}) THEN
    EXECUTE format('CREATE ROLE %I', {name});
  END IF;
END $aeterna$;
ALTER ROLE {user} LOGIN;
-- a password without a trace in history or log, in psql:  \\password {user}
GRANT CONNECT ON DATABASE {database} TO {user};
"""
_READ = """\
-- sees every row of every table, also where row security is forced, and of aeterna_ops; writes
-- nothing
ALTER ROLE {user} BYPASSRLS;
GRANT pg_read_all_data TO {user};
"""
_WRITE = """\
-- writes one tenant's rows back into any table, and compares everybody else's before and after
ALTER ROLE {user} BYPASSRLS;
GRANT pg_read_all_data, pg_write_all_data TO {user};
-- stages what was saved
GRANT TEMPORARY ON DATABASE {database} TO {user};
-- switches triggers off for its own session (PostgreSQL 15 and later; before, only a superuser may)
GRANT SET ON PARAMETER session_replication_role TO {user};
"""
_REPLICA = "-- the role lives in the cluster: a replica that base backups come from has it too\n"

_PARTS: dict[Purpose, tuple[str, ...]] = {
    "backup": (_BACKUP, _OWN),
    "restore": (),
    "read": (_READ,),
    "tenant-restore": (_WRITE,),
    "move": (_READ, _OWN),
}


def least_privilege_sql(settings: PostgresSettings, purpose: Purpose) -> str:
    """Statements for the profile's user and database, without any password.

    The backup role can also do ``restore verify``, which reads the rows of a running server, and
    everything that ``read`` and ``move`` can. The restore role only asks a running server who it
    is: what is restored is prepared by a scratch server of our own and takes the old data
    directory's place. ``tenant-restore`` is for the user who writes (``postgres.restore_user``).
    """
    user = settings.for_writing().user if purpose == "tenant-restore" else settings.user
    names = {
        "user": identifier(user),
        "database": identifier(settings.database),
        "name": _literal(user),
    }
    text = _ROLE + "".join(_PARTS[purpose])
    text += _REPLICA if purpose == "backup" and settings.replica is not None else ""
    return text.format(**names)


def identifier(name: str) -> str:
    """Quoted always. A line break would end a comment that names it: no such name is sensible."""
    return '"' + _checked(name).replace('"', '""') + '"'


def _literal(text: str) -> str:
    escaped = _checked(text).replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'" if "\\" in text else f"'{escaped}'"


def _checked(name: str) -> str:
    if not name or any(ord(letter) < 32 or letter == "\x7f" for letter in name) or "$" in name:
        raise UsageError(
            "postgres_name_invalid",
            f"not a name of a role or database: {name!r}",
            hint="postgres.user and postgres.database have no control characters and no $",
        )
    return name
