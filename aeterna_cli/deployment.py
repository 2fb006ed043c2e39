"""One deployment as a profile describes it: its stores, opened on first use."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aeterna_cli.errors import UsageError

if TYPE_CHECKING:
    from aeterna_cli.repository.repository import Repository
    from aeterna_cli.settings import Profile, QdrantSettings
    from aeterna_cli.stores.application_objects import ApplicationObjects
    from aeterna_cli.stores.base.findings import Finding
    from aeterna_cli.stores.base.keys import KeyService
    from aeterna_cli.stores.base.objects import ObjectStore
    from aeterna_cli.stores.base.placement import Placement
    from aeterna_cli.stores.base.server_control import ServerControl
    from aeterna_cli.stores.postgres import PostgresServer
    from aeterna_cli.stores.postgres_placement import PostgresPlacement
    from aeterna_cli.stores.qdrant import QdrantServer
    from aeterna_cli.stores.qdrant_cluster import QdrantCluster
    from aeterna_cli.stores.qdrant_tenants import QdrantTenants
    from aeterna_cli.stores.redis import RedisServer
    from aeterna_cli.stores.redis_tenants import RedisTenants
    from aeterna_cli.workflows.pins import Pins

T = TypeVar("T")


class Deployment:
    """The stores of one profile. Constructing it contacts nothing; each store is opened once."""

    def __init__(self, name: str, profile: "Profile") -> None:
        self.name = name
        self.profile = profile
        self._opened: list[Any] = []

    def close(self) -> None:
        """Give every connection back; what is asked afterwards opens its own again.

        An error here is nobody's: the work is done, and a broken connection needs no goodbye.
        """
        for store in self._opened:
            close = getattr(store, "close", None)
            if close is not None:
                with suppress(Exception):
                    close()

    def _remember(self, store: T) -> T:
        self._opened.append(store)
        return store

    @property
    def id(self) -> str:
        """What the repository is bound to: the profile's ``deployment``, else its name."""
        return self.profile.deployment or self.name

    @cached_property
    def state_directory(self) -> Path:
        from aeterna_cli import profiles

        return profiles.state_directory(self.name)

    @cached_property
    def cache_directory(self) -> Path:
        from aeterna_cli import profiles

        return profiles.cache_directory(self.name)

    @cached_property
    def pins(self) -> "Pins":
        from aeterna_cli.workflows.pins import Pins

        return Pins(self.state_directory)

    @property
    def signing_key_file(self) -> Path:
        """Where the repository's signing key is kept; never inside the repository."""
        return self.profile.keys.signing_key_file or self.state_directory / "signing-key.pem"

    # -- the repository and its keys

    @cached_property
    def objects(self) -> "ObjectStore":
        from aeterna_cli.stores.object_store import open_store

        return self._remember(open_store(self.profile.repository))

    @cached_property
    def repository(self) -> "Repository":
        """The initialised repository of this deployment; refusals as of ``Repository.open``.

        Its uuid and its public key must be the pinned ones: whoever can write ``repository.json``
        could else put a key of his own there.
        """
        from aeterna_cli.repository.repository import Repository

        opened = Repository.open(self.objects, deployment=self.id)
        self.pins.check(repository_identity(opened))
        return opened

    @cached_property
    def key_service(self) -> "KeyService":
        from aeterna_cli.stores.key_services import open_key_service

        service = open_key_service(self.profile.keys, environment=self.profile.environment)
        return self._remember(service)

    def prepare_repository_place(self) -> None:
        """A directory repository's directory exists when this returns; buckets are never made."""
        from aeterna_cli.stores.directory_store import DirectoryStore

        if isinstance(self.objects, DirectoryStore):
            self.objects.ensure()

    def probe_conditional_writes(self) -> "Sequence[Finding]":
        from aeterna_cli.stores.object_probe import probe_conditional_writes

        return probe_conditional_writes(self.objects)

    # -- the platform's stores

    @cached_property
    def postgres(self) -> "PostgresServer":
        from aeterna_cli.stores.postgres import PostgresServer

        return PostgresServer(self.profile.postgres)

    @cached_property
    def placement(self) -> "PostgresPlacement":
        """Shards and placements; its tables are made by its ``ensure_schema``, never before."""
        from aeterna_cli.stores.postgres_placement import PostgresPlacement

        return self._remember(PostgresPlacement(self.profile.postgres))

    def publish_placement(self, placement: "Placement") -> str | None:
        """Tell Redis of a change that is committed; the warning to show where that failed."""
        from aeterna_cli.stores.redis_placement import publish

        return publish(self.profile.redis, placement)

    @cached_property
    def qdrant(self) -> "QdrantServer":
        return self.another_qdrant()

    @cached_property
    def qdrant_cluster(self) -> "QdrantCluster":
        """Every peer of the deployment, each asked on its own."""
        from aeterna_cli.stores.qdrant_cluster import QdrantCluster

        return self._remember(QdrantCluster(self.profile.qdrant))

    def another_qdrant(self) -> "QdrantServer":
        """A connection of its own, for another thread."""
        from aeterna_cli.stores.qdrant import QdrantServer

        return self._remember(QdrantServer(self.profile.qdrant))

    def qdrant_server(self, name: str) -> "QdrantServer":
        """A connection of its own to the profile's Qdrant ("") or to one of ``qdrant_servers``.

        ``UsageError('qdrant_server_unknown')`` for a name that the profile does not have.
        """
        from aeterna_cli.stores.qdrant import QdrantServer

        return self._remember(QdrantServer(self._qdrant_settings(name)))

    def _qdrant_settings(self, name: str) -> "QdrantSettings":
        if not name:
            return self.profile.qdrant
        settings = self.profile.qdrant_servers.get(name)
        if settings is None:
            known = ", ".join(sorted(self.profile.qdrant_servers)) or "none"
            raise UsageError(
                "qdrant_server_unknown",
                f"the profile {self.name} has no Qdrant server {name!r}",
                hint=f"qdrant_servers names {known}",
                next_steps=["aeterna-cli config show"],
            )
        return settings

    @cached_property
    def redis(self) -> "RedisServer":
        return self.another_redis()

    def another_redis(self) -> "RedisServer":
        """A connection of its own, for another thread."""
        from aeterna_cli.stores.redis import RedisServer

        return self._remember(RedisServer(self.profile.redis))

    def application_objects(self) -> "Sequence[ApplicationObjects]":
        """The application's own buckets, in the order of the profile."""
        from aeterna_cli.stores.application_objects import ApplicationObjects

        stores = self.profile.object_stores.items()
        return [self._remember(ApplicationObjects(values, name)) for name, values in stores]

    def qdrant_tenants(self, name: str = "") -> "QdrantTenants":
        """Counts by tenant on the server that ``qdrant_server`` means by this name."""
        from aeterna_cli.stores.qdrant_tenants import QdrantTenants

        return self._remember(QdrantTenants(self._qdrant_settings(name)))

    def redis_tenants(self) -> "RedisTenants":
        from aeterna_cli.stores.redis_tenants import RedisTenants

        return self._remember(RedisTenants(self.profile.redis))

    @cached_property
    def server_control(self) -> "ServerControl":
        """How servers are stopped and started here: the lab's way, hook programs, or not at all."""
        settings = self.profile.server_control
        if settings.kind == "lab":
            from aeterna_cli.lab.server_control import LabServerControl
            from aeterna_cli.profiles import lab_directory

            return LabServerControl(settings.lab_dir or lab_directory())
        from aeterna_cli.stores.server_control import HookServerControl, NoServerControl

        return HookServerControl(settings) if settings.kind == "hooks" else NoServerControl()


def repository_identity(opened: "Repository") -> dict[str, str | None]:
    """What pins compare of a repository."""
    return {"repository": opened.info.uuid, "repository-key": opened.info.public_key}
