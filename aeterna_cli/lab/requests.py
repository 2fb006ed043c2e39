"""Plain HTTP to the lab's own servers on loopback: no proxy, no TLS, short deadlines."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aeterna_cli.lab.part import NotReady
from aeterna_cli.lab.ports import LOOPBACK


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def document(self) -> Any:
        """The body as JSON; ``NotReady`` when it is none."""
        try:
            return json.loads(self.body) if self.body else {}
        except ValueError as error:
            raise NotReady("the answer is not JSON") from error


def request(
    method: str,
    port: int,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    seconds: float = 5.0,
) -> Answer:
    """One request, one connection. ``NotReady`` when there is no complete answer in time."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=seconds)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except (OSError, http.client.HTTPException) as error:
        raise NotReady(f"no answer on port {port}: {error or type(error).__name__}") from error
    finally:
        connection.close()
