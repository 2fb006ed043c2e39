"""One of three Valkey nodes with Sentinels beside them. Which is primary, Sentinels decide.

A node's configuration is written once and then kept by the server itself, which rewrites it when
its role changes. One that comes back is told who is primary by the Sentinels, not by its file: the
file of a primary that died says that it is one.
"""

import signal
from pathlib import Path
from signal import Signals

from aeterna_cli.lab import sentinel_answers, valkey
from aeterna_cli.lab.names import REDIS_NODES
from aeterna_cli.lab.part import NotReady, Place
from aeterna_cli.lab.ports import LOOPBACK
from aeterna_cli.lab.processes import Command
from aeterna_cli.lab.state import write_file
from aeterna_cli.stores import binaries

_CONFIGURATION = """\
port {port}
bind {address}
dir "{data}"
requirepass {password}
masterauth {password}
appendonly yes
appendfsync everysec
save ""
repl-diskless-sync yes
repl-diskless-sync-delay 0
repl-ping-replica-period 1
min-replicas-to-write 1
min-replicas-max-lag 10
replica-announce-ip {address}
replica-announce-port {port}
set-proc-title no
daemonize no
logfile ""
{follows}
"""


class ValkeyNode:
    def __init__(self, name: str) -> None:
        self.name = name
        self.stop_signal: Signals = signal.SIGTERM

    def prepare(self, place: Place) -> None:
        place.data(self.name).mkdir(mode=0o700, exist_ok=True)
        path = self._configuration(place)
        known = path.read_text(encoding="utf-8") if path.exists() else ""
        if f"port {place.ports[self.name]}\n" in known:
            return
        first = place.ports[REDIS_NODES[0]]
        follows = "" if self.name == REDIS_NODES[0] else f"replicaof {LOOPBACK} {first}"
        text = _CONFIGURATION.format(
            port=place.ports[self.name],
            address=LOOPBACK,
            data=str(place.data(self.name)).replace("\\", "\\\\").replace('"', '\\"'),
            password=place.secrets.ensure(valkey.PASSWORD),
            follows=follows,
        )
        write_file(path, text)

    def _configuration(self, place: Place) -> Path:
        return place.folder(self.name) / "valkey.conf"

    def command(self, place: Place) -> Command:
        words = [str(binaries.redis_server()), str(self._configuration(place))]
        primary = sentinel_answers.primary(place)
        if primary is not None and primary != (LOOPBACK, place.ports[self.name]):
            words += ["--replicaof", primary[0], str(primary[1])]
        return Command(words, place.folder(self.name), place.environment(self.name))

    def settle(self, place: Place) -> None:
        """A primary answers, a replica has its link to the primary."""
        self.check(place)
        with valkey.client(place, self.name) as server:
            facts = server.info("replication")
        if facts["role"] == "slave" and facts["master_link_status"] != "up":
            raise NotReady("it has no link to its primary yet")

    def check(self, place: Place) -> None:
        import redis

        try:
            with valkey.client(place, self.name) as server:
                server.ping()
        except redis.RedisError as error:
            raise NotReady(str(error)) from error
