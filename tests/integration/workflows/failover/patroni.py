"""Patroni's configuration, changed as an operator would."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aeterna_cli.lab.names import POSTGRES_NODES
from aeterna_cli.lab.part import NotReady
from aeterna_cli.lab.requests import request
from tests.integration.deployment import Practice


@contextmanager
def patched(site: Practice, change: dict[str, Any], back: dict[str, Any]) -> Iterator[None]:
    """Patroni's configuration, changed for a while."""
    place = site.lab.place()
    profile = site.open().profile.patroni
    login = base64.b64encode(f"{profile.user}:{profile.secret()}".encode()).decode()
    headers = {"authorization": f"Basic {login}", "content-type": "application/json"}

    def send(body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        for name in POSTGRES_NODES:
            port = place.ports[f"{name}-rest"]
            try:
                answer = request("PATCH", port, "/config", headers=headers, body=data)
            except NotReady:
                continue
            assert answer.status == 200
            return
        raise AssertionError("no node of Patroni answers")

    send(change)
    try:
        yield
    finally:
        send(back)
