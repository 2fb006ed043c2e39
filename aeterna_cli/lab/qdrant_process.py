"""The lab's Qdrant-compatible server as a process; the server itself is the package ``qdrant``."""

import signal
import sys
from signal import Signals

from aeterna_cli.lab.part import NotReady, Place
from aeterna_cli.lab.processes import Command
from aeterna_cli.lab.requests import request

API_KEY = "qdrant-api-key"


class QdrantProcess:
    """One server; with ``further`` ports one that answers as a cluster of emulated peers, and
    takes the lab's faults."""

    stop_signal: Signals = signal.SIGTERM

    def __init__(self, name: str = "qdrant", further: tuple[str, ...] = ()) -> None:
        self.name = name
        self._further = further

    def prepare(self, place: Place) -> None:
        place.data(self.name).mkdir(mode=0o700, exist_ok=True)
        place.secrets.ensure(API_KEY)

    def command(self, place: Place) -> Command:
        words = [
            sys.executable,
            "-m",
            "aeterna_cli.lab.qdrant",
            "--port",
            str(place.ports["qdrant"]),
            "--data",
            str(place.data(self.name)),
            "--api-key-file",
            str(place.secrets.path(API_KEY)),
        ]
        for port in self._further:
            words += ["--peer-port", str(place.ports[port])]
        if self._further:
            words.append("--allow-faults")
        environment = {**place.environment(self.name), "PYTHONUNBUFFERED": "1"}
        return Command(words, place.folder(self.name), environment)

    def settle(self, place: Place) -> None:
        self.check(place)

    def check(self, place: Place) -> None:
        headers = {"api-key": place.secrets.read(API_KEY) or ""}
        for path in ("/readyz", "/collections"):
            answer = request("GET", place.ports["qdrant"], path, headers=headers)
            if answer.status != 200:
                raise NotReady(f"{path} was answered with {answer.status}")
