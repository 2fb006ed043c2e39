"""One of three Sentinels. Started when the replicas are online: else it finds them ten seconds
later, when it asks the primary again.
"""

import signal
from pathlib import Path
from signal import Signals

from aeterna_cli.lab import sentinel_answers, valkey
from aeterna_cli.lab.names import REDIS_NODES, SENTINELS
from aeterna_cli.lab.part import NotReady, Place
from aeterna_cli.lab.ports import LOOPBACK
from aeterna_cli.lab.processes import Command
from aeterna_cli.lab.sentinel_answers import MASTER
from aeterna_cli.lab.state import write_file
from aeterna_cli.stores import binaries

QUORUM = 2

_CONFIGURATION = """\
port {port}
bind {address}
dir "{data}"
sentinel monitor {name} {address} {primary} {quorum}
sentinel auth-pass {name} {password}
sentinel down-after-milliseconds {name} 1000
sentinel failover-timeout {name} 10000
sentinel parallel-syncs {name} 1
sentinel announce-ip {address}
sentinel announce-port {port}
set-proc-title no
daemonize no
logfile ""
"""


class SentinelNode:
    def __init__(self, name: str) -> None:
        self.name = name
        self.stop_signal: Signals = signal.SIGTERM

    def prepare(self, place: Place) -> None:
        """Sentinel writes down in its file what it learns: a file with our port is kept."""
        place.data(self.name).mkdir(mode=0o700, exist_ok=True)
        path = self._configuration(place)
        known = path.read_text(encoding="utf-8") if path.exists() else ""
        if f"port {place.ports[self.name]}\n" in known:
            return
        text = _CONFIGURATION.format(
            port=place.ports[self.name],
            address=LOOPBACK,
            data=str(place.data(self.name)).replace("\\", "\\\\").replace('"', '\\"'),
            name=MASTER,
            primary=valkey.primary_port(place) or place.ports[REDIS_NODES[0]],
            quorum=QUORUM,
            password=place.secrets.ensure(valkey.PASSWORD),
        )
        write_file(path, text)

    def _configuration(self, place: Place) -> Path:
        return place.folder(self.name) / "sentinel.conf"

    def command(self, place: Place) -> Command:
        words = [str(binaries.redis_server()), str(self._configuration(place)), "--sentinel"]
        return Command(words, place.folder(self.name), place.environment(self.name))

    def settle(self, place: Place) -> None:
        """It knows the primary, both replicas and both other Sentinels."""
        known = sentinel_answers.master(place, self.name)
        found = int(known["num-slaves"]), int(known["num-other-sentinels"])
        if found != (len(REDIS_NODES) - 1, len(SENTINELS) - 1):
            raise NotReady(f"it knows {found[0]} replicas and {found[1]} other Sentinels yet")

    def check(self, place: Place) -> None:
        sentinel_answers.master(place, self.name)
