"""A lab Qdrant of three emulated peers as a process of its own, and plain HTTP to each of them."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx  # noqa: TID253 - a test has no start-up to keep short

from tests.integration.lab.qdrant_process import DENSE, Server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(what: Callable[[], Any], seconds: float = 10) -> Any:
    """The first answer of ``what`` that is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


class PeerServer(Server):
    """Peers are numbered from 0 in the order of their ports."""

    def __init__(self, folder: Path, *words: str, peers: int = 3) -> None:
        super().__init__(folder, *words, "--allow-faults")
        self.ports = [self.port, *(_free_port() for _ in range(peers - 1))]
        for port in self.ports[1:]:
            self.words += ("--peer-port", str(port))
        self.clients = [
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) for port in self.ports
        ]
        self.peer_ids: list[int] = []

    def start(self) -> None:
        super().start()
        self.peer_ids = [one["id"] for one in self.ask("GET", "/lab/peers")]
        wait_until(lambda: all(self._answers(n) for n in range(len(self.ports))))

    def _answers(self, number: int) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self.clients[number].get("/readyz").status_code == 200
        return False

    def close(self) -> None:
        super().close()
        for one in self.clients:
            one.close()

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    def of(self, number: int, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """As ``ask``, of one peer."""
        return self._result(self.clients[number].request(method, path, json=body), status)

    # Faults

    def _control(self, method: str, path: str, body: Any = None) -> None:
        """Through whichever peer answers."""
        for client in self.clients:
            with contextlib.suppress(httpx.TransportError):
                answer = client.request(method, path, json=body)
                assert answer.status_code == 200, answer.text
                return
        raise AssertionError("no peer answers")

    def fault(self, number: int, fault: str) -> None:
        self._control("POST", f"/lab/peers/{self.peer_ids[number]}", {"fault": fault})
        if fault == "killed":
            wait_until(lambda: self._refuses(number))

    def _refuses(self, number: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.ports[number])) != 0

    def back(self, number: int) -> None:
        self._control("DELETE", f"/lab/peers/{self.peer_ids[number]}")
        wait_until(lambda: not self._refuses(number))

    def transfers(self, **rule: Any) -> None:
        self._control("POST", "/lab/transfers", rule)

    # What is there

    def raft(self, number: int) -> dict[str, Any]:
        return dict(self.of(number, "GET", "/cluster")["raft_info"])

    def replicas(self, name: str, seen_by: int = 0) -> dict[tuple[int, int], str]:
        """The state of every replica by shard and peer number."""
        found = self.of(seen_by, "GET", f"/collections/{name}/cluster")
        entries = [{**one, "peer_id": found["peer_id"]} for one in found["local_shards"]]
        entries += found["remote_shards"]
        return {(one["shard_id"], self.peer_ids.index(one["peer_id"])): one["state"]
                for one in entries}  # fmt: skip

    def running(self, name: str, seen_by: int = 0) -> list[dict[str, Any]]:
        found = self.of(seen_by, "GET", f"/collections/{name}/cluster")["shard_transfers"]
        return list(found)

    def wait_active(self, name: str, seen_by: int = 0) -> None:
        wait_until(lambda: set(self.replicas(name, seen_by).values()) == {"Active"})

    def make(self, name: str, factor: int = 2, shards: int = 1, consistency: int = 1) -> None:
        body = {**DENSE, "shard_number": shards, "replication_factor": factor}
        body["write_consistency_factor"] = consistency
        self.of(0, "PUT", f"/collections/{name}", body)

    def on(self, name: str, shard: int, *numbers: int) -> None:
        """The shard has exactly these replicas, all active."""
        have = {peer for of, peer in self.replicas(name) if of == shard}
        for number in set(numbers) - have:
            request = {
                "shard_id": shard,
                "from_peer_id": self.peer_ids[min(have)],
                "to_peer_id": self.peer_ids[number],
            }
            self.of(0, "POST", f"/collections/{name}/cluster", {"replicate_shard": request})
            self.wait_active(name)
        for number in have - set(numbers):
            request = {"shard_id": shard, "peer_id": self.peer_ids[number]}
            self.of(0, "POST", f"/collections/{name}/cluster", {"drop_replica": request})

    def heal(self) -> None:
        """No faults, quick transfers, no collections."""
        self.transfers(hold=False, seconds=0.1, lose=0)
        for number in range(len(self.ports)):
            self.back(number)
        wait_until(lambda: len({self.raft(n)["commit"] for n in range(len(self.ports))}) == 1)
        wait_until(lambda: self.raft(0)["leader"])
        self.clean()

    def clean(self) -> None:
        """No faults of requests and no collections."""
        self.ask("DELETE", "/lab/faults")
        for one in self.ask("GET", "/collections")["collections"]:
            self.ask("DELETE", f"/collections/{one['name']}")


@contextlib.contextmanager
def peers_running(folder: Path, *words: str, peers: int = 3) -> Iterator[PeerServer]:
    server = PeerServer(folder, *words, peers=peers)
    try:
        server.start()
        server.transfers(seconds=0.1)
        yield server
    finally:
        server.close()
