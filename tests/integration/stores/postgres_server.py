"""A real PostgreSQL per test: initdb, start, crash, promote, a standby of it, TLS and passwords."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores import binaries, unprivileged
from aeterna_cli.stores.postgres import PostgresServer

SUPERUSER = "boss"  # not "postgres": nothing may rely on the name
PASSWORD = "correct-horse-7f3a"
DEBIAN = Path("/usr/lib/postgresql/15/bin")
needs_debian = pytest.mark.skipif(
    not (DEBIAN / "postgres").exists(), reason="PostgreSQL 15 is not installed"
)
both_majors = pytest.mark.parametrize("major", [18, pytest.param(15, marks=needs_debian)])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def programs(major: int) -> Path:
    return DEBIAN if major == 15 else binaries.postgres_bin(major)


def run(*words: str | Path) -> str:
    result = subprocess.run(unprivileged.wrap(words), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


class LocalPostgres:
    """One server on a data directory; ``kill`` and ``start`` again are a crash.

    Segments have 1 MB. Sockets lie in the server's own folder; TCP is on loopback.
    """

    def __init__(self, folder: Path, major: int = 18) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.programs = programs(major)
        self.major = major
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def initialise(self, *, checksums: bool = True, **settings: str | int) -> "LocalPostgres":
        self.data.mkdir()
        unprivileged.own(self.folder)
        words: list[str | Path] = [
            self.programs / "initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust",
            "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--wal-segsize=1",
        ]  # fmt: skip
        if checksums:
            words.append("-k")
        elif self.major >= 18:
            words.append("--no-data-checksums")
        run(*words)
        self.configure(
            wal_level="logical", fsync="off", autovacuum="off", max_connections=30,
            max_wal_senders=8, min_wal_size="2MB", **settings,
        )  # fmt: skip
        return self

    def configure(self, **settings: str | int) -> None:
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(lines)

    def hba(self, *lines: str) -> None:
        (self.data / "pg_hba.conf").write_text("\n".join(["local all all trust", *lines, ""]))

    def start(self) -> "LocalPostgres":
        # as at a crash: nobody of ours is left, and the number may belong to somebody else
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        words: list[str | Path] = [
            self.programs / "postgres", "-D", self.data, "-p", str(self.port),
            "-c", "listen_addresses=127.0.0.1", "-k", os.path.relpath(self.folder, self.data),
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                unprivileged.wrap(words), stdout=log, stderr=subprocess.STDOUT
            )
        self.wait_for("SELECT true")
        return self

    def wait_for(self, query: str, seconds: float = 30) -> None:
        """``query`` answered true when this returns."""
        import psycopg

        deadline = time.monotonic() + seconds
        while True:
            try:
                if self.value(query):
                    return
            except psycopg.OperationalError:
                pass
            dead = self.process is None or self.process.poll() is not None
            if dead or time.monotonic() > deadline:
                text = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise AssertionError(f"not within {seconds} s: {query}\n{text}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def kill(self) -> None:
        """A crash: nothing is flushed. Waits until the last child let go of its files."""
        if self.process is None:
            return
        children = self._children()
        self.stop(signal.SIGKILL)
        for child in children:
            while Path(f"/proc/{child}").exists() and self._is_ours(child):
                time.sleep(0.01)

    def _children(self) -> list[int]:
        assert self.process is not None
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in task.read_text().split()]

    def _is_ours(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == self.data
        except OSError:
            return False

    def promote(self) -> None:
        run(self.programs / "pg_ctl", "-D", self.data, "promote", "-w")

    def connect(self, database: str = "postgres", user: str = SUPERUSER) -> Any:
        import psycopg

        return psycopg.connect(
            # a socket's path has at most 107 bytes, wherever pytest's folder is
            host=str(self.folder) if len(str(self.folder)) < 80 else "127.0.0.1",
            port=self.port, dbname=database, user=user, autocommit=True,
        )  # fmt: skip

    def execute(self, *statements: str, database: str = "postgres") -> None:
        with self.connect(database) as connection:
            for statement in statements:
                connection.execute(statement)

    def value(self, query: str, database: str = "postgres") -> Any:
        with self.connect(database) as connection:
            row = connection.execute(query).fetchone()
        return row[0] if row else None

    def settings(self, **changes: Any) -> PostgresSettings:
        values: dict[str, Any] = {
            "host": "127.0.0.1", "port": self.port, "user": SUPERUSER, "database": "postgres",
            "password": SecretStr(PASSWORD), **changes,
        }  # fmt: skip
        return PostgresSettings(**values)

    def server(self, **changes: Any) -> PostgresServer:
        return PostgresServer(self.settings(**changes))

    def standby(self, folder: Path) -> "LocalPostgres":
        """A running hot standby of this server."""
        other = LocalPostgres(folder, self.major)
        unprivileged.own(folder)
        run(
            self.programs / "pg_basebackup", "-D", other.data, "-R", "-X", "stream", "-c", "fast",
            "--no-sync", "-d", f"host=127.0.0.1 port={self.port} user={SUPERUSER}",
        )  # fmt: skip
        other.data.chmod(0o700)
        other.start()
        other.wait_for("SELECT count(*) = 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'")
        return other

    def segments(self) -> Mapping[str, bytes]:
        """The server's own WAL files that are complete, by name."""
        current = str(self.value("SELECT pg_walfile_name(pg_current_wal_flush_lsn())"))
        folder = self.data / "pg_wal"
        names = (path.name for path in folder.iterdir() if len(path.name) == 24)
        return {name: (folder / name).read_bytes() for name in names if name[8:] < current[8:]}


@contextmanager
def postgres(
    folder: Path, major: int = 18, *, checksums: bool = True, **settings: str | int
) -> Iterator[LocalPostgres]:
    """A started server of its own, stopped afterwards whatever happened."""
    server = LocalPostgres(folder, major).initialise(checksums=checksums, **settings)
    try:
        yield server.start()
    finally:
        server.stop()


def unpack(archives: Mapping[str, Path], target: Path) -> Path:
    """``base.tar`` of a base backup unpacked with ``tar``, ready to be started."""
    target.mkdir(mode=0o700)
    subprocess.run(
        ["tar", "-xf", archives["base.tar"], "-C", target, "--no-same-owner"], check=True
    )
    unprivileged.own(target)
    return target


def discard(server: LocalPostgres) -> None:
    server.stop()
    shutil.rmtree(server.folder)
