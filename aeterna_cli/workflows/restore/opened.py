"""A backup opened for reading: its manifest believed, its volumes verified, its WAL as segments."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import RefusedError, RemoteError
from aeterna_cli.keys import slots
from aeterna_cli.keys.wal_identity import WalIdentities
from aeterna_cli.repository import layout
from aeterna_cli.repository.blobs import unseal
from aeterna_cli.repository.manifest import Manifest, Scope, StorePart, load
from aeterna_cli.repository.wal_archive import SegmentReader
from aeterna_cli.workflows.backup.running import own_wal_folder

if TYPE_CHECKING:
    from aeterna_cli.repository.volume import VolumeRecord


class OpenedBackup:
    """One backup of one repository. The identity is unwrapped at its first use and kept in memory.

    With an ``identity_file`` (an offline recipient's) no key service is asked.
    """

    def __init__(self, place: Deployment, manifest: Manifest, identity_file: Path | None) -> None:
        self.place = place
        self.manifest = manifest
        self._identity_file = identity_file

    @classmethod
    def open(
        cls,
        place: Deployment,
        backup: str,
        identity_file: Path | None = None,
        *,
        tenant: str | None = None,
    ) -> "OpenedBackup":
        """The backup ``backup`` (an id, or ``latest``); errors as of ``manifest.load``.

        It holds the whole deployment or, where a ``tenant`` (a uuid) is named, at least that:
        ``RefusedError('backup_of_a_tenant')`` for any other.
        """
        manifest = load(place.repository, backup, tenant=tenant)
        if manifest.scope is not None and manifest.scope.tenant != tenant:
            raise _of_a_tenant(manifest.backup, manifest.scope, tenant)
        return cls(place, manifest, identity_file)

    @property
    def id(self) -> str:
        return self.manifest.backup

    def part(self, store: str) -> StorePart:
        """``RefusedError('store_not_in_backup')`` where the backup does not hold it."""
        try:
            return self.manifest.stores[store]
        except KeyError:
            raise RefusedError(
                "store_not_in_backup",
                f"backup {self.id} does not hold {store}",
                hint=f"it holds {', '.join(sorted(self.manifest.stores))}",
            ) from None

    @cached_property
    def identity(self) -> str:
        """The secret that opens this backup's volumes; errors as of ``slots.open_identity``."""
        if self._identity_file is not None:
            return slots.offline_identity(self._identity_file)
        folder = layout.backup_folder(self.id)
        context = slots.slot_context(self.place.repository.info.uuid, folder)
        return slots.open_identity(self.place.objects, folder, [self.place.key_service], context)

    def record(self, store: str, name: str) -> "VolumeRecord":
        for record in self.part(store).volumes:
            if record.name == name:
                return record
        raise RemoteError(
            "volume_unknown", f"the manifest of {self.id} names no volume {store}/{name}"
        )

    @contextmanager
    def volume(self, store: str, name: str) -> Iterator[BinaryIO]:
        """A volume's plain bytes; nothing of them may be trusted before the block was left."""
        from aeterna_cli.repository.opening import open_volume

        record = self.record(store, name)
        with open_volume(self.place.objects, record, self.identity) as stream:
            yield stream

    def wal_reader(self) -> SegmentReader:
        """WAL from the backup's own folder and from the archive, each chunk opened and checked."""
        part = self.part("postgres")
        own = own_wal_folder(self.id)
        digests = {chunk["key"]: chunk["sha256"] for chunk in part.facts["wal"]}

        def open_chunk(key: str, sealed: bytes) -> bytes:
            if not key.startswith(f"{own}/"):
                return self._open_archived(sealed)
            if hashlib.sha256(sealed).hexdigest() != digests.get(key):
                raise RemoteError(
                    "part_damaged",
                    f"{key} does not hold the bytes that were stored",
                    hint="restore this object from a copy of the repository",
                    details={"key": key},
                )
            return unseal(sealed, self.identity)

        folders = [own, layout.wal_folder(part.identity)]
        size = int(part.facts["wal_segment_size"])
        return SegmentReader(self.place.objects, folders, size, open_chunk)

    @cached_property
    def _archive(self) -> WalIdentities:
        return WalIdentities(
            self.place.objects,
            layout.WAL_KEYS,
            repository=self.place.repository.info.uuid,
            key_services=[self.place.key_service],
        )

    def _open_archived(self, sealed: bytes) -> bytes:
        """WAL is sealed for a day's identity, and for the offline recipients."""
        if self._identity_file is not None:
            return unseal(sealed, self.identity)
        return self._archive.open(sealed, unseal)

    def facts(self, store: str) -> dict[str, Any]:
        return dict(self.part(store).facts)


def _of_a_tenant(backup: str, scope: Scope, wanted: str | None) -> RefusedError:
    return RefusedError(
        "backup_of_a_tenant",
        f"backup {backup} holds nothing but tenant {scope.slug!r} ({scope.tenant})",
        hint="another tenant is restored from its own backup or from a whole one"
        if wanted
        else "a deployment is restored from a backup of the whole deployment",
        next_steps=[
            f"aeterna-cli restore run --tenant-id {scope.tenant} --backup {backup}",
            "aeterna-cli backup list  # choose another backup",
        ],
        details={"tenant": scope.tenant},
    )
