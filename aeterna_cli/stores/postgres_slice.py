"""A tenant's rows back into a live database: staged, looked at, written in one transaction.

Staging lies in temporary tables of one session and changes nothing that anybody sees. Writing is
one transaction of REPEATABLE READ with triggers off: all of it or nothing, and nothing of anybody
else's. What proves the latter is a digest of every row that is not the tenant's, before and after.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from aeterna_cli.errors import ConflictError, FailedError, RemoteError, TransientError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores import postgres_slice_checks as checks
from aeterna_cli.stores import postgres_slice_table as parts
from aeterna_cli.stores.postgres_connection import Connection, connect, postgres_errors
from aeterna_cli.stores.postgres_copy import LineDigest, SliceDigest, copy_in, digest_of
from aeterna_cli.stores.postgres_digests import configure
from aeterna_cli.stores.postgres_slice_sequences import move_forward
from aeterna_cli.stores.postgres_slice_table import Conditions, Mode, SliceTable

_ATTEMPTS = 5  # an application that writes the same rows meanwhile makes a transaction try again

#: What the conditions of a table are, asked inside the transaction that uses them.
Judge = Callable[[Connection, SliceTable], Conditions]


@dataclass(frozen=True)
class TableChange:
    """What a restore does (or did) to one table, in rows.

    ``staged`` came from the backup. ``equal`` are there as they were; ``kept`` are there in another
    form and stay (mode missing); ``shared`` belong to others too and are never touched.
    """

    table: str
    staged: int
    inserted: int
    deleted: int
    equal: int
    kept: int
    shared: int


@dataclass(frozen=True)
class Preview:
    changes: tuple[TableChange, ...]
    conflicts: int
    conflicting: tuple[checks.Conflict, ...]


@dataclass(frozen=True)
class Applied:
    """``untouched`` is the number of rows, everybody else's and those of the tenant that stay, of
    which digests proved that they are as they were."""

    changes: tuple[TableChange, ...]
    sequences: tuple[str, ...]
    foreign_keys: int
    untouched: int


class SliceSession:
    """One session of the restore's role. ``tables`` are in the order in which rows are inserted.

    A context manager: leaving it ends the session and with it everything that was staged.
    """

    def __init__(
        self, settings: PostgresSettings, tables: Sequence[SliceTable], judge: Judge
    ) -> None:
        self._settings = settings
        self._tables = tables
        self._judge = judge
        self._digests: dict[int, SliceDigest] = {}

    def __enter__(self) -> "SliceSession":
        self._connection = connect(self._settings)
        self._connection.cursor_factory = psycopg.ClientCursor  # utility commands bind nothing
        with postgres_errors():
            configure(self._connection)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def require_silent(self) -> None:
        """See ``postgres_slice_checks.require_silent``."""
        with postgres_errors():
            checks.require_silent(self._connection, self._tables, self._settings.user)

    def stage(self, table: SliceTable, blocks: Iterable[bytes], *, rows: int, lines: str) -> None:
        """The archive's rows of one table are staged, and they are those of its manifest.

        ``RemoteError('rows_differ')`` else; nothing that anybody sees was changed either way.
        """
        seen = LineDigest()

        def told() -> Iterator[bytes]:
            for block in blocks:
                seen.feed(block)
                yield block

        with postgres_errors():
            self._connection.execute(parts.staging(table))
        came = copy_in(self._connection, table.staged, table.columns, told())
        if (came, seen.rows, seen.result()) != (rows, rows, lines):
            raise RemoteError(
                "rows_differ",
                f"the backup's rows of {table.label} are not those of its manifest",
                next_steps=["aeterna-cli backup list  # choose another backup"],
            )
        with postgres_errors():
            if table.primary_key:
                self._connection.execute(parts.staged_key(table))
            self._connection.execute(sql.SQL("ANALYZE {}").format(table.staged))
            self._digests[table.number] = self._digest(table, table.staged, sql.SQL("true"))

    def preview(self, mode: Mode) -> Preview:
        """What ``apply`` would do now. Writes to temporary tables of this session alone."""
        with postgres_errors(), self._transaction(commit=False):
            changes, count, found = self._look(mode)
        return Preview(tuple(changes.values()), count, tuple(found))

    def apply(self, mode: Mode, stop: Callable[[], None]) -> Applied:
        """Every row of the archive is there, nobody else's row was changed, or nothing was changed.

        May be repeated: what is there already is left alone. ``stop`` is asked before anything is
        written and raises to end it. ``RefusedError``: ``values_taken``, ``references_broken``.
        ``ConflictError('rows_are_written')`` where the application keeps writing the same rows.
        ``FailedError``: ``slice_differs``, ``others_changed``: a fault of this tool, rolled back.
        """
        with postgres_errors():
            for _ in range(_ATTEMPTS):
                try:
                    return self._apply(mode, stop)
                except (psycopg.errors.SerializationFailure, psycopg.errors.UniqueViolation):
                    continue  # a value that somebody took meanwhile is named by the next look
                except psycopg.errors.LockNotAvailable as error:
                    raise TransientError(
                        "rows_locked", "rows of this tenant are locked by somebody else"
                    ) from error
        raise ConflictError(
            "rows_are_written",
            f"the application wrote the same rows in each of {_ATTEMPTS} attempts",
            hint="nothing was changed in PostgreSQL; stop the tenant's writers first",
        )

    # -- one attempt

    def _apply(self, mode: Mode, stop: Callable[[], None]) -> Applied:
        with self._transaction(commit=True):
            self._connection.execute("SET LOCAL session_replication_role = replica")
            changes, count, found = self._look(mode)
            checks.refuse_conflicts(count, found)
            before = {table.number: self._staying(table) for table in self._tables}
            referring = checks.references(self._connection, self._tables)
            stop()
            moved = self._write(changes)
            checks.refuse_dangling(referring, checks.references(self._connection, self._tables))
            for table in self._tables:
                self._prove(table, mode, before[table.number])
        rows = sum(one.rows for one in before.values())
        told = tuple(changes[table.number] for table in self._tables)
        return Applied(told, tuple(moved), len(referring), rows)

    def _look(self, mode: Mode) -> tuple[dict[int, TableChange], int, list[checks.Conflict]]:
        """Makes *present* and *coming* of every table, in this transaction."""
        conditions = {one.number: self._judge(self._connection, one) for one in self._tables}
        changes: dict[int, TableChange] = {}
        total = 0
        found: list[checks.Conflict] = []
        for table in self._tables:
            judged = conditions[table.number]
            parameters = dict(judged.parameters)
            self._connection.execute(parts.presence(table, judged, mode), parameters)
            self._connection.execute(parts.arrival(table, mode), parameters)
            changes[table.number] = self._change(table)
            count, some = checks.conflicts(self._connection, table, parameters)
            total, found = total + count, [*found, *some][: checks.SHOWN]
        return changes, total, found

    def _change(self, table: SliceTable) -> TableChange:
        row = self._connection.execute(
            sql.SQL(
                "SELECT count(*) FILTER (WHERE going), count(*) FILTER (WHERE equal),"
                " count(*) FILTER (WHERE shared AND NOT equal),"
                " count(*) FILTER (WHERE NOT (going OR equal OR shared)),"
                " (SELECT count(*) FROM {}) FROM {}"
            ).format(table.coming, table.present)
        ).fetchone()
        going, equal, shared, kept, coming = row or (0, 0, 0, 0, 0)
        staged = self._digests[table.number].rows
        return TableChange(table.label, staged, coming, going, equal, kept, shared)

    def _write(self, changes: Mapping[int, TableChange]) -> list[str]:
        moved: list[str] = []
        for table in reversed(self._tables):
            if changes[table.number].deleted:
                self._exactly(parts.deletion(table), changes[table.number].deleted, table)
        for table in self._tables:
            if changes[table.number].inserted:
                self._exactly(parts.insertion(table), changes[table.number].inserted, table)
                moved += move_forward(self._connection, table)
        return moved

    def _exactly(self, statement: sql.Composed, rows: int, table: SliceTable) -> None:
        done = self._connection.execute(statement).rowcount
        if done != rows:
            raise FailedError(
                "slice_differs",
                f"{done} rows of {table.label} were written where {rows} were planned",
                hint="a rule or a trigger of this table interferes; everything was rolled back",
            )

    # -- proof

    def _prove(self, table: SliceTable, mode: Mode, before: SliceDigest) -> None:
        came = self._digest(table, table.relation, parts.written())
        coming = self._digest(table, table.coming, sql.SQL("true"))
        if came != coming:
            raise _differs(table, "what was inserted is not what was saved")
        if mode == "replace" and not (table.shared or table.evidence):
            mine = sql.SQL("{} OR {}").format(parts.written(), parts.stays(table))
            if self._digest(table, table.relation, mine) != self._digests[table.number]:
                raise _differs(table, "the tenant's rows are not those of the backup")
        where = sql.SQL("NOT ({})").format(parts.written())
        if self._digest(table, table.relation, where) != before:
            raise FailedError(
                "others_changed",
                f"rows of {table.label} that nobody meant to change would have changed",
                hint="everything was rolled back; this is a fault of the tool: report it",
            )

    def _staying(self, table: SliceTable) -> SliceDigest:
        """Everybody else's rows, and those of the tenant that do not go."""
        where = sql.SQL("NOT {}").format(parts.goes(table))
        return self._digest(table, table.relation, where)

    def _digest(
        self, table: SliceTable, source: sql.Composable, where: sql.Composable
    ) -> SliceDigest:
        return digest_of(self._connection, source, table.columns, where)

    @contextmanager
    def _transaction(self, *, commit: bool) -> Iterator[None]:
        """Rolled back on any error; serialization failures pass through as psycopg raises them."""
        self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            yield
            self._connection.execute("COMMIT" if commit else "ROLLBACK")
        except BaseException:
            if not self._connection.closed:
                self._connection.execute("ROLLBACK")
            raise


def _differs(table: SliceTable, what: str) -> FailedError:
    return FailedError(
        "slice_differs",
        f"{table.label}: {what}",
        hint="everything was rolled back; this is a fault of the tool: report it",
    )
