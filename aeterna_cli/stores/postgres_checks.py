"""Is a restored PostgreSQL sound? Its files against the manifest, its pages, its indexes, its rows.

In this order: ``verify_files`` before the first start, ``check_relations`` on the recovered scratch
server, ``check_pages`` after it was stopped. Each returns a ``CheckReport``; what a check finds is
a Finding, what keeps it from running is an error or, where the check does not exist here, a
``check_skipped`` finding. Source: postgresql.org/docs/18: pg_verifybackup, pg_checksums, amcheck.
"""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from aeterna_cli.errors import RemoteError
from aeterna_cli.stores import helpers, unprivileged
from aeterna_cli.stores import postgres_scratch_files as files
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.postgres_connection import connect, postgres_errors
from aeterna_cli.stores.postgres_scratch import ScratchServer

_SHOWN = 50  # findings of one kind; a broken disk has thousands

_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname"
_INDEXES = """
SELECT c.oid, c.oid::regclass::text FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
 WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p'
   AND i.indisready AND i.indisvalid
 ORDER BY c.oid
"""
_HEAPS = """
SELECT c.oid, c.oid::regclass::text FROM pg_class c
 WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence = 'p'
   AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'heap')
 ORDER BY c.oid
"""
_AMCHECK_SCHEMA = (
    "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
    " WHERE e.extname = 'amcheck'"
)
_OWN_SCHEMA = "aeterna_amcheck"
_CHECK_HEAP = "SELECT blkno, msg FROM {}.verify_heapam(%s::oid::regclass, check_toast => true)"
_CHECK_INDEX = "SELECT {}.bt_index_check(%s::oid::regclass, heapallindexed => true)"


@dataclass(frozen=True)
class CheckReport:
    """One check that ran: how much it looked at, how long, and what it found."""

    name: str
    objects: int  # files, relations
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)


def verify_files(data: Path, bin_dir: Path) -> CheckReport:
    """Every file of an unpacked base backup against its manifest; before the first start.

    WAL is not looked at: it is not part of the base backup. A tablespace must be linked already.
    """
    started = time.monotonic()
    manifest = data / "backup_manifest"
    program = bin_dir / "pg_verifybackup"
    if not manifest.is_file() or not program.is_file():
        what = "the backup has no manifest" if program.is_file() else f"no program {program}"
        return _skipped("verify_files", data.name, what)
    # ours, and what prepare moved aside; the server's own exceptions are left to the program
    ignored = [f"--ignore={name}" for name in (files.COPY_MARK, "tablespace_map")]
    result = _run([program, "--no-parse-wal", *ignored, data])
    lines = _errors(result.stderr)
    if result.returncode and not lines:
        raise RemoteError(
            "check_failed", "pg_verifybackup failed without saying why", hint=result.stderr[:500]
        )
    found = [Finding("file_damaged", "error", data.name, line) for line in lines[:_SHOWN]]
    with manifest.open("rb") as entries:  # one line per file
        objects = sum(b'"Size":' in line for line in entries)
    return _report("verify_files", objects, started, found, len(lines))


def check_pages(data: Path, bin_dir: Path) -> CheckReport:
    """The checksum of every page of a cleanly stopped directory."""
    started = time.monotonic()
    if files.control(data, bin_dir).get("Data page checksum version", "0") == "0":
        return _skipped("check_pages", data.name, "the cluster has no data checksums")
    program = bin_dir / "pg_checksums"
    if not program.is_file():
        return _skipped("check_pages", data.name, f"no program {program}")
    result = _run([program, "--check", "-D", data])
    bad = re.findall(r"checksum verification failed in .*", result.stderr)
    if result.returncode and not bad:
        raise RemoteError(
            "check_failed", "pg_checksums could not look at every page", hint=result.stderr[:500]
        )
    blocks = re.search(r"Blocks scanned:\s*(\d+)", result.stdout)
    found = [Finding("page_damaged", "error", data.name, line) for line in bad[:_SHOWN]]
    return _report("check_pages", int(blocks[1]) if blocks else 0, started, found, len(bad))


def check_relations(
    server: ScratchServer,
    *,
    stop: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] = lambda _: None,
) -> CheckReport:
    """Every B-tree index against its table, and every heap, in every database of a scratch server.

    Makes the extension ``amcheck`` for the time of the check. Corruption in one relation does not
    keep the others from being looked at. ``progress`` gets the number of relations done.
    """
    started = time.monotonic()
    found: list[Finding] = []
    objects = 0
    with postgres_errors(), connect(server.connect_settings()) as connection:
        names = [row[0] for row in connection.execute(_DATABASES)]
    for name in names:
        settings = server.connect_settings(database=name)
        with postgres_errors(), connect(settings) as connection, _amcheck(connection) as schema:
            if schema is None:
                found.append(_skip("check_relations", name, "amcheck is not installed here"))
                continue
            for findings in _relations(connection, name, schema):
                stop()
                found += findings
                objects += 1
                progress(objects)
    return _report("check_relations", objects, started, found[:_SHOWN], len(found))


@contextmanager
def _amcheck(connection: psycopg.Connection[Any]) -> Iterator[str | None]:
    """The schema of amcheck's functions, made where it is missing and then removed again."""
    present = connection.execute(_AMCHECK_SCHEMA).fetchone()
    if present is not None:
        yield str(present[0])
        return
    try:
        # one statement: one transaction, so nothing is left behind where the extension is missing
        connection.execute(
            f"CREATE SCHEMA {_OWN_SCHEMA}; CREATE EXTENSION amcheck SCHEMA {_OWN_SCHEMA}"
        )
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile):
        yield None
        return
    try:
        yield _OWN_SCHEMA
    finally:
        if not connection.closed:
            connection.execute(f"DROP SCHEMA {_OWN_SCHEMA} CASCADE")


def _relations(
    connection: psycopg.Connection[Any], database: str, schema: str
) -> Iterator[list[Finding]]:
    """The findings of one relation after the other."""
    own = sql.Identifier(schema)
    heap, index = (sql.SQL(query).format(own) for query in (_CHECK_HEAP, _CHECK_INDEX))
    for oid, name in connection.execute(_HEAPS).fetchall():
        subject = f"{database}:{name}"
        try:
            rows = connection.execute(heap, (oid,)).fetchmany(_SHOWN)
        except psycopg.DatabaseError as error:
            yield [_damaged(connection, "table_damaged", subject, error)]
            continue
        yield [
            Finding("table_damaged", "error", subject, f"block {block}: {message}")
            for block, message in rows
        ]
    for oid, name in connection.execute(_INDEXES).fetchall():
        try:
            connection.execute(index, (oid,))
        except psycopg.DatabaseError as error:
            yield [_damaged(connection, "index_damaged", f"{database}:{name}", error)]
        else:
            yield []


def _damaged(
    connection: psycopg.Connection[Any], code: str, subject: str, error: psycopg.DatabaseError
) -> Finding:
    """What the server said about a relation; a broken connection is no finding."""
    if connection.closed:
        raise error
    said = error.diag.message_primary or type(error).__name__
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    return Finding(code, "error", subject, said + detail)


def _run(words: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return helpers.run(unprivileged.wrap(words), env={**os.environ, "LC_ALL": "C"})


def _errors(output: str) -> list[str]:
    marks = ("error: ", "fatal: ")
    lines = [line.partition(": ")[2] for line in output.splitlines()]
    return [line.removeprefix("error: ") for line in lines if line.startswith(marks)]


def _report(
    name: str, objects: int, started: float, found: Sequence[Finding], total: int
) -> CheckReport:
    if total > len(found):
        more = f"{total - len(found)} more of the same kind"
        found = [*found, Finding("more_findings", "error", name, more)]
    return CheckReport(name, objects, time.monotonic() - started, tuple(found))


def _skip(check: str, subject: str, reason: str) -> Finding:
    return Finding("check_skipped", "warning", subject, f"{check} did not run: {reason}")


def _skipped(check: str, subject: str, reason: str) -> CheckReport:
    return CheckReport(check, 0, 0.0, (_skip(check, subject, reason),))
