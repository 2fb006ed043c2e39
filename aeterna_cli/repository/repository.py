"""A backup repository: who it belongs to, and what is in it.

``repository.json`` is written once by ``initialise`` and binds the repository to one deployment and
to the public half of its signing key.
"""

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aeterna_cli.errors import ConflictError, RefusedError, RemoteError
from aeterna_cli.repository import canonical, layout, signing
from aeterna_cli.stores.base.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aeterna_cli.repository.catalogue import CatalogueEntry

FORMAT = "1.0"
_SCHEMA = "aeterna.repository"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


@dataclass(frozen=True)
class RepositoryInfo:
    """What ``repository.json`` says. ``public_key`` is the raw Ed25519 key in base64."""

    uuid: str
    format: str
    deployment: str
    created: datetime
    public_key: str


class Repository:
    """An initialised repository in ``store``. Made by ``initialise`` or ``open``."""

    def __init__(self, store: ObjectStore, info: RepositoryInfo) -> None:
        self.store = store
        self.info = info

    @classmethod
    def initialise(
        cls, store: ObjectStore, *, deployment: str, signing_key: signing.SigningKey
    ) -> "Repository":
        """A new repository in an empty place; ``RefusedError('repository_exists')`` otherwise.

        Of several that initialise at once, one wins. Nothing existing is changed.
        """
        if not deployment:
            raise ValueError("a repository belongs to a deployment")
        created = store.now().astimezone(UTC).replace(microsecond=0)
        info = RepositoryInfo(str(uuid.uuid4()), FORMAT, deployment, created, signing_key.public)
        try:
            store.create(layout.REPOSITORY, canonical.as_bytes(_as_document(info)))
        except ConflictError as error:
            raise RefusedError(
                "repository_exists",
                f"{store.description} is a repository already",
                hint="an existing repository is never initialised again",
                next_steps=["aeterna-cli backup list"],
            ) from error
        return cls(store, info)

    @classmethod
    def open(cls, store: ObjectStore, *, deployment: str | None) -> "Repository":
        """The repository of ``deployment`` (None: whoever's it is).

        ``RefusedError``: ``repository_uninitialised``, ``repository_foreign``,
        ``repository_too_new``. ``RemoteError('repository_damaged')``.
        """
        try:
            data = store.read(layout.REPOSITORY)
        except RefusedError as error:
            if error.code != "object_missing":
                raise
            raise RefusedError(
                "repository_uninitialised",
                f"{store.description} is not a backup repository yet",
                next_steps=["aeterna-cli repository init"],
            ) from error
        info = _from_document(
            canonical.from_bytes(data, code="repository_damaged", key=layout.REPOSITORY)
        )
        if deployment is not None and info.deployment != deployment:
            raise RefusedError(
                "repository_foreign",
                f"{store.description} belongs to deployment {info.deployment}, not {deployment}",
                hint="check repository.url and the deployment id of the profile",
                next_steps=["aeterna-cli config show --origin"],
                details={"found": info.deployment, "expected": deployment},
            )
        return cls(store, info)

    def verify(self, data: bytes, signature: bytes) -> None:
        """``RemoteError('signature_invalid')`` unless this deployment signed ``data``."""
        signing.verify(self.info.public_key, data, signature)

    def backups(self) -> "Sequence[CatalogueEntry]":
        """Every backup that was committed and not pruned, oldest first.

        Read from the catalogue (chain verified), checked against the manifests that are there: one
        without a manifest is left out, one that only its manifest knows is in.
        """
        from aeterna_cli.repository.inventory import committed

        return committed(self)


def _as_document(info: RepositoryInfo) -> dict[str, Any]:
    return {
        "schema": f"{_SCHEMA}/1",
        "uuid": info.uuid,
        "format": info.format,
        "deployment": info.deployment,
        "created": info.created.isoformat(),
        "public_key": info.public_key,
    }


def _from_document(document: dict[str, Any]) -> RepositoryInfo:
    major = canonical.major_of(document.get("schema"), _SCHEMA)
    version = str(document.get("format", ""))
    stated = version.partition(".")[0]
    if major is None or not stated.isdecimal():
        raise _damaged()
    if major > 1 or int(stated) > int(FORMAT.partition(".")[0]):
        raise RefusedError(
            "repository_too_new",
            f"the repository has format {version}, this tool knows {FORMAT}",
            next_steps=["upgrade aeterna-cli"],
        )
    try:
        info = RepositoryInfo(
            document["uuid"],
            version,
            document["deployment"],
            datetime.fromisoformat(document["created"]),
            document["public_key"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged() from error
    sound = isinstance(info.uuid, str) and _UUID.match(info.uuid)
    named = isinstance(info.deployment, str) and info.deployment
    if not sound or not named or not signing.is_public_key(info.public_key):
        raise _damaged()
    return info


def _damaged() -> RemoteError:
    return RemoteError(
        "repository_damaged",
        f"{layout.REPOSITORY} is not what repository init wrote",
        hint="restore this object from a copy of the repository",
        details={"key": layout.REPOSITORY},
    )
