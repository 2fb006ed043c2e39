"""Every name in the repository. Nothing outside this module spells one out.

::

    repository.json                                      uuid, format, deployment, public key
    catalogue/<12 digits>.json                           what was added, pruned, held: a hash chain
    backups/<id>/manifest.json                           written last: the commit mark
    backups/<id>/manifest.sig                            Ed25519 over manifest.json, 64 raw bytes
    backups/<id>/marker.json                             the last marker of the capture
    backups/<id>/slots/<n>.json                          the backup's identity, wrapped
    backups/<id>/<store>/<volume>.zst.age.<5 digits>     parts that ``cat`` joins
    wal/<system identifier>/<timeline>/...               see ``wal_archive``
    wal-keys/<yyyy-mm-dd>/slots/<n>.json                 the identity of one day's WAL, wrapped
    operations/<id>/<6 digits>.json                      journals
    drills/<id>/<file>                                   evidence of a drill, manifest.json last
    leases/<name>.json                                   leases

Five digits keep ``cat volume.zst.age.*`` in order up to 100000 parts. A backup id is
``<UTC yyyymmddThhmmssZ>-<6 lowercase hex>``: ids sort by time.
"""

import re
import secrets
from datetime import UTC, datetime

from aeterna_cli.errors import UsageError

REPOSITORY = "repository.json"
CATALOGUE = "catalogue"
BACKUPS = "backups"
WAL = "wal"
WAL_KEYS = "wal-keys"
OPERATIONS = "operations"
DRILLS = "drills"
LEASES = "leases"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
SEALED = ".zst.age"

_BACKUP_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}\Z")
_NAME = re.compile(r"(?!\.)[A-Za-z0-9._=-]{1,200}\Z")
_DRILL_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_CATALOGUE = re.compile(r"catalogue/([0-9]{12})\.json\Z")
_PART = re.compile(r"(?P<volume>.+)\.zst\.age\.(?P<number>[0-9]{5})\Z")


def new_backup_id(now: datetime) -> str:
    """A fresh id for a backup that begins at ``now`` (with an offset)."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def parse_backup_id(text: str) -> datetime:
    """When the backup began; ``UsageError('backup_id_invalid')`` for anything else."""
    if _BACKUP_ID.match(text):
        try:
            return datetime.strptime(text[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            pass  # digits that are no date: said below, as for any other text
    raise UsageError(
        "backup_id_invalid",
        f"{text!r} is not a backup id",
        hint="an id reads like 20261123T030000Z-0a1b2c; latest is the newest backup",
        next_steps=["aeterna-cli backup list"],
    )


def is_backup_id(text: str) -> bool:
    try:
        parse_backup_id(text)
    except UsageError:
        return False
    return True


def catalogue_key(sequence: int) -> str:
    return f"{CATALOGUE}/{sequence:012d}.json"


def catalogue_sequence(key: str) -> int | None:
    """The number of a catalogue record, None for an object that is none."""
    match = _CATALOGUE.match(key)
    return int(match.group(1)) if match else None


def backup_folder(backup_id: str) -> str:
    parse_backup_id(backup_id)
    return f"{BACKUPS}/{backup_id}"


def manifest_key(backup_id: str) -> str:
    return f"{backup_folder(backup_id)}/{MANIFEST}"


def signature_key(backup_id: str) -> str:
    return f"{backup_folder(backup_id)}/{SIGNATURE}"


def marker_key(backup_id: str) -> str:
    """The marker object: the number of the last marker that was written to every store."""
    return f"{backup_folder(backup_id)}/marker.json"


def volume_prefix(backup_id: str, store: str, name: str) -> str:
    """What the parts of a volume begin with; ``ValueError`` for a name no object may have."""
    for word in (store, name):
        if not _NAME.match(word):
            raise ValueError(f"not a name for an object: {word!r}")
    return f"{backup_folder(backup_id)}/{store}/{name}"


def part_key(prefix: str, number: int) -> str:
    return f"{prefix}{SEALED}.{number:05d}"


def split_part_key(key: str) -> tuple[str, int] | None:
    """The volume prefix and the number of a part, None for a key that is no part's."""
    match = _PART.match(key)
    if match is None or not all(_NAME.match(word) for word in key.split("/")):
        return None
    return match["volume"], int(match["number"])


def wal_folder(system_identifier: str) -> str:
    """The archive of one PostgreSQL cluster; the identifier survives failover, not pg_upgrade."""
    if not system_identifier.isascii() or not system_identifier.isdigit():
        raise ValueError(f"not a system identifier: {system_identifier!r}")
    return f"{WAL}/{system_identifier}"


def operation_folder(operation_id: str) -> str:
    return f"{OPERATIONS}/{operation_id}"


def operation_key(operation_id: str, sequence: int) -> str:
    return f"{operation_folder(operation_id)}/{sequence:06d}.json"


def is_drill_id(text: str) -> bool:
    """A drill has the id of its operation."""
    return _DRILL_ID.match(text) is not None


def drill_key(drill: str, name: str) -> str:
    """One file of a drill's evidence; ``ValueError`` for what is no id or no name."""
    if not is_drill_id(drill) or not _NAME.match(name):
        raise ValueError(f"not a drill's file: {drill!r}, {name!r}")
    return f"{DRILLS}/{drill}/{name}"


def lease_key(name: str) -> str:
    return f"{LEASES}/{name}.json"
