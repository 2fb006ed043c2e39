"""The lab's network as its own process, before echo servers, and clients in other processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aeterna_cli.errors import TransientError
from aeterna_cli.lab import processes
from aeterna_cli.lab.ha import network_control
from aeterna_cli.lab.ha.network import Configuration, Forward
from aeterna_cli.lab.ports import LOOPBACK, HeldPorts, choose

LAB = "0123456789abcdef"


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return value


class Echo:
    """Sends back what it gets, and at the end of it its length; counts its connections."""

    def __init__(self) -> None:
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port = int(self.listener.getsockname()[1])
        self.accepted = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.accepted += 1
                threading.Thread(target=self._echo, args=(client,), daemon=True).start()

    @staticmethod
    def _echo(client: socket.socket) -> None:
        count = 0
        with client, contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                count += len(data)
                client.sendall(data)
            client.sendall(b"end %d" % count)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class NetworkLab:
    """The process, with an echo server for each of the nodes a and b."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.echoes = {"a": Echo(), "b": Echo()}
        with HeldPorts() as held:
            self.ports = choose(["a", "b"], {}, held, companions={})
        forwards = tuple(
            Forward(self.ports[node], echo.port, node) for node, echo in self.echoes.items()
        )
        self.control = folder / "network.sock"
        self.path = folder / "network.json"
        configuration = Configuration(LAB, folder, folder / "rules.json", self.control, forwards)
        self.path.write_text(configuration.written())
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-m", "aeterna_cli.lab.ha.network", str(self.path)]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE)
        until(self._answers)

    def _answers(self) -> bool:
        try:
            self.ask(do="status")
        except TransientError:
            return False
        return True

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, bytes]:
        assert self.process is not None
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=10)
        code, self.process = self.process.returncode, None
        return code, said

    def ask(self, **request: Any) -> dict[str, Any]:
        return network_control.ask(self.control, request)

    def inject(self, **rule: Any) -> str:
        return str(self.ask(do="inject", rule=rule)["id"])

    def connect(self, node: str) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.ports[node]), timeout=10)

    def forwarded(self, server: str) -> int:
        rows = self.ask(do="status")["connections"]
        return sum(row["bytes"] for row in rows if row["server"] == server)

    def cpu(self) -> float:
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


_CLIENT = """
import socket, sys
end = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for line in sys.stdin:
    end.sendall(line.encode())
    print(end.recv(100).decode(), end="", flush=True)
"""


@contextlib.contextmanager
def client_of(lab: NetworkLab, node: str | None, server: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that says each line it gets to ``server``; it belongs to ``node``."""
    marked = processes.mark(LAB, node) if node else {}
    child = subprocess.Popen(
        [sys.executable, "-c", _CLIENT, str(lab.ports[server])],
        env={**os.environ, **marked},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()
