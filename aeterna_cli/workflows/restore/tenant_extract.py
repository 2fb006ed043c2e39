"""One tenant out of a backup of the whole deployment: recovered aside, then read as if it lived.

PostgreSQL goes to the moment that is wanted in a scratch server; Redis is loaded into one; Qdrant's
images are opened by its own engine. Everything lies below a private folder that goes with the
command.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from aeterna_cli.context import Context
from aeterna_cli.deployment import Deployment
from aeterna_cli.repository.wal_archive import lsn_text
from aeterna_cli.stores import binaries
from aeterna_cli.stores.base.qdrant import CollectionDescription, PointDigest
from aeterna_cli.stores.postgres_scratch import RecoveryTarget
from aeterna_cli.workflows.restore.opened import OpenedBackup
from aeterna_cli.workflows.restore.qdrant import Image
from aeterna_cli.workflows.restore.tenant_slice import SliceFacts, SpooledSlice, blocks
from aeterna_cli.workflows.tenant.archive import (
    KEYS,
    OWN_KEYS,
    POINTS,
    ROWS,
    SHARED_KEYS,
    ArchivedCollection,
)
from aeterna_cli.workflows.tenant.rows import ArchivedTable, row_slice, stored_columns
from aeterna_cli.workflows.tenant.whereabouts import Whereabouts, find

if TYPE_CHECKING:
    from aeterna_cli.datamap.collections import PointSelection
    from aeterna_cli.datamap.model import MappedTable
    from aeterna_cli.stores.postgres_connection import Connection
    from aeterna_cli.stores.redis_scratch import ScratchRedis


class TenantExtract:
    """Takes the tenant that ``text`` means out of ``opened``, into ``work``.

    ``at``: PostgreSQL at this time, else at the backup's own recovery point.
    """

    def __init__(
        self, ctx: Context, opened: OpenedBackup, text: str, at: datetime | None, work: Path
    ) -> None:
        self._ctx = ctx
        self._place: Deployment = ctx.deployment
        self._opened = opened
        self._text = text
        self._at = at
        self._work = work
        self._spool = work / "slice"
        self.reached = ""

    def run(self, parts: Mapping[str, str]) -> SpooledSlice:
        """The slice of the ``parts`` that are asked for (part to store); errors as those of a
        restore to scratch servers, and of ``workflows.tenant.resolve`` at that moment."""
        whereabouts: Whereabouts | None = None
        tables: tuple[ArchivedTable, ...] = ()
        moments: dict[str, datetime] = {}
        for part in parts:
            (self._spool / part).mkdir(parents=True)
        if ROWS in parts:
            whereabouts, tables = self._rows()
            moments[ROWS] = self._at or self._opened.manifest.recovery_point.time
        if whereabouts is None:
            whereabouts = find(self._place, self._text)
        collections: tuple[ArchivedCollection, ...] = ()
        keys: dict[str, Any] = {}
        if POINTS in parts:
            collections = tuple(self._points(whereabouts))
            moments[POINTS] = self._opened.part("qdrant").window.start
        if KEYS in parts:
            keys = self._keys(whereabouts)
            moments[KEYS] = self._opened.part("redis").window.start
        facts = SliceFacts(whereabouts.tenant, moments, tables, collections, keys, {})
        return SpooledSlice(self._spool, facts)

    # -- rows

    def _rows(self) -> tuple[Whereabouts, tuple[ArchivedTable, ...]]:
        from aeterna_cli.stores.postgres_snapshot import current_snapshot
        from aeterna_cli.workflows.restore.postgres_scratch_recovery import (
            own_target,
            recovered,
            unpack,
        )

        data, profile = self._work / "data", self._place.profile
        self._ctx.out.note("recovering PostgreSQL in a scratch server")
        unpack(self._opened, data, on_bytes=self._progress("PostgreSQL"))
        target = RecoveryTarget(time=self._at) if self._at else own_target(self._opened)
        with recovered(
            self._opened,
            data,
            target,
            bin_dir=profile.postgres.bin_dir,
            ahead=profile.restore.feeder_segments,
            durable=False,
            stop=self._ctx.stop.check,
            on_wal=self._progress("WAL"),
        ) as scratch:
            self.reached = lsn_text(scratch.facts.lsn)
            database = self._opened.facts("postgres")["database"]
            settings = scratch.server.connect_settings(database=database)
            whereabouts = find(self._place, self._text, settings)
            found = []
            with current_snapshot(settings) as snapshot:
                for number, table in enumerate(whereabouts.map.of_tenants):
                    self._ctx.stop.check()
                    with snapshot.reading() as connection:
                        found.append(self._table(connection, table, whereabouts, number))
        shutil.rmtree(data, ignore_errors=True)
        return whereabouts, tuple(found)

    def _table(
        self,
        connection: "Connection",
        table: "MappedTable",
        whereabouts: Whereabouts,
        number: int,
    ) -> ArchivedTable:
        from aeterna_cli.stores.postgres_copy import copy_out

        name = f"{number:04d}.copy"
        with (self._spool / ROWS / name).open("wb") as file:
            rows = row_slice(connection, table, whereabouts.tenant)
            copied = copy_out(connection, rows, lambda block: _written(file, block))
        return ArchivedTable(
            label=table.label,
            schema=table.schema,
            name=table.name,
            columns=stored_columns(table),
            shared=table.shared,
            volume=name,
            rows=copied.rows,
            digest=copied.digest,
            lines=copied.lines,
        )

    # -- points

    def _points(self, whereabouts: Whereabouts) -> Iterator[ArchivedCollection]:
        facts = self._opened.facts("qdrant")
        described = [CollectionDescription.from_document(one) for one in facts["collections"]]
        images = [Image.from_document(one) for one in facts["images"]]
        by_name = {one.name: one for one in described}
        for number, selection in enumerate(whereabouts.selections(described).mine):
            self._ctx.stop.check()
            name = f"{number:04d}.ndjson"
            mine = [one for one in images if one.collection == selection.collection]
            digest = self._collection(selection, mine, name)
            if not digest.points and not selection.whole:
                continue
            yield ArchivedCollection(
                description=by_name[selection.collection],
                whole=selection.whole,
                certain=selection.certain,
                placed=False,
                volume=name,
                points=digest.points,
                digest=digest.digest,
            )

    def _collection(
        self, selection: "PointSelection", images: list[Image], name: str
    ) -> PointDigest:
        from aeterna_cli.stores.qdrant_digests import DigestSum

        digest = DigestSum()
        with (self._spool / POINTS / name).open("wb") as target:
            for image in images:
                for line, point in self._image(selection, image):
                    digest.add(point["id"], point["vector"], point["payload"])
                    target.write(line)
        return digest.result()

    def _image(self, selection: "PointSelection", image: Image) -> Iterator[tuple[bytes, Any]]:
        from aeterna_cli.stores.qdrant_image import image_points, lines_of
        from aeterna_cli.stores.qdrant_selection import PointTest
        from aeterna_cli.stores.qdrant_slice import as_line, read_lines

        test = PointTest.of(selection)
        plain = self._work / "image"
        with self._opened.volume("qdrant", image.volume) as stream, plain.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
        chosen = plain
        if image.shard is not None:
            chosen = self._work / "image.points"
            image_points(plain, self._work / "opened", chosen, test)
        with chosen.open("rb") as lines:
            for point in read_lines(lines_of(blocks(lines))):
                if image.shard is not None or test(point["payload"]):
                    keyed = {**point, "shard_key": image.key}
                    yield as_line(keyed), keyed
        chosen.unlink()
        plain.unlink(missing_ok=True)

    # -- keys

    def _keys(self, whereabouts: Whereabouts) -> dict[str, Any]:
        from aeterna_cli.stores.redis_scratch import ScratchRedis
        from aeterna_cli.stores.redis_slice import RedisSlice

        profile = self._place.profile.redis
        program = binaries.redis_server(profile.server_binary)
        folder = self._work / "redis"
        with ScratchRedis(program, folder, database=profile.database) as scratch:
            self._load(scratch)
            settings = scratch.client_settings()
            with RedisSlice(
                settings,
                whereabouts.keys,
                whereabouts.tenant.id,
                stop=lambda: self._ctx.stop.requested,
            ) as source:
                counts = {}
                for name, shared in ((OWN_KEYS, False), (SHARED_KEYS, True)):
                    with (self._spool / KEYS / name).open("wb") as file:
                        for piece in source.capture(shared=shared):
                            file.write(piece)
                    counts[name] = source.captured
                digests = source.digests().as_document()
        return {"count": counts[OWN_KEYS], "shared": counts[SHARED_KEYS], "digests": digests}

    def _load(self, scratch: "ScratchRedis") -> None:
        if self._opened.facts("redis")["method"] == "logical":
            scratch.start()
            with self._opened.volume("redis", "keys.resp") as stream:
                scratch.server.logical_restore(blocks(stream), replace=True)
            return
        image = self._work / "dump.rdb"
        with self._opened.volume("redis", "dump.rdb") as stream, image.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
        scratch.start(image)

    def _progress(self, what: str) -> Callable[[int], None]:
        return lambda count: self._ctx.out.progress(what, count, None)


def _written(file: BinaryIO, block: bytes) -> None:
    file.write(block)
