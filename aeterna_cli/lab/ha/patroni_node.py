"""One of three PostgreSQL nodes under Patroni, which keep their state by raft among themselves.

Where we are root a node is a process namespace of its own: one SIGKILL ends Patroni and everything
of PostgreSQL at once, as a power cut does, and no primary is left without its Patroni. The times
are short (``patroni_process``), else as the platform: synchronous, one synchronous node.
Source: patroni.readthedocs.io (settings, REST API); measured for three nodes on two cores.
"""

import json
import os
import signal
import sys
from pathlib import Path
from signal import Signals
from typing import Any

from aeterna_cli.lab import postgres
from aeterna_cli.lab.names import POSTGRES_NODES
from aeterna_cli.lab.part import NotReady, Place
from aeterna_cli.lab.ports import LOOPBACK
from aeterna_cli.lab.processes import Command
from aeterna_cli.lab.requests import request
from aeterna_cli.lab.state import write_file
from aeterna_cli.stores import unprivileged

SCOPE = "lab"
REST_USER = "operator"
REST_PASSWORD = "patroni-rest"  # noqa: S105 - the name of a file
REPLICATOR, REWINDER = "replicator", "rewinder"
WAL_SLOT = "aeterna_wal"  # Patroni drops slots that it does not know

_DYNAMIC = {
    "ttl": 5,
    "loop_wait": 1,
    "retry_timeout": 2,
    "maximum_lag_on_failover": 1 << 20,
    "synchronous_mode": True,
    "synchronous_node_count": 1,
    "primary_start_timeout": 0,
    "failsafe_mode": True,
    "slots": {WAL_SLOT: {"type": "physical"}},
}
_PARAMETERS = {
    **{name: value for name, value in postgres.SETTINGS.items() if name != "archive_mode"},
    "wal_log_hints": "on",
    "wal_keep_size": "64MB",
    "max_wal_size": "512MB",
    "max_connections": "60",
    "hot_standby_feedback": "on",
    "dynamic_shared_memory_type": "mmap",  # a killed node leaves nothing in /dev/shm
}


def names_and_ports(place: Place, kind: str) -> list[tuple[str, int]]:
    """Every node's name and its port of this kind: "", "-rest" or "-raft"."""
    return [(node, place.ports[f"{node}{kind}"]) for node in POSTGRES_NODES]


class PatroniNode:
    """A node; the first one that starts makes the cluster, the others copy it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stop_signal: Signals = signal.SIGTERM

    def prepare(self, place: Place) -> None:
        folder = place.folder(self.name)
        for below in ("raft", "home"):
            (folder / below).mkdir(mode=0o700, exist_ok=True)
        for user in (postgres.SUPERUSER, REPLICATOR, REWINDER):
            place.secrets.ensure(postgres.secret_name(user))
        place.secrets.ensure(REST_PASSWORD)
        write_file(self._configuration(place), json.dumps(self._tree(place), indent=1))
        unprivileged.own(folder)
        unprivileged.own(place.sockets)

    def _configuration(self, place: Place) -> Path:
        return place.folder(self.name) / "patroni.yml"  # JSON is YAML

    def command(self, place: Place) -> Command:
        words = [
            sys.executable, "-m", "aeterna_cli.lab.ha.patroni_process",
            str(self._configuration(place)),
        ]  # fmt: skip
        environment = place.environment(self.name)
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        if os.environ.get("PYTHONPATH"):
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        wrapped = unprivileged.wrap_node(words)
        return Command(wrapped, place.folder(self.name), environment)

    def _tree(self, place: Place) -> dict[str, Any]:
        port, rest = place.ports[self.name], place.ports[f"{self.name}-rest"]
        raft = place.ports[f"{self.name}-raft"]
        partners = [p for name, p in names_and_ports(place, "-raft") if name != self.name]
        secret = place.secrets.read
        return {
            "scope": SCOPE,
            "namespace": "/service/",
            "name": self.name,
            "restapi": {
                "listen": f"{LOOPBACK}:{rest}",
                "connect_address": f"{LOOPBACK}:{rest}",
                "authentication": {"username": REST_USER, "password": secret(REST_PASSWORD)},
            },
            "raft": {
                "data_dir": str(place.folder(self.name) / "raft"),
                "self_addr": f"{LOOPBACK}:{raft}",
                "partner_addrs": [f"{LOOPBACK}:{one}" for one in partners],
            },
            "bootstrap": {"dcs": self._dynamic(), "initdb": _INITDB},
            "postgresql": {
                "listen": f"{LOOPBACK}:{port}",
                "connect_address": f"{LOOPBACK}:{port}",
                "bin_dir": str(postgres.programs()),
                "data_dir": str(place.data(self.name)),
                "pgpass": str(place.folder(self.name) / "home" / "pgpass"),
                "use_unix_socket": True,
                "authentication": {
                    role: {"username": user, "password": secret(postgres.secret_name(user))}
                    for role, user in (
                        ("superuser", postgres.SUPERUSER),
                        ("replication", REPLICATOR),
                        ("rewind", REWINDER),
                    )
                },
                "parameters": {"unix_socket_directories": str(place.sockets)},
                "pg_hba": _ACCESS,
                "basebackup": [{"checkpoint": "fast"}, "no-sync"],
            },
        }

    @staticmethod
    def _dynamic() -> dict[str, Any]:
        return {
            **_DYNAMIC,
            "postgresql": {
                "use_pg_rewind": True,
                "use_slots": True,
                "remove_data_directory_on_rewind_failure": True,
                "remove_data_directory_on_diverged_timelines": True,
                "parameters": _PARAMETERS,
            },
        }

    def settle(self, place: Place) -> None:
        """Roles and database are there once the primary has settled; replicas follow it."""
        role = self._role(place)
        if role == "primary":
            postgres.equip(place)
        elif role != "replica":
            raise NotReady(f"it is {role or 'nothing'} yet")

    def check(self, place: Place) -> None:
        if self._role(place) not in ("primary", "replica"):
            raise NotReady("PostgreSQL does not run there as a primary or a replica")

    def _role(self, place: Place) -> str:
        port = place.ports[f"{self.name}-rest"]
        answer = request("GET", port, "/patroni", seconds=2).document()
        if answer.get("state") != "running":
            raise NotReady(f"PostgreSQL is {answer.get('state', 'unknown')} there")
        role = str(answer.get("role", ""))
        streams = answer.get("replication_state") == "streaming"
        if role == "replica" and not streams:
            raise NotReady("it does not stream from the primary yet")
        return {"master": "primary", "standby_leader": "replica"}.get(role, role)


_INITDB = [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums", "no-sync"]
#: sockets lie in a folder of mode 0700
_ACCESS = [
    "local all all trust",
    f"host all all {LOOPBACK}/32 scram-sha-256",
    f"host replication all {LOOPBACK}/32 scram-sha-256",
]
