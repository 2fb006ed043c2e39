"""PostgreSQL from a backup into a directory, recovered by a server that only we can reach."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aeterna_cli.errors import RemoteError
from aeterna_cli.repository.wal_archive import lsn_number
from aeterna_cli.stores import postgres_scratch_files as files
from aeterna_cli.stores.postgres_scratch import RecoveryFacts, RecoveryTarget, ScratchServer
from aeterna_cli.stores.tar_extraction import extract
from aeterna_cli.workflows.backup.base_volumes import MANIFEST
from aeterna_cli.workflows.restore.feeder import Feeder
from aeterna_cli.workflows.restore.opened import OpenedBackup
from aeterna_cli.workflows.workspace import local_faults


@dataclass(frozen=True)
class Recovered:
    """A running, promoted scratch server and where its recovery ended."""

    server: ScratchServer
    facts: RecoveryFacts
    segments: int  # WAL segments that were fed to it


def own_target(opened: OpenedBackup) -> RecoveryTarget:
    """The backup's own recovery point: just before its LSN where that is exact, else its name."""
    point, facts = opened.manifest.recovery_point, opened.facts("postgres")
    if facts["exact"] and point.lsn is not None:
        return RecoveryTarget(
            lsn=lsn_number(point.lsn), inclusive=False, timeline=facts["timeline"]
        )
    return RecoveryTarget(name=point.name, timeline=facts["timeline"])


def tablespace_folder(data: Path) -> Path:
    """Where tablespaces are unpacked; they stay there, the data directory links to them."""
    return data.with_name(f"{data.name}.tablespaces")


def folders(data: Path) -> tuple[Path, ...]:
    """Everything that a recovery into ``data`` makes; ``data`` itself comes first."""
    return data, tablespace_folder(data), files.state_folder(data), _spool(data)


def discard(data: Path) -> None:
    """Remove a directory that we unpacked and that nobody serves, with all that lies beside it."""
    with local_faults(data.parent):
        for folder in folders(data):
            if folder.exists():
                shutil.rmtree(folder)


def unpack(
    opened: OpenedBackup, data: Path, *, on_bytes: Callable[[int], None] = lambda _count: None
) -> int:
    """The base backup lies in ``data`` (new), its tablespaces beside; how many bytes they have.

    What an unpacking that was cut off left there is removed first. Every volume is verified when
    this returns; on an error what is there must be thrown away.
    """
    discard(data)
    total = 0
    part = opened.part("postgres")
    with local_faults(data.parent):
        data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for record in part.volumes:
            with opened.volume("postgres", record.name) as stream:
                if record.name == MANIFEST:
                    (data / MANIFEST).write_bytes(stream.read())
                else:
                    target = _destination(data, record.name)
                    extract(stream, target, limit_bytes=record.plain_bytes)
            total += record.plain_bytes
            on_bytes(total)
    return total


def _destination(data: Path, name: str) -> Path:
    stem = name.removesuffix(".tar")
    if stem == "base":
        return data
    if not stem.isdecimal():
        raise RemoteError("volume_unknown", f"{name!r} is no volume of a base backup")
    return tablespace_folder(data) / stem


@contextmanager
def recovered(
    opened: OpenedBackup,
    data: Path,
    target: RecoveryTarget,
    *,
    bin_dir: Path | None,
    ahead: int,
    durable: bool = True,
    stop: Callable[[], None] = lambda: None,
    on_wal: Callable[[int], None] = lambda _count: None,
) -> Iterator[Recovered]:
    """The unpacked ``data`` recovered to ``target``; the scratch server runs inside the block.

    Leaving the block kills the server unless ``give_back`` was called. May be repeated after a
    crash with the same target. ``on_wal`` hears how many bytes of WAL were replayed. Errors as of
    ``ScratchServer.recover``; what the WAL's own source says wins over the server's words.
    """
    facts = opened.facts("postgres")
    folder, start = tablespace_folder(data), lsn_number(facts["start_lsn"])
    spaces = {int(one["oid"]): folder / str(one["oid"]) for one in facts["tablespaces"]}
    with local_faults(data.parent):
        files.prepare(data, spaces)
    programs = files.programs(data, bin_dir)
    with ScratchServer(
        data,
        programs,
        database=facts["database"],
        known_role=facts["role"],
        durable=durable,
    ) as server:
        feeder = Feeder(
            opened.wal_reader(), _spool(data), ahead=ahead, segment_size=facts["wal_segment_size"]
        )
        with feeder:
            try:
                ended = server.recover(
                    target,
                    feeder.restore_command,
                    stop=stop,
                    progress=lambda lsn: on_wal(max(0, lsn - start)),
                )
            except Exception as error:
                if feeder.error is not None:
                    raise feeder.error from error
                raise
        yield Recovered(server, ended, feeder.segments)


def _spool(data: Path) -> Path:
    return data.with_name(f"{data.name}.wal")
