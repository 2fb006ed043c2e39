"""A real source server, base backups of it with the server's own tool, unpacked copies."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores import binaries, unprivileged
from aeterna_cli.stores import postgres_scratch_files as files
from aeterna_cli.stores.postgres_scratch import ScratchServer
from aeterna_cli.stores.tar_extraction import extract

SUPERUSER = "boss"  # not "postgres": nothing may rely on the name
DEBIAN = Path("/usr/lib/postgresql/15/bin")
needs_debian = pytest.mark.skipif(
    not (DEBIAN / "postgres").exists(), reason="PostgreSQL 15 is not installed"
)


@dataclass
class Source:
    """A running server; its own pg_wal is the archive that recoveries are fed from."""

    folder: Path
    programs: Path
    settings: PostgresSettings
    spent: list[Path] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def restore_command(self) -> str:
        return f"cp '{self.data}/pg_wal/%f' %p 2>/dev/null"

    def connect(self, *, database: str = "postgres", user: str = SUPERUSER) -> Any:
        import psycopg

        return psycopg.connect(host=self.settings.host, user=user, dbname=database, autocommit=True)

    def execute(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def backup(self) -> Path:
        """A new base backup as tar archives and manifest."""
        target = self.folder / f"backup-{len(self.spent)}"
        self.spent.append(target)
        words: list[str | Path] = [
            self.programs / "pg_basebackup",
            "-D",
            target,
            "-Ft",
            "-X",
            "none",
        ]
        words += ["-c", "fast", "--no-sync", "-h", self.settings.host, "-U", SUPERUSER]
        subprocess.run(unprivileged.wrap(words), check=True, capture_output=True)
        return target

    def unpack(self, backup: Path, target: Path) -> Path:
        with (backup / "base.tar").open("rb") as stream:
            extract(stream, target, limit_bytes=(backup / "base.tar").stat().st_size)
        shutil.copy(backup / "backup_manifest", target)
        return target

    def copy(self, target: Path) -> Path:
        """A fresh base backup, unpacked and prepared."""
        files.prepare(self.unpack(self.backup(), target))
        return target

    def switch(self) -> None:
        """Everything committed so far can be fed to a recovery afterwards."""
        self.execute("SELECT pg_switch_wal()")

    def scratch(self, data: Path) -> ScratchServer:
        return ScratchServer(data, files.programs(data, self.programs), known_role=SUPERUSER)


@contextmanager
def source(folder: Path, *, programs: Path, options: Sequence[str] = ()) -> Iterator[Source]:
    """A server with checksums, logical WAL and 1 MB segments that keeps its WAL."""
    data = folder / "data"
    data.mkdir(parents=True)
    unprivileged.own(folder)
    words: list[str | Path] = [programs / "initdb", "-D", data, "-U", SUPERUSER, "-A", "trust"]
    words += ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-k", "--wal-segsize=1"]
    subprocess.run(unprivileged.wrap(words), check=True, capture_output=True)
    # kept in the data directory: what a restore of it must not run
    with (data / "postgresql.conf").open("a") as configuration:
        configuration.write(
            "wal_level = logical\nwal_keep_size = 1GB\nfsync = off\nautovacuum = off\n"
            "max_connections = 40\ntrack_commit_timestamp = on\nlisten_addresses = ''\n"
        )
    arguments = [word for option in options for word in ("-c", option)]
    # the socket's folder is short, wherever pytest's is
    sockets = Path(os.path.relpath(folder)) if len(str(folder)) > 80 else folder
    process = subprocess.Popen(
        unprivileged.wrap([programs / "postgres", "-D", data, "-k", sockets, *arguments]),
        stdout=(log := (folder / "log").open("wb")),
        stderr=subprocess.STDOUT,
    )
    import psycopg

    settings = PostgresSettings(host=str(sockets), user=SUPERUSER, database="postgres")
    server = Source(folder, programs, settings)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                server.connect().close()
                break
            except psycopg.OperationalError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.02)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        log.close()


@contextmanager
def writers(server: Source, table: str, number: int = 2) -> Iterator[None]:
    """Sessions that insert, change and delete rows of ``table (id, v)`` all the time."""
    done = threading.Event()
    failures: list[BaseException] = []

    insert = f"INSERT INTO {table} VALUES (%s, 'new')"  # noqa: S608 - the test's own name
    update = f"UPDATE {table} SET v = v || '+' WHERE id = %s"  # noqa: S608 - the test's own name
    delete = f"DELETE FROM {table} WHERE id = %s"  # noqa: S608 - the test's own name

    def write(base: int) -> None:
        try:
            with server.connect() as connection:
                step = 0
                while not done.is_set():
                    step += 1
                    key = base * 1_000_000 + step
                    with connection.transaction():
                        connection.execute(insert, (key,))
                        connection.execute(update, (step,))
                    connection.execute(delete, (key - 3,))
        except BaseException as error:  # noqa: BLE001 - handed to the test below
            failures.append(error)

    threads = [threading.Thread(target=write, args=(base,)) for base in range(1, number + 1)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures, failures


def programs(major: int) -> Path:
    return DEBIAN if major == 15 else binaries.postgres_bin(major)
