"""What PostgreSQL's and libpq's refusals mean: one typed error for each.

A refused connection has no SQLSTATE in libpq, only a sentence; it is recognised by its English
words. A server that speaks another language is then called unreachable, with its own sentence.
Source: postgresql.org/docs/18/errcodes-appendix.html; the sentences were seen on 15 and 18.
"""

from collections.abc import Callable

import psycopg

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    ConflictError,
    RefusedError,
    RemoteError,
    TransientError,
    UsageError,
)

_CONFIG_TEST = "aeterna-cli config test"
_FULL_BACKUP = "aeterna-cli backup create"
_GRANTS = "aeterna-cli doctor --grants"


def typed(error: psycopg.Error) -> AeternaError:
    """One typed error for one of psycopg's. The server's sentence is kept; it holds no secret."""
    return explained(error.sqlstate or "", sentence(error))


def explained(state: str, said: str) -> AeternaError:
    """The error for a SQLSTATE (empty where libpq gives none) and the sentence that came with it.

    Fatal ends of a connection (class 57), no room (53) and what has no SQLSTATE may pass.
    """
    for prefix, make in _BY_STATE:
        if state.startswith(prefix):
            return make(said)
    if state:
        return RemoteError("postgres_refused", f"PostgreSQL: {said}", details={"sqlstate": state})
    lowered = said.lower()
    for words, make in _BY_WORDS:
        if any(word in lowered for word in words):
            return make(said)
    return _unreachable(said)


def stream_fault(state: str, said: str) -> AeternaError:
    """As ``explained``, for an answer to START_REPLICATION: what is missing there is WAL or a slot.

    55000 is a slot that the server has invalidated; 58P01 a segment that it has removed.
    """
    make = _OF_STREAMS.get(state)
    return make(said) if make else explained(state, said)


def sentence(error: psycopg.Error) -> str:
    """The server's or the library's own words, one line."""
    text = error.diag.message_primary or str(error).strip() or type(error).__name__
    return " ".join(text.split())


def wal_gap(missing: str, said: str = "") -> RefusedError:
    """WAL that is needed is gone from the server. ``missing`` names it."""
    return RefusedError(
        "wal_gap",
        f"WAL is gone from the server before it was received: {missing}",
        hint="moments inside the gap can never be restored, moments behind it only from a new full"
        + (f" backup; the server said: {said}" if said else " backup"),
        next_steps=[_FULL_BACKUP],
    )


def _login(said: str) -> AeternaError:
    return AuthenticationError(
        "postgres_login_refused",
        f"PostgreSQL refused the login: {said}",
        hint="check the user, the password file, the client certificate and pg_hba.conf"
        " (streaming needs a line for the database 'replication')",
        next_steps=[_CONFIG_TEST],
    )


def _privilege(said: str) -> AeternaError:
    return AuthenticationError(
        "missing_privilege",
        f"PostgreSQL: {said}",
        hint="the role has less than the documented privileges",
        next_steps=[_GRANTS],
    )


def _certificate(said: str) -> AeternaError:
    return RemoteError(
        "certificate_refused",
        "PostgreSQL's certificate cannot be verified",
        hint=said,
        next_steps=["check postgres.tls.ca_file and postgres.tls.server_name"],
    )


def _tls_missing(said: str) -> AeternaError:
    return RemoteError(
        "tls_not_offered",
        "PostgreSQL does not speak TLS, and the profile demands it",
        hint=said,
        next_steps=["set ssl = on in postgresql.conf"],
    )


def _tls_files(said: str) -> AeternaError:
    return UsageError(
        "tls_files_unusable",
        "a TLS file of the profile cannot be used",
        hint=said,
        next_steps=["check postgres.tls in the profile; a key file must have mode 0600"],
    )


def _database(said: str) -> AeternaError:
    return RefusedError(
        "database_missing", f"PostgreSQL: {said}", hint="check postgres.database in the profile"
    )


def _read_only(said: str) -> AeternaError:
    return RefusedError(
        "postgres_read_only",
        f"PostgreSQL is read-only here: {said}",
        hint="this is a replica, or default_transaction_read_only is set",
    )


def _crowded(said: str) -> AeternaError:
    return TransientError(
        "postgres_too_many_connections",
        f"PostgreSQL has no connection to spare: {said}",
        hint="try again, or raise max_connections or max_wal_senders",
    )


def _limit(said: str) -> AeternaError:
    return RefusedError(
        "postgres_limit_reached",
        f"PostgreSQL: {said}",
        hint="raise max_replication_slots or max_wal_senders and restart PostgreSQL",
        next_steps=["aeterna-cli doctor"],
    )


def slot_in_use(said: str) -> AeternaError:
    """A slot has one receiver at a time."""
    return ConflictError(
        "slot_in_use",
        f"another receiver uses the slot: {said}",
        hint="one receiver per slot; is the service running on another host?",
    )


def _slot_missing(said: str) -> AeternaError:
    return RefusedError(
        "slot_missing",
        f"PostgreSQL: {said}",
        hint="WAL since the last receiver may be gone; a new full backup closes the gap",
        next_steps=["aeterna-cli doctor", _FULL_BACKUP],
    )


def _damaged(said: str) -> AeternaError:
    return RemoteError(
        "postgres_pages_damaged",
        f"PostgreSQL found damaged data: {said}",
        hint="a backup of damaged pages is none; the server's log names the files",
        next_steps=["restore the last good backup beside it and compare"],
    )


def _removed(said: str) -> AeternaError:
    return wal_gap("a segment that is needed", said)


def _busy(said: str) -> AeternaError:
    return TransientError("postgres_busy", f"PostgreSQL gave up: {said}", hint="try again")


def _precondition(said: str) -> AeternaError:
    return RefusedError("postgres_precondition", f"PostgreSQL: {said}")


def _unreachable(said: str) -> AeternaError:
    return TransientError(
        "postgres_unreachable", f"PostgreSQL does not answer: {said}", next_steps=[_CONFIG_TEST]
    )


_Maker = Callable[[str], AeternaError]

_BY_STATE: tuple[tuple[str, _Maker], ...] = (
    ("28", _login),
    ("42501", _privilege),
    ("3D000", _database),
    ("25006", _read_only),
    ("53300", _crowded),
    ("53400", _limit),
    ("XX001", _damaged),
    ("XX002", _damaged),
    ("55P03", _busy),
    ("57014", _busy),
    ("40", _busy),
    ("55000", _precondition),
    ("08", _unreachable),
    ("53", _unreachable),
    ("57", _unreachable),
)
_OF_STREAMS: dict[str, _Maker] = {
    "58P01": _removed,
    "55000": _removed,
    "55006": slot_in_use,
    "42704": _slot_missing,
}
_BY_WORDS: tuple[tuple[tuple[str, ...], _Maker], ...] = (
    (("permission denied", "must be superuser or replication role"), _privilege),
    (
        (
            "password authentication failed",
            "no password supplied",
            "pg_hba.conf",
            "authentication failed",
            "client certificate",
            "is not permitted to log in",
            'fatal: role "',
        ),
        _login,
    ),
    (("does not support ssl",), _tls_missing),
    (
        ("could not load", "could not read", "private key file", "root certificate file"),
        _tls_files,
    ),
    (("certificate verify failed", "server certificate", "certificate"), _certificate),
    (
        ("too many c", "connection slots are reserved", "max_wal_senders"),
        _crowded,
    ),
    (("database ",), _database),
)
