"""A tenant's backup read to its end: every row, point, key and object counted and digested."""

import tarfile
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from time import monotonic
from typing import BinaryIO, cast

from aeterna_cli.context import Context
from aeterna_cli.errors import RemoteError
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.redis import RedisDigests
from aeterna_cli.workflows.backup.tenant_keys import scratch_program
from aeterna_cli.workflows.backup.tenant_objects import ArchivedObject, ObjectDigest, sha256_of
from aeterna_cli.workflows.backup.verify_restore import Check, RestoredStore
from aeterna_cli.workflows.restore.opened import OpenedBackup
from aeterna_cli.workflows.restore.tenant_slice import ArchivedSlice, blocks
from aeterna_cli.workflows.tenant.archive import (
    KEYS,
    OBJECT_LIST,
    OBJECT_TAR,
    OBJECTS,
    OWN_KEYS,
    POINTS,
    ROWS,
    SHARED_KEYS,
)

Found = tuple[list[Check], list[Finding]]


class TenantRead:
    """Reads every volume of one backup; no server but a scratch one for the keys."""

    def __init__(self, ctx: Context, opened: OpenedBackup, work: Path) -> None:
        self._ctx = ctx
        self._opened = opened
        self._slice = ArchivedSlice(opened)
        self._work = work

    def run(self, damaged: AbstractSet[str]) -> list[RestoredStore]:
        """One result for each part; those in ``damaged`` are known to be bad and not tried."""
        parts: dict[str, Callable[[], Found]] = {
            ROWS: self._rows,
            POINTS: self._points,
            KEYS: self._keys,
            OBJECTS: self._objects,
        }
        done = []
        for name, read in parts.items():
            if name not in self._opened.manifest.stores:
                continue
            self._ctx.stop.check()
            if name in damaged:
                message = "not read: its stored objects are damaged"
                finding = Finding("not_restored", "error", name, message)
                done.append(RestoredStore(name, False, 0.0, (), (finding,)))
                continue
            began = monotonic()
            try:
                checks, findings = read()
            except RemoteError as error:
                checks, findings = [], [Finding(error.code, "error", name, error.message)]
            seconds = round(monotonic() - began, 3)
            done.append(RestoredStore(name, bool(checks), seconds, tuple(checks), tuple(findings)))
        return done

    def _rows(self) -> Found:
        from aeterna_cli.stores.postgres_copy import LineDigest

        findings, rows = [], 0
        tables = self._slice.facts.tables
        for table in tables:
            lines = LineDigest()
            with self._slice.open(ROWS, table.volume) as stream:
                for block in blocks(stream):
                    self._ctx.stop.check()
                    lines.feed(block)
            rows += lines.rows
            if (lines.rows, lines.result()) != (table.rows, table.lines):
                message = f"{table.rows} rows of {table.label} were saved, {lines.rows} are there"
                findings.append(Finding("rows_differ", "error", table.label, message))
        return [Check("rows", rows), Check("tables", len(tables))], findings

    def _points(self) -> Found:
        from aeterna_cli.stores.qdrant_digests import DigestSum
        from aeterna_cli.stores.qdrant_image import lines_of
        from aeterna_cli.stores.qdrant_slice import read_lines

        findings, points = [], 0
        for one in self._slice.facts.collections:
            digest = DigestSum()
            with self._slice.open(POINTS, one.volume) as stream:
                for point in read_lines(lines_of(blocks(stream))):
                    digest.add(point["id"], point["vector"], point["payload"])
            found = digest.result()
            points += found.points
            if (found.points, found.digest) != (one.points, one.digest):
                message = f"{one.points} points of {one.name} were saved, {found.points} are there"
                findings.append(Finding("points_differ", "error", one.name, message))
        return [Check("points", points)], findings

    def _keys(self) -> Found:
        from aeterna_cli.stores.redis_digests import compare
        from aeterna_cli.stores.redis_scratch import ScratchRedis

        place, wanted = self._opened.place, self._slice.facts.keys
        program = scratch_program(place)
        if program is None:
            message = "not opened: no valkey-server or redis-server is installed here"
            return [], [Finding("redis_server_missing", "warning", "keys", message)]
        database = place.profile.redis.database
        with ScratchRedis(program, self._work / "keys", database=database) as scratch:
            scratch.start(stop=lambda: self._ctx.stop.requested)
            loaded = self._load(scratch.server.logical_restore, OWN_KEYS)
            found = scratch.server.digests()
            shared = self._load(scratch.server.logical_restore, SHARED_KEYS)
        findings = []
        if wanted.get("digests") is not None:
            expected = RedisDigests.from_document(wanted["digests"])
            findings += compare(expected, found, self._ctx.clock())
        if (loaded, shared) != (wanted["count"], wanted["shared"]):
            message = f"{wanted['count']} keys were saved, {loaded} are there"
            findings.append(Finding("keys_differ", "error", "keys", message))
        return [Check("keys", loaded), Check("keys of others too", shared)], findings

    def _load(self, restore: Callable[..., object], name: str) -> int:
        from aeterna_cli.stores.base.redis import LogicalResult

        with self._slice.open(KEYS, name) as stream:
            done = cast(LogicalResult, restore(blocks(stream), replace=True))
        return done.keys + done.expired

    def _objects(self) -> Found:
        digest, wanted = ObjectDigest(), self._slice.facts.objects
        names = {one.member: one for one in self._listed()}
        with (
            self._slice.open(OBJECTS, OBJECT_TAR) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            for entry in tar:
                self._ctx.stop.check()
                archived, content = names.get(entry.name), tar.extractfile(entry)
                if archived is None or content is None:
                    raise RemoteError("objects_damaged", "an object that the list does not name")
                if sha256_of(cast(BinaryIO, content)) == archived.sha256:
                    digest.add(archived)
        if (digest.count, digest.result()) == (wanted["count"], wanted["digest"]):
            return [Check("objects", digest.count)], []
        message = f"{wanted['count']} objects were saved, {digest.count} of them are whole"
        return [Check("objects", digest.count)], [
            Finding("objects_differ", "error", "objects", message)
        ]

    def _listed(self) -> Iterator[ArchivedObject]:
        import json

        from aeterna_cli.stores.qdrant_image import lines_of

        with self._slice.open(OBJECTS, OBJECT_LIST) as stream:
            for line in lines_of(blocks(stream)):
                yield ArchivedObject(**json.loads(line))
