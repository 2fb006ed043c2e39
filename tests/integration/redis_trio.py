"""Three servers and three Sentinels of our own, of Valkey or of Redis 7.0, without a lab."""

import os
import pwd
import shutil
import signal
import subprocess
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import AeternaError
from aeterna_cli.settings import Profile, RedisSettings
from aeterna_cli.stores import binaries
from aeterna_cli.stores.redis_connection import RedisConnection
from aeterna_cli.stores.sentinel import views
from tests.integration.ha import until
from tests.integration.stores.redis_server import PASSWORD, free_port

NAME = "trio"
_PACKAGES = (
    "redis-tools", "redis-server", "libjemalloc2", "liblua5.1-0", "liblzf1", "lua-cjson",
    "lua-bitop", "libatomic1",
)  # fmt: skip
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True)
class Flavour:
    """A server program and the folder of its libraries, where they are not the machine's."""

    name: str
    program: Path
    libraries: Path | None = None

    def environment(self) -> dict[str, str]:
        found = dict(os.environ)
        if self.libraries is not None:
            found["LD_LIBRARY_PATH"] = str(self.libraries)
        return found


def flavour(name: str) -> Flavour:
    """``valkey``, or Debian's ``redis`` 7.0 unpacked into the user's cache; skips without it."""
    if name == "valkey":
        return Flavour(name, binaries.redis_server())
    # not by the environment: every test has a home of its own, and would fetch it again
    cache = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache"
    folder = cache / "aeterna-cli-tests" / "redis-7.0"
    program = folder / "usr" / "bin" / "redis-server"
    if not program.exists():
        _unpack(folder)
    made = Flavour(name, program, folder / _LIBRARIES)
    ran = subprocess.run(
        [program, "--version"], env=made.environment(), capture_output=True, text=True, check=False
    )
    if "v=7.0" not in ran.stdout:
        pytest.skip(f"Redis 7.0 does not start here: {ran.stdout or ran.stderr}")
    return made


def _unpack(folder: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        pytest.skip("Redis 7.0 comes from Debian's packages, and there is no apt-get here")
    packages = folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    ran = subprocess.run(
        ["apt-get", "download", *_PACKAGES], cwd=packages, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    if ran.returncode:
        pytest.skip(f"Debian's Redis 7.0 cannot be fetched: {ran.stderr.strip()[-200:]}")
    for package in packages.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder], check=True, timeout=60)


class Trio:
    """``redis-1`` is the first primary. Everything is in ``folder``; ``close`` leaves no process.

    Sentinels start after the replicas are linked: they look at a primary every ten seconds only.
    """

    def __init__(self, folder: Path, made: Flavour, watching: Flavour | None = None) -> None:
        self.folder, self.flavour, self.watching = folder, made, watching or made
        self.ports = {f"redis-{n}": free_port() for n in (1, 2, 3)}
        self.sentinels = {f"sentinel-{n}": free_port() for n in (1, 2, 3)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> "Trio":
        first = self.ports["redis-1"]
        for name, port in self.ports.items():
            lines = [
                f"port {port}", f"requirepass {PASSWORD}", f"masterauth {PASSWORD}",
                'save ""', "appendonly no", "repl-diskless-sync yes", "repl-diskless-sync-delay 0",
                "repl-ping-replica-period 1",
            ]  # fmt: skip
            self._configure(name, lines + [f"replicaof 127.0.0.1 {first}"] * (port != first))
            self.run(name)
        until(lambda: sum(b"online" in line for line in self._followers()) == 2)
        for name, port in self.sentinels.items():
            lines = [
                f"port {port}", f"sentinel monitor {NAME} 127.0.0.1 {first} 2",
                f"sentinel auth-pass {NAME} {PASSWORD}",
                f"sentinel down-after-milliseconds {NAME} 5000",
                f"sentinel failover-timeout {NAME} 10000", f"requirepass {PASSWORD}",
                f"sentinel sentinel-pass {PASSWORD}",
            ]  # fmt: skip
            self._configure(name, lines)
            self.run(name)
        until(self.healthy)
        return self

    def _followers(self) -> list[bytes]:
        answer: bytes = self.call("redis-1", "INFO", "replication")
        return [line for line in answer.splitlines() if line.startswith(b"slave")]

    def _configure(self, name: str, lines: list[str]) -> None:
        place = self.folder / name
        place.mkdir(parents=True)
        head = ["bind 127.0.0.1", f'dir "{place}"']
        (place / "conf").write_text("\n".join([*head, *lines]) + "\n")

    def run(self, name: str) -> None:
        place = self.folder / name
        made = self.watching if name in self.sentinels else self.flavour
        words = [str(made.program), str(place / "conf")]
        if name in self.sentinels:
            words.append("--sentinel")
        with (place / "log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                words, stdout=log, stderr=subprocess.STDOUT, env=made.environment()
            )
        until(lambda: self._answers(name))

    def _answers(self, name: str) -> bool:
        with suppress(AeternaError):
            return bool(self.call(name, "PING") == b"PONG")
        return False

    def call(self, name: str, *words: bytes | str | int) -> Any:
        port = self.ports.get(name) or self.sentinels[name]
        settings = RedisSettings(port=port, password=SecretStr(PASSWORD), timeout=5)
        with closing(RedisConnection(settings)) as connection:
            return connection.call(*words)

    def settings(self, **changes: Any) -> RedisSettings:
        values: dict[str, Any] = {
            "sentinels": tuple(f"127.0.0.1:{port}" for port in self.sentinels.values()),
            "sentinel_name": NAME,
            "password": SecretStr(PASSWORD),
            "sentinel_password": SecretStr(PASSWORD),
            "timeout": 5,
            **changes,
        }
        return RedisSettings(**values)

    def place(self, **changes: Any) -> Deployment:
        return Deployment(NAME, Profile(redis=self.settings(**changes)))

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def roles(self) -> dict[str, str]:
        """What every living server says it is."""
        found = {}
        for name in self.ports:
            if self.processes[name].poll() is None:
                with suppress(AeternaError):
                    found[name] = self.call(name, "ROLE")[0].decode()
        return found

    def primary(self) -> str | None:
        masters = [name for name, role in self.roles().items() if role == "master"]
        return masters[0] if len(masters) == 1 else None

    def healthy(self) -> bool:
        """All Sentinels know each other and both replicas, name the primary and are not at it."""
        primary = self.primary()
        if primary is None:
            return False
        return all(
            not one.error
            and one.usable
            and one.others == 2
            and one.primary == ("127.0.0.1", self.ports[primary])
            and one.flags == {"master"}
            and len(one.replicas) == 2
            and all(replica.link_up and replica.flags == {"slave"} for replica in one.replicas)
            for one in views(self.settings())
        )

    def freeze(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGCONT)

    def kill(self, name: str) -> None:
        process = self.processes[name]
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()

    def close(self) -> None:
        for name, process in self.processes.items():
            if process.poll() is None:
                self.kill(name)
