"""The least a Vault token needs for the backup key, as policy text.

Source: Vault and OpenBao documentation, "Policies" and "Transit secrets engine (API)".
"""

from collections.abc import Sequence
from typing import Literal

VaultPurpose = Literal["backup", "restore", "setup"]


def transit_policy(mount: str, key: str, purpose: VaultPurpose) -> str:
    """Policy text (HCL) for one purpose and one key.

    ``backup`` wraps and looks at the key, but cannot unwrap; ``restore`` unwraps; ``setup`` makes
    the key, once. None may export, configure, rotate or delete it. ``update`` without ``create`` on
    the encrypt path keeps Vault from making a misspelt key on the fly.
    """
    rules: dict[VaultPurpose, dict[str, list[str]]] = {
        "backup": {f"{mount}/encrypt/{key}": ["update"], f"{mount}/keys/{key}": ["read"]},
        "restore": {f"{mount}/decrypt/{key}": ["update"], f"{mount}/keys/{key}": ["read"]},
        "setup": {f"{mount}/keys/{key}": ["create", "read", "update"]},
    }
    return "\n".join(_rule(path, allowed) for path, allowed in rules[purpose].items())


def _rule(path: str, allowed: Sequence[str]) -> str:
    quoted = ", ".join(f'"{capability}"' for capability in allowed)
    return f'path "{path}" {{\n  capabilities = [{quoted}]\n}}\n'
