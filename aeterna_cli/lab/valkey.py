"""The lab's Valkey: one node with a password, an append-only file, no snapshots of its own."""

import signal
from contextlib import suppress
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING

from aeterna_cli.lab.names import REDIS_NODES
from aeterna_cli.lab.part import NotReady, Place
from aeterna_cli.lab.ports import LOOPBACK
from aeterna_cli.lab.processes import Command
from aeterna_cli.lab.state import write_file
from aeterna_cli.stores import binaries

if TYPE_CHECKING:
    import redis

PASSWORD = "redis-password"  # noqa: S105 - the name of a file

# set-proc-title: Valkey would write its title over the environment, and with it the lab's mark.
_CONFIGURATION = """\
port {port}
bind {address}
dir "{data}"
requirepass {password}
appendonly yes
appendfsync everysec
save ""
repl-diskless-sync yes
repl-diskless-sync-delay 0
set-proc-title no
daemonize no
logfile ""
"""


class Valkey:
    name = "redis"
    stop_signal: Signals = signal.SIGTERM

    def prepare(self, place: Place) -> None:
        place.data(self.name).mkdir(mode=0o700, exist_ok=True)
        data = str(place.data(self.name)).replace("\\", "\\\\").replace('"', '\\"')
        text = _CONFIGURATION.format(
            port=place.ports["redis"],
            address=LOOPBACK,
            data=data,
            password=place.secrets.ensure(PASSWORD),
        )
        write_file(self._configuration(place), text)

    def _configuration(self, place: Place) -> Path:
        return place.folder(self.name) / "valkey.conf"

    def command(self, place: Place) -> Command:
        words = [str(binaries.redis_server()), str(self._configuration(place))]
        data = place.data(self.name)
        if (data / "dump.rdb").exists() and not (data / "appendonlydir").exists():
            # With the append-only file on, an RDB alone is ignored: the server would start empty.
            words += ["--appendonly", "no"]
        return Command(words, place.folder(self.name), place.environment(self.name))

    def settle(self, place: Place) -> None:
        """The append-only file is on when this returns, whatever the data directory came with."""
        self.check(place)
        with client(place) as server:
            if server.config_get("appendonly")["appendonly"] == "no":
                server.config_set("appendonly", "yes")
            state = server.info("persistence")
            if state["aof_rewrite_in_progress"] or not state["aof_enabled"]:
                raise NotReady("it is writing its first append-only file")

    def check(self, place: Place) -> None:
        import redis

        try:
            with client(place) as server:
                server.ping()
        except redis.RedisError as error:
            raise NotReady(str(error)) from error


def client(place: Place, part: str | None = None) -> "redis.Redis":
    """Of one node; of the one that takes writes without a name (``NotReady`` where none does)."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    port = place.ports[part] if part is not None else primary_port(place)
    if port is None:
        raise NotReady("no Valkey of this lab is a primary")
    return redis.Redis(
        host=LOOPBACK,
        port=port,
        password=place.secrets.read(PASSWORD),
        socket_timeout=2,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


def primary_port(place: Place) -> int | None:
    """Of the node that says it is the primary."""
    import redis

    if place.topology == "single":
        return place.ports["redis"]
    for name in REDIS_NODES:
        with suppress(redis.RedisError), client(place, name) as server:
            if server.info("replication")["role"] == "master":
                return place.ports[name]
    return None
