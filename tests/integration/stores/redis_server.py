"""A real Valkey per test, and a proxy that speaks TLS or cuts the stream."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from aeterna_cli.errors import AeternaError
from aeterna_cli.settings import RedisSettings
from aeterna_cli.stores import binaries, unprivileged
from aeterna_cli.stores.redis import RedisServer
from aeterna_cli.stores.redis_connection import RedisConnection

PASSWORD = "correct-horse-7f3a"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LabRedis:
    """One server process on a data directory; ``kill`` and ``start`` again are a crash."""

    def __init__(self, folder: Path, *configuration: str) -> None:
        self.port = free_port()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"port {self.port}", "bind 127.0.0.1", f'dir "{folder}"', f"requirepass {PASSWORD}",
            "appendonly no", 'save ""', "repl-diskless-sync yes", "repl-diskless-sync-delay 0",
            "repl-ping-replica-period 1", "set-proc-title no", *configuration,
        ]  # fmt: skip
        (folder / "valkey.conf").write_text("\n".join(lines) + "\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "LabRedis":
        unprivileged.own(self.folder)
        command = unprivileged.wrap([binaries.redis_server(), self.folder / "valkey.conf"])
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 30
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = (self.folder / "log").read_text(errors="replace")[-2000:]
                self.kill()
                raise AssertionError(f"the server did not start: {text}")
            time.sleep(0.01)
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.connection().call("PING") == b"PONG")
        except AeternaError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def settings(self, **changes: Any) -> RedisSettings:
        values: dict[str, Any] = {
            "port": self.port, "password": SecretStr(PASSWORD), "timeout": 10, **changes,
        }  # fmt: skip
        return RedisSettings(**values)

    def server(self, **changes: Any) -> RedisServer:
        return RedisServer(self.settings(**changes))

    def connection(self) -> RedisConnection:
        return RedisConnection(self.settings())

    def call(self, *words: bytes | str | int) -> Any:
        connection = self.connection()
        try:
            return connection.call(*words)
        finally:
            connection.close()
