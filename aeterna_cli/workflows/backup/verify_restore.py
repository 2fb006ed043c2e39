"""One backup restored to servers that only we can reach, looked at, compared, and thrown away."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from aeterna_cli.context import Context
from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    InterruptedByUser,
    TerminatedBySignal,
    TransientError,
)
from aeterna_cli.stores import binaries
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.qdrant import OPS_COLLECTION
from aeterna_cli.workflows.orphans import merge, summarise
from aeterna_cli.workflows.restore import comparison
from aeterna_cli.workflows.restore.qdrant import Image
from aeterna_cli.workflows.sorting import sorted_lines
from aeterna_cli.workflows.workspace import local_faults

if TYPE_CHECKING:
    from aeterna_cli.settings import PostgresSettings, RedisSettings
    from aeterna_cli.stores.postgres_checks import CheckReport
    from aeterna_cli.stores.postgres_scratch import RecoveryTarget
    from aeterna_cli.stores.postgres_snapshot import Snapshot
    from aeterna_cli.stores.qdrant_image import ImageFacts
    from aeterna_cli.stores.redis_scratch import ScratchRedis
    from aeterna_cli.workflows.restore.opened import OpenedBackup
    from aeterna_cli.workflows.restore.postgres_scratch_recovery import Recovered

CROSS_STORE = "cross-store"
_BLOCK = 1 << 20
_ROOM = 256 << 20  # bytes for logs, indexes and the WAL that a promotion writes
_SEGMENTS = 4  # WAL segments beside those that the feeder holds ready
_UNPACKED = 4  # a shard's tar, its files, its ids, and room to sort them
#: Not the backup's fault: this machine cannot try.
_CANNOT_TRY = frozenset(
    {"postgres_programs_missing", "redis_server_missing", "qdrant_engine_missing"}
)
_OUR_DISK = frozenset({"local_disk", "local_disk_full", "disk_full", "extraction_failed"})


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: ``count`` files, tables, indexes, keys, points."""

    name: str
    count: int


@dataclass(frozen=True)
class RestoredStore:
    """One store in a scratch server. ``restored`` is False where it did not come up."""

    store: str
    restored: bool
    seconds: float
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]


def space_needed(opened: "OpenedBackup") -> int:
    """Bytes below the work folder that ``ScratchRestore`` may need at once, rather too many."""
    stores, needed = opened.manifest.stores, 0
    if "postgres" in stores:
        part = stores["postgres"]
        segment = int(part.facts["wal_segment_size"])
        ahead = opened.place.profile.restore.feeder_segments + _SEGMENTS
        wal = sum(chunk["end"] - chunk["start"] for chunk in part.facts["wal"])
        needed = sum(one.plain_bytes for one in part.volumes) + wal + ahead * segment
    if "redis" in stores:
        needed = max(needed, sum(one.plain_bytes for one in stores["redis"].volumes))
    if "qdrant" in stores:
        largest = max((one.plain_bytes for one in stores["qdrant"].volumes), default=0)
        needed = max(needed, _UNPACKED * largest)
    return needed + _ROOM


class Watch(Protocol):
    """Looks into restored stores: servers while they run, a collection's ids in a file."""

    def postgres(self, settings: "PostgresSettings") -> None: ...
    def redis(self, settings: "RedisSettings") -> None: ...
    def qdrant(self, collection: str, ids: Path) -> None: ...


class ScratchRestore:
    """Restores store after store below ``work``; each one's files go before the next begins.

    Every server is gone when ``run`` returns or raises. ``only`` leaves the other stores out;
    ``target`` takes PostgreSQL to another moment than the backup's own (its rows are then read,
    not compared); ``watch`` may look into what was restored while it is there.
    """

    def __init__(
        self,
        ctx: Context,
        opened: "OpenedBackup",
        work: Path,
        *,
        only: AbstractSet[str] | None = None,
        target: "RecoveryTarget | None" = None,
        watch: "Watch | None" = None,
    ) -> None:
        self._ctx = ctx
        self._opened = opened
        self._manifest = opened.manifest
        self._work = work
        self._rows: dict[str, Path] = {}  # ids of each orphan rule's table, by the rule's volume
        self._points: dict[str, list[Path]] = {}  # ids of each collection's images
        self._markers: dict[str, int | None] = {}
        self._only = only
        self._target = target
        self._watch = watch

    def run(self, damaged: AbstractSet[str]) -> list[RestoredStore]:
        """One result for each store, and one for what connects them. Stores in ``damaged`` are not
        tried: their objects are known to be bad."""
        stores: dict[str, Callable[[Path], tuple[list[Check], list[Finding]]]] = {
            "postgres": self._postgres,
            "redis": self._redis,
            "qdrant": self._qdrant,
        }
        done = []
        for name, restore in stores.items():
            if name not in self._manifest.stores:
                continue
            if self._only is not None and name not in self._only:
                continue
            if name in damaged:
                message = "not restored: its stored objects are damaged"
                finding = Finding("not_restored", "error", name, message)
                done.append(RestoredStore(name, False, 0.0, (), (finding,)))
                continue
            done.append(self._timed(name, restore))
        whole = self._only is None and self._target is None
        if whole and len(done) > 1 and all(one.restored for one in done):
            done.append(self._timed(CROSS_STORE, self._cross_store))
        return done

    def _timed(
        self, name: str, restore: Callable[[Path], tuple[list[Check], list[Finding]]]
    ) -> RestoredStore:
        """A store that does not come up is what this command is there to find."""
        self._ctx.stop.check()
        work = "comparing the stores" if name == CROSS_STORE else f"restoring {name} to scratch"
        self._ctx.out.note(work)
        folder, began = self._work / name, monotonic()
        with local_faults(folder):
            folder.mkdir(mode=0o700)
        try:
            checks, findings = restore(folder)
        except (TransientError, AuthenticationError, InterruptedByUser, TerminatedBySignal):
            raise
        except AeternaError as error:
            if error.code in _OUR_DISK:
                raise
            severity = "warning" if error.code in _CANNOT_TRY else "error"
            message = f"not restored: {error.message}"
            failed = Finding(error.code, severity, name, message, error.hint, error.details)
            return RestoredStore(name, False, _since(began), (), (failed,))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return RestoredStore(name, True, _since(began), tuple(checks), tuple(findings))

    # -- PostgreSQL

    def _postgres(self, folder: Path) -> tuple[list[Check], list[Finding]]:
        """Unpacked, its files checked, recovered to the recovery point, rows, indexes, pages."""
        from aeterna_cli.stores import postgres_scratch_files as files
        from aeterna_cli.stores.postgres_checks import check_pages, check_relations, verify_files
        from aeterna_cli.workflows.restore.postgres_scratch_recovery import (
            own_target,
            recovered,
            tablespace_folder,
            unpack,
        )

        data, profile = folder / "data", self._opened.place.profile
        major = int(self._opened.facts("postgres")["major"])
        programs = files.programs_of(major, profile.postgres.bin_dir)
        unpack(self._opened, data, on_bytes=self._unpacked)
        spaces = tablespace_folder(data)
        listed = self._opened.facts("postgres")["tablespaces"]
        files.prepare(data, {int(one["oid"]): spaces / str(one["oid"]) for one in listed})
        reports = [verify_files(data, programs)]
        with recovered(
            self._opened,
            data,
            self._target or own_target(self._opened),
            bin_dir=profile.postgres.bin_dir,
            ahead=profile.restore.feeder_segments,
            durable=False,
            stop=self._ctx.stop.check,
            on_wal=lambda count: self._ctx.out.progress("WAL", count, None),
        ) as scratch:
            checks, findings = self._look(scratch)
            reports.append(check_relations(scratch.server, stop=self._ctx.stop.check))
            scratch.server.stop()
            reports.append(check_pages(data, programs))
        for report in reports:
            checks.append(_check(report))
            findings += report.findings
        return checks, findings

    def _unpacked(self, done: int) -> None:
        self._ctx.stop.check()
        total = sum(one.plain_bytes for one in self._opened.part("postgres").volumes)
        self._ctx.out.progress("PostgreSQL", done, total)

    def _look(self, scratch: "Recovered") -> tuple[list[Check], list[Finding]]:
        """The rows against the manifest: exact, since nobody else can write here."""
        from aeterna_cli.stores.postgres import PostgresServer
        from aeterna_cli.stores.postgres_snapshot import current_snapshot

        database = self._opened.facts("postgres")["database"]
        settings = scratch.server.connect_settings(database=database)
        with current_snapshot(settings) as snapshot:
            moved = self._target is not None
            compared = comparison.postgres(self._manifest, snapshot.digests(), moved=moved)
            for rule in self._rules():
                self._keep_rows(rule, snapshot)
        if self._watch is not None:
            self._watch.postgres(settings)
        self._markers["postgres"] = PostgresServer(settings).marker()
        segments = Check("WAL segments replayed", scratch.segments)
        words = "tables compared"
        if comparison.expected_tables(self._manifest) is None:
            words = "tables read, not compared (no digests were taken)"
        if moved:
            words = "tables read, not compared (another moment than the backup's)"
        return [segments, Check(words, compared.count)], list(compared.findings)

    def _rules(self) -> Sequence[dict[str, Any]]:
        found: Sequence[dict[str, Any]] = self._manifest.orphans.get("rules", [])
        return found

    def _keep_rows(self, rule: dict[str, Any], snapshot: "Snapshot") -> None:
        ids = snapshot.ids(rule["rule"]["table"], rule["rule"]["id_column"])
        path = self._work / rule["volume"]
        with local_faults(path), path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{one}\n" for one in sorted_lines(ids, self._work))
        self._rows[rule["volume"]] = path

    # -- Redis

    def _redis(self, folder: Path) -> tuple[list[Check], list[Finding]]:
        """The image (or the keys that were read) in a server of its own."""
        from aeterna_cli.stores.redis_scratch import ScratchRedis

        profile = self._opened.place.profile.redis
        program = binaries.redis_server(profile.server_binary)
        logical = self._opened.facts("redis")["method"] == "logical"
        with ScratchRedis(program, folder / "scratch", database=profile.database) as scratch:
            if logical:
                self._load_keys(scratch)
            else:
                self._load_image(scratch, folder / "dump.rdb")
                self._markers["redis"] = scratch.server.marker()
            if self._watch is not None:
                self._watch.redis(scratch.client_settings())
            compared = comparison.redis(self._manifest, scratch.server, self._ctx.clock())
        known = "redis" in self._manifest.digests
        words = "keys compared" if known else "keys read, not compared"
        return [Check(words, compared.count)], list(compared.findings)

    def _load_image(self, scratch: "ScratchRedis", image: Path) -> None:
        with (
            local_faults(image),
            self._opened.volume("redis", "dump.rdb") as stream,
            image.open("wb") as file,
        ):
            shutil.copyfileobj(stream, file, _BLOCK)
        scratch.start(image, stop=self._stopping)

    def _load_keys(self, scratch: "ScratchRedis") -> None:
        scratch.start(stop=self._stopping)
        with self._opened.volume("redis", "keys.resp") as stream:
            blocks = iter(lambda: stream.read(_BLOCK), b"")
            scratch.server.logical_restore(blocks, replace=True, stop=self._stopping)

    def _stopping(self) -> bool:
        """Asked by the stores; raises what the signal means instead of answering."""
        self._ctx.stop.check()
        return False

    # -- Qdrant

    def _qdrant(self, folder: Path) -> tuple[list[Check], list[Finding]]:
        """Every image opened by the engine; its ids are kept for the cross-store check."""
        images = [Image.from_document(one) for one in self._opened.facts("qdrant")["images"]]
        findings: list[Finding] = []
        points = 0
        for number, image in enumerate(images, 1):
            self._ctx.stop.check()
            facts = self._image_facts(image, folder)
            kept = facts.ids_path.rename(self._work / facts.ids_path.name)
            self._points.setdefault(image.collection, []).append(kept)
            if self._watch is not None:
                self._watch.qdrant(image.collection, kept)
            if image.collection != OPS_COLLECTION:
                points += facts.points
            findings += _compared_image(image, facts)
            self._ctx.out.progress("Qdrant", number, len(images), "images")
        return [Check("images opened", len(images)), Check("points read", points)], findings

    def _image_facts(self, image: Image, folder: Path) -> "ImageFacts":
        from aeterna_cli.stores.qdrant_image import image_facts, logical_facts

        with local_faults(folder), self._opened.volume("qdrant", image.volume) as stream:
            if image.shard is None:
                blocks = iter(lambda: stream.read(_BLOCK), b"")
                return logical_facts(blocks, folder, name=image.volume)
            copy = folder / image.volume
            with copy.open("wb") as file:
                shutil.copyfileobj(stream, file, _BLOCK)
        found = image_facts(copy, folder, name=image.volume)
        copy.unlink()
        return found

    # -- what connects them

    def _cross_store(self, _folder: Path) -> tuple[list[Check], list[Finding]]:
        """Orphans and markers as they were at capture."""
        found = comparison.markers(self._manifest, self._markers)
        findings, checks = list(found.findings), [Check("markers compared", found.count)]
        rules = [rule for rule in self._rules() if rule["volume"] in self._rows]
        if "qdrant" in self._manifest.stores:
            for rule in rules:
                findings += self._orphans(rule)
            checks.append(Check("orphan rules compared", len(rules)))
        return checks, findings

    def _orphans(self, rule: dict[str, Any]) -> Iterator[Finding]:
        patterns, table = rule["rule"]["collections"], rule["rule"]["table"]
        paths = chain.from_iterable(
            paths
            for name, paths in self._points.items()
            if name != OPS_COLLECTION and any(fnmatchcase(name, one) for one in patterns)
        )
        points = sorted_lines(chain.from_iterable(_lines(path) for path in paths), self._work)
        for found in summarise(merge(_lines(self._rows[rule["volume"]]), points)):
            wanted = rule["sets"][found.side]
            if (found.count, found.digest) == (wanted["count"], wanted["digest"]):
                continue
            severity = "error" if rule["exact"] else "info"
            message = f"{found.count} {found.side} stand alone, {wanted['count']} did at capture"
            yield Finding("orphans_differ", severity, table, message)


def _since(began: float) -> float:
    return round(monotonic() - began, 3)


def _check(report: "CheckReport") -> Check:
    names = {
        "verify_files": "files against the base backup's manifest",
        "check_relations": "tables and indexes by amcheck",
        "check_pages": "pages by checksum",
    }
    return Check(names[report.name], report.objects)


def _compared_image(image: Image, facts: "ImageFacts") -> list[Finding]:
    if image.points is None:
        message = "not compared: nobody could look inside when it was captured"
        return [Finding("image_not_compared", "info", image.volume, message)]
    if (image.points, image.digest) == (facts.points, facts.digest):
        return []
    message = f"{image.points} points of {image.collection} were captured, {facts.points} are there"
    if image.points == facts.points:
        message = f"the {facts.points} points of {image.collection} are not the same points"
    return [Finding("image_differs", "error", image.volume, message)]


def _lines(path: Path) -> Iterable[str]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.rstrip("\n")
