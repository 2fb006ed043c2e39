"""A PostgreSQL of the lab whose WAL is received into a repository of each test's own."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.deployment import Deployment
from aeterna_cli.keys.wal_identity import WalIdentities
from aeterna_cli.lab import profile as lab_profile
from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import DATABASE, SUPERUSER, superuser
from aeterna_cli.repository import layout
from aeterna_cli.repository.blobs import unseal
from aeterna_cli.repository.wal_archive import (
    SegmentReader,
    covered,
    list_chunks,
    segment_name,
)
from tests.command_line import CommandLine
from tests.integration.deployment import practise

SEGMENT = 16 << 20


def until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.05)


@dataclass
class Receiving:
    """A running ``backup wal receive``."""

    process: "subprocess.Popen[str]"
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@dataclass(eq=False)
class WalLab:
    """One deployment: the lab's PostgreSQL, and a repository and state of the test's own."""

    lab: Lab
    cli: CommandLine
    folder: Path
    open: Callable[[], Deployment]

    @cached_property
    def place(self) -> Deployment:
        return self.open()

    @property
    def control(self) -> LabControl:
        return LabControl(self.lab)

    def sql(self, *statements: str) -> Any:
        """The last statement's first value, as the superuser."""
        with superuser(self.lab.place(), DATABASE) as server:
            for statement in statements:
                cursor = server.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    @contextmanager
    def receiving(self) -> Iterator[Receiving]:
        """``backup wal receive`` in a process of its own; it is streaming inside the block."""
        log = self.folder / f"receive-{time.monotonic_ns()}.log"
        with log.open("w", encoding="utf-8") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "aeterna_cli", "backup", "wal", "receive"],
                stdout=subprocess.DEVNULL,
                stderr=errors,
                text=True,
                env=os.environ.copy(),
            )
        running = Receiving(process, log)
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()

    def stored(self) -> int:
        """The end of what is stored, on the newest timeline."""
        return max((chunk.end for chunk in list_chunks(self.place.objects, self.wal)), default=0)

    def more_stored(self) -> None:
        before = self.stored()
        until(lambda: self.stored() > before, "another chunk")

    @cached_property
    def system(self) -> str:
        return self.place.postgres.identity().system_identifier

    @property
    def wal(self) -> str:
        return layout.wal_folder(self.system)

    def catch_up(self, seconds: float = 30.0) -> int:
        """Everything that the server has now is stored; up to where."""
        goal = self.place.postgres.current_lsn()
        until(lambda: self.stored() >= goal, f"WAL up to {goal:X}", seconds)
        return goal

    def reader(self) -> SegmentReader:
        place = self.place
        identities = WalIdentities(
            place.objects,
            layout.WAL_KEYS,
            repository=place.repository.info.uuid,
            key_services=[place.key_service],
        )
        return SegmentReader(
            place.objects, [self.wal], SEGMENT, lambda _key, sealed: identities.open(sealed, unseal)
        )

    def assert_same_as_server(self, timeline: int = 1) -> int:
        """Every stored segment of a timeline is the server's own file; how many were compared."""
        ranges = covered(list_chunks(self.place.objects, f"{self.wal}"))
        mine = [one for one in ranges if one.timeline == timeline]
        assert len(mine) == 1, f"not unbroken: {mine}"
        reader, compared = self.reader(), 0
        for start in range(mine[0].start, mine[0].end, SEGMENT):
            name = segment_name(timeline, start, SEGMENT)
            server = self.control.data_dir("postgres") / "pg_wal" / name
            if not server.exists():
                continue  # recycled: before wal_keep_size
            length = min(mine[0].end - start, SEGMENT)
            stored = reader.segment(name)
            assert stored is not None
            assert stored[:length] == server.read_bytes()[:length], name
            compared += 1
        return compared


class Writer:
    """Commits a few MB of rows a second, and again after the server came back."""

    def __init__(self, lab: WalLab) -> None:
        self._place = lab.lab.place()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.rows = 0

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        import psycopg

        while not self._stop.is_set():
            try:
                with psycopg.connect(
                    host=str(self._place.sockets),
                    port=self._place.ports["postgres"],
                    dbname=DATABASE,
                    user=SUPERUSER,
                    autocommit=True,
                ) as server:
                    while not self._stop.is_set():
                        server.execute(
                            "INSERT INTO written (filler) SELECT repeat(md5(random()::text), 60)"
                            " FROM generate_series(1, 20)"
                        )
                        self.rows += 20
                        self._stop.wait(0.005)
            except psycopg.Error:
                self._stop.wait(0.1)


def promote(lab: WalLab, while_replica: Callable[[], None] = lambda: None) -> None:
    """A clean stop, a start as a replica, a promotion: the next timeline."""
    lab.control.stop("postgres")
    data = lab.control.data_dir("postgres")
    (data / "standby.signal").touch()
    lab.control.start("postgres")
    while_replica()
    assert lab.sql("SELECT pg_promote(true)")
    lab.sql("CHECKPOINT")


def lose_the_slot(lab: WalLab) -> None:
    """More WAL than the server may keep: it invalidates the slot and removes the segments."""
    lab.sql(
        "ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'",
        "ALTER SYSTEM SET wal_keep_size = 0",
        "SELECT pg_reload_conf()",
    )
    try:
        for _ in range(6):
            lab.sql("INSERT INTO written (filler) VALUES ('x')", "SELECT pg_switch_wal()")
        until(lambda: lost(lab), "the slot is lost")
    finally:
        lab.sql(
            "ALTER SYSTEM SET max_slot_wal_keep_size = '1GB'",
            "ALTER SYSTEM SET wal_keep_size = '1GB'",
            "SELECT pg_reload_conf()",
        )


def lost(lab: WalLab) -> bool:
    lab.sql("CHECKPOINT")
    state = lab.place.postgres.slot_state("aeterna_wal")
    return state is not None and state.status == "lost"


@pytest.fixture(scope="session")
def postgres_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """PostgreSQL and S3; tests that break them mend them."""
    made = Lab(tmp_path_factory.mktemp("wal-lab") / "lab")
    made.up(["postgres", "s3"])
    with superuser(made.place(), DATABASE) as server:
        server.execute("CREATE TABLE written (id bigserial PRIMARY KEY, filler text)")
        server.execute("ALTER SYSTEM SET wal_keep_size = '1GB'")
        server.execute("SELECT pg_reload_conf()")
    yield made
    made.down()


def deploy(
    lab: Lab,
    cli: CommandLine,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    repository: Mapping[str, Any],
) -> Iterator[WalLab]:
    """An initialised repository of this test, with a key file; no slot is left behind."""
    keys = {"provider": "local-file", "key_file": str(folder / "wrapping.key")}
    practice = practise(lab, cli, folder, monkeypatch, repository=repository, keys=keys)
    made = WalLab(lab, cli, folder, practice.open)
    try:
        yield made
    finally:
        made.control.start("postgres")
        slot = made.place.profile.postgres.receiver_slot
        until(lambda: not _active(made, slot), "the slot is free")
        made.place.postgres.drop_slot(slot)


@pytest.fixture
def wal_lab(
    postgres_lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WalLab]:
    """With a repository in a directory."""
    yield from deploy(postgres_lab, cli, tmp_path, monkeypatch, {})


@pytest.fixture
def s3_wal_lab(
    postgres_lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WalLab]:
    """With a repository in the lab's S3."""
    tree = dict(lab_profile.tree(postgres_lab.place())["repository"])
    tree["url"] = f"s3://aeterna-backups/{tmp_path.name}"
    yield from deploy(postgres_lab, cli, tmp_path, monkeypatch, tree)


def _active(lab: WalLab, slot: str) -> bool:
    state = lab.place.postgres.slot_state(slot)
    return state is not None and state.active


__all__ = [
    "SEGMENT",
    "Receiving",
    "WalLab",
    "Writer",
    "lose_the_slot",
    "postgres_lab",
    "promote",
    "s3_wal_lab",
    "until",
    "wal_lab",
]
