"""The door to a lab's network: one JSON object a line in, one a line out, over a Unix socket.

``{"do": "inject", "rule": {...}}`` gives ``{"id": "1"}``; ``{"do": "heal", "id": "1"}`` and
``{"do": "heal-all"}`` give ``{"healed": [...]}``; ``{"do": "status"}`` gives rules and connections.
An error is ``{"error": CODE, "message": TEXT}``; after one that is no JSON the door is shut. The
socket has mode 0600, and its folder is the lab's own.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aeterna_cli.errors import AeternaError, FailedError, TransientError, UsageError
from aeterna_cli.lab.ha.network_connection import Network
from aeterna_cli.lab.ha.network_rules import document, parse

LONGEST = 1 << 16  # bytes of one line
SILENCE_SECONDS = 10.0
Connections = Callable[[], list[dict[str, Any]]]


async def serve(path: Path, network: Network, connections: Connections) -> asyncio.Server:
    """The server listens when this returns. A socket that a dead process left is replaced."""

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(None) as deadline:
                while True:
                    deadline.reschedule(asyncio.get_running_loop().time() + SILENCE_SECONDS)
                    try:
                        line = await reader.readline()
                    except ValueError:  # longer than LONGEST
                        break
                    if not line.endswith(b"\n"):
                        break
                    answer, go_on = _answer(line, network, connections)
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()
                    if not go_on:
                        break
        writer.close()

    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(attend, path, limit=LONGEST)
    finally:
        os.umask(before)


def _answer(line: bytes, network: Network, connections: Connections) -> tuple[dict[str, Any], bool]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return {"error": "network_request", "message": "this is no JSON"}, False
    try:
        return _do(request, network, connections), True
    except AeternaError as error:
        return {"error": error.code, "message": error.message}, True
    except OSError as error:
        text = f"the rules could not be written: {error.strerror}"
        return {"error": "network_rules_unwritable", "message": text}, True


def _do(request: Any, network: Network, connections: Connections) -> dict[str, Any]:
    what = request.get("do") if isinstance(request, dict) else None
    rules = network.rules
    if what == "status":
        active = {name: document(rule) for name, rule in rules.active.items()}
        return {"rules": active, "nodes": sorted(rules.nodes), "connections": connections()}
    if what == "inject":
        name = rules.add(parse(request.get("rule"), rules.nodes))
        network.tell()
        return {"id": name}
    if what == "heal-all" or (what == "heal" and isinstance(request.get("id"), str)):
        healed = rules.remove(None if what == "heal-all" else request["id"])
        network.tell()
        return {"healed": healed}
    raise UsageError("network_request", "do is one of inject, heal (with an id), heal-all, status")


def ask(path: Path, request: dict[str, Any], seconds: float = 5.0) -> dict[str, Any]:
    """The answer of a lab's network. When ``inject`` or ``heal`` returns, it holds for every byte.

    ``UsageError`` for a request that it refuses; ``TransientError('network_away')`` when nobody
    answers there in time, ``FailedError('network_rules_unwritable')`` when nothing was changed.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(seconds)
            door.connect(str(path))
            door.sendall(json.dumps(request).encode() + b"\n")
            with door.makefile("rb") as answers:
                answer = json.loads(answers.readline())
    except (OSError, ValueError) as error:
        raise TransientError(
            "network_away",
            "the lab's network does not answer",
            hint=f"its door is {path}",
            next_steps=["aeterna-cli lab status", "aeterna-cli lab up"],
        ) from error
    if "error" in answer:
        unwritable = answer["error"] == "network_rules_unwritable"
        raise (FailedError if unwritable else UsageError)(answer["error"], answer["message"])
    return dict(answer)
