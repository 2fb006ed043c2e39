"""Faults of a lab's servers: killed, stopped or frozen, and taken back.

In an ordinary lab a target is a part (``postgres``); in a highly-available one a node
(``postgres-2``), or a role that is asked of the servers when the fault begins
(``primary:postgres``). Qdrant's peers are emulated in one process, and so are their faults.
"""

import json
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import FailedError, UsageError
from aeterna_cli.lab import names, processes, qdrant_process
from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.part import NotReady
from aeterna_cli.lab.requests import request
from aeterna_cli.workflows.dr_drill.scenario import STORES, StoreName
from aeterna_cli.workflows.failover.component import Node

KINDS = ("kill", "stop", "freeze")
_PEER_FAULTS = {"kill": "killed", "stop": "killed", "freeze": "frozen"}
_PORT = re.compile(r":(\d{1,5})/?\Z")
#: which nodes a role means; ``random`` is any, ``replicas`` is all that are not the primary
_ROLES: dict[str, frozenset[str]] = {
    "primary": frozenset({"primary"}),
    "synchronous": frozenset({"synchronous"}),
    "replica": frozenset({"replica", "synchronous"}),
    "replicas": frozenset({"replica", "synchronous"}),
    "random": frozenset({"primary", "replica", "synchronous", "peer"}),
}


class LabFaults:
    """Injects into and heals the lab in one folder. Every call may be repeated."""

    def __init__(self, directory: Path) -> None:
        self._lab = Lab(directory)
        self._control = LabControl(self._lab)

    # -- whom

    def resolve(self, ctx: Context, target: str, random: Random) -> list[str]:
        """The parts or peers that are meant; what is left open is chosen by the seed.

        ``UsageError('fault_target_unknown')``; ``FailedError('fault_target_missing')`` where
        nobody has that role now.
        """
        word = random.choice(sorted({one.strip() for one in target.split(",")}))
        role, colon, store = word.partition(":")
        if not colon:
            return [word if word in names.QDRANT_PEERS else names.canonical(word)]
        known = next((one for one in STORES if one == store), None)
        if role not in _ROLES or known is None:
            raise UsageError(
                "fault_target_unknown",
                f"{word!r} is no target",
                hint=f"ROLE:STORE with one of {', '.join(_ROLES)}",
            )
        state = self._lab.file.read()
        if state is None or state.topology == "single":
            return [names.canonical(store)]
        return self._of_role(ctx, known, role, random)

    def _of_role(self, ctx: Context, store: StoreName, role: str, random: Random) -> list[str]:
        from aeterna_cli.workflows.failover.components import opened

        component = opened(ctx.deployment, store)
        try:
            nodes = [one for one in component.status().nodes if one.role in _ROLES[role]]
        finally:
            component.close()
        if not nodes:
            raise FailedError("fault_target_missing", f"no node of {store} is {role} now")
        found = sorted(self._part_of(node) for node in nodes)
        return found if role == "replicas" else [random.choice(found)]

    def _part_of(self, node: Node) -> str:
        """The lab's name of a node: its own, or that of the port it listens on."""
        if node.name in names.TITLES:
            return node.name
        match = _PORT.search(node.address) or _PORT.search(node.name)
        for name, port in self._lab.place().ports.items():
            if match is not None and port == int(match.group(1)):
                return name
        raise FailedError("fault_target_missing", f"{node.name} is no server of this lab")

    # -- what

    def inject(self, kind: str, targets: Sequence[str]) -> dict[str, Any]:
        """Each target is broken when this returns. ``UsageError('fault_unknown')``."""
        if kind not in KINDS:
            raise UsageError(
                "fault_unknown",
                f"no fault {kind!r} can be injected here",
                hint=f"one of {', '.join(KINDS)}",
            )
        return {target: self._break(kind, target) for target in targets}

    def _break(self, kind: str, target: str) -> Any:
        if self._is_peer(target):
            return self._peer("POST", target, {"fault": _PEER_FAULTS[kind]})
        if kind == "freeze":
            frozen = self._signal(target, signal.SIGSTOP)
            if not frozen:
                raise FailedError("fault_without_effect", f"{target} does not run")
            return f"{frozen} processes frozen"
        report = self._control.kill(target) if kind == "kill" else self._control.stop(target)
        return report.how

    def heal(self, target: str | None) -> dict[str, Any]:
        """What was frozen goes on and what was ended runs again."""
        state = self._lab.file.read()
        parts = [target] if target else list(state.parts if state else ())
        servers = [names.canonical(part) for part in parts if not self._is_peer(part)]
        for part in servers:  # all of them first: one that starts may wait for another
            self._signal(part, signal.SIGCONT)
        for part in servers:
            self._control.start(part)
        healed = self._heal_peers(target)
        return {"running": parts, "peers_healed": healed}

    def _signal(self, part: str, number: signal.Signals) -> int:
        state = self._lab.file.read()
        process = state.processes.get(part) if state else None
        if process is None:
            return 0
        return sum(processes.send(one, number) for one in processes.family(process))

    # -- Qdrant's emulated peers

    def _is_peer(self, target: str) -> bool:
        state = self._lab.file.read()
        return state is not None and state.topology == "ha" and target in names.QDRANT_PEERS

    def _heal_peers(self, target: str | None) -> list[str]:
        state = self._lab.file.read()
        if state is None or state.topology != "ha":
            return []
        wanted = [target] if target else list(names.QDRANT_PEERS)
        peers = [one for one in wanted if one in names.QDRANT_PEERS]
        for peer in peers:
            self._peer("DELETE", peer, None)
        return peers

    def _peer(self, method: str, target: str, body: dict[str, str] | None) -> str:
        """Asked of every peer's address until one answers: a killed one does not."""
        place = self._lab.place()
        path = f"/lab/peers/{place.ports[target]}"
        key = place.secrets.read(qdrant_process.API_KEY) or ""
        headers = {"api-key": key, "content-type": "application/json"}
        last = "nobody was asked"
        for name in sorted(names.QDRANT_PEERS, key=lambda one: one == target):
            try:
                data = json.dumps(body).encode() if body else None
                answer = request(method, place.ports[name], path, headers=headers, body=data)
            except NotReady as error:
                last = str(error)
                continue
            if answer.status == 200:
                return "emulated"
            last = answer.body.decode("utf-8", "replace")[:200]
        raise FailedError("fault_without_effect", f"{target}: {last}")
