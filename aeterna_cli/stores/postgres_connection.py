"""Connections to PostgreSQL: only what the profile says, nothing of the caller's environment."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from aeterna_cli.errors import TransientError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores.addresses import split_address
from aeterna_cli.stores.postgres_faults import typed

Connection = psycopg.Connection[Any]
PORT = 5432

# libpq fills what is not given from PG* variables and ~/.postgresql. An empty value is given.
_NOT_FROM_THE_ENVIRONMENT = {
    "hostaddr": "",
    "passfile": "/dev/null/none",  # cannot exist; /dev/null itself makes libpq warn on stderr
    "channel_binding": "prefer",
    "gssencmode": "disable",
    "target_session_attrs": "any",
    "load_balance_hosts": "disable",
    "sslcert": "",
    "sslkey": "",
    "sslpassword": "",
    "sslcrl": "",
    "sslcrldir": "",
}


def connect(
    settings: PostgresSettings,
    *,
    database: str | None = None,
    replication: bool = False,
    autocommit: bool = True,
    host: str | None = None,
) -> Connection:
    """A new connection; errors as of ``postgres_errors``.

    ``replication`` gives a walsender of ``database`` (or the profile's) that takes logical commands
    and SQL. ``host`` is another ``host:port`` of the same cluster.
    """
    return _open(settings, database, host, "database" if replication else "false", autocommit)


def connect_physical(settings: PostgresSettings, host: str | None = None) -> Connection:
    """A walsender for BASE_BACKUP and physical START_REPLICATION."""
    return _open(settings, None, host, "true", autocommit=True)


def _open(
    settings: PostgresSettings,
    database: str | None,
    other: str | None,
    replication: str,
    autocommit: bool,
) -> Connection:
    addresses = [split_address(other, PORT)] if other else addresses_of(settings)
    # statement_timeout is for statements: a stream may run for ever
    timeout = 0 if replication != "false" else round(settings.statement_timeout * 1000)
    parameters: dict[str, Any] = {
        **_NOT_FROM_THE_ENVIRONMENT,
        "host": ",".join(host for host, _ in addresses),
        "port": ",".join(str(port) for _, port in addresses),
        "dbname": database or settings.database,
        "user": settings.user,
        "password": settings.secret() or "",
        "connect_timeout": max(2, round(settings.connect_timeout)),
        "application_name": settings.application_name,
        "options": f"-c statement_timeout={timeout}",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,  # ms; keepalives say nothing while data is unacknowledged
        "client_encoding": "utf8",
        "replication": replication,
        **_tls(settings, addresses),
    }
    if not other and settings.hosts:  # of a cluster's nodes the one that takes writes
        parameters["target_session_attrs"] = "read-write"
    with postgres_errors():
        return psycopg.connect(autocommit=autocommit, **parameters)


def addresses_of(settings: PostgresSettings) -> list[tuple[str, int]]:
    """Host and port of every node that the profile names."""
    if settings.hosts:
        return [split_address(one, PORT) for one in settings.hosts]
    return [(settings.host, settings.port)]


def described(settings: PostgresSettings) -> str:
    """Where the profile's server is, for people."""
    return ", ".join(f"{host}:{port}" for host, port in addresses_of(settings))


def _tls(settings: PostgresSettings, addresses: list[tuple[str, int]]) -> dict[str, Any]:
    tls = settings.tls
    if not tls.enabled:
        socket_folder = all(host.startswith("/") for host, _ in addresses)
        return {"sslmode": "disable" if socket_folder else "prefer", "sslcertmode": "disable"}
    found: dict[str, Any] = {
        "sslmode": "verify-full",
        "sslrootcert": str(tls.ca_file) if tls.ca_file else "system",
        "sslcertmode": "allow" if tls.certificate_file else "disable",
        "sslcert": str(tls.certificate_file or ""),
        "sslkey": str(tls.key_file or tls.certificate_file or ""),
    }
    if tls.server_name is not None:
        # libpq verifies the name in ``host`` and connects to the number in ``hostaddr``
        found["host"] = ",".join([tls.server_name] * len(addresses))
        found["hostaddr"] = ",".join(_number(host, port) for host, port in addresses)
    return found


def _number(host: str, port: int) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TransientError(
            "postgres_unreachable",
            f"the name {host} cannot be resolved: {error.strerror or error}",
            next_steps=["aeterna-cli config test"],
        ) from error
    return str(found[0][4][0])


@contextmanager
def postgres_errors() -> Iterator[None]:
    """What psycopg raises inside the block comes out as one of the house's errors."""
    try:
        yield
    except psycopg.Error as error:
        raise typed(error) from error
