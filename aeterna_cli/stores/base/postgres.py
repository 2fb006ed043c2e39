"""PostgreSQL: what a backup and a restore ask of a server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from aeterna_cli.stores.base.findings import Finding

Purpose = Literal["backup", "receive", "restore"]


@dataclass(frozen=True)
class PostgresIdentity:
    system_identifier: str
    timeline: int
    version_num: int  # 180006
    server_version: str
    in_recovery: bool
    wal_segment_size: int  # bytes
    wal_level: str
    data_checksums: bool
    data_bytes: int  # sum of pg_database_size

    @property
    def major(self) -> int:
        return self.version_num // 10000


@dataclass(frozen=True)
class Tablespace:
    oid: int
    path: str


@dataclass(frozen=True)
class BaseBackupResult:
    start_lsn: int
    end_lsn: int
    timeline: int
    tablespaces: tuple[Tablespace, ...]


class BaseBackupSink(Protocol):
    """Takes what BASE_BACKUP sends, in order. ``archive`` is called once per tar stream."""

    def archive(self, name: str) -> None: ...  # "base.tar" or "<oid>.tar"
    def data(self, block: memoryview) -> None: ...
    def manifest(self, block: memoryview) -> None: ...
    def progress(self, done: int) -> None: ...


@dataclass(frozen=True)
class TableDigest:
    """An order-independent digest of one table's rows as text, with its exact row count."""

    database: str
    table: str  # schema.name as quoted by the server
    rows: int
    digest: str


@dataclass(frozen=True)
class DigestSet:
    """Digests taken under one snapshot. ``lsn`` is set where the snapshot has an exact position:
    recovery with ``recovery_target_lsn = lsn`` and ``recovery_target_inclusive = off`` gives the
    same rows. Without it the digests are approximate under writes."""

    tables: tuple[TableDigest, ...]
    lsn: int | None
    exact: bool


class WalSink(Protocol):
    """Takes physical WAL of one timeline after another.

    ``flushed`` is the position that survives our own death: only that is reported to the server.
    ``tick`` is called at least once a second, also when nothing arrives.
    """

    def begin(self, timeline: int, start: int) -> None: ...
    def write(self, start: int, data: memoryview) -> None: ...
    def tick(self) -> None: ...
    def flush(self) -> None: ...
    def history(self, timeline: int, filename: str, content: bytes) -> None: ...
    @property
    def flushed(self) -> int: ...


class PostgresStore(Protocol):
    """See ``aeterna_cli.stores.postgres.PostgresServer`` for the promises of each call."""

    def identity(self) -> PostgresIdentity: ...
    def findings(self, purpose: Purpose) -> Sequence[Finding]: ...
    def base_backup(
        self, label: str, sink: BaseBackupSink, *, max_rate_kb: int = 0
    ) -> BaseBackupResult: ...
    def stream_wal(
        self,
        sink: WalSink,
        *,
        start: int | None,
        timeline: int | None,
        slot: str | None,
        until: Callable[[], bool],
        temporary: bool = False,
        on_start: Callable[[int, int], None] | None = None,
    ) -> None: ...
    def restore_point(self, name: str) -> int: ...
    def switch_wal(self) -> int: ...
    def current_lsn(self) -> int: ...
    def ensure_schema(self) -> None: ...
    def write_marker(self, number: int) -> None: ...
    def marker(self) -> int | None: ...
