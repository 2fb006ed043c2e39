"""The signed certificate of a finished move: what was where, how it was proven, how long it took.

An auditor needs the repository's public key and nothing of ours: the signature is Ed25519 over the
canonical JSON of ``certificate`` (``repository/canonical.py``).
"""

import base64
from collections.abc import Mapping
from typing import Any

from aeterna_cli import __version__
from aeterna_cli.repository import canonical, signing
from aeterna_cli.repository.signing import SigningKey
from aeterna_cli.workflows.tenant.move import TenantMove

SCHEMA = "aeterna.tenant.move.certificate/1"


def certificate(move: TenantMove, key: SigningKey, removed: int) -> dict[str, Any]:
    """The document and its signature; no secret, no address, nothing of any person in it."""
    evidence = move.record.evidence
    document = {
        "schema": SCHEMA,
        "move": move.record.id,
        "tenant": move.tenant.id,
        "contract": move.contract,
        "source": move.source.as_document(),
        "target": move.target.as_document(),
        "began": move.record.created_at.isoformat(),
        "completed": move.ctx.clock().isoformat(),
        "copy": evidence.get("copy"),
        "rounds": evidence.get("rounds"),
        "neighbours": evidence.get("neighbours"),
        "cutover": evidence.get("cutover"),
        "after_switch": evidence.get("after_switch"),
        "proof": evidence.get("proof"),
        "epochs": {
            "dual": evidence.get("epoch_dual"),
            "switched": (evidence.get("cutover") or {}).get("epoch"),
            "completed": move.present_placement().epoch,
        },
        "removed_from_source": removed,
        "left_in_source": 0,
        "tool_version": __version__,
    }
    signature = base64.b64encode(key.sign(canonical.as_bytes(document))).decode("ascii")
    return {"certificate": document, "signature": signature, "public_key": key.public}


def check(signed: Mapping[str, Any], public_key: str) -> None:
    """``RemoteError('signature_invalid')`` unless the repository's key signed this document."""
    data = canonical.as_bytes(signed["certificate"])
    signing.verify(public_key, data, base64.b64decode(signed["signature"]))
