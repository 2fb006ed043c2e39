"""A backup while it runs: its steps, and what they hand to each other.

Identities and digests live in memory only: a backup that dies is never resumed, its folder has no
manifest and is never listed.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from aeterna_cli.context import Context
from aeterna_cli.errors import FailedError
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.repository import layout
from aeterna_cli.repository.blobs import seal
from aeterna_cli.repository.manifest import LeftOut, Manifest, commit
from aeterna_cli.repository.wal_sink import ChunkSink
from aeterna_cli.stores.base.postgres import BaseBackupResult
from aeterna_cli.workflows.backup.base_volumes import BaseBackupVolumes
from aeterna_cli.workflows.backup.begin import begin
from aeterna_cli.workflows.backup.markers import Tick, Ticker
from aeterna_cli.workflows.backup.preflight import Preflight
from aeterna_cli.workflows.backup.recovery_point import (
    PostgresPoint,
    mark,
    orphans,
    postgres_digests,
)
from aeterna_cli.workflows.backup.wal_capture import WalCapture
from aeterna_cli.workflows.scratch import scratch

if TYPE_CHECKING:
    from aeterna_cli.repository.pipeline import VolumeRecord
    from aeterna_cli.workflows.backup.create import Created, Options
    from aeterna_cli.workflows.backup.qdrant_capture import QdrantCapture
    from aeterna_cli.workflows.backup.redis_capture import RedisCapture

WAL_SECONDS = 600.0  # how long the last WAL may take to arrive


class RunningBackup:
    """The steps of one backup, in the order in which ``create.plan`` names them.

    A context manager: leaving it ends every thread and removes every unfinished local file.
    """

    def __init__(self, ctx: Context, asked: "Options", ready: Preflight) -> None:
        self.ctx = ctx
        self.asked = asked
        self.ready = ready
        self.place = ctx.deployment
        self.backup_id = ""
        self.operation = ""
        self.begun: datetime = ctx.clock()
        self.notes: list[str] = list(ready.notes)
        self.wal_chunks: list[dict[str, Any]] = []
        self.base: tuple[BaseBackupResult, tuple[VolumeRecord, ...]] | None = None
        self.base_window: tuple[datetime, datetime] | None = None
        self.ticks: tuple[Tick, ...] = ()
        self.redis: tuple[RedisCapture, datetime, datetime] | None = None
        self.qdrant: tuple[QdrantCapture, datetime, datetime] | None = None
        self.point: PostgresPoint | None = None
        self.point_time: datetime = self.begun
        self.postgres_digests: dict[str, Any] = {}
        self.elsewhere: tuple[LeftOut, ...] = ()
        self.orphans: list[dict[str, Any]] = []
        self.orphan_lists: list[VolumeRecord] = []
        self.wal: WalCapture | None = None
        self.manifest: Manifest | None = None
        self._stack = ExitStack()
        self._failed = Event()  # one capture failed: the other one stops
        self._ticker: Ticker | None = None

    def __enter__(self) -> "RunningBackup":
        parent = self.place.cache_directory / "work"
        self.work = self._stack.enter_context(scratch(parent))
        return self

    def __exit__(self, *error: object) -> None:
        self._failed.set()
        if self._ticker is not None:
            self._ticker.abandon()
        if self.wal is not None:
            self.wal.abandon()
        self._stack.close()

    # -- the steps

    def make_keys(self, run: StepRun) -> dict[str, Any]:
        """The backup has an id, and an identity that the key service can open again."""
        self.operation = run.operation
        begun = begin(
            self.place,
            self.ready.signing_key,
            self.begun,
            rate_limit=self.asked.rate_limit,
            check=lambda: self._check(run),
        )
        self.backup_id, self.recipients = begun.backup, begun.recipients
        self.volumes = begun.volumes
        return {"backup": self.backup_id, "recipients": len(self.recipients)}

    def capture_postgres(self, run: StepRun) -> dict[str, Any]:
        """Base backup and WAL at once; WAL goes on until the recovery point."""
        identity = self.ready.postgres
        assert identity is not None  # noqa: S101 - this step is only planned with PostgreSQL
        sink = ChunkSink(
            self.place.objects,
            own_wal_folder(self.backup_id),
            segment_size=identity.wal_segment_size,
            seal=lambda plain: seal(plain, self.recipients),
            on_chunk=self._remember_chunk,
        )
        self.wal = wal = WalCapture(self.place.postgres, sink)
        wal.start()
        begun = self.ctx.clock()

        def said(done: int) -> None:
            total = max(done, identity.data_bytes)  # the server's estimate, before it began
            self.ctx.out.progress("PostgreSQL", done, total)

        with BaseBackupVolumes(self.volumes, check=wal.check, on_bytes=said) as volumes:
            result = self.place.postgres.base_backup(
                self.backup_id, volumes, max_rate_kb=self.asked.rate_limit // 1024
            )
            records = volumes.finish()
        self.base = (result, records)
        self.base_window = (begun, self.ctx.clock())
        return {"volumes": len(records), "bytes": sum(one.plain_bytes for one in records)}

    def start_markers(self, _run: StepRun) -> dict[str, Any]:
        """The first marker is in every store; from here on images can be dated."""
        targets: dict[str, Any] = {}
        if "postgres" in self.asked.stores:
            self.place.postgres.ensure_schema()
            targets["postgres"] = self.place.postgres
        if "qdrant" in self.asked.stores:
            self.ready.identities["qdrant"] = self.place.qdrant.ensure_identity()
            targets["qdrant"] = self.place.another_qdrant()
        if "redis" in self.asked.stores:
            self.ready.identities["redis"] = self.place.redis.ensure_identity()
            targets["redis"] = self.place.another_redis()
        first = max((target.marker() or 0 for target in targets.values()), default=0) + 1
        self._ticker = Ticker(targets, self.ctx.clock, first)
        self._ticker.start()
        return {"first_marker": first}

    def capture_images(self, run: StepRun) -> dict[str, Any]:
        """Redis and Qdrant, each in its own thread; the first failure ends both."""
        work: dict[str, Callable[[], None]] = {}
        if "redis" in self.asked.stores:
            work["redis"] = self._capture_redis
        if "qdrant" in self.asked.stores:
            work["qdrant"] = self._capture_qdrant
        with ThreadPoolExecutor(2, "capture") as pool:
            running = [pool.submit(self._or_fail, one) for one in work.values()]
        for future in running:
            future.result()
        assert self._ticker is not None  # noqa: S101 - the step before
        self.ticks = self._ticker.stop()
        run.safe_point()
        return {"markers": len(self.ticks)}

    def reach_recovery_point(self, run: StepRun) -> dict[str, Any]:
        """One moment of PostgreSQL behind all images, its digests, and WAL stored beyond it."""
        self.point_time = self.ctx.clock()
        if "postgres" in self.asked.stores:
            self._mark_postgres(run)
        last = self.ticks[-1].number if self.ticks else 0
        content = f'{{"marker": {last}, "time": "{self.point_time.isoformat()}"}}\n'
        self.place.objects.create(layout.marker_key(self.backup_id), content.encode())
        if self.point is not None and self.wal is not None:
            self.wal.finish(self.point.wal_needed, WAL_SECONDS)
        return {"marker": last, "lsn": self.point.lsn if self.point else None}

    def commit(self, _run: StepRun) -> dict[str, Any]:
        """The backup exists when this returns."""
        from aeterna_cli.workflows.backup.describe import manifest_of

        self.manifest = manifest_of(self)
        commit(self.place.repository, self.manifest, self.ready.signing_key)
        return {"backup": self.backup_id}

    def summary(self, operation: str, seconds: float) -> "Created":
        from aeterna_cli.workflows.backup.describe import summary_of

        return summary_of(self, operation, seconds)

    # -- their parts

    def _mark_postgres(self, run: StepRun) -> None:
        from aeterna_cli.stores.postgres_snapshot import exact_snapshot
        from aeterna_cli.workflows.backup.elsewhere import points_elsewhere

        self.elsewhere = points_elsewhere(self.place)
        with exact_snapshot(self.place.profile.postgres) as snapshot:
            self.point = mark(self.place.postgres, snapshot, self.backup_id, self.ctx.clock)
            self.point_time = self.point.time
            if self.asked.digests:
                self.ctx.out.note("digesting what the recovery point holds")
                self.postgres_digests, notes = postgres_digests(snapshot)
                self.notes += notes
            run.safe_point()
            if self.qdrant is not None:
                rules = self.place.profile.restore.orphan_rules
                self.orphans, self.orphan_lists = orphans(
                    snapshot, rules, self.qdrant[0], self.volumes, self.work
                )

    def _or_fail(self, capture: Callable[[], None]) -> None:
        try:
            capture()
        except BaseException:
            self._failed.set()
            raise

    def _capture_redis(self) -> None:
        from aeterna_cli.workflows.backup.redis_capture import capture

        begun = self.ctx.clock()
        found = capture(
            self.place.redis,
            self.volumes,
            self._folder("redis"),
            program=self.place.profile.redis.server_binary,
            on_bytes=lambda done: self.ctx.out.progress("Redis", done, None),
        )
        self.redis = (found, begun, self.ctx.clock())

    def _capture_qdrant(self) -> None:
        from aeterna_cli.workflows.backup.qdrant_capture import capture

        begun = self.ctx.clock()
        found = capture(
            self.place.qdrant,
            self.volumes,
            self._folder("qdrant"),
            lambda done, total: self.ctx.out.progress("Qdrant", done, total, "collections"),
        )
        self.qdrant = (found, begun, self.ctx.clock())

    def _folder(self, store: str) -> Path:
        folder = self.work / store
        folder.mkdir()
        return folder

    def _check(self, run: StepRun) -> None:
        """Asked for every block of every volume: signals, leases, and the other threads."""
        if self._failed.is_set():
            raise FailedError("backup_ended", "another part of this backup failed")
        run.safe_point()
        if self.wal is not None:
            self.wal.check()

    def _remember_chunk(self, key: str, start: int, end: int, sealed: bytes) -> None:
        import hashlib

        digest = hashlib.sha256(sealed).hexdigest()
        self.wal_chunks.append(
            {"key": key, "start": start, "end": end, "size": len(sealed), "sha256": digest}
        )


def own_wal_folder(backup_id: str) -> str:
    """Where a backup keeps the WAL that it needs itself."""
    return f"{layout.backup_folder(backup_id)}/postgres/wal"
