"""Which backups there really are: the catalogue compared with the folders."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from aeterna_cli.errors import RefusedError, RemoteError
from aeterna_cli.repository import catalogue, layout
from aeterna_cli.repository.catalogue import CatalogueEntry

if TYPE_CHECKING:
    from aeterna_cli.repository.repository import Repository

_LOOKERS = 8  # folders asked at once: each is a round trip


def committed(repository: "Repository") -> list[CatalogueEntry]:
    """Every backup with a manifest that was not pruned, oldest first.

    A manifest without a record (the tool died between the two) is read, its signature verified,
    and listed with ``catalogued=False``, with a ``fault`` where it is not acceptable. Errors: those
    of ``catalogue.read``.
    """
    known = {entry.backup: entry for entry in catalogue.read(repository.store).entries()}
    entries = [
        known.get(backup) or _uncatalogued(repository, backup)
        for backup, has_manifest in _folders(repository)
        if has_manifest
    ]
    alive = (entry for entry in entries if not entry.pruned)
    return sorted(alive, key=lambda entry: (entry.created, entry.backup))


def pruned(repository: "Repository") -> list[CatalogueEntry]:
    """Every backup that the catalogue calls pruned, oldest first."""
    return [entry for entry in catalogue.read(repository.store).entries() if entry.pruned]


def leftovers(repository: "Repository") -> list[str]:
    """Ids of folders that hold something but no restorable backup."""
    gone = {entry.backup for entry in pruned(repository)}
    return [
        backup
        for backup, has_manifest in _folders(repository)
        if not has_manifest or backup in gone
    ]


def repair(repository: "Repository") -> list[str]:
    """Append the records that are missing; the ids of the backups they are for."""
    from aeterna_cli.repository import manifest

    missing = [
        entry.backup for entry in committed(repository) if not (entry.catalogued or entry.fault)
    ]
    for backup in missing:
        manifest.record(repository, manifest.load(repository, backup))
    return missing


def _folders(repository: "Repository") -> list[tuple[str, bool]]:
    """The backup folders in order of their ids, and whether each has a manifest."""
    names = repository.store.list_folders(f"{layout.BACKUPS}/")
    ids = sorted(name for name in names if layout.is_backup_id(name))

    def has_manifest(backup: str) -> bool:
        try:
            repository.store.info(layout.manifest_key(backup))
        except RefusedError as error:
            if error.code != "object_missing":
                raise
            return False
        return True

    with ThreadPoolExecutor(_LOOKERS, "inventory") as lookers:
        return list(zip(ids, lookers.map(has_manifest, ids), strict=True))


def _uncatalogued(repository: "Repository", backup: str) -> CatalogueEntry:
    """One unacceptable manifest must not hide the good backups, and must not be hidden either."""
    from aeterna_cli.repository import manifest

    created = layout.parse_backup_id(backup)
    try:
        summary = manifest.load(repository, backup).summary()
    except (RemoteError, RefusedError) as error:
        return CatalogueEntry(backup, created, catalogued=False, fault=error.message)
    return CatalogueEntry(backup, created, catalogued=False, summary=summary)
