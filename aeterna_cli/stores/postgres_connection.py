"""Connections to PostgreSQL, and what its refusals mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    RefusedError,
    RemoteError,
    TransientError,
)
from aeterna_cli.settings import PostgresSettings

Connection = psycopg.Connection[Any]

_UNREACHABLE_CLASSES = ("08", "53", "57")  # SQLSTATE: connection, resources, operator intervention
_CERTIFICATE_WORDS = ("certificate verify failed", "server certificate for", "root certificate")
_PASSWORD_WORDS = ("password authentication failed", "no password supplied", "no pg_hba.conf entry")


def connect(
    settings: PostgresSettings,
    *,
    database: str | None = None,
    replication: bool = False,
    autocommit: bool = True,
    host: str | None = None,
) -> Connection:
    """A new connection; errors as of ``postgres_errors``. Nothing of the environment is read.

    ``replication`` gives a walsender; with ``database`` (or the profile's) one that also takes
    logical commands. ``host`` is another ``host:port`` of the same cluster.
    """
    parameters = _parameters(settings, database, host)
    if replication:
        parameters["replication"] = "database"
    with postgres_errors():
        return psycopg.connect(autocommit=autocommit, **parameters)


def connect_physical(settings: PostgresSettings, host: str | None = None) -> Connection:
    """A walsender for BASE_BACKUP and physical START_REPLICATION."""
    parameters = _parameters(settings, None, host)
    parameters["replication"] = "true"
    with postgres_errors():
        return psycopg.connect(autocommit=True, **parameters)


def _parameters(
    settings: PostgresSettings, database: str | None, other: str | None
) -> dict[str, Any]:
    host, port = settings.host, settings.port
    if other is not None:
        name, colon, number = other.rpartition(":")
        host, port = (name, int(number)) if colon and number.isdecimal() else (other, port)
    found: dict[str, Any] = {
        "host": host,
        "port": port,
        "dbname": database or settings.database,
        "user": settings.user,
        "password": settings.secret() or "",
        "connect_timeout": max(2, round(settings.connect_timeout)),
        "application_name": settings.application_name,
        "options": f"-c statement_timeout={round(settings.statement_timeout * 1000)}",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "passfile": "/dev/null",
        "client_encoding": "utf8",
        **_tls(settings),
    }
    return found


def _tls(settings: PostgresSettings) -> dict[str, Any]:
    tls = settings.tls
    if not tls.enabled:
        return {"sslmode": "prefer" if not settings.host.startswith("/") else "disable"}
    found: dict[str, Any] = {"sslmode": "verify-full"}
    if tls.ca_file is not None:
        found["sslrootcert"] = str(tls.ca_file)
    else:
        found["sslrootcert"] = "system"
    if tls.certificate_file is not None:
        found["sslcert"] = str(tls.certificate_file)
    if tls.key_file is not None:
        found["sslkey"] = str(tls.key_file)
    if tls.server_name is not None:
        # libpq verifies the name in ``host`` and connects to ``hostaddr``
        found["hostaddr"], found["host"] = settings.host, tls.server_name
    return found


@contextmanager
def postgres_errors() -> Iterator[None]:
    """What psycopg raises inside the block comes out as one of the house's errors."""
    try:
        yield
    except AeternaError:
        raise
    except psycopg.Error as error:
        raise typed(error) from error


def typed(error: psycopg.Error) -> AeternaError:
    """One typed error for one of psycopg's. The server's sentence is kept, secrets are in none."""
    state, said = error.sqlstate or "", sentence(error)
    lowered = str(error).lower()
    if state.startswith("28") or any(word in lowered for word in _PASSWORD_WORDS):
        return AuthenticationError(
            "postgres_login_refused",
            f"PostgreSQL refused the login: {said}",
            hint="check the user, the password file and pg_hba.conf",
            next_steps=["aeterna-cli config test"],
        )
    if state == "42501":
        return AuthenticationError(
            "missing_privilege",
            f"PostgreSQL: {said}",
            next_steps=["aeterna-cli doctor --grants"],
        )
    if any(word in lowered for word in _CERTIFICATE_WORDS):
        return RemoteError(
            "certificate_refused",
            "PostgreSQL's certificate cannot be verified",
            hint=said,
            next_steps=["check postgres.tls.ca_file and postgres.tls.server_name"],
        )
    if state == "25006":
        return RefusedError(
            "postgres_read_only", "PostgreSQL is read-only here", hint="this is a replica"
        )
    if state == "58P01" and "wal segment" in lowered:
        return wal_gap(said)
    if not state or state[:2] in _UNREACHABLE_CLASSES:
        return TransientError(
            "postgres_unreachable",
            f"PostgreSQL does not answer: {said}",
            next_steps=["aeterna-cli config test"],
        )
    return RemoteError("postgres_refused", f"PostgreSQL: {said}", details={"sqlstate": state})


def wal_gap(said: str) -> RefusedError:
    """WAL that is needed is gone from the server."""
    return RefusedError(
        "wal_gap",
        f"WAL that is needed is gone from the server: {said}",
        hint="moments behind the gap can only be restored from a new backup",
        next_steps=["aeterna-cli backup create"],
    )


def sentence(error: psycopg.Error) -> str:
    """The server's or the library's own words, one line."""
    text = error.diag.message_primary or str(error).strip() or type(error).__name__
    return " ".join(text.split())
