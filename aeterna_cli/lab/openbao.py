"""The lab's Vault API: OpenBao on raft, unsealed by itself, audited, with one transit key.

The root token stays in the lab's secrets; the command line gets a token that may use the backup key
and nothing else. Source: openbao.org/docs (seal "static", audit devices in the configuration,
transit); measured.
"""

import json
import os
import signal
from signal import Signals
from typing import Any

from aeterna_cli.errors import FailedError
from aeterna_cli.lab.part import NotReady, Place
from aeterna_cli.lab.ports import LOOPBACK
from aeterna_cli.lab.processes import Command, turn_over
from aeterna_cli.lab.requests import Answer, request
from aeterna_cli.lab.state import write_file
from aeterna_cli.stores import binaries

MOUNT = "transit"
KEY = "aeterna-backup"
POLICY = "aeterna-cli"
ROOT_TOKEN = "vault-root-token"  # noqa: S105 - the name of a file
CLI_TOKEN = "vault-token"  # noqa: S105 - the name of a file
UNSEAL_KEY = "vault-unseal-key"
RENEWED_EVERY = "8760h"  # a lab may be down for long


class OpenBao:
    name = "vault"
    stop_signal: Signals = signal.SIGTERM

    def prepare(self, place: Place) -> None:
        place.data(self.name).mkdir(mode=0o700, exist_ok=True)
        if not place.secrets.path(UNSEAL_KEY).exists():
            place.secrets.put(UNSEAL_KEY, os.urandom(32))
        turn_over(place.folder(self.name) / "audit.log")
        write_file(place.folder(self.name) / "config.json", json.dumps(_configuration(place)))

    def command(self, place: Place) -> Command:
        configuration = place.folder(self.name) / "config.json"
        words = [str(binaries.lab_program("bao")), "server", f"-config={configuration}"]
        return Command(words, place.folder(self.name), place.environment(self.name))

    def settle(self, place: Place) -> None:
        if not _ask(place, "GET", "sys/init", "").document().get("initialized"):
            _initialise(place)
        self._unsealed(place)
        root = place.secrets.read(ROOT_TOKEN)
        if root is None:
            raise FailedError(
                "lab_vault_root_token_missing",
                "the lab's OpenBao is initialised, but its root token is not in the lab's secrets",
                hint="without it the transit key cannot be checked or its token renewed",
                next_steps=["aeterna-cli lab reset"],
            )
        mounts = _expect(_ask(place, "GET", "sys/mounts", root), "list the mounts").document()
        if f"{MOUNT}/" not in mounts["data"]:
            _expect(_ask(place, "POST", f"sys/mounts/{MOUNT}", root, type="transit"), "mount")
        if _ask(place, "GET", f"{MOUNT}/keys/{KEY}", root).status == 404:
            made = _ask(
                place, "POST", f"{MOUNT}/keys/{KEY}", root, type="aes256-gcm96", derived=True
            )
            _expect(made, "create the transit key")
        _expect(
            _ask(place, "PUT", f"sys/policies/acl/{POLICY}", root, policy=policy()),
            "write the policy",
        )
        self._ensure_token(place, root)
        self.check(place)

    def _ensure_token(self, place: Place, root: str) -> None:
        token = place.secrets.read(CLI_TOKEN)
        if token and _ask(place, "POST", "auth/token/renew-self", token).status == 200:
            return
        created = _ask(
            place,
            "POST",
            "auth/token/create-orphan",
            root,
            policies=[POLICY],
            period=RENEWED_EVERY,
            display_name="aeterna-cli",
        )
        document = _expect(created, "create a token").document()
        place.secrets.put(CLI_TOKEN, document["auth"]["client_token"])

    def _unsealed(self, place: Place) -> None:
        health = _ask(place, "GET", "sys/health", "")
        if health.status != 200:
            raise NotReady(f"not initialised, unsealed and active yet (health {health.status})")

    def check(self, place: Place) -> None:
        """Unsealed, and the command line's own token can read the backup key."""
        self._unsealed(place)
        token = place.secrets.read(CLI_TOKEN) or ""
        answer = _ask(place, "GET", f"{MOUNT}/keys/{KEY}", token)
        if answer.status != 200:
            raise NotReady(f"the transit key {KEY} was answered with {answer.status}")


def policy() -> str:
    """Use, read, create and rotate the backup key. Not: export, delete, or any other path."""
    rules = {
        f"{MOUNT}/encrypt/{KEY}": ["update"],
        f"{MOUNT}/decrypt/{KEY}": ["update"],
        f"{MOUNT}/rewrap/{KEY}": ["update"],
        f"{MOUNT}/keys/{KEY}": ["read", "create", "update"],
        f"{MOUNT}/keys/{KEY}/rotate": ["update"],
        f"{MOUNT}/keys/{KEY}/config": ["update"],
    }
    return json.dumps({"path": {path: {"capabilities": able} for path, able in rules.items()}})


def _configuration(place: Place) -> dict[str, Any]:
    address = f"{LOOPBACK}:{place.ports['vault']}"
    cluster = f"{LOOPBACK}:{place.ports['vault-cluster']}"
    folder = place.folder("vault")
    return {
        "api_addr": f"http://{address}",
        "cluster_addr": f"http://{cluster}",
        "listener": [
            {"tcp": {"address": address, "cluster_address": cluster, "tls_disable": True}}
        ],
        # performance_multiplier: raft's own timing; the default takes 6 s longer to elect itself
        "storage": {
            "raft": {
                "path": str(place.data("vault")),
                "node_id": "lab",
                "performance_multiplier": "1",
            }
        },
        "seal": {
            "static": {
                "current_key_id": "lab",
                "current_key": f"file://{place.secrets.path(UNSEAL_KEY)}",
            }
        },
        "audit": [
            {
                "type": "file",
                "path": "main",
                "options": {"file_path": str(folder / "audit.log"), "mode": "0600"},
            }
        ],
    }


def _initialise(place: Place) -> None:
    answer = _ask(place, "PUT", "sys/init", "", recovery_shares=1, recovery_threshold=1)
    if answer.status >= 500 or answer.status == 400:
        raise NotReady(f"initialising was answered with {answer.status}")
    document = _expect(answer, "initialise").document()
    place.secrets.put("vault-recovery-key", document["recovery_keys_base64"][0])
    place.secrets.put(ROOT_TOKEN, document["root_token"])


def _ask(place: Place, method: str, path: str, token: str, **fields: Any) -> Answer:
    headers = {"X-Vault-Request": "true", **({"X-Vault-Token": token} if token else {})}
    body = json.dumps(fields).encode() if fields else None
    return request(
        method, place.ports["vault"], f"/v1/{path}", headers=headers, body=body, seconds=15
    )


def _expect(answer: Answer, what: str) -> Answer:
    if answer.status >= 500:
        raise NotReady(f"to {what} was answered with {answer.status}")
    if answer.status not in (200, 204):
        raise FailedError(
            "lab_vault_refused",
            f"the lab's OpenBao refused to {what}: {answer.status}",
            hint="its log lies in the lab's folder, logs/vault.log",
        )
    return answer
