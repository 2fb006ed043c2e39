"""Free loopback ports: found by binding them, held until their server starts.

They are taken below the kernel's range for outgoing connections, so that a lab which is down does
not lose them to somebody's connection. While they are held no other lab that looks for ports can
take them; the servers can, because all of them bind with SO_REUSEADDR and a held socket does not
listen. Source: Linux socket(7); tried with every server of the lab.
"""

import random
import socket
from collections.abc import Iterable, Mapping

from aeterna_cli.errors import TransientError

LOWEST, HIGHEST = 20_000, 31_999
LOOPBACK = "127.0.0.1"


class HeldPorts:
    """Ports that belong to us until ``release``. A context manager."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> "HeldPorts":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()

    def release(self) -> None:
        for held in self._sockets:
            held.close()
        self._sockets.clear()

    def hold(self, port: int) -> bool:
        """Take a port that nobody has bound in any state; False when somebody has."""
        candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            candidate.bind((LOOPBACK, port))
        except OSError:
            candidate.close()
            return False
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sockets.append(candidate)
        return True


def free(port: int) -> bool:
    """Whether a server could listen there now. Connections left in TIME_WAIT do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose(
    names: Iterable[str],
    kept: Mapping[str, int],
    held: HeldPorts,
    *,
    companions: Mapping[str, int],
) -> dict[str, int]:
    """A port for every name: the kept one where it is still free, else a new one, held in ``held``.

    ``companions`` gives, for some names, the distance of a second port that must be free as well.
    ``TransientError('no_free_port')`` when the range is used up.
    """
    chosen: dict[str, int] = {}
    for name in names:
        distance = companions.get(name)
        port = kept.get(name)
        if port is not None and free(port) and (distance is None or free(port + distance)):
            chosen[name] = port
        else:
            chosen[name] = _new(held, distance, {*kept.values(), *chosen.values()})
    return chosen


def _new(held: HeldPorts, distance: int | None, avoid: set[int]) -> int:
    for port in random.sample(range(LOWEST, HIGHEST + 1), 2_000):
        if port in avoid or not held.hold(port):
            continue
        if distance is None or held.hold(port + distance):
            return port
    raise TransientError(
        "no_free_port",
        f"no free port between {LOWEST} and {HIGHEST} on {LOOPBACK}",
        hint="another program holds them all; ss -ltn shows which",
    )
