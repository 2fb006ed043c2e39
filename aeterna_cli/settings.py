"""What a deployment looks like to this tool: one profile, every store, no secret in the file.

Order, the first that says something wins: flags, ``AETERNA_*`` environment, the profile in
``config.toml``, defaults. Secrets come from files (``*_file``) or the environment, never from argv
and never from the configuration file.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

Environment = Literal["lab", "development", "staging", "production"]


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


FilePath = Annotated[Path, AfterValidator(_absolute)]


class Section(BaseModel):
    """A part of the settings. Unknown keys are errors: a misspelt option must not be ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TlsSettings(Section):
    """How a connection is protected. ``server_name`` overrides the name that is verified."""

    enabled: bool = False
    ca_file: FilePath | None = None
    certificate_file: FilePath | None = None
    key_file: FilePath | None = None
    server_name: str | None = None


class PasswordSettings(Section):
    """A secret read from a file or handed in by the environment."""

    password_file: FilePath | None = None
    password: SecretStr | None = None

    def secret(self) -> str | None:
        """The password, or None where the server wants none.

        The file is read at every call, so a rotated secret is seen without a restart.
        """
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is not None:
            from aeterna_cli.errors import UsageError

            try:
                return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
            except OSError as error:
                raise UsageError(
                    "password_file_unreadable",
                    f"cannot read the password file {self.password_file}: {error.strerror}",
                    hint="check the path and its permissions",
                ) from error
        return None


class PostgresSettings(PasswordSettings):
    host: str = "127.0.0.1"
    port: int = 5432
    hosts: tuple[str, ...] = Field(
        default=(), description="every node as host:port; the writable one serves, host is unused"
    )
    database: str = "postgres"
    user: str = "aeterna_backup"
    tls: TlsSettings = TlsSettings()
    replica: str | None = Field(default=None, description="host:port of a replica for base backups")
    connect_timeout: float = 10
    statement_timeout: float = 0
    bin_dir: FilePath | None = Field(default=None, description="programs of the server's major")
    receiver_slot: str = "aeterna_wal"
    application_name: str = "aeterna-cli"
    marker_user: str | None = None
    restore_user: str | None = Field(
        default=None, description="the role that writes a tenant's rows; postgres.user without it"
    )
    restore_password_file: FilePath | None = None
    restore_password: SecretStr | None = None

    def for_writing(self) -> "PostgresSettings":
        """The same server as the role that may write the application's tables."""
        if self.restore_user is None:
            return self
        return self.model_copy(
            update={
                "user": self.restore_user,
                "password": self.restore_password,
                "password_file": self.restore_password_file,
            }
        )


class PatroniSettings(PasswordSettings):
    """Patroni's REST API on every node; ``user`` and password are for its unsafe methods."""

    urls: tuple[str, ...] = ()
    user: str | None = None
    tls: TlsSettings = TlsSettings()
    timeout: float = 10


class QdrantSettings(Section):
    url: str = "http://127.0.0.1:6333"
    peers: tuple[str, ...] = Field(
        default=(), description="the REST address of every peer; consensus is asked of each"
    )
    api_key_file: FilePath | None = None
    api_key: SecretStr | None = None
    tls: TlsSettings = TlsSettings()
    timeout: float = 60

    def secret(self) -> str | None:
        return PasswordSettings(password=self.api_key, password_file=self.api_key_file).secret()


class RedisSettings(PasswordSettings):
    host: str = "127.0.0.1"
    port: int = 6379
    database: int = 0
    user: str | None = None
    tls: TlsSettings = TlsSettings()
    timeout: float = 30
    sentinels: tuple[str, ...] = Field(
        default=(), description="every Sentinel as host:port; they name the primary, host is unused"
    )
    sentinel_name: str = Field(default="aeterna-master", description="what Sentinels call it")
    sentinel_user: str | None = None
    sentinel_password_file: FilePath | None = None
    sentinel_password: SecretStr | None = None
    server_binary: FilePath | None = Field(default=None, description="valkey- or redis-server")

    def sentinel_secret(self) -> str | None:
        return PasswordSettings(
            password=self.sentinel_password, password_file=self.sentinel_password_file
        ).secret()


class RepositorySettings(Section):
    """``url`` is ``s3://bucket/prefix`` or a directory."""

    url: str = ""
    endpoint_url: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key_file: FilePath | None = None
    secret_access_key: SecretStr | None = None
    path_style: bool = True
    tls: TlsSettings = TlsSettings()
    timeout: float = 60
    part_bytes: int = Field(default=8 << 20, ge=5 << 20, le=64 << 20)
    volume_bytes: int = Field(default=1 << 30, ge=1 << 20, le=1 << 30)

    def secret(self) -> str | None:
        return PasswordSettings(
            password=self.secret_access_key, password_file=self.secret_access_key_file
        ).secret()


class KeySettings(Section):
    """Which key service wraps the backups' identities, and who else can open them."""

    provider: Literal["vault", "local-file"] = "vault"
    address: str = "http://127.0.0.1:8200"
    token_file: FilePath | None = None
    token: SecretStr | None = None
    namespace: str | None = None
    mount: str = "transit"
    key_name: str = "aeterna-backup"
    key_file: FilePath | None = None
    tls: TlsSettings = TlsSettings()
    timeout: float = 30
    offline_recipients: tuple[str, ...] = ()
    signing_key_file: FilePath | None = None

    def secret(self) -> str | None:
        return PasswordSettings(password=self.token, password_file=self.token_file).secret()


class ServerHooks(Section):
    """Programs that stop and start one store's server; argument lists, never a shell line."""

    stop: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    data_dir: FilePath | None = None


class ServerControlSettings(Section):
    kind: Literal["none", "hooks", "lab"] = "none"
    lab_dir: FilePath | None = None
    timeout: float = 120
    postgres: ServerHooks = ServerHooks()
    redis: ServerHooks = ServerHooks()
    qdrant: ServerHooks = ServerHooks()


class OrphanRule(Section):
    """Which rows of a table have a point of the same id in which collections.

    ``collections`` are shell patterns of collection names.
    """

    table: str = "public.memory_entries"
    id_column: str = "id"
    collections: tuple[str, ...] = ("memories-*", "memory_embeddings", "aeterna_*")


class RestoreSettings(Section):
    """Hook programs run between "data in place" and "serving", and how orphans are judged."""

    hooks: tuple[tuple[str, ...], ...] = ()
    sql_hooks: tuple[FilePath, ...] = ()
    orphan_rules: tuple[OrphanRule, ...] = (OrphanRule(),)
    feeder_segments: int = Field(default=8, ge=1, le=64)


class RetentionSettings(Section):
    window_days: int = Field(default=30, ge=0)
    keep_last: int = Field(default=7, ge=1)
    minimum: int = Field(default=2, ge=1)


class TenantSettings(Section):
    """Size classes by the number of memories: small up to ``small``, medium up to ``medium``, large
    above. Source of the defaults: the platform's own tenant router."""

    small: int = Field(default=10_000, ge=1)
    medium: int = Field(default=100_000, ge=1)


class DataMapSettings(Section):
    """``rules``: files beside the one that ships, later ones win; see ``aeterna_cli/datamap``."""

    rules: tuple[FilePath, ...] = ()


class ApplicationSettings(Section):
    """What the application that writes to this deployment promises during a move.

    ``dual``: writes twice by the placement's epoch and acknowledges it. ``reread``: reads the
    placement before each write and waits while it is held. ``maintenance``: knows no placement; the
    ``hold`` program stops its writes of a tenant, ``switch`` points it at another collection,
    ``release`` lets it write again (argument lists; facts come in ``AETERNA_MOVE_*`` variables).
    Times are seconds: ``route_ttl`` is how long an instance may use a placement without reading it
    again, ``hold_limit`` the longest that writes of one tenant are held (None: by contract).
    """

    contract: Literal["dual", "reread", "maintenance"] = "maintenance"
    route_ttl: float = Field(default=10, gt=0)
    hold_limit: float | None = Field(default=None, gt=0)
    hold: tuple[str, ...] = ()
    switch: tuple[str, ...] = ()
    release: tuple[str, ...] = ()


class FailoverSettings(Section):
    """What a healthy deployment looks like, and how a node that is taken for dead is fenced.

    ``fence`` is a program (an argument list, never a shell line) that ends with 0 when the old
    primary of ``AETERNA_COMPONENT`` cannot write any more. Times are seconds. Source of the
    defaults: the platform's own topology.
    """

    postgres_members: int = 3
    postgres_synchronous: int = 1
    qdrant_peers: int = 3
    qdrant_replication_factor: int = 2
    redis_members: int = 3
    sentinels: int = 3
    fence: tuple[str, ...] = ()
    hook_timeout: float = 60


class RegionSettings(Section):
    """A standby region: the profile that describes its servers, from this region's view."""

    profile: str


class DrillSettings(Section):
    """``allowed`` names scenarios that may run here where the environment is production, ``window``
    when: ``Sat 02:00-05:00`` in UTC. ``folders`` hold further scenario files."""

    allowed: tuple[str, ...] = ()
    window: str = ""
    folders: tuple[FilePath, ...] = ()
    every_days: int = Field(default=30, ge=1)


class TargetSettings(Section):
    """The promises of the deployment, in seconds."""

    rto: int = 900
    rto_postgres: int = 300
    rto_qdrant: int = 600
    rto_redis: int = 120
    rpo: int = 300


class Profile(Section):
    """One deployment."""

    environment: Environment = "production"
    deployment: str = ""
    postgres: PostgresSettings = PostgresSettings()
    qdrant: QdrantSettings = QdrantSettings()
    redis: RedisSettings = RedisSettings()
    repository: RepositorySettings = RepositorySettings()
    keys: KeySettings = KeySettings()
    server_control: ServerControlSettings = ServerControlSettings()
    restore: RestoreSettings = RestoreSettings()
    retention: RetentionSettings = RetentionSettings()
    targets: TargetSettings = TargetSettings()
    tenants: TenantSettings = TenantSettings()
    datamap: DataMapSettings = DataMapSettings()
    application: ApplicationSettings = ApplicationSettings()
    qdrant_servers: dict[str, QdrantSettings] = Field(
        default={}, description="further Qdrant servers that shards lie on, by name"
    )
    patroni: PatroniSettings = PatroniSettings()
    failover: FailoverSettings = FailoverSettings()
    drills: DrillSettings = DrillSettings()
    regions: dict[str, RegionSettings] = Field(
        default={}, description="standby regions that `failover region --to` knows, by name"
    )
    object_stores: dict[str, RepositorySettings] = Field(
        default={}, description="the application's own buckets, by name"
    )


JsonTree = dict[str, Any]
