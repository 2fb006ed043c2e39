"""A private server that loads an RDB: to verify a backup, and to restore from it.

It listens on loopback only, under a random password that stands in a file of mode 0600, does not
run as root, and writes nothing: the RDB file stays as it is.
"""

import os
import re
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from pydantic import SecretStr

from aeterna_cli.errors import AeternaError, InterruptedByUser, RemoteError, TransientError
from aeterna_cli.settings import RedisSettings
from aeterna_cli.stores import redis_info, redis_rdb, unprivileged
from aeterna_cli.stores.redis import RedisServer
from aeterna_cli.stores.redis_connection import never

_LOOPBACK = "127.0.0.1"
_ATTEMPTS = 5
_POLL = 0.02
_STOP_SECONDS = 10
_CONFIGURATION = """\
port {port}
bind {address}
protected-mode yes
dir {directory}
dbfilename {rdb}
requirepass {password}
databases 1024
save ""
appendonly no
maxmemory 0
repl-diskless-sync yes
repl-diskless-sync-delay 0
repl-ping-replica-period 1
client-output-buffer-limit replica 0 0 0
set-proc-title no
daemonize no
logfile ""
"""


class _PortTaken(Exception):
    """Somebody else took the port between our look at it and the server's."""


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def server_needed(rdb: Path) -> str:
    """For people: what can load this RDB, from its first bytes."""
    with rdb.open("rb") as file:
        head = file.read(512)
    magic = redis_rdb.MAGIC.match(head)
    writer = redis_rdb.written_by(head)
    if magic is None:
        return "a file that is an RDB"
    if magic.group(1) == b"VALKEY":
        return f"valkey-server >= {writer or '9.0'}"
    known = {b"REDIS0010": "7.0", b"REDIS0011": "7.2"}
    oldest = known.get(head[:9])
    if oldest:
        return f"redis-server >= {oldest} or valkey-server"
    return f"redis-server >= {writer or '7.4'} or a newer valkey-server"


class ScratchRedis:
    """One scratch server in ``directory``, which is made with mode 0700 and is ours alone.

    ``database`` is the one that the captured deployment's settings name: our keys lie there.
    A server that an earlier, killed process left in the same directory is stopped first.
    """

    def __init__(self, binary: Path, directory: Path, *, database: int = 0) -> None:
        self._binary, self._directory, self._database = binary, directory, database
        self._process: subprocess.Popen[bytes] | None = None
        self._password = secrets.token_hex(32)
        self._port = 0
        self._server: RedisServer | None = None

    def __enter__(self) -> "ScratchRedis":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def address(self) -> tuple[str, int]:
        return _LOOPBACK, self._port

    @property
    def server(self) -> RedisServer:
        """The running server, as its administrator."""
        if self._server is None:
            self._server = RedisServer(self.client_settings())
        return self._server

    def client_settings(self) -> RedisSettings:
        """How to reach it; holds the password."""
        return RedisSettings(
            host=_LOOPBACK,
            port=self._port,
            password=SecretStr(self._password),
            database=self._database,
            timeout=60,
        )

    def start(
        self,
        rdb: Path | None = None,
        *,
        timeout: float = 3600,
        stop: Callable[[], bool] = never,
    ) -> None:
        """The server has loaded ``rdb`` (or is empty) and answers when this returns.

        ``RemoteError``: ``rdb_too_new`` for another server's or a newer format, naming what is
        needed; ``rdb_unreadable`` with the server's last word for a damaged one;
        ``scratch_failed`` where the program does not start. Nothing runs on after a failure.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        self._stop_left_over()
        for _ in range(_ATTEMPTS):
            process = self._launch(rdb)
            try:
                self._wait_loaded(process, rdb, time.monotonic() + timeout, stop)
                return
            except _PortTaken:
                self.stop()
            except BaseException:
                self.stop()
                raise
        raise RemoteError("scratch_failed", "no free port for the scratch server")

    def admit(self, user: bytes, password: bytes) -> None:
        """Let a replica sign in as ``user``; it may replicate and nothing else."""
        rights = ["-@all", "+ping", "+psync", "+sync", "+replconf"]
        self.server.connection.call("ACL", "SETUSER", user, "reset", "on", b">" + password, *rights)

    def stop(self) -> None:
        """The server is gone and its configuration with it; no error where it was."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        for path in (self._configuration, self._pid_file):
            path.unlink(missing_ok=True)

    @property
    def _configuration(self) -> Path:
        return self._directory / "scratch.conf"

    @property
    def _pid_file(self) -> Path:
        return self._directory / "scratch.pid"

    @property
    def _log(self) -> Path:
        return self._directory / "scratch.log"

    def _launch(self, rdb: Path | None) -> subprocess.Popen[bytes]:
        self._port = _free_port()
        home = self._directory if rdb is None else rdb.parent
        text = _CONFIGURATION.format(
            port=self._port,
            address=_LOOPBACK,
            directory=_quoted(str(home.absolute())),
            rdb=_quoted("none.rdb" if rdb is None else rdb.name),
            password=self._password,
        )
        handle = os.open(self._configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        unprivileged.own(self._directory)
        command = unprivileged.wrap([self._binary.absolute(), self._configuration.absolute()])
        with self._log.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                )
            except OSError as error:
                raise RemoteError(
                    "scratch_failed", f"cannot start {self._binary}: {error.strerror}"
                ) from error
        self._pid_file.write_text(str(self._process.pid))
        return self._process

    def _wait_loaded(
        self,
        process: subprocess.Popen[bytes],
        rdb: Path | None,
        deadline: float,
        stop: Callable[[], bool],
    ) -> None:
        while True:
            if process.poll() is not None:
                raise self._failure(rdb)
            if stop():
                raise InterruptedByUser("interrupted", "stopped while the scratch server loaded")
            if time.monotonic() > deadline:
                raise TransientError("scratch_slow", "the scratch server is still loading its RDB")
            if self._is_loaded(process.pid):
                return
            time.sleep(_POLL)

    def _is_loaded(self, pid: int) -> bool:
        """Also False for whoever took our port; our own process then ends by itself."""
        quick = self.client_settings().model_copy(update={"timeout": 1})
        with RedisServer(quick) as server, suppress(AeternaError):
            facts = redis_info.info(server.connection)
            return facts.get("loading") == "0" and facts.get("process_id") == str(pid)
        return False

    def _failure(self, rdb: Path | None) -> Exception:
        """Why the server's process ended, by its log."""
        text = self._log.read_text(errors="replace")
        if "in use" in text and "listen" in text.lower():
            return _PortTaken()
        last = _last_word(text)
        if rdb is None or not re.search(r"rdb|loading|Data file", text, re.IGNORECASE):
            return RemoteError("scratch_failed", f"the scratch server did not start: {last}")
        if re.search(r"handle RDB format version", text):
            return RemoteError(
                "rdb_too_new",
                f"{self._binary.name} cannot read this RDB: it needs {server_needed(rdb)}",
                hint="install such a server and set redis.server_binary in the profile",
                details={"log": last},
            )
        return RemoteError(
            "rdb_unreadable",
            f"{self._binary.name} cannot load this RDB: {last}",
            hint="it is damaged, or a newer server's; verify the backup or take another",
        )

    def _stop_left_over(self) -> None:
        try:
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return
        if os.fsencode(self._configuration.absolute()) not in command:
            return
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _STOP_SECONDS
        while Path(f"/proc/{pid}/exe").exists() and time.monotonic() < deadline:
            time.sleep(_POLL)


def _last_word(log: str) -> str:
    """The last line that warns, without the server's prefix; the last of all where none does.

    That the server therefore ends is no news.
    """
    farewell = re.compile(r"Terminating server|Exiting")
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    lines = [line for line in lines if not farewell.search(line)]
    warnings = [line for line in lines if " # " in line]
    found = (warnings or lines or ["it says nothing"])[-1]
    return re.sub(r"^\S+ \d+ \w+ \d+ [\d:.]+ . ", "", found)[:300]
