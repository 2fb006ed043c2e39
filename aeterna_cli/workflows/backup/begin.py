"""How every backup begins: an id, an identity that the key service can open again, volumes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from aeterna_cli.deployment import Deployment
from aeterna_cli.keys.slots import create_identity, slot_context, write_slot
from aeterna_cli.repository import layout
from aeterna_cli.repository.signing import SigningKey
from aeterna_cli.workflows.backup.volumes import RateLimit, Volumes


@dataclass(frozen=True)
class Begun:
    """``recipients`` are whom the volumes are sealed for: the backup itself, and offline ones."""

    backup: str
    recipients: tuple[str, ...]
    volumes: Volumes


def begin(
    place: Deployment,
    signing_key: SigningKey,
    moment: datetime,
    *,
    rate_limit: int,
    check: Callable[[], None],
) -> Begun:
    """A new backup folder with its key slot; nothing of it is listed before its manifest.

    ``check`` is asked for every block of every volume.
    """
    backup = layout.new_backup_id(moment)
    secret, recipient = create_identity()
    folder = layout.backup_folder(backup)
    write_slot(
        place.objects,
        folder,
        place.key_service,
        secret,
        slot_context(place.repository.info.uuid, folder),
        sign=signing_key.sign,
    )
    recipients = (recipient, *place.profile.keys.offline_recipients)
    volumes = Volumes(
        place.objects,
        backup,
        recipients,
        part_bytes=place.profile.repository.volume_bytes,
        check=check,
        limit=RateLimit(rate_limit),
    )
    return Begun(backup, recipients, volumes)
