"""What the tests of the repository start from."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aeterna_cli.repository import layout
from aeterna_cli.repository.manifest import Manifest, RecoveryPoint, StorePart, Window
from aeterna_cli.repository.pipeline import SealedWriter
from aeterna_cli.repository.repository import Repository
from aeterna_cli.repository.volume import VolumeRecord
from aeterna_cli.stores.directory_store import DirectoryStore

START = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
BACKUP = "20261123T030000Z-0a1b2c"
PREFIX = layout.volume_prefix(BACKUP, "postgres", "base.tar")


@dataclass(frozen=True)
class Person:
    """Somebody who can open what is sealed for ``recipient``."""

    identity: str
    recipient: str


def sealed(
    store: DirectoryStore,
    person: Person,
    plain: bytes,
    *,
    prefix: str = PREFIX,
    limit: int = 1 << 20,
) -> VolumeRecord:
    with SealedWriter(store, prefix, [person.recipient], part_bytes_limit=limit) as writer:
        for begin in range(0, len(plain), 50_000):
            writer.write(plain[begin : begin + 50_000])
        return writer.commit()


def tampered(store: DirectoryStore, key: str, change: Callable[[bytes], bytes]) -> None:
    """Change a stored object behind the store's back."""
    path = Path(store.description, key)
    path.write_bytes(change(path.read_bytes()))


def swapped(store: DirectoryStore, one: str, other: str) -> None:
    first, second = Path(store.description, one), Path(store.description, other)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def flipped(place: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[place] ^= 1
        return bytes(changed)

    return change


def manifest(
    repository: Repository,
    *volumes: VolumeRecord,
    backup: str = BACKUP,
    **changes: Any,
) -> Manifest:
    created = layout.parse_backup_id(backup)
    point = created + timedelta(minutes=1)
    values: dict[str, Any] = {
        "backup": backup,
        "repository": repository.info.uuid,
        "deployment": repository.info.deployment,
        "created": created,
        "tool_version": "0.1.0",
        "profile": "prod",
        "actor": "ada@host",
        "stores": {
            "postgres": StorePart(
                kind="postgres",
                server_version="18.6",
                identity="7591234567890123456",
                window=Window(start=created, end=point),
                volumes=volumes,
            )
        },
        "recovery_point": RecoveryPoint(time=point, lsn="0/3000028", timeline=1),
    }
    return Manifest(**{**values, **changes})
