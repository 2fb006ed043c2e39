"""``restore run`` while the world around it fails: old data untouched, and resumed to the end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aeterna_cli.lab.control import LabControl
from aeterna_cli.repository.layout import backup_folder
from aeterna_cli.stores import binaries
from tests.command_line import Ran
from tests.faults.http_proxy import Fault, FaultProxy, Request, fault_proxy
from tests.integration.deployment import NAME, Practice

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

CONFIRM = ("--confirm", NAME)
RUN = ("restore", "run", *CONFIRM)


@contextmanager
def live_data_untouched(practice: Practice) -> Iterator[None]:
    """Whatever happens inside: what was served before is still served."""
    with practice.sql() as connection:
        connection.execute("COMMENT ON DATABASE aeterna IS 'untouched'")
    yield
    with practice.sql() as connection:
        found = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE datname = 'aeterna'"
        ).fetchone()
        connection.execute("COMMENT ON DATABASE aeterna IS NULL")
    assert found == ("untouched",)


def ended(ran: Ran, exit_code: int, *codes: str) -> None:
    assert "Traceback" not in ran.err
    assert ran.code == exit_code, ran.err
    assert not codes or ran.error["code"] in codes, ran.err
    assert ran.error["code"] != "internal_error", ran.err


def resume(practice: Practice) -> None:
    """The operation that was cut off goes on to its end, and the data are the backup's."""
    (left,) = practice.operations("--unfinished")
    practice.cli.ok("operation", "resume", left["operation"], *CONFIRM)
    assert practice.operations("--unfinished") == []


def a_volume(practice: Practice, backup: str, store: str) -> Path:
    """The largest stored part of this store."""
    folder = practice.repository / backup_folder(backup) / store
    parts = [path for path in folder.rglob("*") if path.is_file() and "wal" not in path.parts]
    return max(parts, key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("store", ["postgres", "redis", "qdrant"])
def test_a_volume_that_is_gone_ends_it_and_its_return_lets_it_finish(
    practice: Practice, tmp_path: Path, store: str
) -> None:
    made = practice.backup("--store", store)
    part = a_volume(practice, made["backup"], store)
    part.rename(tmp_path / "taken-away")
    with live_data_untouched(practice):
        ran = practice.cli(*RUN, "--store", store)
        ended(ran, 5, "object_missing")
    (tmp_path / "taken-away").rename(part)
    resume(practice)
    practice.cli.ok("restore", "verify")


def test_a_truncated_volume_is_never_served(practice: Practice) -> None:
    made = practice.backup("--store", "postgres")
    part = a_volume(practice, made["backup"], "postgres")
    whole = part.read_bytes()
    part.chmod(0o600)
    part.write_bytes(whole[: len(whole) // 2])
    with live_data_untouched(practice):
        ran = practice.cli(*RUN, "--store", "postgres")
        ended(ran, 5)
    part.write_bytes(whole)
    resume(practice)
    practice.cli.ok("restore", "verify")


def test_no_server_program_of_that_major_is_refused_before_unpacking(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice.backup("--store", "postgres")
    with live_data_untouched(practice), monkeypatch.context() as patched:
        patched.setattr(binaries, "_executable", lambda _path: None)
        ran = practice.cli(*RUN, "--store", "postgres")
    ended(ran, 7, "postgres_programs_missing")
    assert any("postgres.bin_dir" in step for step in ran.error["next_steps"])
    assert practice.operations("--unfinished") == []


def test_an_unreachable_key_service_ends_it_before_anything_begins(practice: Practice) -> None:
    practice.backup("--store", "postgres")
    control = LabControl(practice.lab)
    with live_data_untouched(practice):
        control.stop("vault")
        try:
            ran = practice.cli(*RUN, "--store", "postgres")
        finally:
            control.start("vault")
    ended(ran, 4)
    assert practice.operations("--unfinished") == []
    practice.cli.ok(*RUN, "--store", "postgres")


# -- signals


def restoring(practice: Practice, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "aeterna_cli", *words],
        env={**os.environ, **practice.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_unpacking_leaves_old_data_and_is_resumed(
    practice: Practice, number: signal.Signals, code: int
) -> None:
    practice.backup("--store", "postgres")
    data = LabControl(practice.lab).data_dir("postgres")

    def unpacking() -> set[Path]:
        return set(data.parent.glob(f"{data.name}.restoring-*"))

    before = unpacking()  # of restores that other tests in this lab never resumed
    with live_data_untouched(practice):
        process = restoring(practice, *RUN, "--store", "postgres")
        try:
            deadline = time.monotonic() + 60
            while unpacking() == before:
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.002)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        ended(Ran(process.returncode, out, err), code, "terminated", "interrupted")
    resume(practice)
    practice.cli.ok("restore", "verify")


# -- the target goes away midway


@pytest.fixture
def proxy(practice: Practice) -> Iterator[FaultProxy]:
    """What stands before Qdrant for those who go through it."""
    with fault_proxy(practice.lab.place().url("qdrant")) as running:
        yield running


def test_qdrant_that_goes_away_midway_is_resumed(
    practice: Practice, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice.backup("--store", "qdrant")

    def away(request: Request) -> Fault | None:
        return Fault(cut_before=True) if "/snapshots/upload" in request.path else None

    proxy.rule = away
    with monkeypatch.context() as patched:
        patched.setenv("AETERNA_QDRANT__URL", proxy.address)
        ran = practice.cli(*RUN, "--store", "qdrant")
    ended(ran, 4)
    assert proxy.count("POST", "/snapshots/upload") + proxy.count("PUT", "/snapshots/upload") > 0
    assert f"operation resume {ran.error['operation']}" in ran.error["next_steps"][0]
    resume(practice)
    practice.cli.ok("restore", "verify")


def test_redis_that_is_away_midway_is_resumed(practice: Practice) -> None:
    """It dies after it was looked at and before its turn."""
    practice.backup("--store", "redis")
    control = LabControl(practice.lab)
    assert practice.killed_at("step:restore-redis:before", *RUN, "--store", "redis")
    (left,) = practice.operations("--unfinished")
    control.kill("redis")
    try:
        ran = practice.cli("operation", "resume", left["operation"], *CONFIRM)
    finally:
        control.start("redis")
    ended(ran, 4, "redis_unreachable")
    assert f"operation resume {left['operation']}" in ran.error["next_steps"][0]
    resume(practice)
    practice.cli.ok("restore", "verify")
