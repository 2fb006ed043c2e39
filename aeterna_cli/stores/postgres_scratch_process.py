"""The process of a scratch server: started, reached by a private socket, ended. Knows no recovery.

Source: postgresql.org/docs/18/server-shutdown.html (SIGINT fast, SIGQUIT immediate), unix(7).
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from aeterna_cli.errors import FailedError, RefusedError, RemoteError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores import postgres_scratch_files as files
from aeterna_cli.stores import unprivileged
from aeterna_cli.stores.postgres_connection import connect, postgres_errors
from aeterna_cli.stores.postgres_recovery_log import RecoveryLog

POLL = 0.05  # seconds between looks at the server and its log
START_LIMIT = 120  # seconds for a start or a promotion
_PORT = 5432  # only names the socket
_SOCKET_LIMIT = 107  # bytes of a socket's path: sun_path is 108 with its NUL
_STOP_LIMIT = 600  # seconds for the shutdown checkpoint
_KILL_LIMIT = 20  # seconds for an immediate shutdown
_EVENT_TRIGGERS_SINCE = 17  # the setting that keeps login triggers from running

_FROM_CONTROL = {  # a hot standby must not have less than the primary had
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
    # the next ones are data: turning them off would throw something away
    "track_commit_timestamp": "track_commit_timestamp setting",
    "wal_log_hints": "wal_log_hints setting",
    "wal_level": "wal_level setting",
}
_ALWAYS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "autovacuum": "off",
    "hot_standby": "on",
    "archive_mode": "off",
    "max_logical_replication_workers": "0",  # a restored subscription must not reach its publisher
    "restart_after_crash": "off",
    "jit": "off",
    "lc_messages": "C",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
    "log_startup_progress_interval": "1s",
    "max_standby_archive_delay": "-1",  # only our own short looks can be in the way
    "cluster_name": "aeterna_scratch",
}


class ScratchProcess:
    """At most one server on ``data``, which ``postgres_scratch_files.prepare`` has prepared."""

    def __init__(
        self, data: Path, bin_dir: Path, *, database: str, known_role: str, durable: bool
    ) -> None:
        self.data = data
        self._bin = bin_dir
        self._database = database
        self._known_role = known_role
        self._superuser: str | None = None
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None

    @property
    def log(self) -> Path:
        """The server's own log."""
        return files.state_folder(self.data) / "log"

    def launch(self, extra: Mapping[str, str]) -> RecoveryLog:
        """Start the program with ``extra`` settings; it need not answer yet."""
        self._end_orphan()
        self._sockets = self._socket_folder()
        arguments = files.write_configuration(self.data, {**self._settings(), **extra})
        log = RecoveryLog(self.log)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_"))}
        try:
            with self.log.open("ab") as output:
                self._process = subprocess.Popen(
                    unprivileged.wrap([self._bin / "postgres", *arguments]),
                    cwd=self.data,
                    env={**environment, "LC_ALL": "C"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is ours to handle, not the server's
                    umask=0o077,
                )
        except OSError as error:
            raise FailedError(
                "scratch_start_failed", f"cannot start {self._bin}/postgres: {error.strerror}"
            ) from error
        return log

    def _settings(self) -> dict[str, str]:
        found = files.control(self.data, self._bin)
        settings = {**_ALWAYS, "port": str(_PORT), "fsync": "on" if self._durable else "off"}
        settings["unix_socket_directories"] = f'"{self._sockets}"'
        settings |= {name: found[label] for name, label in _FROM_CONTROL.items() if label in found}
        if files.major(self.data) >= _EVENT_TRIGGERS_SINCE:
            settings["event_triggers"] = "off"
        return settings

    def _socket_folder(self) -> Path:
        """A private folder with a path short enough, removed by ``ended``."""
        state = files.state_folder(self.data)
        folder = state / "s"
        shutil.rmtree(folder, ignore_errors=True)
        if len(os.fsencode(folder / f".s.PGSQL.{_PORT}")) <= _SOCKET_LIMIT and '"' not in str(
            folder
        ):
            folder.mkdir(mode=0o700)
        else:
            folder = Path(
                tempfile.mkdtemp(prefix="aeterna-pg-", dir="/tmp")
            )  # TMPDIR may be as deep
        unprivileged.own(folder)
        return folder

    def _end_orphan(self) -> None:
        """A server that outlived an earlier run of ours on this directory."""
        pid_file = self.data / "postmaster.pid"
        try:
            lines = pid_file.read_text(encoding="utf-8").splitlines()
            pid = int(lines[0])
        except FileNotFoundError:
            return
        except (ValueError, IndexError):
            pid, lines = 0, []
        if pid and _serves(pid, self.data):
            os.kill(pid, signal.SIGQUIT)
            deadline = time.monotonic() + _KILL_LIMIT
            while _serves(pid, self.data):
                if time.monotonic() > deadline:
                    raise RefusedError(
                        "scratch_still_running",
                        f"an earlier scratch server (pid {pid}) still runs on {self.data}",
                        next_steps=[f"kill -9 {pid}"],
                    )
                time.sleep(POLL)
        # whoever the number belongs to now, it is no server of this directory
        pid_file.unlink(missing_ok=True)
        if len(lines) > 4 and Path(lines[4]).name.startswith("aeterna-pg-"):
            shutil.rmtree(lines[4], ignore_errors=True)

    def exited(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def pause(self, seconds: float = POLL) -> None:
        """Until something may have changed: the end of the process, or a moment."""
        if self._process is not None:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                return

    def start(self) -> None:
        """Start without recovery; the server answers when this returns."""
        log = self.launch({})
        deadline = time.monotonic() + START_LIMIT
        while not log.ready:
            ended = self.exited()
            log.read()
            if ended and not log.ready:
                raise log.failure("a plain start")
            if time.monotonic() > deadline:
                self.kill()
                raise FailedError(
                    "scratch_start_slow", f"the server did not answer within {START_LIMIT} s"
                )
            self.pause()

    def stop(self) -> None:
        """Cut clients and write everything to disk; nothing happens where it is down already.

        ``RemoteError('scratch_shutdown_failed')`` where the directory was not left clean.
        """
        if self._process is None:
            return
        if not self.exited():
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self.kill()
        self._ended()
        state = files.control(self.data, self._bin).get("Database cluster state", "")
        if state != "shut down":
            raise RemoteError(
                "scratch_shutdown_failed",
                f"the scratch server left its directory in the state {state!r}",
                hint=f"its log: {self.log}",
            )

    def kill(self) -> None:
        """End it at once; the directory is as after a power cut."""
        if self._process is not None and not self.exited():
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(_KILL_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._ended()

    def _ended(self) -> None:
        self._process = None
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None

    def connect_settings(self, *, database: str | None = None) -> PostgresSettings:
        """How to reach the running server as its superuser."""
        if self._superuser is None:
            with self._connection(self._known_role) as connection:
                row = connection.execute("SELECT rolname FROM pg_roles WHERE oid = 10").fetchone()
            self._superuser = str(row[0]) if row else self._known_role
        return self._as(self._superuser, database)

    def _as(self, role: str, database: str | None = None) -> PostgresSettings:
        return PostgresSettings(
            host=str(self._sockets),
            port=_PORT,
            user=role,
            database=database or self._database,
            application_name="aeterna-cli scratch",
        )

    @contextmanager
    def _connection(self, role: str) -> Iterator[psycopg.Connection[Any]]:
        with postgres_errors(), connect(self._as(role)) as connection:
            yield connection

    @contextmanager
    def connection(self, database: str | None = None) -> Iterator[psycopg.Connection[Any]]:
        """A superuser's connection to the running server."""
        settings = self.connect_settings(database=database)
        with postgres_errors(), connect(settings) as connection:
            yield connection


def _serves(pid: int, data: Path) -> bool:
    """Whether this process is a PostgreSQL server on that directory."""
    try:
        process = Path("/proc") / str(pid)
        name = (process / "comm").read_text(encoding="utf-8").strip()
        state = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        return name == "postgres" and state != "Z" and (process / "cwd").resolve() == data.resolve()
    except OSError:
        return False
