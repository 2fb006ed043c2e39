"""The manifest: what one backup holds, and the mark that it was committed.

``manifest.json`` is written last; a folder without it is no backup. It is canonical JSON, signed
with the deployment's key. Fields of a newer minor version are kept; a newer major is refused.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime, Field, ValidationError, field_validator, model_validator

from aeterna_cli.errors import AeternaError, DegradedError, RefusedError, RemoteError
from aeterna_cli.repository import canonical, catalogue, layout
from aeterna_cli.repository.once import create_once
from aeterna_cli.repository.volume import Document, VolumeRecord

if TYPE_CHECKING:
    from aeterna_cli.repository.repository import Repository
    from aeterna_cli.repository.signing import SigningKey

_SCHEMA = "aeterna.manifest"
#: The parts of a tenant's backup. They are named unlike the stores, so that nothing that knows only
#: whole backups (an older version of this tool too) takes one of them for a whole store.
TENANT_PARTS = ("rows", "points", "keys", "objects")


class Window(Document):
    """When a store's image was taken, and the lowest and highest marker it may hold."""

    start: AwareDatetime
    end: AwareDatetime
    first_marker: int | None = None
    last_marker: int | None = None


class StorePart(Document):
    """One store's part of a backup. ``identity`` says which server it was; ``facts`` is free."""

    kind: str
    server_version: str
    identity: str
    window: Window
    volumes: tuple[VolumeRecord, ...] = ()
    facts: dict[str, Any] = Field(default_factory=dict)


class RecoveryPoint(Document):
    """The moment that this backup restores to. ``lsn`` as PostgreSQL writes it: ``0/1A2B3C4D``."""

    time: AwareDatetime
    lsn: str | None = None
    name: str | None = None
    timeline: int | None = None
    marker: int | None = None


class Scope(Document):
    """Whose data a backup holds, where it does not hold the whole deployment.

    ``tenant`` is the uuid as text; ``slug`` and ``name`` are as they were, and hostile text.
    """

    kind: Literal["tenant"] = "tenant"
    tenant: str
    slug: str
    name: str


class LeftOut(Document):
    """Something that is not in the backup, and why."""

    what: str
    why: str


class Manifest(Document):
    """``aeterna.manifest/1``. Every volume lies in the backup's own folder: checked when made."""

    schema_: Literal["aeterna.manifest/1"] = Field("aeterna.manifest/1", alias="schema")
    format: str = "1.1"
    backup: str
    repository: str
    deployment: str
    created: AwareDatetime
    tool_version: str
    profile: str
    actor: str
    operation: str | None = None
    scope: Scope | None = None
    label: dict[str, str] = Field(default_factory=dict)
    note: str = ""
    stores: dict[str, StorePart]
    recovery_point: RecoveryPoint
    digests: dict[str, Any] = Field(default_factory=dict)
    orphans: dict[str, Any] = Field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    degraded: tuple[str, ...] = ()

    @field_validator("backup")
    @classmethod
    def _is_an_id(cls, value: str) -> str:
        if not layout.is_backup_id(value):
            raise ValueError("not a backup id")
        return value

    @model_validator(mode="after")
    def _volumes_are_its_own(self) -> "Manifest":
        seen: set[str] = set()
        for name, part in self.stores.items():
            own = f"{layout.backup_folder(self.backup)}/{name}/"
            for volume in part.volumes:
                for record in volume.parts:
                    if not record.key.startswith(own) or record.key in seen:
                        raise ValueError(f"{record.key!r} is no part of {self.backup}'s {name}")
                    seen.add(record.key)
        return self

    def volumes(self) -> Iterator[VolumeRecord]:
        for part in self.stores.values():
            yield from part.volumes

    @property
    def plain_bytes(self) -> int:
        return sum(volume.plain_bytes for volume in self.volumes())

    @property
    def stored_bytes(self) -> int:
        return sum(volume.stored_bytes for volume in self.volumes())

    @property
    def tenant(self) -> str | None:
        """The tenant whose data alone this backup holds; None for a whole deployment's."""
        return self.scope.tenant if self.scope is not None else None

    def as_bytes(self) -> bytes:
        """Canonical JSON: what is stored, hashed and signed."""
        return canonical.as_bytes(self.model_dump(mode="json", by_alias=True))

    def summary(self) -> dict[str, Any]:
        """What the catalogue says of this backup, so that a list need not read manifests."""
        point = self.recovery_point.model_dump(mode="json")
        return {
            "recovery_point": {name: point[name] for name in ("time", "lsn", "timeline")},
            "stores": sorted(self.stores),
            "plain_bytes": self.plain_bytes,
            "stored_bytes": self.stored_bytes,
            "label": self.label,
            "note": self.note,
            "degraded": len(self.degraded),
            "left_out": len(self.left_out),
            **({"scope": self.scope.model_dump(mode="json")} if self.scope else {}),
        }


def read_manifest(data: bytes) -> Manifest:
    """A manifest from its bytes, trusted in nothing that it says.

    ``RefusedError('manifest_too_new')``; ``RemoteError('manifest_invalid')`` for anything that is
    no manifest, such as one that names objects outside of its backup's folder.
    """
    document = canonical.from_bytes(data, code="manifest_invalid", key=layout.MANIFEST)
    major = canonical.major_of(document.get("schema"), _SCHEMA)
    if major is not None and major > 1:
        raise RefusedError(
            "manifest_too_new",
            f"the backup was written by a newer tool (manifest version {major})",
            next_steps=["upgrade aeterna-cli"],
        )
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "manifest"
        raise _invalid(f"{where}: {first['msg']}") from error


def commit(repository: "Repository", manifest: Manifest, signing_key: "SigningKey") -> None:
    """The backup exists and is listed when this returns: signature, manifest, catalogue, in order.

    Nothing but a signature is left when it raises, with two exceptions: after a ``TransientError``
    nobody could look, so ask ``Repository.backups``; ``DegradedError('catalogue_behind')`` says
    that the backup is good and listed, only its catalogue record is missing.
    ``RefusedError('signing_key_foreign')`` for another deployment's key.
    """
    if signing_key.public != repository.info.public_key:
        raise RefusedError(
            "signing_key_foreign",
            "this signing key is not the one that the repository was initialised with",
            next_steps=["check keys.signing_key_file: aeterna-cli config show --origin"],
        )
    _check_place(repository, manifest, manifest.backup)
    data = manifest.as_bytes()
    read_manifest(data)  # what could not be read again must not become a backup
    create_once(repository.store, layout.signature_key(manifest.backup), signing_key.sign(data))
    create_once(repository.store, layout.manifest_key(manifest.backup), data)
    try:
        record(repository, manifest)
    except AeternaError as error:
        raise DegradedError(
            "catalogue_behind",
            f"backup {manifest.backup} is complete, but the catalogue has no record of it",
            hint=f"{error.message}; the backup is listed all the same",
            next_steps=error.next_steps,
            details={"backup": manifest.backup, "cause": error.code},
        ) from error


def record(repository: "Repository", manifest: Manifest) -> None:
    """Append the ``added`` record of a committed backup."""
    catalogue.append(
        repository.store,
        "added",
        manifest.backup,
        time=manifest.created,
        actor=manifest.actor,
        summary=manifest.summary(),
    )


def load(repository: "Repository", backup_id: str, *, tenant: str | None = None) -> Manifest:
    """The manifest of a backup, its signature verified.

    ``latest`` is the newest backup of the whole deployment, never a tenant's; with ``tenant`` the
    newest one that holds this tenant: its own, or a whole one.

    ``UsageError('backup_id_invalid')``; ``RefusedError``: ``backup_missing``, ``no_backups``,
    ``manifest_too_new``; ``RemoteError``: ``signature_invalid``, ``manifest_invalid``.
    """
    chosen = newest(repository, tenant) if backup_id == "latest" else backup_id
    data = _object(repository, layout.manifest_key(chosen), chosen)
    try:
        signature = _object(repository, layout.signature_key(chosen), chosen)
    except RefusedError as error:
        raise RemoteError(
            "signature_invalid",
            f"the manifest of {chosen} has no signature",
            hint="it was removed, or this was never committed: trust nothing in it",
            next_steps=["aeterna-cli backup list  # choose another backup"],
            details={"key": layout.signature_key(chosen)},
        ) from error
    repository.verify(data, signature)
    manifest = read_manifest(data)
    _check_place(repository, manifest, chosen)
    return manifest


def incomplete(repository: "Repository") -> list[str]:
    """Ids of folders that hold no restorable backup: never committed, or pruned halfway.

    A backup that is being written right now is among them: look at the leases before deleting.
    """
    from aeterna_cli.repository.inventory import leftovers

    return leftovers(repository)


def newest(repository: "Repository", tenant: str | None = None) -> str:
    """What ``latest`` means, see ``load``; ``RefusedError('no_backups')``."""
    wanted = (None, tenant)
    backups = [one for one in repository.backups() if not one.fault and one.tenant in wanted]
    if not backups:
        raise RefusedError(
            "no_backups",
            f"there is no backup of the deployment in {repository.store.description}",
            hint="a tenant's own backups do not count as one",
            next_steps=["aeterna-cli backup create"],
        )
    return backups[-1].backup


def _object(repository: "Repository", key: str, backup_id: str) -> bytes:
    try:
        return repository.store.read(key)
    except RefusedError as error:
        if error.code != "object_missing":
            raise
        raise RefusedError(
            "backup_missing",
            f"there is no backup {backup_id} in {repository.store.description}",
            hint="it was pruned, never committed, or lies in another repository",
            next_steps=["aeterna-cli backup list"],
        ) from error


def _check_place(repository: "Repository", manifest: Manifest, backup_id: str) -> None:
    """A signed manifest that was copied elsewhere is as good as a forged one."""
    stated = (manifest.backup, manifest.repository, manifest.deployment)
    if stated != (backup_id, repository.info.uuid, repository.info.deployment):
        raise _invalid(f"it belongs to backup {manifest.backup} of repository {stated[1]}")


def _invalid(why: str) -> RemoteError:
    return RemoteError(
        "manifest_invalid",
        f"the manifest is not acceptable: {why}",
        hint="it was changed or written by something else; nothing in it was used",
        next_steps=["aeterna-cli backup list  # choose another backup"],
    )
